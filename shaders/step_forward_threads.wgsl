// The sums of a step forwards by threads of their own; appended to step_forward.wgsl.
//
// SPLIT threads that are neighbours share a sum and read neighbouring elements of a row of U and of h. Each makes the
// sums of all the sequences and of UNITS units in registers: UNITS·G weights and SEQUENCES operands make
// UNITS·G·SEQUENCES products.

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

/// The number of a thread in its workgroup.
fn thread(index: u32) -> u32 {
    return index;
}

/// Waits until all threads have left their parts of the sums.
fn sums_are_made() {
    workgroupBarrier();
}

/// What is given and the parts of the sum of gate g of sequence s and a unit of the tile.
fn with_sums(given: f32, s: u32, g: u32, local_j: u32) -> f32 {
    var sum = given;
    for (var part = 0u; part < SPLIT; part += 1u) {
        sum += sums[sum_at(part, s, g, local_j)];
    }
    return sum;
}
