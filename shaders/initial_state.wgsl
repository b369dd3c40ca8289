// initial_state: state[l, b] = learned[l] for every sequence b, where fresh is 1; else the state stays.
//
// in      learned  [L, D·H] at learned_offset
// in      fresh    [1]
// in-out  state    [L, B, D·H] at state_offset
//
// One thread an element of that part of the state. Learned is f32 or f16.

struct Params {
    states: u32,
    batch: u32,
    columns: u32,
    learned_offset: u32,
    state_offset: u32,
    first_workgroup: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> learned: array<Learned>;
@group(0) @binding(2) var<storage, read> fresh: array<f32>;
@group(0) @binding(3) var<storage, read_write> state: array<f32>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lid: u32,
) {
    let i = linear(workgroup, grid) * 256u + lid;
    if i >= params.states * params.batch * params.columns || fresh[0] == 0.0 {
        return;
    }
    let l = i / (params.batch * params.columns);
    let learned_at = params.learned_offset + l * params.columns + i % params.columns;
    state[params.state_offset + i] = f32(learned[learned_at]);
}
