//! `combine.wgsl`, `measure.wgsl` and the optimisers: from slices of the gradient to the next parameters.
//!
//! The contract: each is one dispatch over the flat buffers, however many parameters the network has.

use super::{
    Command, Kernel,
    launch::{ENTRY, dispatch, holds, matrix, number, params, read, shader, tensor, tiles, write},
};
use crate::error::{Error, Result};
use crate::plan::{Clip, Combine, HYPER, METRICS_SLOTS, Measure, Optimizer, Plan, Rescale, Update};

params!(CombineParams { flat: u32, slices: u32, adds: u32, has_scaling: u32, zero: u32 });

pub(super) static COMBINE: Kernel = Kernel {
    name: "combine",
    entry: ENTRY,
    source: &[shader!("combine.wgsl"), shader!("combine_window.wgsl"), shader!("reduce.wgsl"), shader!("math.wgsl")],
    bindings: &[read("slices"), read("hyper"), read("exempt"), read("scaling"), write("gradients"), write("partials")],
    workgroup: [256, 1, 1],
    constants: &[],
    params: CombineParams::FIELDS,
    params_size: CombineParams::SIZE,
};

pub(super) static COMBINE_SEGMENT: Kernel = Kernel {
    name: "combine_segment",
    entry: ENTRY,
    source: &[
        shader!("combine.wgsl"),
        shader!("combine_segment.wgsl"),
        shader!("carry.wgsl"),
        shader!("reduce.wgsl"),
        shader!("math.wgsl"),
    ],
    bindings: &[
        read("slices"),
        read("hyper"),
        read("exempt"),
        read("scaling"),
        write("gradients"),
        write("partials"),
        write("excess"),
    ],
    workgroup: [256, 1, 1],
    constants: &[],
    params: CombineParams::FIELDS,
    params_size: CombineParams::SIZE,
};

params!(MeasureParams { rows: u32, blocks: u32, slots: u32, clip: u32, bound: f32, zero: u32 });

pub(super) static MEASURE: Kernel = Kernel {
    name: "measure",
    entry: ENTRY,
    source: &[shader!("measure.wgsl"), shader!("carry.wgsl"), shader!("reduce.wgsl"), shader!("math.wgsl")],
    bindings: &[read("row_loss"), read("partials"), read("hyper"), write("metrics")],
    workgroup: [256, 1, 1],
    constants: &[],
    params: MeasureParams::FIELDS,
    params_size: MeasureParams::SIZE,
};

params!(RescaleParams { slots: u32, interval: u32, least: f32, most: f32 });

pub(super) static RESCALE: Kernel = Kernel {
    name: "rescale",
    entry: ENTRY,
    source: &[shader!("rescale.wgsl")],
    bindings: &[read("hyper"), read("metrics"), write("scaling")],
    workgroup: [1, 1, 1],
    constants: &[],
    params: RescaleParams::FIELDS,
    params_size: RescaleParams::SIZE,
};

params!(SgdParams { flat: u32, slots: u32, by_value: u32, bound: f32, momentum: f32 });

pub(super) static SGD: Kernel = Kernel {
    name: "sgd",
    entry: ENTRY,
    source: &[shader!("sgd.wgsl"), shader!("clip.wgsl"), shader!("math.wgsl")],
    bindings: &[
        read("hyper"),
        read("metrics"),
        read("gradients"),
        read("exempt"),
        write("parameters"),
        write("velocity"),
    ],
    workgroup: [256, 1, 1],
    constants: &[],
    params: SgdParams::FIELDS,
    params_size: SgdParams::SIZE,
};

params!(RmsPropParams {
    flat: u32,
    slots: u32,
    by_value: u32,
    bound: f32,
    alpha: f32,
    one_minus_alpha: f32,
    epsilon: f32,
});

pub(super) static RMS_PROP: Kernel = Kernel {
    name: "rms_prop",
    entry: ENTRY,
    source: &[shader!("rms_prop.wgsl"), shader!("clip.wgsl"), shader!("math.wgsl")],
    bindings: &[
        read("hyper"),
        read("metrics"),
        read("gradients"),
        read("exempt"),
        write("parameters"),
        write("square"),
    ],
    workgroup: [256, 1, 1],
    constants: &[],
    params: RmsPropParams::FIELDS,
    params_size: RmsPropParams::SIZE,
};

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

pub(super) static ADAM: Kernel = Kernel {
    name: "adam",
    entry: ENTRY,
    source: &[shader!("adam.wgsl"), shader!("clip.wgsl"), shader!("math.wgsl")],
    bindings: &[
        read("hyper"),
        read("metrics"),
        read("gradients"),
        read("exempt"),
        write("parameters"),
        write("first"),
        write("second"),
    ],
    workgroup: [256, 1, 1],
    constants: &[],
    params: AdamParams::FIELDS,
    params_size: AdamParams::SIZE,
};

pub(super) fn combine(plan: &Plan, op: &Combine) -> Result<Command> {
    let [slices, flat] = matrix(plan, op.slices)?;
    holds(plan, op.hyper, &[HYPER])?;
    holds(plan, op.exempt, &[flat])?;
    holds(plan, op.gradients, &[flat])?;
    holds(plan, op.partials, &[flat.div_ceil(Combine::BLOCK), 3])?;
    op.scaling.map_or(Ok(()), |scaling| holds(plan, scaling, &[3]))?;
    let (flat_number, slices, has_scaling) = (number(flat)?, number(slices)?, u32::from(op.scaling.is_some()));
    let params = CombineParams { flat: flat_number, slices, has_scaling, ..CombineParams::default() };
    // Something must be bound where nothing is scaled.
    let mut tensors = vec![op.slices, op.hyper, op.exempt, op.scaling.unwrap_or(op.hyper), op.gradients, op.partials];
    let Some(segment) = op.segment else {
        return dispatch(plan, &COMBINE, tensors, &params, tiles(flat, Combine::BLOCK), 1);
    };
    holds(plan, segment.excess, &[flat])?;
    tensors.push(segment.excess);
    let params = CombineParams { adds: u32::from(segment.adds), ..params };
    dispatch(plan, &COMBINE_SEGMENT, tensors, &params, tiles(flat, Combine::BLOCK), 1)
}

pub(super) fn measure(plan: &Plan, op: &Measure) -> Result<Command> {
    holds(plan, op.hyper, &[HYPER])?;
    holds(plan, op.metrics, &[METRICS_SLOTS, 4])?;
    let blocks = op.partials.map_or(Ok(0), |partials| matrix(plan, partials).map(|[blocks, _]| blocks))?;
    op.partials.map_or(Ok(()), |partials| holds(plan, partials, &[blocks, 3]))?;
    let (clip, bound) = match op.clip {
        Clip::None => (0, 0.0),
        Clip::Norm(bound) => (1, positive(bound)),
        Clip::Normalize(bound) => (2, positive(bound)),
        Clip::Value(bound) => (3, positive(bound)),
    };
    let params = MeasureParams {
        rows: number(tensor(plan, op.row_loss)?.len())?,
        blocks: number(blocks)?,
        slots: number(METRICS_SLOTS)?,
        clip,
        bound,
        zero: 0,
    };
    // Something must be bound where there are no partials.
    let tensors = vec![op.row_loss, op.partials.unwrap_or(op.row_loss), op.hyper, op.metrics];
    dispatch(plan, &MEASURE, tensors, &params, 1, 1)
}

pub(super) fn rescale(plan: &Plan, op: &Rescale) -> Result<Command> {
    holds(plan, op.hyper, &[HYPER])?;
    holds(plan, op.metrics, &[METRICS_SLOTS, 4])?;
    holds(plan, op.scaling, &[3])?;
    let params = RescaleParams {
        slots: number(METRICS_SLOTS)?,
        interval: number(Rescale::INTERVAL)?,
        least: Rescale::LEAST,
        most: Rescale::MOST,
    };
    dispatch(plan, &RESCALE, vec![op.hyper, op.metrics, op.scaling], &params, 1, 1)
}

pub(super) fn update(plan: &Plan, op: &Update) -> Result<Command> {
    let len = tensor(plan, op.parameters)?.len();
    holds(plan, op.hyper, &[HYPER])?;
    holds(plan, op.metrics, &[METRICS_SLOTS, 4])?;
    for flat in op.moments.iter().chain([&op.gradients, &op.exempt]) {
        holds(plan, *flat, &[len])?;
    }
    if op.moments.len() != op.optimizer.moments() {
        let (needed, given) = (op.optimizer.moments(), op.moments.len());
        return Err(Error::Config(format!("{:?} keeps {needed} moments and is given {given}", op.optimizer)));
    }
    let (by_value, bound) = match op.clip {
        Clip::Value(bound) => (1, positive(bound)),
        _ => (0, 0.0),
    };
    let (flat, slots) = (number(len)?, number(METRICS_SLOTS)?);
    let mut tensors = vec![op.hyper, op.metrics, op.gradients, op.exempt, op.parameters];
    tensors.extend(&op.moments);
    let workgroups = tiles(len, 256);
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

/// A positive number as an f32 that is neither 0 nor infinite: by an ε of 0 the optimisers would divide 0 by 0.
fn positive(value: f64) -> f32 {
    (value as f32).clamp(f32::MIN_POSITIVE, f32::MAX)
}
