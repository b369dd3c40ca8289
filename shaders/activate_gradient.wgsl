// activate_gradient: d = d·f′, element by element: from the gradient of f's values to that of what f is of.
//
// in      kept  [R, N] at kept_offset: f's values or, of gelu and softplus, what f is of
// in-out  d     [R, N] at d_offset
//
// One thread an element; activation.wgsl is appended, which numbers the functions. Kept and D are f32 or f16.

struct Params {
    kind: u32,
    len: u32,
    kept_offset: u32,
    d_offset: u32,
    first_workgroup: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> kept: array<Kept>;
@group(0) @binding(2) var<storage, read_write> d: array<D>;

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
    let slope = activation_slope(params.kind, f32(kept[params.kept_offset + i]));
    d[params.d_offset + i] = D(f32(d[params.d_offset + i]) * slope);
}
