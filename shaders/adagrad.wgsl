// adagrad: v ← v + g², θ ← θ − η·g / (√v + ε); appended to update.wgsl.
//
// in-out  square  v [flat]

struct Params {
    elements: u32,
    slots: u32,
    by_value: u32,
    bound: f32,
    width: u32,
    table_offset: u32,
    vocabulary: u32,
    flat: u32,
    epsilon: f32,
    first_workgroup: u32,
}

@group(0) @binding(7) var<storage, read_write> square: array<f32>;

fn update(i: u32, g: f32) {
    let v = square[i] + g * g;
    square[i] = v;
    parameters[i] -= learning_rate(i) * g / (sqrt(v) + params.epsilon);
}
