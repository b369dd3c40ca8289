// gather: out[r, j] = weight[j, tokens[r]] + bias[j], which is W·x + b for one-hot x; assigns.
//
// in   tokens  [R] ids below I; any other id gives the bias alone
// in   weight  [G·H, I] at weight_offset
// in   bias    [G·H] at bias_offset
// out  out     [R, G·H] at out_offset

struct Params {
    rows: u32,
    columns: u32,
    symbols: u32,
    weight_offset: u32,
    bias_offset: u32,
    out_offset: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> tokens: array<u32>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;

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
    let token = tokens[i / params.columns];
    var value = bias[params.bias_offset + j];
    if token < params.symbols {
        value += weight[params.weight_offset + j * params.symbols + token];
    }
    out[params.out_offset + i] = value;
}
