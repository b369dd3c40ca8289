//! `reduce_gradients.wgsl`, `step_metrics.wgsl`, `update_loss_scale.wgsl` and `average_parameters.wgsl`: from slices of
//! the gradient to what an optimiser needs to know, and what follows its step.
//!
//! The contract: each is one dispatch over the flat buffers, however many parameters the network has.

use super::{
    Command, Kernel,
    launch::{
        check_len, check_min_len, dispatch, matrix, offset_in_bounds, params, read, shader, tensor, tile_count, to_u32,
        write,
    },
};
use crate::error::Result;
use crate::plan::{
    AverageParameters, LossScale, METRICS_SLOTS, MetricsRow, NormPartial, Plan, ReduceGradients, StepMetrics,
    StepParams, UpdateLossScale,
};
use crate::recipe::Clip;

params!(ReduceGradientsParams {
    flat: u32,
    slices: u32,
    adds: u32,
    has_loss_scale: u32,
    first_flag: u32,
    first_block: u32,
    clips_apart: u32,
    zero: u32,
});

pub(super) static REDUCE_GRADIENTS: Kernel = Kernel::new::<ReduceGradientsParams>(
    "reduce_gradients",
    &[
        shader!("reduce_gradients.wgsl"),
        shader!("records.wgsl"),
        shader!("reduce_gradients_window.wgsl"),
        shader!("reduce.wgsl"),
        shader!("math.wgsl"),
    ],
    &[
        read("slices"),
        read("step_params").record(StepParams::RECORD),
        read("parameter_flags"),
        read("loss_scale").record(LossScale::RECORD),
        write("gradients"),
        write("partials").record(NormPartial::RECORD),
    ],
);

pub(super) static REDUCE_GRADIENTS_SEGMENT: Kernel = Kernel {
    name: "reduce_gradients_segment",
    source: &[
        shader!("reduce_gradients.wgsl"),
        shader!("records.wgsl"),
        shader!("reduce_gradients_segment.wgsl"),
        shader!("carry.wgsl"),
        shader!("reduce.wgsl"),
        shader!("math.wgsl"),
    ],
    bindings: &[
        read("slices"),
        read("step_params").record(StepParams::RECORD),
        read("parameter_flags"),
        read("loss_scale").record(LossScale::RECORD),
        write("gradients"),
        write("partials").record(NormPartial::RECORD),
        write("excess"),
    ],
    ..REDUCE_GRADIENTS
};

params!(StepMetricsParams {
    rows: u32,
    blocks: u32,
    slots: u32,
    first_slot: u32,
    losses: u32,
    clip: u32,
    bound: f32,
    zero: u32,
});

pub(super) static STEP_METRICS: Kernel = Kernel::new::<StepMetricsParams>(
    "step_metrics",
    &[
        shader!("step_metrics.wgsl"),
        shader!("records.wgsl"),
        shader!("carry.wgsl"),
        shader!("reduce.wgsl"),
        shader!("math.wgsl"),
    ],
    &[
        read("row_loss"),
        read("partials").record(NormPartial::RECORD),
        read("step_params").record(StepParams::RECORD),
        write("metrics").record(MetricsRow::RECORD),
    ],
);

params!(UpdateLossScaleParams { slots: u32, interval: u32, least: f32, most: f32 });

pub(super) static UPDATE_LOSS_SCALE: Kernel = Kernel::new::<UpdateLossScaleParams>(
    "update_loss_scale",
    &[shader!("update_loss_scale.wgsl"), shader!("records.wgsl")],
    &[
        read("step_params").record(StepParams::RECORD),
        read("metrics").record(MetricsRow::RECORD),
        write("loss_scale").record(LossScale::RECORD),
    ],
)
.workgroup([1, 1, 1]);

pub(super) fn reduce_gradients(plan: &Plan, op: &ReduceGradients) -> Result<Command> {
    let [slices, flat] = matrix(plan, op.slices)?;
    check_len(plan, op.step_params, &[StepParams::LEN])?;
    let flags = tensor(plan, op.parameter_flags)?.len();
    let first_flag = offset_in_bounds("parameter_flags", op.first_flag, [1, flat], flags)?;
    check_len(plan, op.gradients, &[flat])?;
    let blocks = tensor(plan, op.partials)?.len() / NormPartial::LEN;
    let own = [1, ReduceGradients::blocks(flat)];
    let first_block = offset_in_bounds("partials", op.first_block, own, blocks)?;
    op.loss_scale.map_or(Ok(()), |loss_scale| check_len(plan, loss_scale, &[LossScale::LEN]))?;
    let (flat_number, slices, has_loss_scale) = (to_u32(flat)?, to_u32(slices)?, u32::from(op.loss_scale.is_some()));
    let params = ReduceGradientsParams {
        flat: flat_number,
        slices,
        has_loss_scale,
        first_flag,
        first_block,
        clips_apart: u32::from(op.clips_apart),
        ..ReduceGradientsParams::default()
    };
    // Something must be bound where nothing is scaled.
    let mut tensors = vec![
        op.slices,
        op.step_params,
        op.parameter_flags,
        op.loss_scale.unwrap_or(op.step_params),
        op.gradients,
        op.partials,
    ];
    let Some(segment) = op.segment else {
        return dispatch(plan, &REDUCE_GRADIENTS, tensors, &params, tile_count(flat, ReduceGradients::BLOCK), 1);
    };
    check_len(plan, segment.excess, &[flat])?;
    tensors.push(segment.excess);
    let params = ReduceGradientsParams { adds: u32::from(segment.adds), ..params };
    dispatch(plan, &REDUCE_GRADIENTS_SEGMENT, tensors, &params, tile_count(flat, ReduceGradients::BLOCK), 1)
}

pub(super) fn step_metrics(plan: &Plan, op: &StepMetrics) -> Result<Command> {
    check_len(plan, op.step_params, &[StepParams::LEN])?;
    check_min_len(plan, op.metrics, METRICS_SLOTS, &[MetricsRow::LEN])?;
    let [all_slots, _] = matrix(plan, op.metrics)?;
    let first_slot =
        offset_in_bounds("a table of the metrics", op.table * METRICS_SLOTS, [1, METRICS_SLOTS], all_slots)?;
    let rows = op.row_loss.map_or(Ok(0), |row_loss| tensor(plan, row_loss).map(|rows| rows.len()))?;
    let blocks = op.partials.map_or(Ok(0), |partials| matrix(plan, partials).map(|[blocks, _]| blocks))?;
    op.partials.map_or(Ok(()), |partials| check_len(plan, partials, &[blocks, NormPartial::LEN]))?;
    let (clip, bound) = match op.clip {
        Clip::None => (0, 0.0),
        Clip::Norm(bound) => (1, positive(bound)),
        Clip::Normalize(bound) => (2, positive(bound)),
        Clip::Value(bound) => (3, positive(bound)),
    };
    let params = StepMetricsParams {
        rows: to_u32(rows)?,
        blocks: to_u32(blocks)?,
        slots: to_u32(METRICS_SLOTS)?,
        first_slot,
        losses: to_u32(op.losses(plan))?,
        clip,
        bound,
        zero: 0,
    };
    // Something must be bound where there are no rows or partials.
    let [rows, partials] = [op.row_loss, op.partials].map(|tensor| tensor.unwrap_or(op.step_params));
    let tensors = vec![rows, partials, op.step_params, op.metrics];
    dispatch(plan, &STEP_METRICS, tensors, &params, 1, 1)
}

pub(super) fn update_loss_scale(plan: &Plan, op: &UpdateLossScale) -> Result<Command> {
    check_len(plan, op.step_params, &[StepParams::LEN])?;
    check_min_len(plan, op.metrics, METRICS_SLOTS, &[MetricsRow::LEN])?;
    check_len(plan, op.loss_scale, &[LossScale::LEN])?;
    let params = UpdateLossScaleParams {
        slots: to_u32(METRICS_SLOTS)?,
        interval: to_u32(UpdateLossScale::INTERVAL)?,
        least: UpdateLossScale::MIN_SCALE,
        most: UpdateLossScale::MAX_SCALE,
    };
    dispatch(plan, &UPDATE_LOSS_SCALE, vec![op.step_params, op.metrics, op.loss_scale], &params, 1, 1)
}

params!(AverageParametersParams { elements: u32 });

pub(super) static AVERAGE_PARAMETERS: Kernel = Kernel::new::<AverageParametersParams>(
    "average_parameters",
    &[shader!("average_parameters.wgsl"), shader!("records.wgsl"), shader!("math.wgsl")],
    &[read("step_params").record(StepParams::RECORD), read("parameters"), write("average")],
);

pub(super) fn average_parameters(plan: &Plan, op: &AverageParameters) -> Result<Command> {
    let AverageParameters { step_params, parameters, average } = *op;
    let len = tensor(plan, average)?.len();
    check_len(plan, step_params, &[StepParams::LEN])?;
    check_len(plan, parameters, &[len])?;
    let params = AverageParametersParams { elements: to_u32(len)? };
    dispatch(plan, &AVERAGE_PARAMETERS, vec![step_params, parameters, average], &params, tile_count(len, 256), 1)
}

/// A positive number as an f32 that is neither 0 nor infinite: by an ε of 0 the optimisers would divide 0 by 0.
pub(super) fn positive(value: f64) -> f32 {
    (value as f32).clamp(f32::MIN_POSITIVE, f32::MAX)
}
