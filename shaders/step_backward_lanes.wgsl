// The sums of a step backwards by the lanes of a subgroup; appended to step_backward.wgsl with step_lanes.wgsl. Column
// u of a lane is its unit u.

/// Element k of the gradients of this lane's sequence of eight, which start there.
fn gradient_of(row: u32, k: u32) -> f32 {
    if PROJECTION == 2u {
        return f32(upstream[row + k]);
    }
    return recurrent_gradient(row + k);
}

/// The sums over elements begin to end of a step's gradients.
fn product(lid: u32, d: u32, first_b: u32, first_j: u32, time: u32, begin: u32, end: u32) {
    let units = unit_count();
    let height = select(GATES * params.hidden, params.operand, PROJECTION == 2u);
    // What lies beyond the last sequence or unit is summed as the last and left alone.
    let c = vec4(0u, 1u, 2u, 3u);
    let j = min(first_j + lid + c * LANES, vec4(units - 1u));
    let columns = params.weight_offset + d * height * units + j;
    let b = min(first_b + lid + c * LANES, vec4(params.batch - 1u));
    let rows = vec4(row_of(b.x, d, time), row_of(b.y, d, time), row_of(b.z, d, time), row_of(b.w, d, time));
    var s0: Eight;
    var s1: Eight;
    var s2: Eight;
    var s3: Eight;
    for (var k = begin; k < end; k += 1u) {
        let at = columns + k * units;
        let right = vec4(f32(weight[at.x]), f32(weight[at.y]), f32(weight[at.z]), f32(weight[at.w]));
        s0 = add(s0, gradient_of(rows.x, k), right);
        if SEQUENCES > 8u {
            s1 = add(s1, gradient_of(rows.y, k), right);
        }
        if SEQUENCES > 16u {
            s2 = add(s2, gradient_of(rows.z, k), right);
        }
        if SEQUENCES > 24u {
            s3 = add(s3, gradient_of(rows.w, k), right);
        }
    }
    keep(lid, min(SEQUENCES, params.batch - first_b), s0, s1, s2, s3);
}

/// Where the gradients of sequence b start.
fn row_of(b: u32, d: u32, time: u32) -> u32 {
    if PROJECTION != 2u {
        return gates_at(time, b, d);
    }
    if ZONEOUT_H != 0u {
        return params.projected_offset + operands_at(time, b, d);
    }
    return operands_at(slot_of(params.step, d), b, d);
}

/// The sum of sequence s and a unit of the tile, which is one of this lane's.
fn sum_of(s: u32, local_j: u32) -> f32 {
    return kept[s * LANES + local_j % LANES][local_j / LANES];
}
