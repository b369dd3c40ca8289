// initial_state: state[sl, b] = learned[sl] for every sequence b, where fresh is 1; else the state stays.
//
// in      learned  [S·L, D·H] at learned_offset
// in      fresh    [1]
// in-out  state    [S, L, B, D·H]
//
// One thread an element of the state. Learned is f32 or f16.

struct Params {
    states: u32,
    batch: u32,
    columns: u32,
    learned_offset: u32,
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
    let sl = i / (params.batch * params.columns);
    state[i] = f32(learned[params.learned_offset + sl * params.columns + i % params.columns]);
}
