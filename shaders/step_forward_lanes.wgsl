// The sums of a step forwards by the lanes of a subgroup; appended to step_forward.wgsl with step_lanes.wgsl. Column
// u·G + g of a lane is gate g of its unit u, so that UNITS·G is at most 4.

/// A weight of column c, which starts there, or 0 where the column is none of this product's.
fn weight_of(c: u32, column: u32, k: u32, first_gate: u32, end_gate: u32) -> f32 {
    let gate = c % GATES;
    if c < UNITS * GATES && gate >= first_gate && gate < end_gate {
        return f32(weight[column + k]);
    }
    return 0.0;
}

/// Element k of the operand of this lane's sequence of eight, which starts at `row`, its mask at `mask`.
fn operand_of(row: u32, mask: u32, k: u32, first_gate: u32) -> f32 {
    var operand: f32;
    if first_gate == 0u {
        operand = f32(history[row + k]);
    } else {
        operand = operand_at(row + k);
    }
    if MASKED != 0u {
        operand *= dropout_mask[mask + k];
    }
    return operand;
}

/// The sums of gates first to end: over h before the step, or what the cell has left at its time.
fn product(lid: u32, d: u32, first_b: u32, first_j: u32, first_gate: u32, end_gate: u32) {
    let units = unit_count();
    let length = sum_length();
    let blocks = select(GATES, 1u, PROJECTION == 2u);
    // What lies beyond the last sequence or unit is summed as the last and left alone.
    let c = vec4(0u, 1u, 2u, 3u);
    let j = min(first_j + lid + min(c / GATES, vec4(UNITS - 1u)) * LANES, vec4(units - 1u));
    let columns = params.weight_offset + ((d * blocks + min(c % GATES, vec4(blocks - 1u))) * units + j) * length;
    let b = min(first_b + lid + c * LANES, vec4(params.batch - 1u));
    let rows = vec4(
        row_of(b.x, d, first_gate),
        row_of(b.y, d, first_gate),
        row_of(b.z, d, first_gate),
        row_of(b.w, d, first_gate),
    );
    let masks = (b * params.directions + d) * params.operand;
    var s0: Eight;
    var s1: Eight;
    var s2: Eight;
    var s3: Eight;
    for (var k = 0u; k < length; k += 1u) {
        let right = vec4(
            weight_of(0u, columns.x, k, first_gate, end_gate),
            weight_of(1u, columns.y, k, first_gate, end_gate),
            weight_of(2u, columns.z, k, first_gate, end_gate),
            weight_of(3u, columns.w, k, first_gate, end_gate),
        );
        s0 = add(s0, operand_of(rows.x, masks.x, k, first_gate), right);
        if SEQUENCES > 8u {
            s1 = add(s1, operand_of(rows.y, masks.y, k, first_gate), right);
        }
        if SEQUENCES > 16u {
            s2 = add(s2, operand_of(rows.z, masks.z, k, first_gate), right);
        }
        if SEQUENCES > 24u {
            s3 = add(s3, operand_of(rows.w, masks.w, k, first_gate), right);
        }
    }
    keep(lid, min(SEQUENCES, params.batch - first_b), s0, s1, s2, s3);
}

/// Where the operand of sequence b starts.
fn row_of(b: u32, d: u32, first_gate: u32) -> u32 {
    if PROJECTION == 2u {
        return params.projected_offset + units_at(time_of(params.step, d), b, d);
    }
    if first_gate == 0u {
        return operands_at(slot_before(params.step, b, d), b, d);
    }
    return operands_at(time_of(params.step, d), b, d);
}

/// What is given and the sum of gate g of sequence s and a unit of the tile, which is one of this lane's.
fn with_sums(given: f32, s: u32, g: u32, local_j: u32) -> f32 {
    return given + kept[s * LANES + local_j % LANES][local_j / LANES * GATES + g];
}
