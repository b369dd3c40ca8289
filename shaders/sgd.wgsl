// sgd: v ← μ·v + g, θ ← θ − η·v; appended to update.wgsl.
//
// in-out  velocity  v [flat]

struct Params {
    elements: u32,
    slots: u32,
    by_value: u32,
    bound: f32,
    width: u32,
    table_offset: u32,
    vocabulary: u32,
    flat: u32,
    momentum: f32,
    first_workgroup: u32,
}

@group(0) @binding(7) var<storage, read_write> velocity: array<f32>;

fn update(i: u32, g: f32) {
    let v = params.momentum * velocity[i] + g;
    velocity[i] = v;
    parameters[i] -= learning_rate(i) * v;
}
