//! `normalize.wgsl`, `normalize_gradient.wgsl` and `normalize_weight_gradient.wgsl`: layer normalisation.
//!
//! The contract: a row is one workgroup's, and what its statistics are is written once and read by the gradients.

use super::{
    Command, Kernel,
    launch::{
        check_min_len, contiguous_offset, dispatch, matrix, offset_in_bounds, params, parts, read, shader, tile_count,
        to_u32, write,
    },
};
use crate::error::Result;
use crate::plan::{Cut, Normalize, NormalizeGradient, NormalizeWeightGradient, Plan};

params!(NormalizeParams {
    rows: u32,
    columns: u32,
    x_offset: u32,
    gain_offset: u32,
    bias_offset: u32,
    out_offset: u32,
    epsilon: f32,
});

pub(super) static NORMALIZE: Kernel = Kernel::new::<NormalizeParams>(
    "normalize",
    &[shader!("normalize.wgsl"), shader!("reduce.wgsl"), shader!("math.wgsl")],
    &[read("x").of("X"), read("weights").of("Weights"), write("statistics"), write("out").of("Out")],
)
.workgroup([64, 1, 1]);

params!(GradientParams { rows: u32, columns: u32, x_offset: u32, gain_offset: u32, d_offset: u32 });

pub(super) static NORMALIZE_GRADIENT: Kernel = Kernel::new::<GradientParams>(
    "normalize_gradient",
    &[shader!("normalize_gradient.wgsl"), shader!("reduce.wgsl"), shader!("math.wgsl")],
    &[read("x").of("X"), read("weights").of("Weights"), read("statistics"), write("d").of("D")],
)
.workgroup([64, 1, 1]);

params!(WeightGradientParams {
    rows: u32,
    columns: u32,
    slices: u32,
    slice_stride: u32,
    d_offset: u32,
    x_offset: u32,
    gain_offset: u32,
    bias_offset: u32,
    skip: u32,
    count: u32,
    zero: u32,
});

pub(super) static NORMALIZE_WEIGHT_GRADIENT: Kernel = Kernel::new::<WeightGradientParams>(
    "normalize_weight_gradient",
    &[shader!("normalize_weight_gradient.wgsl"), shader!("carry.wgsl"), shader!("math.wgsl")],
    &[read("d").of("D"), read("x").of("X"), read("statistics"), write("slices")],
)
.workgroup([32, 8, 1]);

/// Columns that a workgroup of `normalize_weight_gradient.wgsl` takes.
const COLUMNS: usize = 32;

pub(super) fn normalize(plan: &Plan, op: &Normalize) -> Result<Command> {
    let shape @ [rows, columns] = [op.x.rows, op.x.cols];
    check_min_len(plan, op.statistics, rows, &[2])?;
    let params = NormalizeParams {
        rows: to_u32(rows)?,
        columns: to_u32(columns)?,
        x_offset: contiguous_offset(plan, "x", &op.x, shape)?,
        gain_offset: contiguous_offset(plan, "gain", &op.gain, [1, columns])?,
        bias_offset: contiguous_offset(plan, "bias", &op.bias, [1, columns])?,
        out_offset: contiguous_offset(plan, "out", &op.out, shape)?,
        epsilon: op.epsilon as f32,
    };
    let tensors = vec![op.x.tensor, op.gain.tensor, op.statistics, op.out.tensor];
    dispatch(plan, &NORMALIZE, tensors, &params, tile_count(rows, 1), 1)
}

pub(super) fn normalize_gradient(plan: &Plan, op: &NormalizeGradient) -> Result<Command> {
    let shape @ [rows, columns] = [op.x.rows, op.x.cols];
    check_min_len(plan, op.statistics, rows, &[2])?;
    let params = GradientParams {
        rows: to_u32(rows)?,
        columns: to_u32(columns)?,
        x_offset: contiguous_offset(plan, "x", &op.x, shape)?,
        gain_offset: contiguous_offset(plan, "gain", &op.gain, [1, columns])?,
        d_offset: contiguous_offset(plan, "d", &op.d, shape)?,
    };
    let tensors = vec![op.x.tensor, op.gain.tensor, op.statistics, op.d.tensor];
    dispatch(plan, &NORMALIZE_GRADIENT, tensors, &params, tile_count(rows, 1), 1)
}

pub(super) fn normalize_weight_gradient(plan: &Plan, op: &NormalizeWeightGradient, cut: Cut) -> Result<Vec<Command>> {
    let shape @ [rows, columns] = [op.d.rows, op.d.cols];
    let [slices, flat] = matrix(plan, op.slices)?;
    check_min_len(plan, op.statistics, rows, &[2])?;
    let params = WeightGradientParams {
        rows: to_u32(rows)?,
        columns: to_u32(columns)?,
        slices: to_u32(slices)?,
        slice_stride: to_u32(flat)?,
        d_offset: contiguous_offset(plan, "d", &op.d, shape)?,
        x_offset: contiguous_offset(plan, "x", &op.x, shape)?,
        gain_offset: offset_in_bounds("gain", op.gain, [1, columns], flat)?,
        bias_offset: offset_in_bounds("bias", op.bias, [1, columns], flat)?,
        ..WeightGradientParams::default()
    };
    let run = |(skip, count): (usize, usize)| {
        let params = WeightGradientParams { skip: to_u32(skip)?, count: to_u32(count)?, ..params };
        let tensors = vec![op.d.tensor, op.x.tensor, op.statistics, op.slices];
        dispatch(plan, &NORMALIZE_WEIGHT_GRADIENT, tensors, &params, tile_count(columns, COLUMNS), slices)
    };
    parts(cut, rows.div_ceil(slices)).map(run).collect()
}
