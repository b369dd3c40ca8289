//! `pool.wgsl` and `pool_gradient.wgsl`: one row for each sequence of those of its steps, and back.
//!
//! The contract: a pool that is cut into parts of the steps makes of them what one of all steps does.

use super::{
    Command, Kernel,
    launch::{check_len, contiguous_offset, dispatch, params, parts, read, shader, tile_count, to_u32, write},
};
use crate::error::Result;
use crate::plan::{Cut, Plan, Pool, PoolGradient, PoolKind};

params!(PoolParams {
    kind: u32,
    all: u32,
    first: u32,
    steps: u32,
    skipped: u32,
    batch: u32,
    hidden: u32,
    columns: u32,
    rows_offset: u32,
    out_offset: u32,
    zero: u32,
});

pub(super) static POOL: Kernel = Kernel::new::<PoolParams>(
    "pool",
    &[shader!("pool.wgsl"), shader!("carry.wgsl"), shader!("math.wgsl")],
    &[read("rows").of("Rows"), read("lengths"), write("out"), write("excess")],
);

params!(PoolGradientParams {
    kind: u32,
    steps: u32,
    skipped: u32,
    batch: u32,
    hidden: u32,
    columns: u32,
    d_offset: u32,
    rows_offset: u32,
});

pub(super) static POOL_GRADIENT: Kernel = Kernel::new::<PoolGradientParams>(
    "pool_gradient",
    &[shader!("pool_gradient.wgsl"), shader!("math.wgsl")],
    &[read("d"), read("lengths"), read("at"), write("rows").of("Rows")],
);

pub(super) fn pool(plan: &Plan, op: &Pool, cut: Cut) -> Result<Vec<Command>> {
    let (batch, columns) = (op.out.rows, op.out.cols);
    check_len(plan, op.lengths, &[batch])?;
    check_len(plan, op.excess, &[batch, columns])?;
    let params = PoolParams {
        kind: kind(op.kind),
        all: to_u32(op.steps())?,
        skipped: to_u32(op.skipped)?,
        batch: to_u32(batch)?,
        hidden: to_u32(columns / op.directions.max(1))?,
        columns: to_u32(columns)?,
        rows_offset: contiguous_offset(plan, "rows", &op.rows, [op.steps().saturating_mul(batch), columns])?,
        out_offset: contiguous_offset(plan, "out", &op.out, [batch, columns])?,
        ..PoolParams::default()
    };
    let run = |(first, steps): (usize, usize)| {
        let params = PoolParams { first: to_u32(first)?, steps: to_u32(steps)?, ..params };
        let tensors = vec![op.rows.tensor, op.lengths, op.out.tensor, op.excess];
        dispatch(plan, &POOL, tensors, &params, tile_count(batch * columns, 256), 1)
    };
    parts(cut, op.steps()).map(run).collect()
}

pub(super) fn pool_gradient(plan: &Plan, op: &PoolGradient) -> Result<Command> {
    let (batch, columns) = (op.d.rows, op.d.cols);
    check_len(plan, op.lengths, &[batch])?;
    let steps = op.rows.rows / batch.max(1);
    op.at.map_or(Ok(()), |at| check_len(plan, at, &[batch, columns]))?;
    let params = PoolGradientParams {
        kind: kind(op.kind),
        steps: to_u32(steps)?,
        skipped: to_u32(op.skipped)?,
        batch: to_u32(batch)?,
        hidden: to_u32(columns / op.directions.max(1))?,
        columns: to_u32(columns)?,
        d_offset: contiguous_offset(plan, "d", &op.d, [batch, columns])?,
        rows_offset: contiguous_offset(plan, "rows", &op.rows, [steps.saturating_mul(batch), columns])?,
    };
    // Something must be bound where no step is kept.
    let tensors = vec![op.d.tensor, op.lengths, op.at.unwrap_or(op.d.tensor), op.rows.tensor];
    dispatch(plan, &POOL_GRADIENT, tensors, &params, tile_count(op.rows.len(), 256), 1)
}

/// As the shaders count them.
fn kind(kind: PoolKind) -> u32 {
    match kind {
        PoolKind::Last => 0,
        PoolKind::Mean => 1,
        PoolKind::LastRow => 2,
        PoolKind::FirstRow => 3,
        PoolKind::Max => 4,
    }
}
