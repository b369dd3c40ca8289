//! `gather.wgsl` and `gather_gradient.wgsl`: W·x where x is a token, and the gradient of W.
//!
//! The contract: no one-hot vector exists, and no two threads add to one element, so the sums have a fixed order.

use super::{
    Command, Kernel,
    dropout::{Drawn, drawn},
    launch::{
        check_len, check_min_len, contiguous_offset, dispatch, matrix, offset_in_bounds, params, parts, read, shader,
        strided_offset, tensor, tile_count, to_u32, write,
    },
};
use crate::error::{Error, Result};
use crate::plan::{Cut, Gather, GatherGradient, Plan};

params!(GatherParams {
    rows: u32,
    columns: u32,
    vocabulary: u32,
    first: u32,
    batch: u32,
    weight_offset: u32,
    has_bias: u32,
    bias_offset: u32,
    out_offset: u32,
    out_stride: u32,
    has_mask: u32,
    site: u32,
    threshold: u32,
    kept: f32,
    by_rows: u32,
});

pub(super) static GATHER: Kernel = Kernel::new::<GatherParams>(
    "gather",
    &[shader!("gather.wgsl"), shader!("random.wgsl"), shader!("math.wgsl")],
    &[read("tokens"), read("weight").of("Weight"), read("bias").of("Weight"), read("keys"), write("out").of("Out")],
);

params!(GradientParams {
    rows: u32,
    columns: u32,
    vocabulary: u32,
    slices: u32,
    slice_stride: u32,
    places: u32,
    starts_offset: u32,
    d_offset: u32,
    d_stride: u32,
    weight_offset: u32,
    has_bias: u32,
    bias_offset: u32,
    batch: u32,
    has_mask: u32,
    site: u32,
    threshold: u32,
    kept: f32,
    by_rows: u32,
    has_rows: u32,
    tokens: u32,
    adds: u32,
    padding: u32,
    skip: u32,
    count: u32,
    zero: u32,
});

pub(super) static GATHER_GRADIENT: Kernel = Kernel::new::<GradientParams>(
    "gather_gradient",
    &[shader!("gather_gradient.wgsl"), shader!("random.wgsl"), shader!("carry.wgsl"), shader!("math.wgsl")],
    &[read("d").of("D"), read("order"), read("starts"), read("keys"), read("rows"), write("slices")],
)
.workgroup([32, 8, 1]);

/// Columns that a workgroup of `gather_gradient.wgsl` takes.
const COLUMNS: usize = 32;

pub(super) fn gather(plan: &Plan, op: &Gather) -> Result<Command> {
    let (rows, columns) = (op.out.rows, op.out.cols);
    let vocabulary = if op.by_rows { op.weight.rows } else { op.weight.cols };
    let shape = if op.by_rows { [vocabulary, columns] } else { [columns, vocabulary] };
    let Drawn { has_mask, site, threshold, kept } = drawn(plan, op.draw.as_ref())?;
    let params = GatherParams {
        rows: to_u32(rows)?,
        columns: to_u32(columns)?,
        vocabulary: to_u32(vocabulary)?,
        first: offset_in_bounds("tokens", op.first, [1, rows], tensor(plan, op.tokens)?.len())?,
        batch: to_u32(op.batch.max(1))?,
        weight_offset: contiguous_offset(plan, "weight", &op.weight, shape)?,
        has_bias: u32::from(op.bias.is_some()),
        bias_offset: op.bias.map_or(Ok(0), |bias| contiguous_offset(plan, "bias", &bias, [1, columns]))?,
        out_offset: strided_offset(plan, "out", &op.out, [rows, columns])?,
        out_stride: to_u32(op.out.stride)?,
        has_mask,
        site,
        threshold,
        kept,
        by_rows: u32::from(op.by_rows),
    };
    // Something must be bound where there is no bias or dropout.
    let bias = op.bias.map_or(op.weight.tensor, |bias| bias.tensor);
    let keys = op.draw.map_or(op.tokens, |draw| draw.keys);
    let tensors = vec![op.tokens, op.weight.tensor, bias, keys, op.out.tensor];
    dispatch(plan, &GATHER, tensors, &params, tile_count(rows * columns, 256), 1)
}

pub(super) fn gather_gradient(plan: &Plan, op: &GatherGradient, cut: Cut) -> Result<Vec<Command>> {
    let (rows, columns) = (op.d.rows, op.d.cols);
    let starts = tensor(plan, op.starts)?;
    // One row of it a part.
    let row = starts.shape.last().copied().unwrap_or_default();
    let vocabulary = row.checked_sub(1).ok_or_else(|| Error::shape(&starts.name, &[1], &starts.shape))?;
    let starts_offset = offset_in_bounds("starts", op.part.saturating_mul(row), [1, row], starts.len())?;
    let [slices, flat] = matrix(plan, op.slices)?;
    check_min_len(plan, op.order, rows, &[])?;
    let Drawn { has_mask, site, threshold, kept } = drawn(plan, op.draw.as_ref())?;
    let has_bias = u32::from(op.bias.is_some());
    let wanted = op.table.and_then(|table| table.rows);
    wanted.map_or(Ok(()), |rows| check_len(plan, rows.ids, &[vocabulary]))?;
    let params = GradientParams {
        rows: to_u32(rows)?,
        columns: to_u32(columns)?,
        vocabulary: to_u32(vocabulary)?,
        slices: to_u32(slices)?,
        slice_stride: to_u32(flat)?,
        places: to_u32(tensor(plan, op.order)?.len())?,
        starts_offset,
        d_offset: strided_offset(plan, "d", &op.d, [rows, columns])?,
        d_stride: to_u32(op.d.stride)?,
        weight_offset: offset_in_bounds("weight", op.weight, [columns, vocabulary], flat)?,
        has_bias,
        bias_offset: op.bias.map_or(Ok(0), |bias| offset_in_bounds("bias", bias, [1, columns], flat))?,
        batch: to_u32(op.batch.max(1))?,
        has_mask,
        site,
        threshold,
        kept,
        by_rows: u32::from(op.table.is_some()),
        has_rows: u32::from(wanted.is_some()),
        tokens: to_u32(wanted.map_or(vocabulary, |rows| rows.vocabulary))?,
        adds: u32::from(op.table.is_some_and(|table| table.adds)),
        padding: op.table.and_then(|table| table.padding).map_or(Ok(u32::MAX), to_u32)?,
        ..GradientParams::default()
    };
    // One more group than there are tokens: that of the bias.
    let workgroups = (tile_count(vocabulary, 1) + u64::from(has_bias)) * tile_count(columns, COLUMNS);
    let keys = op.draw.map_or(op.order, |draw| draw.keys);
    let ids = wanted.map_or(op.order, |rows| rows.ids);
    let run = |(skip, count): (usize, usize)| {
        let params = GradientParams { skip: to_u32(skip)?, count: to_u32(count)?, ..params };
        let tensors = vec![op.d.tensor, op.order, op.starts, keys, ids, op.slices];
        dispatch(plan, &GATHER_GRADIENT, tensors, &params, workgroups, slices)
    };
    parts(cut, rows.div_ceil(slices)).map(run).collect()
}
