// update_loss_scale: the factor on the gradient of the loss, halved where the step's finite flag is 0 and doubled after
// `interval` consecutive finite steps, as long as it stays between `least` and `most`; nothing changes where the step
// has more windows to come.
//
// in      step_params  StepParams: the row of the metrics, more_windows
// in      metrics      [slots] of MetricsRow: updates
// in-out  loss_scale   LossScale
//
// One thread; records.wgsl is appended. Doubling and halving are exact, and so is the reciprocal.

struct Params {
    slots: u32,
    interval: u32,
    least: f32,
    most: f32,
    first_workgroup: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> step_params: StepParams;
@group(0) @binding(2) var<storage, read> metrics: array<MetricsRow>;
@group(0) @binding(3) var<storage, read_write> loss_scale: LossScale;

@compute @workgroup_size(1)
fn main() {
    if step_params.more_windows != 0.0 {
        return;
    }
    let slot = min(u32(step_params.metrics_row), params.slots - 1u);
    let scale = loss_scale.factor;
    if metrics[slot].updates == 0.0 {
        loss_scale.finite_steps = 0.0;
        if scale > params.least {
            loss_scale.factor = 0.5 * scale;
            loss_scale.inverse = 2.0 * loss_scale.inverse;
        }
        return;
    }
    let finite = loss_scale.finite_steps + 1.0;
    if finite < f32(params.interval) {
        loss_scale.finite_steps = finite;
        return;
    }
    loss_scale.finite_steps = 0.0;
    if scale < params.most {
        loss_scale.factor = 2.0 * scale;
        loss_scale.inverse = 0.5 * loss_scale.inverse;
    }
}
