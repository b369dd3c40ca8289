//! `trace.wgsl`: how large the gradient is at every step.
//!
//! The contract: one workgroup a step and direction, and every sum in a fixed order.

use super::{
    Command, Kernel,
    launch::{ENTRY, dispatch, holds, inside, matrix, number, params, parts, reaches, read, shader, tensor, write},
};
use crate::error::Result;
use crate::plan::{Cut, Plan, Trace};

params!(Params {
    steps: u32,
    directions: u32,
    batch: u32,
    hidden: u32,
    row: u32,
    first: u32,
    all: u32,
    scaled: u32,
    begin: u32,
    count: u32,
    zero: u32,
});

pub(super) static TRACE: Kernel = Kernel {
    name: "trace",
    entry: ENTRY,
    source: &[shader!("trace.wgsl"), shader!("reduce.wgsl"), shader!("carry.wgsl"), shader!("math.wgsl")],
    bindings: &[read("upstream").of("Upstream"), read("lengths"), read("scaling"), write("trace")],
    workgroup: [256, 1, 1],
    constants: &[],
    params: Params::FIELDS,
    params_size: Params::SIZE,
};

pub(super) fn trace(plan: &Plan, op: &Trace, cut: Cut) -> Result<Vec<Command>> {
    let batch = tensor(plan, op.lengths)?.len();
    let width = tensor(plan, op.upstream)?.shape.last().copied().unwrap_or(0);
    reaches(plan, op.upstream, op.steps.saturating_add(op.directions), &[batch, width])?;
    let [rows, all] = matrix(plan, op.out)?;
    inside("a direction of the trace", op.row, [1, op.directions], rows)?;
    if let Some(scaling) = op.scaling {
        holds(plan, scaling, &[3])?;
    }
    let params = Params {
        steps: number(op.steps)?,
        directions: number(op.directions)?,
        batch: number(batch)?,
        hidden: number(width / op.directions.max(1))?,
        row: number(op.row)?,
        first: inside("the steps of the trace", op.first, [1, op.steps], all)?,
        all: number(all)?,
        scaled: u32::from(op.scaling.is_some()),
        ..Params::default()
    };
    // Where nothing is scaled the upstream stands in for what is not read.
    let tensors = vec![op.upstream, op.lengths, op.scaling.unwrap_or(op.upstream), op.out];
    let run = |(begin, count): (usize, usize)| {
        let params = Params { begin: number(begin)?, count: number(count)?, ..params };
        dispatch(plan, &TRACE, tensors.clone(), &params, op.steps as u64 * op.directions as u64, 1)
    };
    parts(cut, batch * width / op.directions.max(1)).map(run).collect()
}
