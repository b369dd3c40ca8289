//! `mask.wgsl`: dropout, and what the other kernels that draw need of it.
//!
//! The contract: which elements are dropped is a function of key and position alone, the same bits as the twin's.

use super::{
    Command, Kernel,
    launch::{ENTRY, dispatch, inside, number, params, place, read, shader, tensor, tiles, write},
};
use crate::error::Result;
use crate::plan::{Draw, Mask, Plan, random};

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

pub(super) static MASK: Kernel = Kernel {
    name: "mask",
    entry: ENTRY,
    source: &[shader!("mask.wgsl"), shader!("random.wgsl"), shader!("math.wgsl")],
    bindings: &[read("input").of("Input"), read("keys"), write("out").of("Out")],
    workgroup: [256, 1, 1],
    constants: &[],
    params: Params::FIELDS,
    params_size: Params::SIZE,
};

/// A draw as the shaders know it.
pub(super) struct Drawn {
    pub has_mask: u32,
    pub site: u32,
    pub threshold: u32,
    pub kept: f32,
}

pub(super) fn drawn(plan: &Plan, draw: Option<&Draw>) -> Result<Drawn> {
    let Some(draw) = draw else { return Ok(Drawn { has_mask: 0, site: 0, threshold: 0, kept: 1.0 }) };
    inside("the key of a dropout", 2 * draw.site, [1, 2], tensor(plan, draw.keys)?.len())?;
    let (site, threshold) = (number(draw.site)?, random::threshold(draw.rate));
    Ok(Drawn { has_mask: 1, site, threshold, kept: random::kept(draw.rate) })
}

pub(super) fn mask(plan: &Plan, op: &Mask) -> Result<Command> {
    let shape @ [rows, columns] = [op.out.rows, op.out.cols];
    let Drawn { site, threshold, kept, .. } = drawn(plan, Some(&op.draw))?;
    let params = Params {
        rows: number(rows)?,
        columns: number(columns)?,
        has_input: u32::from(op.input.is_some()),
        input_offset: op.input.map_or(Ok(0), |input| place(plan, "input", &input, shape))?,
        out_offset: place(plan, "out", &op.out, shape)?,
        first: number(op.first % op.period.max(1))?,
        period: number(op.period.max(1).saturating_mul(columns)).and(number(op.period.max(1)))?,
        site,
        threshold,
        kept,
    };
    // Something must be bound where there is no input.
    let input = op.input.map_or(op.draw.keys, |input| input.tensor);
    dispatch(plan, &MASK, vec![input, op.draw.keys, op.out.tensor], &params, tiles(rows * columns, 256), 1)
}
