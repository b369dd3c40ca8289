// scale_group: the gradient of the elements of one group, held within ±bound where by_value is 1, else multiplied by
// the clip scale of the group's metrics. Nothing is written where the step has more windows to come.
//
// in-out  gradients        [elements]
// in      parameter_flags  from bit 8 on the number of an element's group; that of element i at first_flag + i
// in      step_params      StepParams: the row of the metrics, more_windows
// in      metrics          [slots] of MetricsRow, not read where by_value is 1
//
// One thread an element. records.wgsl is appended too.

struct Params {
    elements: u32,
    group: u32,
    first_flag: u32,
    slots: u32,
    by_value: u32,
    bound: f32,
    first_workgroup: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> parameter_flags: array<u32>;
@group(0) @binding(2) var<storage, read> step_params: StepParams;
@group(0) @binding(3) var<storage, read> metrics: array<MetricsRow>;
@group(0) @binding(4) var<storage, read_write> gradients: array<f32>;

const GROUP_SHIFT: u32 = 8u;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lid: u32,
) {
    let i = linear(workgroup, grid) * 256u + lid;
    if i >= params.elements || step_params.more_windows != 0.0 {
        return;
    }
    if (parameter_flags[params.first_flag + i] >> GROUP_SHIFT) != params.group {
        return;
    }
    let g = gradients[i];
    if params.by_value != 0u {
        gradients[i] = clamp(g, -params.bound, params.bound);
    } else {
        gradients[i] = g * metrics[min(u32(step_params.metrics_row), params.slots - 1u)].clip_scale;
    }
}
