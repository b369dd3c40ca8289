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

/// The `Params` of an optimiser: what all have, and its own settings.
macro_rules! settings {
    ($name:ident { $($field:ident),* $(,)? }) => {
        params!($name {
            elements: u32,
            slots: u32,
            by_value: u32,
            bound: f32,
            width: u32,
            table_offset: u32,
            vocabulary: u32,
            flat: u32,
            $($field: f32),*
        });

        impl $name {
            fn of(common: Common, [$($field),*]: [f32; [$(stringify!($field)),*].len()]) -> Self {
                let Common { elements, by_value, bound, width, table_offset, vocabulary, flat, slots } = common;
                $name { elements, slots, by_value, bound, width, table_offset, vocabulary, flat, $($field),* }
            }
        }
    };
}

/// What the parameters of all optimisers begin with.
#[derive(Clone, Copy)]
struct Common {
    elements: u32,
    slots: u32,
    by_value: u32,
    bound: f32,
    width: u32,
    table_offset: u32,
    vocabulary: u32,
    flat: u32,
}

settings!(SgdParams { momentum });
settings!(RmsPropParams { alpha, one_minus_alpha, epsilon });
settings!(AdamParams { beta1, one_minus_beta1, beta2, one_minus_beta2, epsilon, weight_decay });
settings!(AdagradParams { epsilon });
settings!(LionParams { beta1, one_minus_beta1, beta2, one_minus_beta2, weight_decay });

static SGD: Kernel = optimizer!("sgd", SgdParams, ["velocity"]);
static RMS_PROP: Kernel = optimizer!("rms_prop", RmsPropParams, ["square"]);
static ADAM: Kernel = optimizer!("adam", AdamParams, ["first", "second"]);
static NESTEROV: Kernel = optimizer!("nesterov", SgdParams, ["velocity"]);
static ADAGRAD: Kernel = optimizer!("adagrad", AdagradParams, ["square"]);
static AMS_GRAD: Kernel = optimizer!("ams_grad", AdamParams, ["first", "second"]);
static R_ADAM: Kernel = optimizer!("r_adam", AdamParams, ["first", "second"]);
static LION: Kernel = optimizer!("lion", LionParams, ["first"]);

/// Every optimiser's.
pub(super) static KERNELS: [&Kernel; 8] = [&SGD, &RMS_PROP, &ADAM, &NESTEROV, &ADAGRAD, &AMS_GRAD, &R_ADAM, &LION];

pub(super) fn update(plan: &Plan, op: &Update) -> Result<Command> {
    let len = tensor(plan, op.parameters)?.len();
    check_len(plan, op.step_params, &[StepParams::LEN])?;
    check_min_len(plan, op.metrics, METRICS_SLOTS, &[MetricsRow::LEN])?;
    let counts = op.optimizer.record().moments;
    for (moments, count) in op.moments.iter().zip(counts) {
        check_len(plan, *moments, &[*count, len])?;
    }
    check_min_len(plan, op.parameter_flags, len, &[])?;
    let elements = tensor(plan, op.gradients)?.len();
    let (width, table_offset, vocabulary) = match op.rows {
        None => offset_in_bounds("gradients", 0, [1, elements], len).map(|_| (0, 0, 0))?,
        Some(TableRows { ids, vocabulary, offset, width }) => {
            check_len(plan, op.gradients, &[tensor(plan, ids)?.len(), width])?;
            let table_offset = offset_in_bounds("a table", offset, [vocabulary, width], len)?;
            (to_u32(width)?, table_offset, to_u32(vocabulary)?)
        }
    };
    if op.moments.len() != counts.len() {
        let (needed, given) = (counts.len(), op.moments.len());
        return Err(Error::Config(format!(
            "{:?} keeps {needed} tensors of moments and is given {given}",
            op.optimizer
        )));
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
    let flat = to_u32(len)?;
    let common = Common { elements, slots, by_value, bound, width, table_offset, vocabulary, flat };
    // 1 − α and 1 − β are taken in f64, as PyTorch does: in f32 they would lose half of their digits.
    let pair = |beta: f64| [beta as f32, (1.0 - beta) as f32];
    let adam = |[beta1, beta2, epsilon, weight_decay]: [f64; 4]| {
        let ([beta1, rest1], [beta2, rest2]) = (pair(beta1), pair(beta2));
        AdamParams::of(common, [beta1, rest1, beta2, rest2, positive(epsilon), weight_decay as f32])
    };
    match op.optimizer {
        Optimizer::Sgd { momentum } => {
            dispatch(plan, &SGD, tensors, &SgdParams::of(common, [momentum as f32]), workgroups, 1)
        }
        Optimizer::Nesterov { momentum } => {
            dispatch(plan, &NESTEROV, tensors, &SgdParams::of(common, [momentum as f32]), workgroups, 1)
        }
        Optimizer::RmsProp { alpha, epsilon } => {
            let [alpha, rest] = pair(alpha);
            let params = RmsPropParams::of(common, [alpha, rest, positive(epsilon)]);
            dispatch(plan, &RMS_PROP, tensors, &params, workgroups, 1)
        }
        Optimizer::Adagrad { epsilon } => {
            dispatch(plan, &ADAGRAD, tensors, &AdagradParams::of(common, [positive(epsilon)]), workgroups, 1)
        }
        Optimizer::Adam { beta1, beta2, epsilon, weight_decay } => {
            dispatch(plan, &ADAM, tensors, &adam([beta1, beta2, epsilon, weight_decay]), workgroups, 1)
        }
        Optimizer::AmsGrad { beta1, beta2, epsilon, weight_decay } => {
            dispatch(plan, &AMS_GRAD, tensors, &adam([beta1, beta2, epsilon, weight_decay]), workgroups, 1)
        }
        Optimizer::RAdam { beta1, beta2, epsilon, weight_decay } => {
            dispatch(plan, &R_ADAM, tensors, &adam([beta1, beta2, epsilon, weight_decay]), workgroups, 1)
        }
        Optimizer::Lion { beta1, beta2, weight_decay } => {
            let ([beta1, rest1], [beta2, rest2]) = (pair(beta1), pair(beta2));
            let params = LionParams::of(common, [beta1, rest1, beta2, rest2, weight_decay as f32]);
            dispatch(plan, &LION, tensors, &params, workgroups, 1)
        }
    }
}
