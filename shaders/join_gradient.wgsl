// join_gradient: the gradient of both directions' rows from that of what join made of them; assigns.
//
// in   d     [R, H] at d_offset
// in   rows  [R, 2·H] at rows_offset, read where kind is 3
// out  out   [R, 2·H] at out_offset
//
// Kinds as in join.wgsl. One thread an element of out. D, Rows and Out are f32 or f16.

struct Params {
    kind: u32,
    len: u32,
    hidden: u32,
    d_offset: u32,
    rows_offset: u32,
    out_offset: u32,
    first_workgroup: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> d: array<D>;
@group(0) @binding(2) var<storage, read> rows: array<Rows>;
@group(0) @binding(3) var<storage, read_write> out: array<Out>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lid: u32,
) {
    let i = linear(workgroup, grid) * 256u + lid;
    if i >= params.len {
        return;
    }
    let width = 2u * params.hidden;
    let row = i / width;
    let column = i % width;
    var value = f32(d[params.d_offset + row * params.hidden + column % params.hidden]);
    if params.kind == 2u {
        value *= 0.5;
    } else if params.kind == 3u {
        // What the other direction says there.
        value *= f32(rows[params.rows_offset + row * width + (column + params.hidden) % width]);
    }
    out[params.out_offset + i] = Out(value);
}
