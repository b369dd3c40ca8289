// The losses of numbers, one after the other, appended to loss.wgsl: l = 1 / N · Σ_n w[n] · e(y[n], target[n]), each
// number n having PARAMETERS outputs, [PARAMETERS, N] in all. The file of a loss says what e and its gradient are.
//
// in  targets  [R, N]

@group(0) @binding(2) var<storage, read> targets: array<f32>;

/// The loss of a number and its slope in each of the outputs that describe it.
struct Element {
    loss: f32,
    slopes: array<f32, PARAMETERS>,
}

fn of_row(lid: u32, row: Row) -> f32 {
    let numbers = f32(params.numbers);
    let part = Row(row.row, row.first, row.counts, row.scale / numbers);
    var sum = Sum();
    for (var n = lid; n < params.numbers; n += THREADS) {
        let at = row.row * params.numbers + n;
        let weight = number_weight(at);
        var y: array<f32, PARAMETERS>;
        for (var p = 0u; p < PARAMETERS; p += 1u) {
            y[p] = outputs[row.first + p * params.numbers + n];
        }
        let found = element(y, targets[at], n);
        sum = plus(sum, select(0.0, weight * found.loss, weight != 0.0));
        for (var p = 0u; p < PARAMETERS; p += 1u) {
            let slope = select(0.0, weight * found.slopes[p], weight != 0.0);
            put_gradient(part, row.first + p * params.numbers + n, slope);
        }
    }
    return reduce_sum(lid, sum.total) / numbers;
}

/// The weight of a number, beside that of its position.
fn number_weight(at: u32) -> f32 {
    if params.weighs_numbers != 0u {
        return loss_weights[at];
    }
    return 1.0;
}
