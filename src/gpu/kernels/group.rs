//! `group_norm.wgsl` and `scale_group.wgsl`: groups of parameters whose gradient is clipped by itself.
//!
//! The contract: each is one dispatch over a gradient, however many parameters the group has.

use super::{
    Command, Kernel,
    launch::{
        check_len, check_min_len, dispatch, offset_in_bounds, params, read, shader, tensor, tile_count, to_u32, write,
    },
    update::positive,
};
use crate::error::Result;
use crate::plan::{
    GroupNorm, METRICS_SLOTS, MetricsRow, NormPartial, Plan, ReduceGradients, ScaleGroup, StepParams, TensorId,
};
use crate::recipe::Clip;

params!(GroupNormParams { elements: u32, group: u32, first_flag: u32, first_block: u32, zero: u32 });

pub(super) static GROUP_NORM: Kernel = Kernel::new::<GroupNormParams>(
    "group_norm",
    &[shader!("group_norm.wgsl"), shader!("records.wgsl"), shader!("reduce.wgsl"), shader!("math.wgsl")],
    &[read("gradients"), read("parameter_flags"), write("partials").record(NormPartial::RECORD)],
);

params!(ScaleGroupParams { elements: u32, group: u32, first_flag: u32, slots: u32, by_value: u32, bound: f32 });

pub(super) static SCALE_GROUP: Kernel = Kernel::new::<ScaleGroupParams>(
    "scale_group",
    &[shader!("scale_group.wgsl"), shader!("records.wgsl"), shader!("math.wgsl")],
    &[
        read("parameter_flags"),
        read("step_params").record(StepParams::RECORD),
        read("metrics").record(MetricsRow::RECORD),
        write("gradients"),
    ],
);

pub(super) fn group_norm(plan: &Plan, op: &GroupNorm) -> Result<Command> {
    let elements = tensor(plan, op.gradients)?.len();
    let first_flag = first_flag(plan, op.parameter_flags, op.first_flag, elements)?;
    let blocks = tensor(plan, op.partials)?.len() / NormPartial::LEN;
    let own = ReduceGradients::blocks(elements);
    let first_block = offset_in_bounds("partials", op.first_block, [1, own], blocks)?;
    let params = GroupNormParams { elements: to_u32(elements)?, group: op.group, first_flag, first_block, zero: 0 };
    dispatch(plan, &GROUP_NORM, vec![op.gradients, op.parameter_flags, op.partials], &params, own as u64, 1)
}

pub(super) fn scale_group(plan: &Plan, op: &ScaleGroup) -> Result<Command> {
    let elements = tensor(plan, op.gradients)?.len();
    let first_flag = first_flag(plan, op.parameter_flags, op.first_flag, elements)?;
    check_len(plan, op.step_params, &[StepParams::LEN])?;
    op.metrics.map_or(Ok(()), |metrics| check_min_len(plan, metrics, METRICS_SLOTS, &[MetricsRow::LEN]))?;
    let (by_value, bound) = match op.clip {
        Clip::Value(bound) => (1, positive(bound)),
        _ => (0, 0.0),
    };
    let (group, slots) = (op.group, to_u32(METRICS_SLOTS)?);
    let params = ScaleGroupParams { elements: to_u32(elements)?, group, first_flag, slots, by_value, bound };
    // Something must be bound where there are no metrics.
    let metrics = op.metrics.unwrap_or(op.step_params);
    let tensors = vec![op.parameter_flags, op.step_params, metrics, op.gradients];
    dispatch(plan, &SCALE_GROUP, tensors, &params, tile_count(elements, 256), 1)
}

/// Where the flags of a gradient begin, once it is known that there are as many.
fn first_flag(plan: &Plan, parameter_flags: TensorId, first: usize, elements: usize) -> Result<u32> {
    offset_in_bounds("parameter_flags", first, [1, elements], tensor(plan, parameter_flags)?.len())
}
