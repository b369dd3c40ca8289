// gather: out[r, j] = weight[j, tokens[r]]·m(b, tokens[r]) + bias[j], which is W·x + b for one-hot x; assigns.
//
// in   tokens  [R] ids below I from first on; any other id gives the bias alone
// in   weight  [N, I] or, where by_rows is 1, [I, N], at weight_offset
// in   bias    [N] at bias_offset, read where has_bias is 1
// in   keys    [sites, 2]: m is what dropout draws at b·I + token, read where has_mask is 1; else m is 1
// out  out     [R, N] at out_offset, rows out_stride apart
//
// Row r is of sequence b = r mod batch. One thread an element; random.wgsl is appended. Weight and Out are f32 or
// f16.

struct Params {
    rows: u32,
    columns: u32,
    vocabulary: u32,
    first: u32,
    batch: u32,
    weight_offset: u32,
    has_bias: u32,
    bias_offset: u32,
    out_offset: u32,
    out_stride: u32,
    has_mask: u32,
    site: u32,
    threshold: u32,
    kept: f32,
    by_rows: u32,
    first_workgroup: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> tokens: array<u32>;
@group(0) @binding(2) var<storage, read> weight: array<Weight>;
@group(0) @binding(3) var<storage, read> bias: array<Weight>;
@group(0) @binding(4) var<storage, read> keys: array<u32>;
@group(0) @binding(5) var<storage, read_write> out: array<Out>;

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
    let j = i % params.columns;
    let r = i / params.columns;
    let token = tokens[params.first + r];
    var value = 0.0;
    if token < params.vocabulary {
        let at = select(j * params.vocabulary + token, token * params.columns + j, params.by_rows != 0u);
        value = f32(weight[params.weight_offset + at]);
        if params.has_mask != 0u {
            let position = r % params.batch * params.vocabulary + token;
            value *= drawn(params.site, params.threshold, params.kept, position);
        }
    }
    if params.has_bias != 0u {
        value += f32(bias[params.bias_offset + j]);
    }
    out[params.out_offset + r * params.out_stride + j] = Out(value);
}
