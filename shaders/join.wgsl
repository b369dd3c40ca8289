// join: out[r, j] = a ∘ b, a and b being rows[r, j] and rows[r, H + j]; assigns.
//
// in   rows  [R, 2·H] at rows_offset
// out  out   [R, H] at out_offset
//
// Kind 1 is the sum, 2 the mean, 3 the product. One thread an element. Rows and Out are f32 or f16.

struct Params {
    kind: u32,
    len: u32,
    hidden: u32,
    rows_offset: u32,
    out_offset: u32,
    first_workgroup: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> rows: array<Rows>;
@group(0) @binding(2) var<storage, read_write> out: array<Out>;

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
    let at = params.rows_offset + i + i / params.hidden * params.hidden;
    let a = f32(rows[at]);
    let b = f32(rows[at + params.hidden]);
    var value = a + b;
    if params.kind == 2u {
        value *= 0.5;
    } else if params.kind == 3u {
        value = a * b;
    }
    out[params.out_offset + i] = Out(value);
}
