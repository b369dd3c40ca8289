// initial_state_gradient: weight[j] = Σ_b source[slot, b, j] over `count` sequences from `first` on, the slot being
// that of j's direction, nothing unless fresh is 1; with has_resets Σ_b source[reset_slot, b, j] is added to it.
// Assigns, but adds where `first` is not 0.
//
// in   source  [T+D, B, D·H], and behind it the slot of resets
// in   fresh   [1]
// out  slices  [S, flat]: [D·H] at weight_offset of the first slice
//
// One thread an element. carry.wgsl is appended. Source is f32 or f16.

struct Params {
    batch: u32,
    hidden: u32,
    columns: u32,
    first_slot: u32,
    second_slot: u32,
    weight_offset: u32,
    first: u32,
    count: u32,
    zero: u32,
    has_resets: u32,
    reset_slot: u32,
    first_workgroup: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source: array<Source>;
@group(0) @binding(2) var<storage, read> fresh: array<f32>;
@group(0) @binding(3) var<storage, read_write> slices: array<f32>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lid: u32,
) {
    let i = linear(workgroup, grid) * 256u + lid;
    if i >= params.columns {
        return;
    }
    let slot = select(params.first_slot, params.second_slot, i >= params.hidden);
    var sum = Sum();
    if params.first > 0u {
        sum.total = slices[params.weight_offset + i];
    }
    for (var b = params.first; b < params.first + params.count; b += 1u) {
        if fresh[0] != 0.0 {
            sum = plus(sum, f32(source[(slot * params.batch + b) * params.columns + i]));
        }
        if params.has_resets != 0u {
            sum = plus(sum, f32(source[(params.reset_slot * params.batch + b) * params.columns + i]));
        }
    }
    slices[params.weight_offset + i] = sum.total;
}
