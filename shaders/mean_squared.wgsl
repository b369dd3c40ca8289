// mean_squared: l = Σ_o (y[o] − target[o])², ∂l/∂y = 2·(y − target), both over O; appended to loss.wgsl.
//
// in  targets  [R, O]

@group(0) @binding(2) var<storage, read> targets: array<f32>;

/// What is known of a row: its loss, on the first thread.
struct RowLoss {
    loss: f32,
}

/// By what a row's loss is divided.
fn divisor() -> f32 {
    return step_params.positions * f32(params.columns);
}

fn over_row(lid: u32, row: u32, first: u32) -> RowLoss {
    var sum = Sum();
    for (var o = lid; o < params.columns; o += THREADS) {
        let difference = outputs[first + o] - targets[row * params.columns + o];
        sum = plus(sum, difference * difference);
    }
    return RowLoss(reduce_sum(lid, sum.total));
}

fn gradient(found: RowLoss, row: u32, o: u32, y: f32) -> f32 {
    return 2.0 * (y - targets[row * params.columns + o]);
}
