// pool: one vector for each sequence from the outputs of steps `first` to first + steps of T, slots 1 to T of the
// history; assigns, but adds to a mean whose first steps were done before.
//
// in      history  [T+D, B, D·H]
// in      lengths  [B]
// in-out  out      [B, D·H] at out_offset
// in-out  excess   [B, D·H]: by how much a mean is too large so far
//
// Kind 0 is each direction's last state, 1 the mean over the valid steps, `skipped` before these. One thread an
// element, its sum in order. History is f32 or f16. carry.wgsl is appended.

struct Params {
    kind: u32,
    /// Those of the history, T.
    all: u32,
    first: u32,
    steps: u32,
    skipped: u32,
    batch: u32,
    hidden: u32,
    columns: u32,
    out_offset: u32,
    zero: u32,
    first_workgroup: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> history: array<History>;
@group(0) @binding(2) var<storage, read> lengths: array<u32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;
@group(0) @binding(4) var<storage, read_write> excess: array<f32>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lid: u32,
) {
    let i = linear(workgroup, grid) * 256u + lid;
    let slot = params.batch * params.columns;
    if i >= slot {
        return;
    }
    if params.kind == 0u {
        let last = select(params.all, 1u, i % params.columns >= params.hidden);
        out[params.out_offset + i] = f32(history[last * slot + i]);
        return;
    }
    let length = lengths[i / params.columns];
    let before = params.skipped + params.first;
    let valid = min(max(length, before) - before, params.steps);
    var sum = Sum();
    for (var t = 1u; t <= valid; t += 1u) {
        sum = plus(sum, f32(history[(params.first + t) * slot + i]));
    }
    var mean = Sum(sum.total / f32(length), 0.0);
    if before > 0u {
        mean = plus(Sum(out[params.out_offset + i], excess[i]), mean.total);
    }
    out[params.out_offset + i] = mean.total;
    excess[i] = mean.excess;
}
