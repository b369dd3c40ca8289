// cross_entropy_with: l = −Σ_o w[o]·q[o]·ln p[o] with p = softmax(y) and q the one-hot target of which ε is spread over
// all O; or, where γ is above 0, l = −w·(1 − p)^γ·ln p of the target. Appended to loss.wgsl.
//
// in  targets  [R] class ids below O; loss_settings are ε, γ, then w [O]

@group(0) @binding(2) var<storage, read> targets: array<u32>;

/// Settings before the weights.
const BEFORE: u32 = 2u;

fn of_row(lid: u32, row: Row) -> f32 {
    let smoothing = loss_settings[0];
    let focus = loss_settings[1];
    let class_id = min(targets[row.row], params.columns - 1u);
    let spread = smoothing / f32(params.columns);
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
        let wanted = loss_settings[BEFORE + o] * (spread + select(0.0, 1.0 - smoothing, o == class_id));
        sum = plus(sum, exp(y));
        masses = plus(masses, wanted);
        belows = plus(belows, wanted * y);
    }
    // Before the last barrier, behind which it is overwritten.
    let chosen = outputs[row.first + class_id] - shift;
    let mass = reduce_sum(lid, masses.total);
    let below = reduce_sum(lid, belows.total);
    let total = reduce_sum(lid, sum.total);
    let log_p = chosen - log(total);
    let p = exp(log_p);
    let rest = 1.0 - p;
    let power = select(0.0, pow(rest, focus), rest > 0.0);
    let hard = select(0.0, focus * p * log_p * power / rest, rest > 0.0);
    let weight = loss_settings[BEFORE + class_id];
    let by_target = weight * (hard - power);
    for (var o = lid; o < params.columns; o += THREADS) {
        let softmax = exp(outputs[row.first + o] - shift) / total;
        let is_target = select(0.0, 1.0, o == class_id);
        let wanted = loss_settings[BEFORE + o] * (spread + (1.0 - smoothing) * is_target);
        let focussed = by_target * (is_target - softmax);
        put_gradient(row, row.first + o, select(mass * softmax - wanted, focussed, focus > 0.0));
    }
    return select(mass * log(total) - below, -weight * power * log_p, focus > 0.0);
}
