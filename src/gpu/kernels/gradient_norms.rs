//! `gradient_norms.wgsl`: how large the gradient is at every step.
//!
//! The contract: one workgroup a step and direction, and every sum in a fixed order.

use super::{
    Command, Kernel,
    launch::{
        check_len, check_min_len, dispatch, matrix, offset_in_bounds, params, parts, read, shader, tensor, to_u32,
        write,
    },
};
use crate::error::Result;
use crate::plan::{Cut, GradientNorms, LossScale, Plan};

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

pub(super) static GRADIENT_NORMS: Kernel = Kernel::new::<Params>(
    "gradient_norms",
    &[
        shader!("gradient_norms.wgsl"),
        shader!("records.wgsl"),
        shader!("reduce.wgsl"),
        shader!("carry.wgsl"),
        shader!("math.wgsl"),
    ],
    &[read("upstream").of("Upstream"), read("lengths"), read("loss_scale").record(LossScale::RECORD), write("trace")],
);

pub(super) fn gradient_norms(plan: &Plan, op: &GradientNorms, cut: Cut) -> Result<Vec<Command>> {
    let batch = tensor(plan, op.lengths)?.shape.last().copied().unwrap_or(1);
    let width = tensor(plan, op.upstream)?.shape.last().copied().unwrap_or(0);
    check_min_len(plan, op.upstream, op.steps.saturating_add(op.directions), &[batch, width])?;
    let [rows, all] = matrix(plan, op.out)?;
    offset_in_bounds("a direction of the trace", op.row, [1, op.directions], rows)?;
    if let Some(loss_scale) = op.loss_scale {
        check_len(plan, loss_scale, &[LossScale::LEN])?;
    }
    let params = Params {
        steps: to_u32(op.steps)?,
        directions: to_u32(op.directions)?,
        batch: to_u32(batch)?,
        hidden: to_u32(width / op.directions.max(1))?,
        row: to_u32(op.row)?,
        first: offset_in_bounds("the steps of the trace", op.first, [1, op.steps], all)?,
        all: to_u32(all)?,
        scaled: u32::from(op.loss_scale.is_some()),
        ..Params::default()
    };
    // Something must be bound where nothing is scaled.
    let tensors = vec![op.upstream, op.lengths, op.loss_scale.unwrap_or(op.step_params), op.out];
    let run = |(begin, count): (usize, usize)| {
        let params = Params { begin: to_u32(begin)?, count: to_u32(count)?, ..params };
        dispatch(plan, &GRADIENT_NORMS, tensors.clone(), &params, op.steps as u64 * op.directions as u64, 1)
    };
    parts(cut, batch * width / op.directions.max(1)).map(run).collect()
}
