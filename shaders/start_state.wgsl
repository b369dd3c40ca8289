// start_state: state[b] = learned for every sequence b, or 0 where has_learned is 0; assigns.
//
// in   learned  [D·H] at learned_offset, read where has_learned is 1
// out  state    [B, D·H] at state_offset
//
// One thread an element. Learned and State are f32 or f16.

struct Params {
    batch: u32,
    columns: u32,
    learned_offset: u32,
    state_offset: u32,
    has_learned: u32,
    first_workgroup: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> learned: array<Learned>;
@group(0) @binding(2) var<storage, read_write> state: array<State>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lid: u32,
) {
    let i = linear(workgroup, grid) * 256u + lid;
    if i >= params.batch * params.columns {
        return;
    }
    var value = 0.0;
    if params.has_learned != 0u {
        value = f32(learned[params.learned_offset + i % params.columns]);
    }
    state[params.state_offset + i] = State(value);
}
