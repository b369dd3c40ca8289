// update: the driver of the optimisers. It hands every element that may change to the rule of the file appended to it:
// `fn update(i, g)`, g being the clipped gradient. Nothing is written where the flag is 0 or the element is frozen.
//
// in      step_params      StepParams: the learning rate η, the corrections of the moments, the row of the metrics
// in      metrics          [slots] of MetricsRow
// in      gradients        [N]: of the first elements of the flat buffers, or of rows of a table
// in      rows             [N / width], read where width is not 0: which row of the table, from table_offset on, each
//                          row of the gradient is of; from vocabulary on none
// in      parameter_flags  [flat]: bit 1 where an element is frozen, bit 2 where it does not decay, bit 4 where its
//                          gradient is clipped already, from bit 8 on the number of its group, 0 for none; behind
//                          them two settings of each group, the bits of an f32: the factor on η, and λ in place of the
//                          optimiser's
// in-out  parameters       θ [flat]
// in-out  moments          those of the optimiser [flat], from binding 7 on, declared in its file
//
// records.wgsl is appended too. The file of the optimiser declares Params, whose first members are elements, slots,
// by_value, bound, width, table_offset, vocabulary and flat.

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> step_params: StepParams;
@group(0) @binding(2) var<storage, read> metrics: array<MetricsRow>;
@group(0) @binding(3) var<storage, read> gradients: array<f32>;
@group(0) @binding(4) var<storage, read> rows: array<u32>;
@group(0) @binding(5) var<storage, read> parameter_flags: array<u32>;
@group(0) @binding(6) var<storage, read_write> parameters: array<f32>;

const NOT_DECAYED: u32 = 2u;
const FROZEN: u32 = 1u;
const CLIPPED_APART: u32 = 4u;
const GROUP_SHIFT: u32 = 8u;
const GROUP_SETTINGS: u32 = 2u;

fn slot() -> u32 {
    return min(u32(step_params.metrics_row), params.slots - 1u);
}

/// Whether loss and gradient were finite and all of the step's windows are in, and element i is not frozen. Where not,
/// nothing at all may be written.
fn may_update(i: u32) -> bool {
    return metrics[slot()].updates != 0.0 && (parameter_flags[i] & FROZEN) == 0u;
}

/// The gradient of element i, held within ±bound where by_value is 1, else scaled.
fn clipped(i: u32, g: f32) -> f32 {
    if (parameter_flags[i] & CLIPPED_APART) != 0u {
        return g;
    }
    if params.by_value != 0u {
        return clamp(g, -params.bound, params.bound);
    }
    return g * metrics[slot()].clip_scale;
}

/// η of element i.
fn learning_rate(i: u32) -> f32 {
    let group = parameter_flags[i] >> GROUP_SHIFT;
    if group == 0u {
        return step_params.learning_rate;
    }
    return step_params.learning_rate * bitcast<f32>(parameter_flags[params.flat + (group - 1u) * GROUP_SETTINGS]);
}

/// What weight decay leaves of a parameter, `weight_decay` being that of all that are of no group: max(1 − η·λ, 0).
fn kept(i: u32, rate: f32, weight_decay: f32) -> f32 {
    let bits = parameter_flags[i];
    if (bits & NOT_DECAYED) != 0u {
        return 1.0;
    }
    let group = bits >> GROUP_SHIFT;
    var decay = weight_decay;
    if group != 0u {
        decay = bitcast<f32>(parameter_flags[params.flat + (group - 1u) * GROUP_SETTINGS + 1u]);
    }
    return max(1.0 - rate * decay, 0.0);
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lid: u32,
) {
    let at = linear(workgroup, grid) * 256u + lid;
    if at >= params.elements {
        return;
    }
    var i = at;
    if params.width != 0u {
        let row = rows[at / params.width];
        if row >= params.vocabulary {
            return;
        }
        i = params.table_offset + row * params.width + at % params.width;
    }
    if may_update(i) {
        update(i, clipped(i, gradients[at]));
    }
}
