// adam: θ ← θ·max(1 − η·λ, 0), m ← β₁·m + (1 − β₁)·g, v ← β₂·v + (1 − β₂)·g², θ ← θ − η/c₁·m / (√v/√c₂ + ε), with
// the corrections c₁ = 1 − β₁ᵗ and c₂ = 1 − β₂ᵗ, and λ 0 where an element does not decay; appended to update.wgsl.
//
// in-out  first   m [flat]
// in-out  second  v [flat]

struct Params {
    elements: u32,
    slots: u32,
    by_value: u32,
    bound: f32,
    width: u32,
    table_offset: u32,
    vocabulary: u32,
    flat: u32,
    beta1: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    epsilon: f32,
    weight_decay: f32,
    first_workgroup: u32,
}

@group(0) @binding(7) var<storage, read_write> first: array<f32>;
@group(0) @binding(8) var<storage, read_write> second: array<f32>;

fn update(i: u32, g: f32) {
    let rate = learning_rate(i);
    let m = params.beta1 * first[i] + params.one_minus_beta1 * g;
    let v = params.beta2 * second[i] + params.one_minus_beta2 * g * g;
    first[i] = m;
    second[i] = v;
    let decayed = parameters[i] * kept(i, rate, params.weight_decay);
    let root = sqrt(v) / sqrt(step_params.second_correction);
    parameters[i] = decayed - rate / step_params.first_correction * m / (root + params.epsilon);
}
