// Appended to reduce_gradients.wgsl: the slices of a whole window.

/// The gradient of element i, added to what was there before.
fn combined(i: u32, before: f32, unscaled: f32) -> f32 {
    var g = before;
    for (var s = 0u; s < params.slices; s += 1u) {
        g += slices[s * params.flat + i] * unscaled;
    }
    return g;
}
