// step_forward: one step of a recurrence, every direction over the whole batch; the cell and recurrence.wgsl are
// appended.
//
//   r = U·(m ⊙ h_(t-1)) + b_U,  h_t = cell_forward(x, r, h_(t-1)); assigns a slot of the history. Of a cell with two
//   products the first dispatch ends with cell_operand, whose result takes h_(t-1)'s place in the second. With a
//   projection cell_forward's result is kept behind the history, and a second dispatch makes h_t = W_hr·(that) of it.
//
// in      weight        U [D·G·H, H], or W_hr [D·P, H], at weight_offset
// in      bias          b_U [D·G·H] at bias_offset, read where has_bias is 1
// in-out  gates         [T, B, D·G·H]: x = W·x_t + b_W; what the cell leaves there
// in-out  history       [T+D, B, D·H], with resets the start's slot behind it: the slot before the step is read, the
//                       slot after it written; with a projection
//                       [T, B, D·H] at projected_offset, written by the first dispatch, read by the second
// in      lengths       [B], or [T+2, B] where RESETS is 1
// in      dropout_mask  m [B, D·H], read where MASKED is 1; what zoneout drew, read where ZONEOUT_H or ZONEOUT_C says
//                       so
//
// One workgroup a tile of SEQUENCES sequences and THREADS / SPLIT · UNITS units. SPLIT threads that are neighbours
// share a sum and read neighbouring elements of a row of U and of h. Each makes the sums of all the sequences and of
// UNITS units in registers: UNITS·G weights and SEQUENCES operands make UNITS·G·SEQUENCES products.

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> weight: array<Stored>;
@group(0) @binding(2) var<storage, read> bias: array<Stored>;
@group(0) @binding(3) var<storage, read_write> gates: array<Stored>;
@group(0) @binding(4) var<storage, read_write> history: array<Stored>;
@group(0) @binding(5) var<storage, read> lengths: array<u32>;
@group(0) @binding(6) var<storage, read> dropout_mask: array<f32>;

override THREADS: u32 = 256u;
override SEQUENCES: u32 = 1u;
override UNITS: u32 = 1u;
override SPLIT: u32 = 16u;
/// At least SPLIT·(SEQUENCES·G·THREADS / SPLIT·UNITS + 1): lowering sees to it.
override FLOATS: u32 = 4096u;
override MASKED: u32 = 1u;
/// With a projection 1 is the dispatch before it and 2 its own; otherwise 0.
override PROJECTION: u32 = 0u;

/// Part q of the sum of gate g of sequence s and unit j of the tile at q·row + (s·G + g)·units + j.
var<workgroup> sums: array<f32, FLOATS>;

/// The sums of a thread: of its unit u, gate g and sequence s at (u·G + g)·SEQUENCES + s.
var<private> acc: array<f32, MAX_UNITS * GATES * MAX_SEQUENCES>;

/// Adds the products of element k. The operands of sequence s start at rows[s], its mask at masks[s], and the weights
/// of unit u at columns[u].
fn add_products(
    k: u32,
    rows: array<u32, MAX_SEQUENCES>,
    masks: array<u32, MAX_SEQUENCES>,
    columns: array<u32, MAX_UNITS>,
    first_gate: u32,
    end_gate: u32,
) {
    var operand: array<f32, MAX_SEQUENCES>;
    for (var s = 0u; s < SEQUENCES; s += 1u) {
        if first_gate == 0u {
            operand[s] = f32(history[rows[s] + k]);
        } else {
            operand[s] = operand_at(rows[s] + k);
        }
        if MASKED != 0u {
            operand[s] *= dropout_mask[masks[s] + k];
        }
    }
    for (var u = 0u; u < UNITS; u += 1u) {
        for (var g = first_gate; g < end_gate; g += 1u) {
            let w = f32(weight[columns[u] + g * params.hidden * params.operand + k]);
            for (var s = 0u; s < SEQUENCES; s += 1u) {
                let i = (u * GATES + g) * SEQUENCES + s;
                acc[i] = fma(operand[s], w, acc[i]);
            }
        }
    }
}

/// Of how many units this dispatch makes sums, and how long these are.
fn unit_count() -> u32 {
    return select(params.hidden, params.operand, PROJECTION == 2u);
}

fn sum_length() -> u32 {
    return select(params.operand, params.hidden, PROJECTION == 2u);
}

/// This thread's part of the sums of gates first to end: over h before the step, or what the cell has left at its time.
fn product(lid: u32, d: u32, first_b: u32, first_j: u32, first_gate: u32, end_gate: u32) {
    let units = unit_count();
    let length = sum_length();
    let blocks = select(GATES, 1u, PROJECTION == 2u);
    let width = THREADS / SPLIT;
    // What lies beyond the last sequence or unit is summed as the last and left alone.
    var rows: array<u32, MAX_SEQUENCES>;
    var masks: array<u32, MAX_SEQUENCES>;
    var columns: array<u32, MAX_UNITS>;
    for (var s = 0u; s < SEQUENCES; s += 1u) {
        let b = min(first_b + s, params.batch - 1u);
        if PROJECTION == 2u {
            rows[s] = params.projected_offset + units_at(time_of(params.step, d), b, d);
        } else if first_gate == 0u {
            rows[s] = operands_at(slot_before(params.step, b, d), b, d);
        } else {
            rows[s] = operands_at(time_of(params.step, d), b, d);
        }
        masks[s] = operands_at(0u, b, d);
    }
    for (var u = 0u; u < UNITS; u += 1u) {
        let j = min(first_j + lid / SPLIT + u * width, units - 1u);
        columns[u] = params.weight_offset + (d * blocks * units + j) * length;
    }
    var k = lid % SPLIT;
    // So many loads on their way at a time.
    for (; k + (DEPTH - 1u) * SPLIT < length; k += DEPTH * SPLIT) {
        for (var i = 0u; i < DEPTH; i += 1u) {
            add_products(k + i * SPLIT, rows, masks, columns, first_gate, end_gate);
        }
    }
    for (; k < length; k += SPLIT) {
        add_products(k, rows, masks, columns, first_gate, end_gate);
    }
    for (var u = 0u; u < UNITS; u += 1u) {
        for (var g = first_gate; g < end_gate; g += 1u) {
            for (var s = 0u; s < SEQUENCES; s += 1u) {
                let at = sum_at(lid % SPLIT, s, g, lid / SPLIT + u * width);
                sums[at] = acc[(u * GATES + g) * SEQUENCES + s];
            }
        }
    }
}

fn sum_at(part: u32, s: u32, g: u32, local_j: u32) -> u32 {
    let units = THREADS / SPLIT * UNITS;
    // One element of padding keeps the stores of neighbours in different banks.
    return part * (SEQUENCES * GATES * units + 1u) + (s * GATES + g) * units + local_j;
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lid: u32,
) {
    let hidden = params.hidden;
    let units = THREADS / SPLIT * UNITS;
    let tiles_b = (params.batch + SEQUENCES - 1u) / SEQUENCES;
    let tiles_j = (unit_count() + units - 1u) / units;
    let tile = linear(workgroup, grid);
    let d = tile / (tiles_b * tiles_j);
    if d >= params.directions {
        return;
    }
    let first_b = (tile / tiles_j % tiles_b) * SEQUENCES;
    let first_j = (tile % tiles_j) * units;

    // The gates of this product and what its sums are over.
    let is_second = FIRST_GATES < GATES && params.product == 1u;
    if PROJECTION == 2u {
        product(lid, d, first_b, first_j, 0u, 1u);
    } else if is_second {
        product(lid, d, first_b, first_j, FIRST_GATES % GATES, GATES);
    } else {
        product(lid, d, first_b, first_j, 0u, FIRST_GATES);
    }
    workgroupBarrier();

    for (var i = lid; i < SEQUENCES * units; i += THREADS) {
        let s = i / units;
        let b = first_b + s;
        let j = first_j + i % units;
        if PROJECTION == 2u {
            if b < params.batch && j < params.operand {
                var h = 0.0;
                for (var part = 0u; part < SPLIT; part += 1u) {
                    h += sums[sum_at(part, s, 0u, i % units)];
                }
                let at = place_of_h(params.step, b, d, j);
                history[at.now] = Stored(next_h(at, f32(history[at.before]), h));
            }
        } else if b < params.batch && j < hidden {
            let at = place(params.step, b, d, j);
            var x: array<f32, GATES>;
            var r: array<f32, GATES>;
            for (var g = 0u; g < GATES; g += 1u) {
                if g >= FIRST_GATES == is_second {
                    x[g] = f32(gates[at.gate + g * hidden]);
                    if params.has_bias != 0u {
                        r[g] = f32(bias[params.bias_offset + (d * GATES + g) * hidden + j]);
                    }
                    for (var part = 0u; part < SPLIT; part += 1u) {
                        r[g] += sums[sum_at(part, s, g, i % units)];
                    }
                }
            }
            var h_before = 0.0;
            if PROJECTION == 0u {
                h_before = f32(history[at.before]);
            }
            if FIRST_GATES < GATES && !is_second {
                cell_operand(params.variant, at, x, r, h_before);
            } else {
                let h = cell_forward(params.variant, at, x, r, h_before);
                if PROJECTION == 0u {
                    history[at.now] = Stored(next_h(at, h_before, h));
                } else {
                    history[params.projected_offset + at.unit] = Stored(h);
                }
            }
        }
    }
}
