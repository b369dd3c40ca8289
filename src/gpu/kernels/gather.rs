//! `gather.wgsl` and `gather_gradient.wgsl`: W·x where x is a token, and the gradient of W.
//!
//! The contract: no one-hot vector exists, and no two threads add to one element, so the sums have a fixed order.

use super::{
    Command, Kernel,
    launch::{ENTRY, dispatch, holds, inside, matrix, number, params, place, read, shader, tensor, tiles, write},
};
use crate::error::{Error, Result};
use crate::plan::{Gather, GatherGradient, Plan};

params!(GatherParams { rows: u32, columns: u32, symbols: u32, weight_offset: u32, bias_offset: u32, out_offset: u32 });

pub(super) static GATHER: Kernel = Kernel {
    name: "gather",
    entry: ENTRY,
    source: &[shader!("gather.wgsl"), shader!("math.wgsl")],
    bindings: &[read("tokens"), read("weight"), read("bias"), write("out")],
    workgroup: [256, 1, 1],
    params: GatherParams::FIELDS,
    params_size: GatherParams::SIZE,
};

params!(GradientParams {
    rows: u32,
    columns: u32,
    symbols: u32,
    slices: u32,
    slice_stride: u32,
    d_offset: u32,
    weight_offset: u32,
    bias_offset: u32,
});

pub(super) static GATHER_GRADIENT: Kernel = Kernel {
    name: "gather_gradient",
    entry: ENTRY,
    source: &[shader!("gather_gradient.wgsl"), shader!("math.wgsl")],
    bindings: &[read("d"), read("order"), read("starts"), write("slices")],
    workgroup: [32, 8, 1],
    params: GradientParams::FIELDS,
    params_size: GradientParams::SIZE,
};

/// Columns that a workgroup of `gather_gradient.wgsl` takes.
const COLUMNS: usize = 32;

pub(super) fn gather(plan: &Plan, op: &Gather) -> Result<Command> {
    let (rows, columns, symbols) = (op.out.rows, op.out.cols, op.weight.cols);
    holds(plan, op.tokens, &[rows])?;
    let params = GatherParams {
        rows: number(rows)?,
        columns: number(columns)?,
        symbols: number(symbols)?,
        weight_offset: place(plan, "weight", &op.weight, [columns, symbols])?,
        bias_offset: place(plan, "bias", &op.bias, [1, columns])?,
        out_offset: place(plan, "out", &op.out, [rows, columns])?,
    };
    let tensors = vec![op.tokens, op.weight.tensor, op.bias.tensor, op.out.tensor];
    dispatch(&GATHER, tensors, &params, tiles(rows * columns, 256), 1)
}

pub(super) fn gather_gradient(plan: &Plan, op: &GatherGradient) -> Result<Command> {
    let (rows, columns) = (op.d.rows, op.d.cols);
    let starts = tensor(plan, op.starts)?;
    let symbols = starts.len().checked_sub(1).ok_or_else(|| Error::shape(&starts.name, &[1], &starts.shape))?;
    let [slices, flat] = matrix(plan, op.slices)?;
    holds(plan, op.order, &[rows])?;
    let params = GradientParams {
        rows: number(rows)?,
        columns: number(columns)?,
        symbols: number(symbols)?,
        slices: number(slices)?,
        slice_stride: number(flat)?,
        d_offset: place(plan, "d", &op.d, [rows, columns])?,
        weight_offset: inside("weight", op.weight, [columns, symbols], flat)?,
        bias_offset: inside("bias", op.bias, [1, columns], flat)?,
    };
    // One more group than there are tokens: that of the bias.
    let workgroups = tiles(symbols + 1, 1) * tiles(columns, COLUMNS);
    dispatch(&GATHER_GRADIENT, vec![op.d.tensor, op.order, op.starts, op.slices], &params, workgroups, slices)
}
