// pool_gradient: the gradient of the rows of steps, `skipped` before them, from that of one row for each sequence;
// assigns.
//
// in   d        [B, N] at d_offset
// in   lengths  [B]
// in   at       [B, N], of kind 4: of which step a maximum is
// out  rows     [T·B, N] at rows_offset
//
// Kinds as in pool.wgsl. One thread an element. Rows is f32 or f16.

struct Params {
    kind: u32,
    steps: u32,
    skipped: u32,
    batch: u32,
    hidden: u32,
    columns: u32,
    d_offset: u32,
    rows_offset: u32,
    first_workgroup: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> d: array<f32>;
@group(0) @binding(2) var<storage, read> lengths: array<u32>;
@group(0) @binding(3) var<storage, read> at: array<f32>;
@group(0) @binding(4) var<storage, read_write> rows: array<Rows>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lid: u32,
) {
    let i = linear(workgroup, grid) * 256u + lid;
    let size = params.batch * params.columns;
    if i >= params.steps * size {
        return;
    }
    let t = params.skipped + i / size;
    let element = i % size;
    let length = lengths[element / params.columns];
    let gradient = d[params.d_offset + element];
    var value = 0.0;
    if params.kind == 0u {
        let last = select(params.skipped + params.steps - 1u, 0u, element % params.columns >= params.hidden);
        value = select(0.0, gradient, t == last);
    } else if params.kind == 1u {
        value = select(0.0, gradient / f32(length), t < length);
    } else if params.kind == 2u {
        value = select(0.0, gradient, t + 1u == length);
    } else if params.kind == 3u {
        value = select(0.0, gradient, t == 0u);
    } else {
        value = select(0.0, gradient, u32(at[element]) == t);
    }
    rows[params.rows_offset + i] = Rows(value);
}
