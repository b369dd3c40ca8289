// sequence_backward: a whole recurrence backwards, one workgroup a direction of a sequence from end to end; the cell and
// recurrence.wgsl are appended.
//
//   for every step from the last: dh_t = upstream_t + m ⊙ Uᵀ·(gradient of r one step later), nothing from beyond the
//   last step; it takes upstream_t's place; cell_backward(dh_t) assigns the step's gates, the gradient of x, and returns
//   that of r. Of a cell with two products, m ⊙ Uᵀ·(gradient of the second's sums) goes to cell_operand_backward.
//
// in      weight    U [D·G·H, H] at weight_offset: neighbouring threads read neighbouring elements
// in-out  upstream  [T+D, B, D·H]: slots 1 to T; the slot before is added to where h passes around U; the initial state's
//                   is assigned
// in      history   [T+D, B, D·H]
// in-out  gates     [T, B, D·G·H]: what the cell left there forwards; all is written
// in      lengths   [B]
// in      mask      m [B, D·H], read where has_mask is 1
//
// H <= 1024 and G·H <= 2048; the plan sees to it. Where there are more threads than units they share each sum.

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> weight: array<f32>;
@group(0) @binding(2) var<storage, read_write> upstream: array<f32>;
@group(0) @binding(3) var<storage, read> history: array<f32>;
@group(0) @binding(4) var<storage, read_write> gates: array<f32>;
@group(0) @binding(5) var<storage, read> lengths: array<u32>;
@group(0) @binding(6) var<storage, read> mask: array<f32>;

const THREADS: u32 = 256u;

/// The gradient of the products' sums.
var<workgroup> dr: array<f32, 2048>;
/// Group q's part of the sum of unit j at q·width + j.
var<workgroup> sums: array<f32, 1024>;

/// Σ dr[k]·U[k, unit] over k from begin to end, eight loads on their way at a time.
fn partial_sum(u_offset: u32, unit: u32, begin: u32, end: u32) -> f32 {
    let hidden = params.hidden;
    var sum = vec4(0.0);
    var at = u_offset + begin * hidden + unit;
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

/// How many threads work on one part of K: one a unit, up to all.
fn width_of_sums() -> u32 {
    var width = 32u;
    while width < params.hidden && width < THREADS {
        width *= 2u;
    }
    return width;
}

/// Uᵀ times the gradients of gates first to end, each group's part of it.
fn product(lid: u32, d: u32, first_gate: u32, end_gate: u32) {
    let hidden = params.hidden;
    let width = width_of_sums();
    let groups = THREADS / width;
    let group = lid / width;
    let length = (end_gate - first_gate) * hidden;
    let begin = first_gate * hidden + slice_start(length, group, groups);
    let end = first_gate * hidden + slice_start(length, group + 1u, groups);
    let u_offset = params.weight_offset + d * GATES * hidden * hidden;
    for (var j = lid % width; j < hidden; j += width) {
        sums[group * width + j] = partial_sum(u_offset, j, begin, end);
    }
}

fn sum_of(j: u32) -> f32 {
    let width = width_of_sums();
    var sum = 0.0;
    for (var q = 0u; q < THREADS / width; q += 1u) {
        sum += sums[q * width + j];
    }
    return sum;
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lid: u32,
) {
    let sequence = linear(workgroup, grid);
    let b = sequence / params.directions;
    let d = sequence % params.directions;
    if b >= params.batch {
        return;
    }
    let hidden = params.hidden;

    for (var done = 0u; done < params.steps; done += 1u) {
        let step = params.steps - 1u - done;
        let at = units_at(slot_of(step, d), b, d);
        // This thread's first unit's, so that the wait overlaps the sums.
        var above = 0.0;
        if lid < hidden {
            above = upstream[at + lid];
        }
        // Nothing comes from beyond the last step.
        if done > 0u {
            product(lid, d, 0u, FIRST_GATES);
        }
        workgroupBarrier();
        for (var j = lid; j < hidden; j += THREADS) {
            if j != lid {
                above = upstream[at + j];
            }
            var dh = above;
            if done > 0u {
                dh += mask_at(b, d, j) * sum_of(j);
            }
            let unit = place(step, b, d, j);
            upstream[unit.now] = dh;
            var gradient = cell_backward(params.variant, unit, select(0.0, dh, unit.counts));
            for (var g = 0u; g < GATES; g += 1u) {
                dr[g * hidden + j] = gradient.r[g];
            }
            // To where this same thread finds it at the next turn.
            let passed = select(dh, gradient.h_before, unit.counts);
            if unit.is_first {
                upstream[unit.before] = passed;
            } else if PASSES_H || !unit.counts {
                upstream[unit.before] += passed;
            }
        }
        workgroupBarrier();
        if FIRST_GATES < GATES {
            product(lid, d, FIRST_GATES, GATES);
            workgroupBarrier();
            for (var j = lid; j < hidden; j += THREADS) {
                let unit = place(step, b, d, j);
                var gradient = cell_operand_backward(params.variant, unit, mask_at(b, d, j) * sum_of(j));
                for (var g = 0u; g < FIRST_GATES; g += 1u) {
                    // Of a gate that the operand is not made of, the gradient is already there.
                    dr[g * hidden + j] += gradient.r[g];
                }
                upstream[unit.before] += gradient.h_before;
            }
            workgroupBarrier();
        }
    }
    if params.to_start != 0u {
        product(lid, d, 0u, FIRST_GATES);
        workgroupBarrier();
        for (var j = lid; j < hidden; j += THREADS) {
            upstream[units_at(slot_of(0xffffffffu, d), b, d) + j] += mask_at(b, d, j) * sum_of(j);
        }
    }
}
