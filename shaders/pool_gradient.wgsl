// pool_gradient: the gradient of the outputs of steps, `skipped` before them, from that of one vector for each
// sequence; assigns slots 1 to T.
//
// in   d         [B, D·H] at d_offset
// in   lengths   [B]
// out  upstream  [T+D, B, D·H]
//
// Kinds as in pool.wgsl. One thread an element. Upstream is f32 or f16.

struct Params {
    kind: u32,
    steps: u32,
    skipped: u32,
    batch: u32,
    hidden: u32,
    columns: u32,
    d_offset: u32,
    first_workgroup: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> d: array<f32>;
@group(0) @binding(2) var<storage, read> lengths: array<u32>;
@group(0) @binding(3) var<storage, read_write> upstream: array<Upstream>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lid: u32,
) {
    let i = linear(workgroup, grid) * 256u + lid;
    let slot = params.batch * params.columns;
    if i >= params.steps * slot {
        return;
    }
    let t = i / slot;
    let at = i % slot;
    var value = 0.0;
    if params.kind == 0u {
        let last = select(params.steps - 1u, 0u, at % params.columns >= params.hidden);
        value = select(0.0, d[params.d_offset + at], t == last);
    } else {
        let length = lengths[at / params.columns];
        value = select(0.0, d[params.d_offset + at] / f32(length), params.skipped + t < length);
    }
    upstream[slot + i] = Upstream(value);
}
