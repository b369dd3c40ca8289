// accumulate: x = x + y, element by element.
//
// in      y  [R, N] at y_offset
// in-out  x  [R, N] at x_offset
//
// One thread an element. Y and X are f32 or f16.

struct Params {
    len: u32,
    y_offset: u32,
    x_offset: u32,
    first_workgroup: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> y: array<Y>;
@group(0) @binding(2) var<storage, read_write> x: array<X>;

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
    x[params.x_offset + i] = X(f32(x[params.x_offset + i]) + f32(y[params.y_offset + i]));
}
