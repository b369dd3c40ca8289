// step_forward: one step of a recurrence, every direction over the whole batch; the cell, recurrence.wgsl and what
// makes the sums are appended: step_forward_threads.wgsl or step_forward_lanes.wgsl.
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
// One workgroup a tile of SEQUENCES sequences and THREADS / SPLIT · UNITS units.

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

/// Of how many units this dispatch makes sums, and how long these are.
fn unit_count() -> u32 {
    return select(params.hidden, params.operand, PROJECTION == 2u);
}

fn sum_length() -> u32 {
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

    // The gates of this product and what its sums are over.
    let is_second = FIRST_GATES < GATES && params.product == 1u;
    if PROJECTION == 2u {
        product(lid, d, first_b, first_j, 0u, 1u);
    } else if is_second {
        product(lid, d, first_b, first_j, FIRST_GATES % GATES, GATES);
    } else {
        product(lid, d, first_b, first_j, 0u, FIRST_GATES);
    }
    sums_are_made();

    for (var i = lid; i < SEQUENCES * units; i += THREADS) {
        let s = i / units;
        let b = first_b + s;
        let j = first_j + i % units;
        if PROJECTION == 2u {
            if b < params.batch && j < params.operand {
                let h = with_sums(0.0, s, 0u, i % units);
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
                    r[g] = with_sums(r[g], s, g, i % units);
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
