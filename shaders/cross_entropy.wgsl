// cross_entropy: l = ln Σ_o exp(y[o]) − y[target], ∂l/∂y = softmax(y) − one-hot target; appended to loss.wgsl.
//
// in  targets  [R] class ids below O

@group(0) @binding(2) var<storage, read> targets: array<u32>;

fn of_row(lid: u32, row: Row) -> f32 {
    // The lowest finite number: every thread has a maximum, those past the last column too.
    var largest = -0x1.fffffep+127f;
    for (var o = lid; o < params.columns; o += THREADS) {
        largest = max(largest, outputs[row.first + o]);
    }
    let shift = reduce_max(lid, largest);
    var sum = Sum();
    for (var o = lid; o < params.columns; o += THREADS) {
        sum = plus(sum, exp(outputs[row.first + o] - shift));
    }
    // Before the last barrier, behind which it is overwritten.
    let class_id = targets[row.row];
    let chosen = outputs[row.first + min(class_id, params.columns - 1u)] - shift;
    let total = reduce_sum(lid, sum.total);
    for (var o = lid; o < params.columns; o += THREADS) {
        let softmax = exp(outputs[row.first + o] - shift) / total;
        put_gradient(row, row.first + o, softmax - select(0.0, 1.0, o == class_id));
    }
    return log(total) - chosen;
}
