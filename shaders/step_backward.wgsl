// step_backward: one step of a recurrence's back-propagation, every direction over the whole batch; the cell and
// recurrence.wgsl are appended.
//
//   dh_t = upstream_t + m ⊙ Uᵀ·(gradient of r one step later), from beyond the last step what is carried; it takes
//   upstream_t's place; cell_backward(dh_t) assigns the step's gates, the gradient of x, and returns that of r. Of a
//   cell with two products a second dispatch hands m ⊙ Uᵀ·(gradient of the second's sums at this step) to
//   cell_operand_backward. With a projection the first dispatch ends with dh_t, and a second hands W_hrᵀ·dh_t to
//   cell_backward in its place.
//
// in      weight        U [D·G·H, H], or W_hr [D·P, H], at weight_offset
// in-out  upstream      [T+D, B, D·H]: the slot after the step is read and written, the slot before it added to where h
//                       passes around U (assigned at the first step); with a projection and zoneout of h
//                       [T, B, D·P] at projected_offset, what W_hrᵀ is multiplied by in the place of dh_t, written by
//                       the first dispatch, read by the second
// in      history       [T+D, B, D·H]
// in-out  gates         [T, B, D·G·H]: the step after may be read, this one is written; what the cell left there is
//                       read
// in      lengths       [B], or [T+2, B] where RESETS is 1
// in      dropout_mask  m [B, D·H], read where has_mask is 1; what zoneout drew, read where ZONEOUT_H or ZONEOUT_C says
//                       so
//
// One workgroup a tile of SEQUENCES sequences and THREADS / SPLIT · UNITS units; neighbouring threads read neighbouring
// elements of a row of U. SPLIT threads share a sum. Each makes the sums of all the sequences and of UNITS units in
// registers: UNITS weights and SEQUENCES gradients make UNITS·SEQUENCES products.

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
override SPLIT: u32 = 16u;
/// At least SEQUENCES·UNITS·THREADS: lowering sees to it.
override FLOATS: u32 = 4096u;
/// With a projection 1 is the dispatch of dh_t and 2 that of the cell; otherwise 0.
override PROJECTION: u32 = 0u;

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

/// Of how many units this dispatch makes sums: those of h, or through W_hr the cell's.
fn unit_count() -> u32 {
    return select(params.operand, params.hidden, PROJECTION == 2u);
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

    // The first product's sums are those of the step after, the second's of this one.
    var begin = 0u;
    var end = FIRST_GATES * hidden;
    var of_step = params.step + 1u;
    let is_second = FIRST_GATES < GATES && params.product == 1u;
    if is_second {
        begin = FIRST_GATES * hidden;
        end = GATES * hidden;
        of_step = params.step;
    }
    if PROJECTION == 2u {
        end = params.operand;
        of_step = params.step;
    }
    // Nothing comes from beyond the last step.
    let is_summed = of_step < params.steps;
    if is_summed {
        product(lid, d, first_b, first_j, time_of(of_step, d), begin, end);
    }
    workgroupBarrier();

    for (var i = lid; i < SEQUENCES * units; i += THREADS) {
        let b = first_b + i / units;
        let j = first_j + i % units;
        if b < params.batch && j < unit_count() {
            var sum = 0.0;
            if is_summed {
                for (var part = 0u; part < SPLIT; part += 1u) {
                    sum += sums[sum_at(part, i / units, i % units)];
                }
                sum *= mask_at(b, d, j);
            }
            finish(b, d, j, sum, is_second);
        }
    }
}

/// What one unit of a sequence makes of its sum.
fn finish(b: u32, d: u32, j: u32, sum: f32, is_second: bool) {
    if is_second {
        let at = place(params.step, b, d, j);
        let passed = cell_operand_backward(params.variant, at, sum).h_before;
        upstream[at.before] = Stored(f32(upstream[at.before]) + passed);
        return;
    }
    if PROJECTION == 2u {
        let at = place(params.step, b, d, j);
        // Nothing passes around U.
        cell_backward(params.variant, at, select(0.0, sum, at.counts));
        return;
    }
    let now = operands_at(slot_of(params.step, d), b, d) + j;
    // Where the sequence begins anew after the step, what comes from there goes to the start.
    var dh = f32(upstream[now]);
    if is_reset(params.step + 1u, b, d) {
        let start = operands_at(params.start, b, d) + j;
        upstream[start] = Stored(f32(upstream[start]) + sum);
    } else {
        dh += sum;
    }
    if params.carried != 0u && params.step + 1u == params.steps {
        dh += f32(upstream[operands_at(slot_of(params.step + 1u, d), b, d) + j]);
    }
    upstream[now] = Stored(dh);
    if params.step < params.steps {
        let at = place_of_h(params.step, b, d, j);
        let made = of_made_h(at, dh);
        var around = 0.0;
        if PROJECTION == 0u {
            around = cell_backward(params.variant, at, made).h_before;
        } else if ZONEOUT_H != 0u {
            upstream[params.projected_offset + at.unit] = Stored(made);
        }
        let passed = past_u(at, dh, around);
        if at.is_first {
            upstream[operands_at(slot_of(params.step - 1u, d), b, d) + j] = Stored(select(passed, 0.0, at.is_reset));
        }
        if at.is_reset || (!at.is_first && (PASSES_H || ZONEOUT_H != 0u || !at.counts)) {
            upstream[at.before] = Stored(f32(upstream[at.before]) + passed);
        }
    }
}
