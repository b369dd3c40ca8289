// step_backward: one step of a recurrence's back-propagation, every direction over the whole batch; the cell,
// recurrence.wgsl and what makes the sums are appended: step_backward_threads.wgsl or step_backward_lanes.wgsl.
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
// One workgroup a tile of SEQUENCES sequences and THREADS / SPLIT · UNITS units.

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

/// Of how many units this dispatch makes sums: those of h, or through W_hr the cell's.
fn unit_count() -> u32 {
    return select(params.operand, params.hidden, PROJECTION == 2u);
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let lid = thread(index);
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
    sums_are_made();

    for (var i = lid; i < SEQUENCES * units; i += THREADS) {
        let b = first_b + i / units;
        let j = first_j + i % units;
        if b < params.batch && j < unit_count() {
            var sum = 0.0;
            if is_summed {
                sum = sum_of(i / units, i % units) * mask_at(b, d, j);
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
