// group_norm: what reduce_gradients leaves of each block of 2048 elements, of the elements of one group alone: their
// largest magnitude m, Σ (g/m)² (0 where m is 0), and 1 if all of them are finite, else 0.
//
// in   gradients        [elements]
// in   parameter_flags  from bit 8 on the number of an element's group; that of element i at first_flag + i
// out  partials         [blocks] of NormPartial, from first_block on
//
// One workgroup a block. An element that is not finite clears the flag and counts as 0. Appended: records.wgsl.

struct Params {
    elements: u32,
    group: u32,
    first_flag: u32,
    first_block: u32,
    zero: u32,
    first_workgroup: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> gradients: array<f32>;
@group(0) @binding(2) var<storage, read> parameter_flags: array<u32>;
@group(0) @binding(3) var<storage, read_write> partials: array<NormPartial>;

const THREADS: u32 = 256u;
const BLOCK: u32 = 2048u;
const GROUP_SHIFT: u32 = 8u;

/// The gradient of element i, or 0 where it is not the group's.
fn of_group(i: u32) -> f32 {
    return select(0.0, gradients[i], (parameter_flags[params.first_flag + i] >> GROUP_SHIFT) == params.group);
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lid: u32,
) {
    let block = linear(workgroup, grid);
    if block >= (params.elements + BLOCK - 1u) / BLOCK {
        return;
    }
    let first = block * BLOCK + lid;
    let end = min((block + 1u) * BLOCK, params.elements);

    var largest = 0.0;
    var broken = 0.0;
    for (var i = first; i < end; i += THREADS) {
        let g = of_group(i);
        let finite = is_finite_bits(g);
        largest = max(largest, select(0.0, abs(g), finite));
        broken = select(1.0, broken, finite);
    }
    let m = reduce_max(lid, largest);
    let any_broken = reduce_max(lid, broken);

    var sum = 0.0;
    if m > 0.0 {
        for (var i = first; i < end; i += THREADS) {
            let g = of_group(i);
            let scaled = ratio(select(0.0, g, is_finite_bits(g)), m);
            sum = fma(scaled, scaled, sum);
        }
    }
    let total = reduce_sum(lid, sum);
    if lid == 0u {
        partials[params.first_block + block] = NormPartial(m, total, 1.0 - any_broken);
    }
}
