// copy: to[r, j] = source[r, j], rounded where it is kept in fewer bits; assigns.
//
// in   source  [R, N] at source_offset, rows source_stride apart
// out  to      [R, N] at to_offset, rows to_stride apart; what lies between them stays
//
// One thread an element. Source and To are f32 or f16.

struct Params {
    rows: u32,
    columns: u32,
    source_offset: u32,
    source_stride: u32,
    to_offset: u32,
    to_stride: u32,
    first_workgroup: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source: array<Source>;
@group(0) @binding(2) var<storage, read_write> to: array<To>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lid: u32,
) {
    let i = linear(workgroup, grid) * 256u + lid;
    if i >= params.rows * params.columns {
        return;
    }
    let r = i / params.columns;
    let j = i % params.columns;
    let value = source[params.source_offset + r * params.source_stride + j];
    to[params.to_offset + r * params.to_stride + j] = To(value);
}
