// states_before: before[t, b] = h_(t-1) of each direction as the step at time t has read it: what lies in the slot
// before it in the order of reading or, where the sequence begins anew there, the start; assigns.
//
// in   history  [T+D, B, D·P], and behind it the start's slot
// in   lengths  [T+2, B]: the lengths, then row t + 1 says which sequences begin anew at time t
// out  before   [T, B, D·P] at before_offset
//
// One thread an element. The second direction, or the only one where `reverse` is 0, is from the last step to the
// first: it begins anew at time t where another sequence begins at t + 1. History is f32 or f16.

struct Params {
    steps: u32,
    batch: u32,
    columns: u32,
    /// D.
    directions: u32,
    reverse: u32,
    start: u32,
    before_offset: u32,
    first_workgroup: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> history: array<History>;
@group(0) @binding(2) var<storage, read> lengths: array<u32>;
@group(0) @binding(3) var<storage, read_write> before: array<Before>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lid: u32,
) {
    let i = linear(workgroup, grid) * 256u + lid;
    let slot_len = params.batch * params.columns;
    if i >= params.steps * slot_len {
        return;
    }
    let time = i / slot_len;
    let b = i / params.columns % params.batch;
    let d = i % params.columns / (params.columns / params.directions);
    let is_reverse = d == params.reverse;
    let begins = lengths[(time + select(1u, 2u, is_reverse)) * params.batch + b] != 0u;
    let slot = select(select(time, time + 2u, is_reverse), params.start, begins);
    before[params.before_offset + i] = Before(history[slot * slot_len + i % slot_len]);
}
