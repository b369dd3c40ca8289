//! `update.wgsl` with an optimiser's rule appended: the step over the flat buffers.
//!
//! The contract: one dispatch, however many parameters the network has; an optimiser is its settings, its moments and a
//! function of one element.

use super::{
    Command, Kernel,
    launch::{check_len, check_min_len, dispatch, params, read, shader, tensor, tile_count, to_u32, write},
    update::positive,
};
use crate::error::{Error, Result};
use crate::plan::{METRICS_SLOTS, MetricsRow, Plan, StepParams, Update};
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
                read("parameter_flags"),
                write("parameters"),
                $(write($moment)),*
            ],
        )
    };
}

params!(SgdParams { flat: u32, slots: u32, by_value: u32, bound: f32, momentum: f32 });

static SGD: Kernel = optimizer!("sgd", SgdParams, ["velocity"]);

params!(RmsPropParams {
    flat: u32,
    slots: u32,
    by_value: u32,
    bound: f32,
    alpha: f32,
    one_minus_alpha: f32,
    epsilon: f32,
});

static RMS_PROP: Kernel = optimizer!("rms_prop", RmsPropParams, ["square"]);

params!(AdamParams {
    flat: u32,
    slots: u32,
    by_value: u32,
    bound: f32,
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
    for flat in op.moments.iter().chain([&op.gradients, &op.parameter_flags]) {
        check_len(plan, *flat, &[len])?;
    }
    if op.moments.len() != op.optimizer.moment_count() {
        let (needed, given) = (op.optimizer.moment_count(), op.moments.len());
        return Err(Error::Config(format!("{:?} keeps {needed} moments and is given {given}", op.optimizer)));
    }
    let (by_value, bound) = match op.clip {
        Clip::Value(bound) => (1, positive(bound)),
        _ => (0, 0.0),
    };
    let (flat, slots) = (to_u32(len)?, to_u32(METRICS_SLOTS)?);
    let mut tensors = vec![op.step_params, op.metrics, op.gradients, op.parameter_flags, op.parameters];
    tensors.extend(&op.moments);
    let workgroups = tile_count(len, 256);
    // 1 − α and 1 − β are taken in f64, as PyTorch does: in f32 they would lose half of their digits.
    match op.optimizer {
        Optimizer::Sgd { momentum } => {
            let params = SgdParams { flat, slots, by_value, bound, momentum: momentum as f32 };
            dispatch(plan, &SGD, tensors, &params, workgroups, 1)
        }
        Optimizer::RmsProp { alpha, epsilon } => {
            let params = RmsPropParams {
                flat,
                slots,
                by_value,
                bound,
                alpha: alpha as f32,
                one_minus_alpha: (1.0 - alpha) as f32,
                epsilon: positive(epsilon),
            };
            dispatch(plan, &RMS_PROP, tensors, &params, workgroups, 1)
        }
        Optimizer::Adam { beta1, beta2, epsilon, weight_decay } => {
            let params = AdamParams {
                flat,
                slots,
                by_value,
                bound,
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
