// activate: x = f(x), element by element.
//
// in-out  x  [R, N] at offset
//
// One thread an element; activation.wgsl is appended, which numbers the functions. X is f32 or f16.

struct Params {
    kind: u32,
    len: u32,
    offset: u32,
    first_workgroup: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> x: array<X>;

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
    x[params.offset + i] = X(activation(params.kind, f32(x[params.offset + i])));
}
