// gaussian: e = z² / 2 + ln σ + ½·ln 2π with μ = y[0], σ = floor + softplus(y[1]), z = (target − μ) / σ;
// ∂e/∂μ = −z / σ, ∂e/∂σ = (1 − z²) / σ; appended to elements.wgsl. loss_settings: the floor.

const PARAMETERS: u32 = 2u;

fn element(y: array<f32, PARAMETERS>, expected: f32, n: u32) -> Element {
    let scale = loss_settings[0] + softplus(y[1]);
    let z = (expected - y[0]) / scale;
    let loss = 0.5 * z * z + log(scale) + 0.91893853;
    return Element(loss, array<f32, PARAMETERS>(-z / scale, (1.0 - z * z) / scale * softplus_slope(y[1])));
}
