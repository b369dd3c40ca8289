// average_parameters: average = average + w·(parameters − average), element by element; where w is 0 nothing is
// written.
//
// in      step_params  StepParams: w is its average_weight
// in      parameters   θ [elements]
// in-out  average      [elements]
//
// One thread an element. records.wgsl is appended too.

struct Params {
    elements: u32,
    first_workgroup: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> step_params: StepParams;
@group(0) @binding(2) var<storage, read> parameters: array<f32>;
@group(0) @binding(3) var<storage, read_write> average: array<f32>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lid: u32,
) {
    let i = linear(workgroup, grid) * 256u + lid;
    let weight = step_params.average_weight;
    if i >= params.elements || weight == 0.0 {
        return;
    }
    // A weight of 1 takes the parameter itself: the first mean, whatever was there.
    let before = average[i];
    average[i] = select(before + weight * (parameters[i] - before), parameters[i], weight == 1.0);
}
