// quantiles: l = 1 / (N·Q) · Σ_n w[n] · Σ_q max(τ_q·d, (τ_q − 1)·d) with d = target[n] − the quantile, which is
// y[q, n], or where it is an increment the one before it plus softplus(y[q, n]); appended to loss.wgsl.
//
// in  targets  [R, N]; loss_settings are 1 where outputs after the first are increments, then τ [Q]

@group(0) @binding(2) var<storage, read> targets: array<f32>;

fn of_row(lid: u32, row: Row) -> f32 {
    let quantiles = params.columns / params.numbers;
    let part = Row(row.row, row.first, row.counts, row.scale / f32(params.columns));
    var sum = Sum();
    for (var n = lid; n < params.numbers; n += THREADS) {
        let at = row.row * params.numbers + n;
        var weight = 1.0;
        if params.weighs_numbers != 0u {
            weight = loss_weights[at];
        }
        let expected = targets[at];
        var quantile = 0.0;
        var loss = 0.0;
        var slopes = 0.0;
        for (var q = 0u; q < quantiles; q += 1u) {
            quantile = following(quantile, outputs[row.first + q * params.numbers + n], q);
            let level = loss_settings[1u + q];
            loss += pinball(expected - quantile, level);
            slopes += pinball_slope(expected - quantile, level);
        }
        sum = plus(sum, select(0.0, weight * loss, weight != 0.0));
        quantile = 0.0;
        for (var q = 0u; q < quantiles; q += 1u) {
            let y = outputs[row.first + q * params.numbers + n];
            quantile = following(quantile, y, q);
            let slope = pinball_slope(expected - quantile, loss_settings[1u + q]);
            // An increment moves all quantiles from its own on.
            var moved = slope;
            if loss_settings[0] != 0.0 {
                moved = slopes * select(1.0, softplus_slope(y), q > 0u);
            }
            slopes -= slope;
            put_gradient(part, row.first + q * params.numbers + n, select(0.0, weight * moved, weight != 0.0));
        }
    }
    return reduce_sum(lid, sum.total) / f32(params.columns);
}

/// The quantile behind one.
fn following(before: f32, y: f32, q: u32) -> f32 {
    if q > 0u && loss_settings[0] != 0.0 {
        return before + softplus(y);
    }
    return y;
}

/// The loss of a target so far above the quantile of this level.
fn pinball(above: f32, level: f32) -> f32 {
    return select(level, level - 1.0, above < 0.0) * above;
}

/// Its slope in the quantile.
fn pinball_slope(above: f32, level: f32) -> f32 {
    return select(select(0.5 - level, -level, above > 0.0), 1.0 - level, above < 0.0);
}
