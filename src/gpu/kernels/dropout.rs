//! `dropout.wgsl` and `mask_slices.wgsl`: dropout, its mask on the gradient of weights, and what the other kernels that
//! draw need of it.
//!
//! The contract: which elements are dropped is a function of key and position alone, the same bits as the twin's.

use super::{
    Command, Kernel,
    launch::{
        contiguous_offset, dispatch, matrix, offset_in_bounds, params, read, shader, tensor, tile_count, to_u32, write,
    },
};
use crate::error::Result;
use crate::plan::{DropoutDraw, DropoutMask, MaskSlices, Plan, random};

params!(Params {
    rows: u32,
    columns: u32,
    has_input: u32,
    input_offset: u32,
    out_offset: u32,
    first: u32,
    period: u32,
    site: u32,
    threshold: u32,
    kept: f32,
});

pub(super) static DROPOUT: Kernel = Kernel::new::<Params>(
    "dropout",
    &[shader!("dropout.wgsl"), shader!("random.wgsl"), shader!("math.wgsl")],
    &[read("input").of("Input"), read("keys"), write("out").of("Out")],
);

params!(MaskSlicesParams {
    slices: u32,
    flat: u32,
    weight_offset: u32,
    len: u32,
    site: u32,
    threshold: u32,
    kept: f32,
});

pub(super) static MASK_SLICES: Kernel = Kernel::new::<MaskSlicesParams>(
    "mask_slices",
    &[shader!("mask_slices.wgsl"), shader!("random.wgsl"), shader!("math.wgsl")],
    &[read("keys"), write("slices")],
);

/// A draw as the shaders know it.
pub(super) struct Drawn {
    pub has_mask: u32,
    pub site: u32,
    pub threshold: u32,
    pub kept: f32,
}

pub(super) fn drawn(plan: &Plan, draw: Option<&DropoutDraw>) -> Result<Drawn> {
    let Some(draw) = draw else { return Ok(Drawn { has_mask: 0, site: 0, threshold: 0, kept: 1.0 }) };
    offset_in_bounds("the key of a dropout", 2 * draw.site, [1, 2], tensor(plan, draw.keys)?.len())?;
    let (site, threshold) = (to_u32(draw.site)?, random::threshold(draw.rate));
    Ok(Drawn { has_mask: 1, site, threshold, kept: random::kept(draw.rate) })
}

pub(super) fn dropout(plan: &Plan, op: &DropoutMask) -> Result<Command> {
    let shape @ [rows, columns] = [op.out.rows, op.out.cols];
    let Drawn { site, threshold, kept, .. } = drawn(plan, Some(&op.draw))?;
    let params = Params {
        rows: to_u32(rows)?,
        columns: to_u32(columns)?,
        has_input: u32::from(op.input.is_some()),
        input_offset: op.input.map_or(Ok(0), |input| contiguous_offset(plan, "input", &input, shape))?,
        out_offset: contiguous_offset(plan, "out", &op.out, shape)?,
        first: to_u32(op.first % op.period.max(1))?,
        period: to_u32(op.period.max(1).saturating_mul(columns)).and(to_u32(op.period.max(1)))?,
        site,
        threshold,
        kept,
    };
    // Something must be bound where there is no input.
    let input = op.input.map_or(op.draw.keys, |input| input.tensor);
    dispatch(plan, &DROPOUT, vec![input, op.draw.keys, op.out.tensor], &params, tile_count(rows * columns, 256), 1)
}

pub(super) fn mask_slices(plan: &Plan, op: &MaskSlices) -> Result<Command> {
    let Drawn { site, threshold, kept, .. } = drawn(plan, Some(&op.draw))?;
    let [slices, flat] = matrix(plan, op.slices)?;
    let params = MaskSlicesParams {
        slices: to_u32(slices)?,
        flat: to_u32(flat)?,
        weight_offset: offset_in_bounds("weight", op.weight, [1, op.len], flat)?,
        len: to_u32(op.len)?,
        site,
        threshold,
        kept,
    };
    let elements = slices.saturating_mul(op.len);
    dispatch(plan, &MASK_SLICES, vec![op.draw.keys, op.slices], &params, tile_count(elements, 256), 1)
}
