// laplace: e = |z| + ln 2b with μ = y[0], b = floor + softplus(y[1]), z = (μ − target) / b; ∂e/∂μ = ±1 / b,
// ∂e/∂b = (1 − |z|) / b; appended to elements.wgsl. loss_settings: the floor.

const PARAMETERS: u32 = 2u;

fn element(y: array<f32, PARAMETERS>, expected: f32, n: u32) -> Element {
    let scale = loss_settings[0] + softplus(y[1]);
    let z = (y[0] - expected) / scale;
    let slopes = array<f32, PARAMETERS>(sign(z) / scale, (1.0 - abs(z)) / scale * softplus_slope(y[1]));
    return Element(abs(z) + log(2.0 * scale), slopes);
}
