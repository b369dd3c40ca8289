// reduce_gradients: gradients[i] = Σ_s slices[s, i]·u, s in order, added to what is there where the step accumulates or
// `adds` is not 0; 0 where the element is frozen. Each block of 2048 elements leaves in partials its largest magnitude
// m, Σ (g/m)² (0 where m is 0), and 1 if all of it is finite, else 0.
//
// in      slices           [S, flat]
// in      step_params      StepParams: accumulate
// in      parameter_flags  bit 1 where an element is frozen, bit 4 where it counts as 0 in m and the sum; those of
//                          element i at first_flag + i
// in      loss_scale       LossScale: u is its inverse, read where has_loss_scale is 1; else u is 1
// in-out  gradients        [flat]: read where something is added to it, assigned always
// out     partials         [blocks] of NormPartial, from first_block on
//
// One workgroup a block. An element that is not finite clears the flag and counts as 0 in the other two. Appended:
// records.wgsl and the sum over the slices, of reduce_gradients_window.wgsl or reduce_gradients_segment.wgsl.

struct Params {
    flat: u32,
    slices: u32,
    adds: u32,
    has_loss_scale: u32,
    first_flag: u32,
    first_block: u32,
    clips_apart: u32,
    zero: u32,
    first_workgroup: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> slices: array<f32>;
@group(0) @binding(2) var<storage, read> step_params: StepParams;
@group(0) @binding(3) var<storage, read> parameter_flags: array<u32>;
@group(0) @binding(4) var<storage, read> loss_scale: LossScale;
@group(0) @binding(5) var<storage, read_write> gradients: array<f32>;
@group(0) @binding(6) var<storage, read_write> partials: array<NormPartial>;

const THREADS: u32 = 256u;
const BLOCK: u32 = 2048u;
const FROZEN: u32 = 1u;
const CLIPPED_APART: u32 = 4u;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lid: u32,
) {
    let block = linear(workgroup, grid);
    if block >= (params.flat + BLOCK - 1u) / BLOCK {
        return;
    }
    let first = block * BLOCK + lid;
    let end = min((block + 1u) * BLOCK, params.flat);

    let accumulates = params.adds != 0u || step_params.accumulate != 0.0;
    var unscaled = 1.0;
    if params.has_loss_scale != 0u {
        unscaled = loss_scale.inverse;
    }
    var largest = 0.0;
    var broken = 0.0;
    for (var i = first; i < end; i += THREADS) {
        var before = 0.0;
        // No product with a factor of 0: what is there may be of a step that diverged.
        if accumulates {
            before = gradients[i];
        }
        var g = combined(i, before, unscaled);
        let bits = parameter_flags[params.first_flag + i];
        if (bits & FROZEN) != 0u {
            g = 0.0;
        }
        gradients[i] = g;
        let finite = is_finite_bits(g);
        largest = max(largest, select(0.0, abs(g), finite && (bits & CLIPPED_APART) == 0u));
        broken = select(1.0, broken, finite);
    }
    let m = reduce_max(lid, largest);
    let any_broken = reduce_max(lid, broken);

    var sum = 0.0;
    if m > 0.0 {
        for (var i = first; i < end; i += THREADS) {
            // What this thread has just written.
            let g = gradients[i];
            if params.clips_apart != 0u && (parameter_flags[params.first_flag + i] & CLIPPED_APART) != 0u {
                continue;
            }
            let scaled = ratio(select(0.0, g, is_finite_bits(g)), m);
            sum = fma(scaled, scaled, sum);
        }
    }
    let total = reduce_sum(lid, sum);
    if lid == 0u {
        partials[params.first_block + block] = NormPartial(m, total, 1.0 - any_broken);
    }
}
