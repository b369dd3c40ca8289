//! `update.wgsl` with an optimiser's rule appended: the step over the flat buffers.
//!
//! The contract: one dispatch, however many parameters the network has; an optimiser is its settings, its moments and a
//! function of one element.

use super::{
    Command, Kernel,
    launch::{
        check_len, check_min_len, dispatch, offset_in_bounds, params, read, shader, tensor, tile_count, to_u32, write,
    },
    update::positive,
};
use crate::error::{Error, Result};
use crate::plan::{METRICS_SLOTS, MetricsRow, Plan, StepParams, TableRows, Update};
use crate::recipe::{Clip, Optimizer};

/// The kernel of an optimiser by its file, its settings and its moments.
macro_rules! optimizer {
    ($name:literal, $params:ident, [$($moment:literal),*]) => {
        Kernel::new::<$params>(
            $name,
            &[
                shader!("update.wgsl"),
                shader!(concat!($name, ".wgsl")),
                shader!("records.wgsl"),
                shader!("math.wgsl"),
            ],
            &[
                read("step_params").record(StepParams::RECORD),
                read("metrics").record(MetricsRow::RECORD),
                read("gradients"),
                read("rows"),
                read("parameter_flags"),
                write("parameters"),
                $(write($moment)),*
            ],
        )
    };
}

params!(SgdParams {
    elements: u32,
    slots: u32,
    by_value: u32,
    bound: f32,
    width: u32,
    table_offset: u32,
    vocabulary: u32,
    momentum: f32,
});

static SGD: Kernel = optimizer!("sgd", SgdParams, ["velocity"]);

params!(RmsPropParams {
    elements: u32,
    slots: u32,
    by_value: u32,
    bound: f32,
    width: u32,
    table_offset: u32,
    vocabulary: u32,
    alpha: f32,
    one_minus_alpha: f32,
    epsilon: f32,
});

static RMS_PROP: Kernel = optimizer!("rms_prop", RmsPropParams, ["square"]);

params!(AdamParams {
    elements: u32,
    slots: u32,
    by_value: u32,
    bound: f32,
    width: u32,
    table_offset: u32,
    vocabulary: u32,
    beta1: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    epsilon: f32,
    weight_decay: f32,
});

static ADAM: Kernel = optimizer!("adam", AdamParams, ["first", "second"]);

/// Every optimiser's.
pub(super) static KERNELS: [&Kernel; 3] = [&SGD, &RMS_PROP, &ADAM];

pub(super) fn update(plan: &Plan, op: &Update) -> Result<Command> {
    let len = tensor(plan, op.parameters)?.len();
    check_len(plan, op.step_params, &[StepParams::LEN])?;
    check_min_len(plan, op.metrics, METRICS_SLOTS, &[MetricsRow::LEN])?;
    for flat in op.moments.iter().chain([&op.parameter_flags]) {
        check_len(plan, *flat, &[len])?;
    }
    let elements = tensor(plan, op.gradients)?.len();
    let (width, table_offset, vocabulary) = match op.rows {
        None => offset_in_bounds("gradients", 0, [1, elements], len).map(|_| (0, 0, 0))?,
        Some(TableRows { ids, vocabulary, offset, width }) => {
            check_len(plan, op.gradients, &[tensor(plan, ids)?.len(), width])?;
            let table_offset = offset_in_bounds("a table", offset, [vocabulary, width], len)?;
            (to_u32(width)?, table_offset, to_u32(vocabulary)?)
        }
    };
    if op.moments.len() != op.optimizer.moment_count() {
        let (needed, given) = (op.optimizer.moment_count(), op.moments.len());
        return Err(Error::Config(format!("{:?} keeps {needed} moments and is given {given}", op.optimizer)));
    }
    let (by_value, bound) = match op.clip {
        Clip::Value(bound) => (1, positive(bound)),
        _ => (0, 0.0),
    };
    let (workgroups, elements, slots) = (tile_count(elements, 256), to_u32(elements)?, to_u32(METRICS_SLOTS)?);
    // Something must be bound where there are no rows.
    let rows = op.rows.map_or(op.parameter_flags, |rows| rows.ids);
    let mut tensors = vec![op.step_params, op.metrics, op.gradients, rows, op.parameter_flags, op.parameters];
    tensors.extend(&op.moments);
    // 1 − α and 1 − β are taken in f64, as PyTorch does: in f32 they would lose half of their digits.
    match op.optimizer {
        Optimizer::Sgd { momentum } => {
            let momentum = momentum as f32;
            let params = SgdParams { elements, slots, by_value, bound, width, table_offset, vocabulary, momentum };
            dispatch(plan, &SGD, tensors, &params, workgroups, 1)
        }
        Optimizer::RmsProp { alpha, epsilon } => {
            let params = RmsPropParams {
                elements,
                slots,
                by_value,
                bound,
                width,
                table_offset,
                vocabulary,
                alpha: alpha as f32,
                one_minus_alpha: (1.0 - alpha) as f32,
                epsilon: positive(epsilon),
            };
            dispatch(plan, &RMS_PROP, tensors, &params, workgroups, 1)
        }
        Optimizer::Adam { beta1, beta2, epsilon, weight_decay } => {
            let params = AdamParams {
                elements,
                slots,
                by_value,
                bound,
                width,
                table_offset,
                vocabulary,
                beta1: beta1 as f32,
                one_minus_beta1: (1.0 - beta1) as f32,
                beta2: beta2 as f32,
                one_minus_beta2: (1.0 - beta2) as f32,
                epsilon: positive(epsilon),
                weight_decay: weight_decay as f32,
            };
            dispatch(plan, &ADAM, tensors, &params, workgroups, 1)
        }
    }
}
