// student_t: e = ½·ln νπ − ln Γ((ν + 1) / 2) + ln Γ(ν / 2) + ln σ + (ν + 1) / 2 · ln(1 + q) with μ = y[0],
// σ = floor + softplus(y[1]), ν = 2 + softplus(y[2]), z = (target − μ) / σ, q = z² / ν; appended to elements.wgsl.
// loss_settings: the floor.

const PARAMETERS: u32 = 3u;

fn element(y: array<f32, PARAMETERS>, expected: f32, n: u32) -> Element {
    let scale = loss_settings[0] + softplus(y[1]);
    let freedom = 2.0 + softplus(y[2]);
    let z = (expected - y[0]) / scale;
    let q = z / freedom * z;
    let share = q / (1.0 + q);
    let more = freedom + 1.0;
    let tail = log1p(q);
    let rises = gamma_rises(0.5 * freedom, 0.5);
    let loss = 0.5 * (log(freedom) + 1.1447299) - rises.ln_gamma + log(scale) + 0.5 * more * tail;
    let by_mean = -more / (freedom + z * z) * z / scale;
    let by_scale = (1.0 - more * share) / scale * softplus_slope(y[1]);
    let by_freedom = 0.5 * (1.0 / freedom + tail - more / freedom * share - rises.digamma) * softplus_slope(y[2]);
    return Element(loss, array<f32, PARAMETERS>(by_mean, by_scale, by_freedom));
}
