// sequence_forward: a recurrence over steps `begin` to `end`, all of them or a part, one workgroup a tile of sequences
// of a direction; the cell and recurrence.wgsl are appended.
//
//   for every one of them: r = U·(m ⊙ h_(t-1)) + b_U,  h_t = cell_forward(x, r, h_(t-1)); assigns
//   their slots of the history.
//   Of a cell with two products, cell_operand between them makes what takes h_(t-1)'s place in the second.
//
// in      transposed    Uᵀ [H, D·G·H] at weight_offset, so that neighbouring threads read neighbouring elements
// in      bias          b_U [D·G·H] at bias_offset, read where has_bias is 1
// in-out  gates         [T, B, D·G·H]: x = W·x_t + b_W; what the cell leaves there
// in-out  history       [T+D, B, D·H], with resets the start's slot behind it: the slot before `begin` is read, those
//                       of the steps written
// in      lengths       [B], or [T+2, B] where RESETS is 1
// in      dropout_mask  m [B, D·H], read where has_mask is 1; what zoneout drew, read where ZONEOUT_H or ZONEOUT_C says
//                       so
//
// A weight is loaded once for all sequences of the tile, and an operand once for all units of a thread: UNITS·G weights
// and SEQUENCES operands make UNITS·G·SEQUENCES products. SPLIT threads share each sum.

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> transposed: array<Stored>;
@group(0) @binding(2) var<storage, read> bias: array<Stored>;
@group(0) @binding(3) var<storage, read_write> gates: array<Stored>;
@group(0) @binding(4) var<storage, read_write> history: array<Stored>;
@group(0) @binding(5) var<storage, read> lengths: array<u32>;
@group(0) @binding(6) var<storage, read> dropout_mask: array<f32>;

override THREADS: u32 = 256u;
override SEQUENCES: u32 = 1u;
override UNITS: u32 = 1u;
override SPLIT: u32 = 1u;
/// At least SEQUENCES·(H + SPLIT·G·H); the plan sees to it.
override FLOATS: u32 = 4096u;

/// m ⊙ h_(t-1), then unit by unit m ⊙ h_t, of sequence s of the tile at k·SEQUENCES + s: what the next product is over.
/// Behind them the sums: part q of that of gate g at SEQUENCES·H + ((q·SEQUENCES + s)·G + g)·H + j.
var<workgroup> shared_floats: array<f32, FLOATS>;

/// The sums of a thread: of its unit u, gate g and sequence s at (u·G + g)·SEQUENCES + s.
var<private> acc: array<f32, MAX_UNITS * GATES * MAX_SEQUENCES>;

/// Adds the products of element k: weights are `apart` from gate to gate, and of unit u at `at` + columns[u].
fn add_products(k: u32, at: u32, columns: array<u32, MAX_UNITS>, first_gate: u32, end_gate: u32) {
    var operand: array<f32, MAX_SEQUENCES>;
    for (var s = 0u; s < SEQUENCES; s += 1u) {
        operand[s] = shared_floats[k * SEQUENCES + s];
    }
    for (var u = 0u; u < UNITS; u += 1u) {
        for (var g = first_gate; g < end_gate; g += 1u) {
            let weight = f32(transposed[at + columns[u] + g * params.hidden]);
            for (var s = 0u; s < SEQUENCES; s += 1u) {
                let i = (u * GATES + g) * SEQUENCES + s;
                acc[i] = fma(operand[s], weight, acc[i]);
            }
        }
    }
}

/// The sums of gates first to end, each thread's part of them.
fn product(lid: u32, d: u32, first_gate: u32, end_gate: u32) {
    let hidden = params.hidden;
    let width = THREADS / SPLIT;
    let part = lid / width;
    let begin = slice_start(hidden, part, SPLIT);
    let end = slice_start(hidden, part + 1u, SPLIT);
    let stride = params.directions * GATES * hidden;
    for (var first = lid % width; first < hidden; first += width * UNITS) {
        var columns: array<u32, MAX_UNITS>;
        for (var u = 0u; u < UNITS; u += 1u) {
            // A unit beyond the last is summed as the last and left alone.
            columns[u] = min(first + u * width, hidden - 1u);
            for (var i = u * GATES * SEQUENCES; i < (u + 1u) * GATES * SEQUENCES; i += 1u) {
                acc[i] = 0.0;
            }
        }
        var at = params.weight_offset + d * GATES * hidden + begin * stride;
        var k = begin;
        // So many loads on their way at a time.
        for (; k + DEPTH <= end; k += DEPTH) {
            for (var i = 0u; i < DEPTH; i += 1u) {
                add_products(k + i, at + i * stride, columns, first_gate, end_gate);
            }
            at += DEPTH * stride;
        }
        for (; k < end; k += 1u) {
            add_products(k, at, columns, first_gate, end_gate);
            at += stride;
        }
        for (var u = 0u; u < UNITS; u += 1u) {
            let j = first + u * width;
            if j < hidden {
                for (var g = first_gate; g < end_gate; g += 1u) {
                    for (var s = 0u; s < SEQUENCES; s += 1u) {
                        shared_floats[sum_at(part, s, g, j)] = acc[(u * GATES + g) * SEQUENCES + s];
                    }
                }
            }
        }
    }
}

fn sum_at(part: u32, s: u32, g: u32, j: u32) -> u32 {
    return (SEQUENCES + (part * SEQUENCES + s) * GATES + g) * params.hidden + j;
}

/// x of unit j of a sequence's step, whose gates start at `at`.
fn load_x(at: u32) -> array<f32, GATES> {
    var x: array<f32, GATES>;
    for (var g = 0u; g < GATES; g += 1u) {
        x[g] = f32(gates[at + g * params.hidden]);
    }
    return x;
}

/// The whole sum of gate g of unit j of the tile's sequence s, with its bias.
fn sum_of(d: u32, s: u32, g: u32, j: u32) -> f32 {
    var sum = 0.0;
    if params.has_bias != 0u {
        sum = f32(bias[params.bias_offset + (d * GATES + g) * params.hidden + j]);
    }
    for (var part = 0u; part < SPLIT; part += 1u) {
        sum += shared_floats[sum_at(part, s, g, j)];
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

    for (var i = lid; i < units; i += THREADS) {
        let b = first_b + i / hidden;
        let j = i % hidden;
        let h = f32(history[units_at(slot_before(params.begin, b, d), b, d) + j]);
        shared_floats[j * SEQUENCES + i / hidden] = h * mask_at(b, d, j);
    }
    workgroupBarrier();

    for (var step = params.begin; step < params.end; step += 1u) {
        let time = time_of(step, d);
        // This thread's first unit's, so that the wait overlaps the sums.
        var x: array<f32, GATES>;
        if lid < units {
            x = load_x(gates_at(time, first_b + lid / hidden, d) + lid % hidden);
        }
        product(lid, d, 0u, FIRST_GATES);
        workgroupBarrier();
        if FIRST_GATES < GATES {
            for (var i = lid; i < units; i += THREADS) {
                let s = i / hidden;
                let j = i % hidden;
                var r: array<f32, GATES>;
                for (var g = 0u; g < FIRST_GATES; g += 1u) {
                    r[g] = sum_of(d, s, g, j);
                }
                let unit = place(step, first_b + s, d, j);
                let h_before = f32(history[unit.before]);
                let made = cell_operand(params.variant, unit, load_x(unit.gate), r, h_before);
                // As it is kept, so that either driver sums the same numbers.
                shared_floats[j * SEQUENCES + s] = f32(Stored(made)) * mask_at(first_b + s, d, j);
            }
            workgroupBarrier();
            product(lid, d, FIRST_GATES, GATES);
            workgroupBarrier();
        }
        for (var i = lid; i < units; i += THREADS) {
            let s = i / hidden;
            let j = i % hidden;
            let unit = place(step, first_b + s, d, j);
            if i != lid {
                x = load_x(unit.gate);
            }
            // Of the last product; a cell of two keeps what it needs of the first.
            var r: array<f32, GATES>;
            for (var g = FIRST_GATES % GATES; g < GATES; g += 1u) {
                r[g] = sum_of(d, s, g, j);
            }
            let h_before = f32(history[unit.before]);
            let new_h = Stored(next_h(unit, h_before, cell_forward(params.variant, unit, x, r, h_before)));
            history[unit.now] = new_h;
            var next = f32(new_h);
            if is_reset(step + 1u, first_b + s, d) {
                next = f32(history[units_at(params.start, first_b + s, d) + j]);
            }
            shared_floats[j * SEQUENCES + s] = next * mask_at(first_b + s, d, j);
        }
        workgroupBarrier();
    }
}
