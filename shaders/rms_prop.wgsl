// rms_prop: v ← α·v + (1 − α)·g², θ ← θ − η·g / (√v + ε), g the clipped gradient; nothing is written where the flag
// is 0 or the element is frozen.
//
// in      step_params      StepParams: the learning rate η and the row of the metrics
// in      metrics          [slots] of MetricsRow
// in      gradients        [flat]
// in      parameter_flags  [flat]: bit 1 where an element is frozen
// in-out  parameters       θ [flat]
// in-out  square           v [flat]

struct Params {
    flat: u32,
    slots: u32,
    by_value: u32,
    bound: f32,
    alpha: f32,
    one_minus_alpha: f32,
    epsilon: f32,
    first_workgroup: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> step_params: StepParams;
@group(0) @binding(2) var<storage, read> metrics: array<MetricsRow>;
@group(0) @binding(3) var<storage, read> gradients: array<f32>;
@group(0) @binding(4) var<storage, read> parameter_flags: array<u32>;
@group(0) @binding(5) var<storage, read_write> parameters: array<f32>;
@group(0) @binding(6) var<storage, read_write> square: array<f32>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lid: u32,
) {
    let i = linear(workgroup, grid) * 256u + lid;
    if i >= params.flat || !may_update(i) {
        return;
    }
    let g = clipped(gradients[i]);
    let v = params.alpha * square[i] + params.one_minus_alpha * g * g;
    square[i] = v;
    parameters[i] -= step_params.learning_rate * g / (sqrt(v) + params.epsilon);
}
