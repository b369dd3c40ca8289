// normalize: out[r] = (x[r] − μ)·σ⁻¹·gain + bias, with μ and σ² + ε of each row's elements; assigns.
//
// in   x           [R, N] at x_offset
// in   weights     gain [N] at gain_offset, bias [N] at bias_offset
// out  statistics  [R, 2]: μ and σ⁻¹
// out  out         [R, N] at out_offset
//
// One workgroup a row. X, Weights and Out are f32 or f16. reduce.wgsl is appended.

struct Params {
    rows: u32,
    columns: u32,
    x_offset: u32,
    gain_offset: u32,
    bias_offset: u32,
    out_offset: u32,
    epsilon: f32,
    first_workgroup: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<X>;
@group(0) @binding(2) var<storage, read> weights: array<Weights>;
@group(0) @binding(3) var<storage, read_write> statistics: array<f32>;
@group(0) @binding(4) var<storage, read_write> out: array<Out>;

const THREADS: u32 = 64u;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lid: u32,
) {
    let row = linear(workgroup, grid);
    if row >= params.rows {
        return;
    }
    let at = params.x_offset + row * params.columns;
    var sum = 0.0;
    for (var j = lid; j < params.columns; j += THREADS) {
        sum += f32(x[at + j]);
    }
    let mean = reduce_sum(lid, sum) / f32(params.columns);
    var squares = 0.0;
    for (var j = lid; j < params.columns; j += THREADS) {
        let apart = f32(x[at + j]) - mean;
        squares += apart * apart;
    }
    let variance = reduce_sum(lid, squares) / f32(params.columns);
    let inverse = 1.0 / sqrt(variance + params.epsilon);
    for (var j = lid; j < params.columns; j += THREADS) {
        let gain = f32(weights[params.gain_offset + j]);
        let bias = f32(weights[params.bias_offset + j]);
        out[params.out_offset + row * params.columns + j] = Out((f32(x[at + j]) - mean) * inverse * gain + bias);
    }
    if lid == 0u {
        statistics[2u * row] = mean;
        statistics[2u * row + 1u] = inverse;
    }
}
