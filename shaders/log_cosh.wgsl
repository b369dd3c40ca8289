// log_cosh: e = ln cosh(y − target), ∂e/∂y = tanh(y − target); appended to elements.wgsl.

const PARAMETERS: u32 = 1u;

fn element(y: array<f32, PARAMETERS>, expected: f32, n: u32) -> Element {
    let difference = y[0] - expected;
    let x = abs(difference);
    // Near 0 the two halves of what holds elsewhere cancel; there the series is as exact as f32 is.
    let s = x * x;
    let near = s * (0.5 - s * (1.0 / 12.0 - s * (1.0 / 45.0 - s * (17.0 / 2520.0 - s * (31.0 / 14175.0)))));
    let far = x + log1p(exp(-2.0 * x)) - 0.69314718;
    return Element(select(far, near, x < 0.25), array<f32, PARAMETERS>(safe_tanh(difference)));
}
