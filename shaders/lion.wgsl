// lion: θ ← θ·max(1 − η·λ, 0), θ ← θ − η·sign(β₁·m + (1 − β₁)·g), m ← β₂·m + (1 − β₂)·g, with λ 0 where an element does
// not decay; appended to update.wgsl.
//
// in-out  first  m [flat]

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
    weight_decay: f32,
    first_workgroup: u32,
}

@group(0) @binding(7) var<storage, read_write> first: array<f32>;

fn update(i: u32, g: f32) {
    let rate = learning_rate(i);
    let m = first[i];
    let direction = sign(params.beta1 * m + params.one_minus_beta1 * g);
    first[i] = params.beta2 * m + params.one_minus_beta2 * g;
    parameters[i] = parameters[i] * kept(i, rate, params.weight_decay) - rate * direction;
}
