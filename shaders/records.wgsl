// Records that the host and the device share; appended to the kernels that bind one. Members are explained in
// src/plan/record.rs, which has the same names in the same order.

struct StepParams {
    learning_rate: f32,
    first_correction: f32,
    second_correction: f32,
    average_weight: f32,
    metrics_row: f32,
    accumulate: f32,
    more_windows: f32,
    divisor: f32,
}

struct MetricsRow {
    loss: f32,
    grad_norm: f32,
    clip_scale: f32,
    updates: f32,
}

struct LossScale {
    factor: f32,
    inverse: f32,
    finite_steps: f32,
}

struct NormPartial {
    largest: f32,
    squares: f32,
    is_finite: f32,
}
