// external: ∂l/∂y is the target, and l is the caller's, whole on the first position; appended to loss.wgsl.
//
// in  targets  [R, O]; loss_settings: l

@group(0) @binding(2) var<storage, read> targets: array<f32>;

fn of_row(lid: u32, row: Row) -> f32 {
    for (var o = lid; o < params.columns; o += THREADS) {
        put_gradient(row, row.first + o, targets[row.row * params.columns + o]);
    }
    return select(0.0, loss_settings[0], row.row == 0u);
}
