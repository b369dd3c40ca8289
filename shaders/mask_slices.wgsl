// mask_slices: slices[s, weight + j] = slices[s, weight + j]·m(j), m being 0 where dropout drops and `kept` where not:
// the gradient of weights some of which were left out.
//
// in      keys    [sites, 2]
// in-out  slices  [S, flat]: `len` elements of each from weight_offset on
//
// One thread an element; random.wgsl is appended.

struct Params {
    slices: u32,
    flat: u32,
    weight_offset: u32,
    len: u32,
    site: u32,
    threshold: u32,
    kept: f32,
    first_workgroup: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> keys: array<u32>;
@group(0) @binding(2) var<storage, read_write> slices: array<f32>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lid: u32,
) {
    let i = linear(workgroup, grid) * 256u + lid;
    if i >= params.slices * params.len {
        return;
    }
    let j = i % params.len;
    let at = i / params.len * params.flat + params.weight_offset + j;
    slices[at] *= drawn(params.site, params.threshold, params.kept, j);
}
