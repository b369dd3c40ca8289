// normalize_gradient: d[r] = σ⁻¹·(g − mean(g) − x̂·mean(g·x̂)), with g = d[r]·gain and x̂ = (x[r] − μ)·σ⁻¹.
//
// in      x           [R, N] at x_offset
// in      weights     gain [N] at gain_offset
// in      statistics  [R, 2]: μ and σ⁻¹
// in-out  d           [R, N] at d_offset
//
// One workgroup a row. X, Weights and D are f32 or f16. reduce.wgsl is appended.

struct Params {
    rows: u32,
    columns: u32,
    x_offset: u32,
    gain_offset: u32,
    d_offset: u32,
    first_workgroup: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<X>;
@group(0) @binding(2) var<storage, read> weights: array<Weights>;
@group(0) @binding(3) var<storage, read> statistics: array<f32>;
@group(0) @binding(4) var<storage, read_write> d: array<D>;

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
    let to = params.d_offset + row * params.columns;
    let mean = statistics[2u * row];
    let inverse = statistics[2u * row + 1u];
    var sum = 0.0;
    var along = 0.0;
    for (var j = lid; j < params.columns; j += THREADS) {
        let g = f32(d[to + j]) * f32(weights[params.gain_offset + j]);
        sum += g;
        along += g * (f32(x[at + j]) - mean) * inverse;
    }
    let mean_g = reduce_sum(lid, sum) / f32(params.columns);
    let mean_along = reduce_sum(lid, along) / f32(params.columns);
    for (var j = lid; j < params.columns; j += THREADS) {
        let g = f32(d[to + j]) * f32(weights[params.gain_offset + j]);
        let normal = (f32(x[at + j]) - mean) * inverse;
        d[to + j] = D(inverse * (g - mean_g - normal * mean_along));
    }
}
