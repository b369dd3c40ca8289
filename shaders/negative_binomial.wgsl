// negative_binomial: e = ln t! − ln Γ(r + t) + ln Γ(r) + r·ln(1 + μ / r) + t·ln(1 + r / μ) of a count t, with
// μ = floor + softplus(y[0]), r = floor + softplus(y[1]); appended to elements.wgsl. loss_settings: the floor.

const PARAMETERS: u32 = 2u;

fn element(y: array<f32, PARAMETERS>, expected: f32, n: u32) -> Element {
    let mean = loss_settings[0] + softplus(y[0]);
    let shape = loss_settings[0] + softplus(y[1]);
    let of_shape = log1p(mean / shape);
    let rises = gamma_rises(shape, expected);
    let factorial = gamma_rises(1.0, expected).ln_gamma;
    let loss = factorial - rises.ln_gamma + shape * of_shape + expected * log1p(shape / mean);
    let by_mean = shape / (shape + mean) * ((mean - expected) / mean) * softplus_slope(y[0]);
    let by_shape = (of_shape - rises.digamma + (expected - mean) / (shape + mean)) * softplus_slope(y[1]);
    return Element(loss, array<f32, PARAMETERS>(by_mean, by_shape));
}
