// normalize_weight_gradient: gain[j] = Σ_r d[r, j]·x̂[r, j], with x̂ = (x[r] − μ)·σ⁻¹, and bias[j] = Σ_r d[r, j];
// assigns both in every slice, adds where `skip` is not 0.
//
// in   d           [R, N] at d_offset
// in   x           [R, N] at x_offset
// in   statistics  [R, 2]: μ and σ⁻¹
// out  slices      [S, flat]: [N] at gain_offset and [N] at bias_offset of every slice
//
// Slice s takes rows ⌊R·s/S⌋ to ⌊R·(s+1)/S⌋, of which a dispatch takes `count` from `skip` on. One workgroup a block of
// 32 columns and a slice; 8 groups of threads share its rows. carry.wgsl is appended. D and X are f32 or f16.

struct Params {
    rows: u32,
    columns: u32,
    slices: u32,
    slice_stride: u32,
    d_offset: u32,
    x_offset: u32,
    gain_offset: u32,
    bias_offset: u32,
    skip: u32,
    count: u32,
    zero: u32,
    first_workgroup: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> d: array<D>;
@group(0) @binding(2) var<storage, read> x: array<X>;
@group(0) @binding(3) var<storage, read> statistics: array<f32>;
@group(0) @binding(4) var<storage, read_write> slices: array<f32>;

const COLUMNS: u32 = 32u;
const GROUPS: u32 = 8u;

var<workgroup> sums: array<vec2<f32>, GROUPS * COLUMNS>;

@compute @workgroup_size(32, 8)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let block = linear(workgroup, grid);
    let slice = workgroup.z;
    if block * COLUMNS >= params.columns || slice >= params.slices {
        return;
    }
    let j = block * COLUMNS + local.x;
    let last = slice_start(params.rows, slice + 1u, params.slices);
    let begin = min(slice_start(params.rows, slice, params.slices) + params.skip, last);
    let end = begin + min(params.count, last - begin);
    var gain = Sum();
    var bias = Sum();
    if j < params.columns {
        for (var row = begin + local.y; row < end; row += GROUPS) {
            let gradient = f32(d[params.d_offset + row * params.columns + j]);
            let apart = f32(x[params.x_offset + row * params.columns + j]) - statistics[2u * row];
            gain = plus(gain, gradient * apart * statistics[2u * row + 1u]);
            bias = plus(bias, gradient);
        }
    }
    let at = local.y * COLUMNS + local.x;
    sums[at] = vec2(gain.total, bias.total);
    workgroupBarrier();
    for (var groups = GROUPS / 2u; groups > 0u; groups /= 2u) {
        if local.y < groups {
            sums[at] += sums[at + groups * COLUMNS];
        }
        workgroupBarrier();
    }
    if local.y == 0u && j < params.columns {
        var sum = sums[local.x];
        let to = slice * params.slice_stride + j;
        if params.skip > 0u {
            sum += vec2(slices[params.gain_offset + to], slices[params.bias_offset + to]);
        }
        slices[params.gain_offset + to] = sum.x;
        slices[params.bias_offset + to] = sum.y;
    }
}
