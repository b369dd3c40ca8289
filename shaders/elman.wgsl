// The Elman cell: h = act(x + r), x = W·x_t + b_W and r = U·h_(t-1) + b_U. Variant 0 is tanh, 1 is relu.
//
// A cell is GATES and two pointwise functions; the drivers (step_*.wgsl, sequence_*.wgsl) know nothing else of it.

const GATES: u32 = 1u;

/// h_t of one unit.
fn cell_forward(variant: u32, x: array<f32, GATES>, r: array<f32, GATES>, h_prev: f32) -> f32 {
    let a = x[0] + r[0];
    if variant == 0u {
        return safe_tanh(a);
    }
    // Not max(a, 0): that may turn NaN into 0 and hide a divergence.
    return select(a, 0.0, a <= 0.0);
}

/// The gradient of the pre-activations of one unit, from that of h_t and from h_t itself.
fn cell_backward(variant: u32, dh: f32, h: f32) -> array<f32, GATES> {
    if variant == 0u {
        return array<f32, GATES>(dh * (1.0 - h * h));
    }
    return array<f32, GATES>(select(0.0, dh, h > 0.0));
}
