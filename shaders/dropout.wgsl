// dropout: out[r, j] = input[r, j]·m((first + r) mod period, j), m being 0 where dropout drops and `kept` where not;
// assigns.
//
// in   input  [R, N] at input_offset, read where has_input is 1; ones where not
// in   keys   [sites, 2]
// out  out    [R, N] at out_offset
//
// One thread an element; random.wgsl is appended. Input and Out are f32 or f16.

struct Params {
    rows: u32,
    columns: u32,
    has_input: u32,
    input_offset: u32,
    out_offset: u32,
    first: u32,
    period: u32,
    site: u32,
    threshold: u32,
    kept: f32,
    first_workgroup: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<Input>;
@group(0) @binding(2) var<storage, read> keys: array<u32>;
@group(0) @binding(3) var<storage, read_write> out: array<Out>;

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
    var value = 1.0;
    if params.has_input != 0u {
        value = f32(input[params.input_offset + i]);
    }
    let position = (params.first * params.columns + i) % (params.period * params.columns);
    out[params.out_offset + i] = Out(value * drawn(params.site, params.threshold, params.kept, position));
}
