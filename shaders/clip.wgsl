// What the optimisers share: the row of the metrics that step_metrics.wgsl left for this step, and clipping by it.
// The kernel binds step_params, metrics and parameter_flags, appends records.wgsl and has slots, by_value and bound
// among its parameters.

const FROZEN: u32 = 1u;

fn slot() -> u32 {
    return min(u32(step_params.metrics_row), params.slots - 1u);
}

/// Whether loss and gradient were finite and all of the step's windows are in, and element i is not frozen. Where not,
/// nothing at all may be written.
fn may_update(i: u32) -> bool {
    return metrics[slot()].updates != 0.0 && (parameter_flags[i] & FROZEN) == 0u;
}

/// An element of the gradient, held within ±bound where by_value is 1, else scaled.
fn clipped(g: f32) -> f32 {
    if params.by_value != 0u {
        return clamp(g, -params.bound, params.bound);
    }
    return g * metrics[slot()].clip_scale;
}
