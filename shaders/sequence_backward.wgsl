// sequence_backward: a whole recurrence backwards, one workgroup a sequence from end to end; the cell is appended.
//
//   for t = T..1: dh_t = upstream_t + Uᵀ·(gradient of r at t + 1), nothing from beyond the last step; it takes
//   upstream_t's place; cell_backward(dh_t) assigns slot t of the gates, the gradient of x, and returns that of r.
//
// in      weight    U [G·H, H] at weight_offset: neighbouring threads read neighbouring elements
// in-out  upstream  [T, B, H]: all of it; the step before is added to where the cell passes h
// in      history   [T+1, B, H]
// in-out  gates     [T, B, G·H]: what the cell left there forwards; all is written
//
// H <= 1024 and G·H <= 2048; the plan sees to it. Where there are more threads than units they share each sum.

struct Params {
    steps: u32,
    batch: u32,
    hidden: u32,
    variant: u32,
    weight_offset: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> weight: array<f32>;
@group(0) @binding(2) var<storage, read_write> upstream: array<f32>;
@group(0) @binding(3) var<storage, read> history: array<f32>;
@group(0) @binding(4) var<storage, read_write> gates: array<f32>;

const THREADS: u32 = 256u;

/// The gradient of the pre-activations one step later.
var<workgroup> dr: array<f32, 2048>;
/// Group q's part of the sum of unit j at q·width + j.
var<workgroup> sums: array<f32, 1024>;

/// Σ dr[k]·U[k, unit] over k from begin to end, eight loads on their way at a time.
fn partial_sum(unit: u32, begin: u32, end: u32) -> f32 {
    let hidden = params.hidden;
    var sum = vec4(0.0);
    var at = params.weight_offset + begin * hidden + unit;
    var k = begin;
    for (; k + 8u <= end; k += 8u) {
        let near = vec4(weight[at], weight[at + hidden], weight[at + 2u * hidden], weight[at + 3u * hidden]);
        let far = vec4(
            weight[at + 4u * hidden],
            weight[at + 5u * hidden],
            weight[at + 6u * hidden],
            weight[at + 7u * hidden],
        );
        sum = fma(vec4(dr[k], dr[k + 1u], dr[k + 2u], dr[k + 3u]), near, sum);
        sum = fma(vec4(dr[k + 4u], dr[k + 5u], dr[k + 6u], dr[k + 7u]), far, sum);
        at += 8u * hidden;
    }
    for (; k < end; k += 1u) {
        sum.x = fma(dr[k], weight[at], sum.x);
        at += hidden;
    }
    return (sum.x + sum.y) + (sum.z + sum.w);
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lid: u32,
) {
    let b = linear(workgroup, grid);
    if b >= params.batch {
        return;
    }
    let hidden = params.hidden;
    let rows = GATES * hidden;
    var width = 32u;
    while width < hidden && width < THREADS {
        width *= 2u;
    }
    let groups = THREADS / width;
    let group = lid / width;
    let begin = slice_start(rows, group, groups);
    let end = slice_start(rows, group + 1u, groups);

    for (var step = 0u; step < params.steps; step += 1u) {
        let t = params.steps - 1u - step;
        let at = (t * params.batch + b) * hidden;
        // This thread's first unit's, so that the wait overlaps the sums.
        var above = 0.0;
        if lid < hidden {
            above = upstream[at + lid];
        }
        // Nothing comes from beyond the last step.
        if step > 0u {
            for (var j = lid % width; j < hidden; j += width) {
                sums[group * width + j] = partial_sum(j, begin, end);
            }
        }
        workgroupBarrier();
        for (var j = lid; j < hidden; j += THREADS) {
            if j != lid {
                above = upstream[at + j];
            }
            var dh = above;
            if step > 0u {
                for (var q = 0u; q < groups; q += 1u) {
                    dh += sums[q * width + j];
                }
            }
            let unit = place(t, params.steps, b, j, params.batch, hidden);
            upstream[unit.unit] = dh;
            var gradient = cell_backward(params.variant, unit, dh);
            for (var g = 0u; g < GATES; g += 1u) {
                dr[g * hidden + j] = gradient.r[g];
            }
            // To where this same thread finds it at the next turn.
            if PASSES_H && !unit.is_first {
                upstream[unit.unit - unit.slot] += gradient.h_before;
            }
        }
        workgroupBarrier();
    }
}
