// cross_entropy: l = ln Σ_o exp(y[o]) − y[target], ∂l/∂y = softmax(y) − one-hot target; appended to loss.wgsl.
//
// in  targets  [R] class ids below O

@group(0) @binding(2) var<storage, read> targets: array<u32>;

/// What is known of a row: its loss, on the first thread; its largest output, and Σ_o exp(y[o] − largest).
struct RowLoss {
    loss: f32,
    largest: f32,
    total: f32,
}

/// By what a row's loss is divided.
fn divisor() -> f32 {
    return step_params.positions;
}

fn over_row(lid: u32, row: u32, first: u32) -> RowLoss {
    // The lowest finite number: every thread has a maximum, those past the last column too.
    var largest = -0x1.fffffep+127f;
    for (var o = lid; o < params.columns; o += THREADS) {
        largest = max(largest, outputs[first + o]);
    }
    let shift = reduce_max(lid, largest);
    var sum = Sum();
    for (var o = lid; o < params.columns; o += THREADS) {
        sum = plus(sum, exp(outputs[first + o] - shift));
    }
    // Before the last barrier, behind which it is overwritten.
    let chosen = outputs[first + min(targets[row], params.columns - 1u)] - shift;
    let total = reduce_sum(lid, sum.total);
    return RowLoss(log(total) - chosen, shift, total);
}

fn gradient(found: RowLoss, row: u32, o: u32, y: f32) -> f32 {
    let softmax = exp(y - found.largest) / found.total;
    return softmax - select(0.0, 1.0, o == targets[row]);
}
