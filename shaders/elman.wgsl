// The Elman cell: h = act(x + r), x = W·x_t + b_W and r = U·h_(t-1) + b_U. Variant 0 is tanh, 1 is relu.
//
// A cell is two constants, three pointwise functions and, if it keeps more than its gates and h, binding 7; the drivers
// (step_*.wgsl, sequence_*.wgsl) know nothing else of it. One whose products with U follow on each other has three
// functions more (gru_before.wgsl); to the others one_product.wgsl is appended.

const GATES: u32 = 1u;
/// Whether h_(t-1) reaches h_t by another path than U.
const PASSES_H: bool = false;

/// h_t of one unit. What is kept is read as f32(x) and written as Stored(x): Stored is f32 or f16.
fn cell_forward(variant: u32, at: UnitIndex, x: array<f32, GATES>, r: array<f32, GATES>, h_before: f32) -> f32 {
    let a = x[0] + r[0];
    if variant == 0u {
        return safe_tanh(a);
    }
    // Not max(a, 0): that may turn NaN into 0 and hide a divergence.
    return select(a, 0.0, a <= 0.0);
}

/// The gradient of r of one unit, from that of h_t (0 at a step that does not count); assigns the gradient of x to the
/// gates.
fn cell_backward(variant: u32, at: UnitIndex, dh: f32) -> Gradient {
    // Where zoneout drew that h is kept this is another h, but the gradient is 0.
    let h = f32(history[at.now]);
    var gradient = dh * (1.0 - h * h);
    if variant == 1u {
        gradient = select(0.0, dh, h > 0.0);
    }
    gates[at.gate] = Stored(gradient);
    return Gradient(array<f32, GATES>(gradient), 0.0);
}

/// Element i of the gradient of r [T, B, D·G·H], of a step that is done.
fn recurrent_gradient(i: u32) -> f32 {
    return f32(gates[i]);
}
