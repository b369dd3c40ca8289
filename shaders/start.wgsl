// start: state[sl, b] = learnt[sl] for every sequence b, where fresh is 1; else the state stays.
//
// in      learnt  [S·L, D·H] at learnt_offset
// in      fresh   [1]
// in-out  state   [S, L, B, D·H]
//
// One thread an element of the state. Learnt is f32 or f16.

struct Params {
    states: u32,
    batch: u32,
    columns: u32,
    learnt_offset: u32,
    first_workgroup: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> learnt: array<Learnt>;
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
    let sl = i / (params.batch * params.columns);
    state[i] = f32(learnt[params.learnt_offset + sl * params.columns + i % params.columns]);
}
