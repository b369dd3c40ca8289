// The sums of a step backwards by threads of their own; appended to step_backward.wgsl.
//
// Neighbouring threads read neighbouring elements of a row of U, and SPLIT threads share a sum. Each makes the sums of
// all the sequences and of UNITS units in registers: UNITS weights and SEQUENCES gradients make UNITS·SEQUENCES
// products.

/// Part q of the sum of sequence s and unit j of the tile at (q·SEQUENCES + s)·units + j.
var<workgroup> sums: array<f32, FLOATS>;

/// The sums of a thread: of its unit u and sequence s at u·SEQUENCES + s.
var<private> acc: array<f32, MAX_UNITS * MAX_SEQUENCES>;

/// Adds the products of element k. The gradients of sequence s start at rows[s], the weights of unit u at columns[u].
fn add_products(k: u32, rows: array<u32, MAX_SEQUENCES>, columns: array<u32, MAX_UNITS>) {
    var dr: array<f32, MAX_SEQUENCES>;
    for (var s = 0u; s < SEQUENCES; s += 1u) {
        if PROJECTION == 2u {
            dr[s] = f32(upstream[rows[s] + k]);
        } else {
            dr[s] = recurrent_gradient(rows[s] + k);
        }
    }
    for (var u = 0u; u < UNITS; u += 1u) {
        let w = f32(weight[columns[u] + k * unit_count()]);
        for (var s = 0u; s < SEQUENCES; s += 1u) {
            acc[u * SEQUENCES + s] = fma(dr[s], w, acc[u * SEQUENCES + s]);
        }
    }
}

/// This thread's part of the sums over elements begin to end of a step's gradients.
fn product(lid: u32, d: u32, first_b: u32, first_j: u32, time: u32, begin: u32, end: u32) {
    let units = unit_count();
    let height = select(GATES * params.hidden, params.operand, PROJECTION == 2u);
    let width = THREADS / SPLIT;
    // What lies beyond the last sequence or unit is summed as the last and left alone.
    var rows: array<u32, MAX_SEQUENCES>;
    var columns: array<u32, MAX_UNITS>;
    for (var s = 0u; s < SEQUENCES; s += 1u) {
        let b = min(first_b + s, params.batch - 1u);
        rows[s] = gates_at(time, b, d);
        if PROJECTION == 2u {
            rows[s] = operands_at(slot_of(params.step, d), b, d);
            if ZONEOUT_H != 0u {
                rows[s] = params.projected_offset + operands_at(time, b, d);
            }
        }
    }
    for (var u = 0u; u < UNITS; u += 1u) {
        let j = min(first_j + lid % width + u * width, units - 1u);
        columns[u] = params.weight_offset + d * height * units + j;
    }
    var k = begin + lid / width;
    // So many loads on their way at a time.
    for (; k + (DEPTH - 1u) * SPLIT < end; k += DEPTH * SPLIT) {
        for (var i = 0u; i < DEPTH; i += 1u) {
            add_products(k + i * SPLIT, rows, columns);
        }
    }
    for (; k < end; k += SPLIT) {
        add_products(k, rows, columns);
    }
    for (var u = 0u; u < UNITS; u += 1u) {
        for (var s = 0u; s < SEQUENCES; s += 1u) {
            sums[sum_at(lid / width, s, lid % width + u * width)] = acc[u * SEQUENCES + s];
        }
    }
}

fn sum_at(part: u32, s: u32, local_j: u32) -> u32 {
    return (part * SEQUENCES + s) * (THREADS / SPLIT * UNITS) + local_j;
}

/// The number of a thread in its workgroup.
fn thread(index: u32) -> u32 {
    return index;
}

/// Waits until all threads have left their parts of the sums.
fn sums_are_made() {
    workgroupBarrier();
}

/// The sum of sequence s and a unit of the tile.
fn sum_of(s: u32, local_j: u32) -> f32 {
    var sum = 0.0;
    for (var part = 0u; part < SPLIT; part += 1u) {
        sum += sums[sum_at(part, s, local_j)];
    }
    return sum;
}
