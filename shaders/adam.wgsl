// adam: θ ← θ·max(1 − η·λ, 0), m ← β₁·m + (1 − β₁)·g, v ← β₂·v + (1 − β₂)·g², θ ← θ − η/c₁·m / (√v/√c₂ + ε), g the
// clipped gradient and λ 0 where an element does not decay; nothing is written where the flag is 0 or the element is
// frozen.
//
// in      step_params      StepParams: η, the corrections c₁ = 1 − β₁ᵗ and c₂ = 1 − β₂ᵗ, and the row of the metrics
// in      metrics          [slots] of MetricsRow
// in      gradients        [flat]
// in      parameter_flags  [flat]: bit 1 where an element is frozen, bit 2 where it does not decay
// in-out  parameters       θ [flat]
// in-out  first            m [flat]
// in-out  second           v [flat]

const NOT_DECAYED: u32 = 2u;

struct Params {
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
    first_workgroup: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> step_params: StepParams;
@group(0) @binding(2) var<storage, read> metrics: array<MetricsRow>;
@group(0) @binding(3) var<storage, read> gradients: array<f32>;
@group(0) @binding(4) var<storage, read> parameter_flags: array<u32>;
@group(0) @binding(5) var<storage, read_write> parameters: array<f32>;
@group(0) @binding(6) var<storage, read_write> first: array<f32>;
@group(0) @binding(7) var<storage, read_write> second: array<f32>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lid: u32,
) {
    let i = linear(workgroup, grid) * 256u + lid;
    if i >= params.flat || !may_update(i) {
        return;
    }
    let rate = step_params.learning_rate;
    let g = clipped(gradients[i]);
    let m = params.beta1 * first[i] + params.one_minus_beta1 * g;
    let v = params.beta2 * second[i] + params.one_minus_beta2 * g * g;
    first[i] = m;
    second[i] = v;
    let decay = select(params.weight_decay, 0.0, (parameter_flags[i] & NOT_DECAYED) != 0u);
    let decayed = parameters[i] * max(1.0 - rate * decay, 0.0);
    let root = sqrt(v) / sqrt(step_params.second_correction);
    parameters[i] = decayed - rate / step_params.first_correction * m / (root + params.epsilon);
}
