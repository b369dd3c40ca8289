//! `join.wgsl` and `join_gradient.wgsl`: what both directions of a layer say made one, and back.
//!
//! The contract: one thread an element, and no sum longer than two.

use super::{
    Command, Kernel,
    launch::{contiguous_offset, dispatch, params, read, shader, tile_count, to_u32, write},
};
use crate::error::{Error, Result};
use crate::model::Join;
use crate::plan::{JoinDirections, JoinGradient, Plan};

params!(JoinParams { kind: u32, len: u32, hidden: u32, rows_offset: u32, out_offset: u32 });

pub(super) static JOIN: Kernel = Kernel::new::<JoinParams>(
    "join",
    &[shader!("join.wgsl"), shader!("math.wgsl")],
    &[read("rows").of("Rows"), write("out").of("Out")],
);

params!(JoinGradientParams { kind: u32, len: u32, hidden: u32, d_offset: u32, rows_offset: u32, out_offset: u32 });

pub(super) static JOIN_GRADIENT: Kernel = Kernel::new::<JoinGradientParams>(
    "join_gradient",
    &[shader!("join_gradient.wgsl"), shader!("math.wgsl")],
    &[read("d").of("D"), read("rows").of("Rows"), write("out").of("Out")],
);

pub(super) fn join(plan: &Plan, JoinDirections { join, rows, out }: &JoinDirections) -> Result<Command> {
    let params = JoinParams {
        kind: kind(*join)?,
        len: to_u32(out.len())?,
        hidden: to_u32(out.cols)?,
        rows_offset: contiguous_offset(plan, "rows", rows, [out.rows, 2 * out.cols])?,
        out_offset: contiguous_offset(plan, "out", out, [out.rows, out.cols])?,
    };
    dispatch(plan, &JOIN, vec![rows.tensor, out.tensor], &params, tile_count(out.len(), 256), 1)
}

pub(super) fn join_gradient(plan: &Plan, op: &JoinGradient) -> Result<Command> {
    let JoinGradient { join, d, rows, out } = op;
    if (*join == Join::Product) != rows.is_some() {
        let given = if rows.is_some() { "given" } else { "not given" };
        return Err(Error::Config(format!("the rows of {join:?} are {given}, expected those of a product alone")));
    }
    let shape = [d.rows, 2 * d.cols];
    let params = JoinGradientParams {
        kind: kind(*join)?,
        len: to_u32(out.len())?,
        hidden: to_u32(d.cols)?,
        d_offset: contiguous_offset(plan, "d", d, [d.rows, d.cols])?,
        rows_offset: rows.map_or(Ok(0), |rows| contiguous_offset(plan, "rows", &rows, shape))?,
        out_offset: contiguous_offset(plan, "out", out, shape)?,
    };
    // Something must be bound where nothing is read.
    let rows = rows.map_or(d.tensor, |rows| rows.tensor);
    dispatch(plan, &JOIN_GRADIENT, vec![d.tensor, rows, out.tensor], &params, tile_count(out.len(), 256), 1)
}

/// As the shaders count them.
fn kind(join: Join) -> Result<u32> {
    match join {
        Join::Concat => Err(Error::Config("directions that stay side by side are not joined".to_owned())),
        Join::Sum => Ok(1),
        Join::Mean => Ok(2),
        Join::Product => Ok(3),
    }
}
