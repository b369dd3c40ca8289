// gaussian_mixture: l = −ln Σ_k e^c[k] with c[k] = ln softmax(logits)[k] − Σ_n (z² / 2 + ln σ + ½·ln 2π),
// σ = floor + softplus(raw[k, n]), z = (target[n] − mean[k, n]) / σ; appended to loss.wgsl. With the share
// γ[k] = e^(c[k] + l): ∂l/∂logit = softmax − γ, ∂l/∂mean = −γ·z / σ, ∂l/∂σ = γ·(1 − z²) / σ.
//
// in  targets  [R, N]; outputs are K logits, means [K, N], raw scales [K, N]; loss_settings are K, the floor

@group(0) @binding(2) var<storage, read> targets: array<f32>;

fn of_row(lid: u32, row: Row) -> f32 {
    let components = u32(loss_settings[0]);
    let means = row.first + components;
    let raws = means + components * params.numbers;
    var largest = -0x1.fffffep+127f;
    for (var k = lid; k < components; k += THREADS) {
        largest = max(largest, outputs[row.first + k]);
    }
    let shift = reduce_max(lid, largest);
    var logits = Sum();
    for (var k = lid; k < components; k += THREADS) {
        logits = plus(logits, exp(outputs[row.first + k] - shift));
    }
    let log_total = log(reduce_sum(lid, logits.total)) + shift;
    largest = -0x1.fffffep+127f;
    for (var k = lid; k < components; k += THREADS) {
        largest = max(largest, outputs[row.first + k] - log_total + log_density(row, k, means, raws));
    }
    let high = reduce_max(lid, largest);
    var shares = Sum();
    for (var k = lid; k < components; k += THREADS) {
        let c = outputs[row.first + k] - log_total + log_density(row, k, means, raws);
        shares = plus(shares, exp(c - high));
    }
    let all = log(reduce_sum(lid, shares.total)) + high;
    for (var k = lid; k < components; k += THREADS) {
        let log_weight = outputs[row.first + k] - log_total;
        let share = exp(log_weight + log_density(row, k, means, raws) - all);
        put_gradient(row, row.first + k, exp(log_weight) - share);
        for (var n = 0u; n < params.numbers; n += 1u) {
            let at = k * params.numbers + n;
            let raw = outputs[raws + at];
            let scale = loss_settings[1] + softplus(raw);
            let z = (targets[row.row * params.numbers + n] - outputs[means + at]) / scale;
            put_gradient(row, means + at, -share * z / scale);
            put_gradient(row, raws + at, share * (1.0 - z * z) / scale * softplus_slope(raw));
        }
    }
    return -all;
}

/// ln of the density of a component.
fn log_density(row: Row, k: u32, means: u32, raws: u32) -> f32 {
    var sum = Sum();
    for (var n = 0u; n < params.numbers; n += 1u) {
        let at = k * params.numbers + n;
        let scale = loss_settings[1] + softplus(outputs[raws + at]);
        let z = (targets[row.row * params.numbers + n] - outputs[means + at]) / scale;
        sum = plus(sum, -0.5 * z * z - log(scale) - 0.91893853);
    }
    return sum.total;
}
