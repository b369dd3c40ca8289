// soft_cross_entropy: l = −Σ_o w[o]·q[o]·ln softmax(y)[o] with q = (1 − ε)·target + ε / O; appended to loss.wgsl.
//
// in  targets  [R, O] probabilities; loss_settings are ε, 0, then w [O]

@group(0) @binding(2) var<storage, read> targets: array<f32>;

/// Settings before the weights.
const BEFORE: u32 = 2u;

fn of_row(lid: u32, row: Row) -> f32 {
    var largest = -0x1.fffffep+127f;
    for (var o = lid; o < params.columns; o += THREADS) {
        largest = max(largest, outputs[row.first + o]);
    }
    let shift = reduce_max(lid, largest);
    var sum = Sum();
    var masses = Sum();
    var belows = Sum();
    for (var o = lid; o < params.columns; o += THREADS) {
        let y = outputs[row.first + o] - shift;
        let wanted = expected(row, o);
        sum = plus(sum, exp(y));
        masses = plus(masses, wanted);
        belows = plus(belows, wanted * y);
    }
    let mass = reduce_sum(lid, masses.total);
    let below = reduce_sum(lid, belows.total);
    let total = reduce_sum(lid, sum.total);
    for (var o = lid; o < params.columns; o += THREADS) {
        let softmax = exp(outputs[row.first + o] - shift) / total;
        put_gradient(row, row.first + o, mass * softmax - expected(row, o));
    }
    return mass * log(total) - below;
}

/// What is expected of a class, times its weight.
fn expected(row: Row, o: u32) -> f32 {
    let smoothing = loss_settings[0];
    let wanted = (1.0 - smoothing) * targets[row.row * params.columns + o] + smoothing / f32(params.columns);
    return loss_settings[BEFORE + o] * wanted;
}
