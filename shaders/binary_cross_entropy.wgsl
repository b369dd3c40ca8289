// binary_cross_entropy: e = w·t·softplus(−y) + (1 − t)·softplus(y), ∂e/∂y = (1 − t)·σ(y) − w·t·σ(−y); appended to
// elements.wgsl. loss_settings: w [N].

const PARAMETERS: u32 = 1u;

fn element(y: array<f32, PARAMETERS>, expected: f32, n: u32) -> Element {
    let positive = loss_settings[n] * expected;
    let negative = 1.0 - expected;
    let loss = positive * softplus(-y[0]) + negative * softplus(y[0]);
    let slope = negative * softplus_slope(y[0]) - positive * softplus_slope(-y[0]);
    return Element(loss, array<f32, PARAMETERS>(slope));
}
