// Appended to reduce_gradients.wgsl: the slices of one of many segments of a window. carry.wgsl is appended.
//
// in-out  excess  [flat]: by how much the gradient is too large; read where adds is not 0, assigned always

@group(0) @binding(7) var<storage, read_write> excess: array<f32>;

/// The gradient of element i, added to what was there before.
fn combined(i: u32, before: f32, unscaled: f32) -> f32 {
    var sum = Sum(before, 0.0);
    if params.adds != 0u {
        sum.excess = excess[i];
    }
    for (var s = 0u; s < params.slices; s += 1u) {
        sum = plus(sum, slices[s * params.flat + i] * unscaled);
    }
    excess[i] = sum.excess;
    return sum.total;
}
