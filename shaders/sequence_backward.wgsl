// sequence_backward: a recurrence backwards from step `end` to `begin`, all of them or a part, one workgroup a tile of
// sequences of a direction; the cell and recurrence.wgsl are appended.
//
//   for every step from the last: dh_t = upstream_t + m ⊙ Uᵀ·(gradient of r one step later), from beyond the last step
//   what is carried; it takes upstream_t's place; cell_backward(dh_t) assigns the step's gates, the gradient of x, and
//   returns that of r. Of a cell with two products, m ⊙ Uᵀ·(gradient of the second's sums) goes to
//   cell_operand_backward.
//
// in      weight        U [D·G·H, H] at weight_offset: neighbouring threads read neighbouring elements
// in-out  upstream      [T+D, B, D·H]: slots 1 to T; the slot before is added to where h passes around U; the initial
//                       state's is assigned
// in      history       [T+D, B, D·H]
// in-out  gates         [T, B, D·G·H]: what the cell left there forwards; all is written
// in      lengths       [B], or [T+2, B] where RESETS is 1
// in      dropout_mask  m [B, D·H], read where has_mask is 1; what zoneout drew, read where ZONEOUT_H or ZONEOUT_C says
//                       so
//
// A weight is loaded once for all sequences of the tile, and a gradient once for all units of a thread: UNITS weights
// and SEQUENCES gradients make UNITS·SEQUENCES products. SPLIT threads share each sum.

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> weight: array<Stored>;
@group(0) @binding(2) var<storage, read_write> upstream: array<Stored>;
@group(0) @binding(3) var<storage, read> history: array<Stored>;
@group(0) @binding(4) var<storage, read_write> gates: array<Stored>;
@group(0) @binding(5) var<storage, read> lengths: array<u32>;
@group(0) @binding(6) var<storage, read> dropout_mask: array<f32>;

override THREADS: u32 = 256u;
override SEQUENCES: u32 = 1u;
override UNITS: u32 = 1u;
override SPLIT: u32 = 1u;
/// At least SEQUENCES·(G·H + SPLIT·H); the plan sees to it.
override FLOATS: u32 = 4096u;

/// The gradient of the products' sums, element k of sequence s of the tile at k·SEQUENCES + s. Behind them the sums:
/// part q of that of unit j at SEQUENCES·G·H + (q·SEQUENCES + s)·H + j.
var<workgroup> shared_floats: array<f32, FLOATS>;

/// The sums of a thread: of its unit u and sequence s at u·SEQUENCES + s.
var<private> acc: array<f32, MAX_UNITS * MAX_SEQUENCES>;

/// Adds the products of element k, whose weights start at `at`.
fn add_products(k: u32, at: u32, columns: array<u32, MAX_UNITS>) {
    var dr: array<f32, MAX_SEQUENCES>;
    for (var s = 0u; s < SEQUENCES; s += 1u) {
        dr[s] = shared_floats[k * SEQUENCES + s];
    }
    for (var u = 0u; u < UNITS; u += 1u) {
        let w = f32(weight[at + columns[u]]);
        for (var s = 0u; s < SEQUENCES; s += 1u) {
            acc[u * SEQUENCES + s] = fma(dr[s], w, acc[u * SEQUENCES + s]);
        }
    }
}

/// Uᵀ times the gradients of gates first to end, each thread's part of it.
fn product(lid: u32, d: u32, first_gate: u32, end_gate: u32) {
    let hidden = params.hidden;
    let width = THREADS / SPLIT;
    let part = lid / width;
    let length = (end_gate - first_gate) * hidden;
    let begin = first_gate * hidden + slice_start(length, part, SPLIT);
    let end = first_gate * hidden + slice_start(length, part + 1u, SPLIT);
    for (var first = lid % width; first < hidden; first += width * UNITS) {
        var columns: array<u32, MAX_UNITS>;
        for (var u = 0u; u < UNITS; u += 1u) {
            // A unit beyond the last is summed as the last and left alone.
            columns[u] = min(first + u * width, hidden - 1u);
            for (var s = 0u; s < SEQUENCES; s += 1u) {
                acc[u * SEQUENCES + s] = 0.0;
            }
        }
        var at = params.weight_offset + (d * GATES * hidden + begin) * hidden;
        var k = begin;
        // So many loads on their way at a time.
        for (; k + DEPTH <= end; k += DEPTH) {
            for (var i = 0u; i < DEPTH; i += 1u) {
                add_products(k + i, at + i * hidden, columns);
            }
            at += DEPTH * hidden;
        }
        for (; k < end; k += 1u) {
            add_products(k, at, columns);
            at += hidden;
        }
        for (var u = 0u; u < UNITS; u += 1u) {
            let j = first + u * width;
            if j < hidden {
                for (var s = 0u; s < SEQUENCES; s += 1u) {
                    shared_floats[sum_at(part, s, j)] = acc[u * SEQUENCES + s];
                }
            }
        }
    }
}

fn sum_at(part: u32, s: u32, j: u32) -> u32 {
    return (SEQUENCES * GATES + part * SEQUENCES + s) * params.hidden + j;
}

/// The whole sum of unit j of the tile's sequence s.
fn sum_of(s: u32, j: u32) -> f32 {
    var sum = 0.0;
    for (var part = 0u; part < SPLIT; part += 1u) {
        sum += shared_floats[sum_at(part, s, j)];
    }
    return sum;
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lid: u32,
) {
    let tile = linear(workgroup, grid);
    let d = tile % params.directions;
    let first_b = tile / params.directions * SEQUENCES;
    if first_b >= params.batch {
        return;
    }
    let hidden = params.hidden;
    // The units of all sequences of the tile, one after the other.
    let units = min(SEQUENCES, params.batch - first_b) * hidden;

    // What the first turn hears through U: of the step after it. From beyond the last of all nothing comes but what is
    // carried, which stands where that turn finds its sums, so that the loop over units is the same in every turn: FXC
    // takes no barrier beside a loop that branches on the turn, nor below one that branches on what bounds the turns.
    for (var i = lid; i < units; i += THREADS) {
        for (var part = 0u; part < SPLIT; part += 1u) {
            shared_floats[sum_at(part, i / hidden, i % hidden)] = 0.0;
        }
    }
    if params.end < params.steps {
        for (var i = lid; i < units; i += THREADS) {
            let s = i / hidden;
            let j = i % hidden;
            let after = gates_at(time_of(params.end, d), first_b + s, d) + j;
            for (var g = 0u; g < GATES; g += 1u) {
                shared_floats[(g * hidden + j) * SEQUENCES + s] = recurrent_gradient(after + g * hidden);
            }
        }
    } else if params.carried != 0u {
        for (var i = lid; i < units; i += THREADS) {
            let s = i / hidden;
            let j = i % hidden;
            shared_floats[sum_at(0u, s, j)] = f32(upstream[units_at(slot_of(params.steps, d), first_b + s, d) + j]);
        }
    }
    workgroupBarrier();

    for (var done = params.begin; done < params.end; done += 1u) {
        let step = params.begin + params.end - 1u - done;
        let is_last = step + 1u == params.steps;
        let slot = slot_of(step, d);
        // This thread's first unit's, so that the wait overlaps the sums.
        var above = 0.0;
        if lid < units {
            above = f32(upstream[units_at(slot, first_b + lid / hidden, d) + lid % hidden]);
        }
        if !is_last {
            product(lid, d, 0u, FIRST_GATES);
        }
        workgroupBarrier();
        for (var i = lid; i < units; i += THREADS) {
            let s = i / hidden;
            let j = i % hidden;
            let b = first_b + s;
            let unit = place(step, b, d, j);
            if i != lid {
                above = f32(upstream[unit.now]);
            }
            let through_u = select(mask_at(b, d, j), 1.0, is_last) * sum_of(s, j);
            var dh = above;
            if !is_last && is_reset(step + 1u, b, d) {
                let start = units_at(params.start, b, d) + j;
                upstream[start] = Stored(f32(upstream[start]) + through_u);
            } else {
                dh += through_u;
            }
            upstream[unit.now] = Stored(dh);
            let gradient = cell_backward(params.variant, unit, of_made_h(unit, dh));
            for (var g = 0u; g < GATES; g += 1u) {
                // As it is kept, so that another dispatch can go on from there.
                shared_floats[(g * hidden + j) * SEQUENCES + s] = f32(Stored(gradient.r[g]));
            }
            // To where this same thread finds it at the next turn.
            let passed = past_u(unit, dh, gradient.h_before);
            if unit.is_first {
                upstream[units_at(slot_of(step - 1u, d), b, d) + j] = Stored(select(passed, 0.0, unit.is_reset));
            }
            if unit.is_reset || (!unit.is_first && (PASSES_H || ZONEOUT_H != 0u || !unit.counts)) {
                upstream[unit.before] = Stored(f32(upstream[unit.before]) + passed);
            }
        }
        workgroupBarrier();
        if FIRST_GATES < GATES {
            product(lid, d, FIRST_GATES, GATES);
            workgroupBarrier();
            for (var i = lid; i < units; i += THREADS) {
                let s = i / hidden;
                let j = i % hidden;
                let unit = place(step, first_b + s, d, j);
                let sum = mask_at(first_b + s, d, j) * sum_of(s, j);
                let gradient = cell_operand_backward(params.variant, unit, sum);
                for (var g = 0u; g < FIRST_GATES; g += 1u) {
                    // Of a gate that the operand is not made of, the gradient is already there.
                    shared_floats[(g * hidden + j) * SEQUENCES + s] += f32(Stored(gradient.r[g]));
                }
                upstream[unit.before] = Stored(f32(upstream[unit.before]) + gradient.h_before);
            }
            workgroupBarrier();
        }
    }
    if params.to_start != 0u {
        product(lid, d, 0u, FIRST_GATES);
        workgroupBarrier();
        for (var i = lid; i < units; i += THREADS) {
            let b = first_b + i / hidden;
            let j = i % hidden;
            let at = units_at(slot_before(0u, b, d), b, d) + j;
            upstream[at] = Stored(f32(upstream[at]) + mask_at(b, d, j) * sum_of(i / hidden, j));
        }
    }
}
