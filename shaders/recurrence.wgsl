// What the drivers of a recurrence (step_*.wgsl, sequence_*.wgsl) share: their parameters, where one unit of one
// sequence lies at one step, and what a driver hears of a cell's gradient.
//
// D directions run side by side: from step 0 in time to step T - 1, but one of them, `reverse`, the other way: the
// second or the only one. A step counts from 0 in the order of reading. Slot t + 1 of a history [T+D, B, D·H], of a
// single reverse direction [T+2, B, H], is the state after the step at time t; the initial state is in slot 0 or, of
// the reverse direction, in slot T + 1. The state that sequences begin anew from within the window is in a slot behind
// all others, `start`.
//
// Of a recurrence with a projection h is [T+D, B, D·P], P fewer than H: what is as wide as h below has P where H is
// written. A unit is of the cell, whose second state stays as wide as it is.
//
// Stored is f32 or f16: what U, gates, h, its gradient and most of what a cell keeps are kept in. All sums are made in
// f32.

/// The most sequences, and units, that a thread makes sums of at once, and how many elements of a sum it loads at once.
const MAX_SEQUENCES: u32 = 8u;
const MAX_UNITS: u32 = 4u;
const DEPTH: u32 = 4u;

/// What a gate is of its sums: 0 is σ, 1 and 2 are straight lines between 0 and 1, of a slope of 1/6 and of 1/5. A
/// constant, so that a cell's functions have no branch of it.
override GATE_ACTIVATION: u32 = 0u;

/// What a second state is cut off at: the bits of an f32, or 0 for nothing. A constant for the same reason.
override CELL_CLIP: u32 = 0u;

/// How much of h, and of a second state, a unit keeps of the step before: the bits of an f32 below 1, 0 for nothing, or
/// DRAWN. Constants for the same reason.
override ZONEOUT_H: u32 = 0u;
override ZONEOUT_C: u32 = 0u;

/// Whether sequences may begin anew within the window. A constant, so that where none can nothing is asked.
override RESETS: u32 = 0u;

/// The bits of 1: dropout_mask says it, all where it holds 0 and nothing elsewhere.
const DRAWN: u32 = 0x3f800000u;

struct Params {
    /// Of a driver of one step; backwards, 2^32 - 1 for the initial state before step 0.
    step: u32,
    /// Which of the cell's products, of a driver of one step.
    product: u32,
    steps: u32,
    batch: u32,
    hidden: u32,
    /// The width of h, which products with U are over: H, or P of a recurrence with a projection.
    operand: u32,
    directions: u32,
    /// Which direction is from the last step to the first: 1, or 0 where it is the only one.
    reverse: u32,
    variant: u32,
    weight_offset: u32,
    /// Where [T, B, D·H] starts that is projected to h, in the history's buffer; backwards, where ZONEOUT_H is not 0,
    /// where [T, B, D·P] starts of what its gradient is made of, in upstream's.
    projected_offset: u32,
    bias_offset: u32,
    has_bias: u32,
    has_mask: u32,
    /// Whether a driver of a whole sequence goes on to the initial state, backwards, which is where `begin` is 0.
    to_start: u32,
    /// Backwards, whether the gradient of the last state comes from further on: of h it lies one slot behind the last
    /// of upstream's, of a second state one behind the last of its history. For one direction, which is not `reverse`.
    carried: u32,
    /// The steps that a driver of a whole sequence takes, from `begin` to before `end`.
    begin: u32,
    end: u32,
    /// Where in dropout_mask the draws of h, [T, B, D·P] with a projection, and of a second state, begin: [T, B, D·H].
    zoneout_h: u32,
    zoneout_c: u32,
    /// The slot of the state that sequences begin anew from, where RESETS is 1.
    start: u32,
    first_workgroup: u32,
}

struct UnitIndex {
    /// Of gate 0 in [T, B, D·G·H]; the next gate is `hidden` further on.
    gate: u32,
    /// In [T, B, D·H].
    unit: u32,
    /// In a history: the state before the step, after it, and, unless nothing comes after it, after the next.
    before: u32,
    now: u32,
    next: u32,
    /// H.
    hidden: u32,
    is_first: bool,
    /// Whether the sequence begins anew here, and `before` is in the slot of the start.
    is_reset: bool,
    /// In a second state's history, the sum of the gradients of that start.
    start_gradient: u32,
    /// Whether no gradient comes from further on.
    is_last: bool,
    /// Whether the sequence is that long. If not, the driver holds h; a second state is for the cell to hold.
    counts: bool,
}

struct Gradient {
    /// Of the products' sums.
    r: array<f32, GATES>,
    /// Of h_(t-1) by a path around U.
    h_before: f32,
}

/// When in time a step of direction d is.
fn time_of(step: u32, d: u32) -> u32 {
    return select(step, params.steps - 1u - step, d == params.reverse);
}

/// The slot of the state after a step of direction d; of the initial state for step 2^32 - 1.
fn slot_of(step: u32, d: u32) -> u32 {
    return select(step + 1u, params.steps - step, d == params.reverse);
}

/// The first unit of direction d of sequence b, at row t of [·, B, D·H].
fn units_at(t: u32, b: u32, d: u32) -> u32 {
    return ((t * params.batch + b) * params.directions + d) * params.hidden;
}

/// The same of h, at row t of [·, B, D·P].
fn operands_at(t: u32, b: u32, d: u32) -> u32 {
    return ((t * params.batch + b) * params.directions + d) * params.operand;
}

/// The first gate of direction d of sequence b at time t.
fn gates_at(t: u32, b: u32, d: u32) -> u32 {
    return units_at(t, b, d) * GATES;
}

/// Whether a sequence begins anew at a step of direction d, which may be the one after the last: against the time it
/// does so where, in time, another begins behind it.
fn is_reset(step: u32, b: u32, d: u32) -> bool {
    if RESETS == 0u {
        return false;
    }
    let row = time_of(step, d) + select(1u, 2u, d == params.reverse);
    return lengths[row * params.batch + b] != 0u;
}

/// The slot of the state before a step of sequence b.
fn slot_before(step: u32, b: u32, d: u32) -> u32 {
    if is_reset(step, b, d) {
        return params.start;
    }
    return slot_of(step - 1u, d);
}

fn place(step: u32, b: u32, d: u32, j: u32) -> UnitIndex {
    let time = time_of(step, d);
    return UnitIndex(
        gates_at(time, b, d) + j,
        units_at(time, b, d) + j,
        units_at(slot_before(step, b, d), b, d) + j,
        units_at(slot_of(step, d), b, d) + j,
        units_at(slot_of(step + 1u, d), b, d) + j,
        params.hidden,
        step == 0u,
        is_reset(step, b, d),
        units_at(params.start + 1u, b, d) + j,
        step + 1u == params.steps && params.carried == 0u,
        time < lengths[b],
    );
}

/// The same of h: with a projection a unit is one of P, and has no gates.
fn place_of_h(step: u32, b: u32, d: u32, j: u32) -> UnitIndex {
    let time = time_of(step, d);
    return UnitIndex(
        gates_at(time, b, d) + j,
        operands_at(time, b, d) + j,
        operands_at(slot_before(step, b, d), b, d) + j,
        operands_at(slot_of(step, d), b, d) + j,
        operands_at(slot_of(step + 1u, d), b, d) + j,
        params.hidden,
        step == 0u,
        is_reset(step, b, d),
        units_at(params.start + 1u, b, d) + j,
        step + 1u == params.steps && params.carried == 0u,
        time < lengths[b],
    );
}

/// What the operand of a product with U is multiplied by.
fn mask_at(b: u32, d: u32, j: u32) -> f32 {
    if params.has_mask == 0u {
        return 1.0;
    }
    return dropout_mask[operands_at(0u, b, d) + j];
}

/// A gate of its sums.
fn gate_of(x: f32) -> f32 {
    if GATE_ACTIVATION == 0u {
        return sigmoid(x);
    }
    let y = x * gate_slope() + 0.5;
    // Not clamp(y, 0, 1): that may turn NaN into a number and hide a divergence.
    return select(select(y, 1.0, y >= 1.0), 0.0, y <= 0.0);
}

/// The gradient of a gate's sums, from the gate and its own.
fn through_gate(d: f32, gate: f32) -> f32 {
    if GATE_ACTIVATION == 0u {
        return d * gate * (1.0 - gate);
    }
    return select(0.0, d * gate_slope(), gate > 0.0 && gate < 1.0);
}

/// A second state, cut off at its bound.
fn clipped(c: f32) -> f32 {
    if CELL_CLIP == 0u {
        return c;
    }
    let bound = bitcast<f32>(CELL_CLIP);
    // Not clamp, as above.
    return select(select(c, bound, c > bound), -bound, c < -bound);
}

/// Whether it was cut off: no gradient goes back through it then.
fn is_clipped(c: f32) -> bool {
    return CELL_CLIP != 0u && abs(c) >= bitcast<f32>(CELL_CLIP);
}

/// How much a unit keeps of its state at index `at` of the draws.
fn held(zoneout: u32, at: u32) -> f32 {
    if zoneout == DRAWN {
        return select(0.0, 1.0, dropout_mask[at] == 0.0);
    }
    return bitcast<f32>(zoneout);
}

fn held_h(at: UnitIndex) -> f32 {
    return held(ZONEOUT_H, params.zoneout_h + at.unit);
}

/// At a step that counts.
fn held_c(at: UnitIndex) -> f32 {
    return held(ZONEOUT_C, params.zoneout_c + at.unit);
}

/// h after a step, from that before it and what the cell makes of it.
fn next_h(at: UnitIndex, h_before: f32, made: f32) -> f32 {
    var h = made;
    if ZONEOUT_H != 0u {
        let z = held_h(at);
        h = z * h_before + (1.0 - z) * made;
    }
    return select(h_before, h, at.counts);
}

/// The same of a second state; at a step that does not count the cell makes of it what it was.
fn next_c(at: UnitIndex, c_before: f32, made: f32) -> f32 {
    if ZONEOUT_C == 0u || !at.counts {
        return made;
    }
    let z = held_c(at);
    return z * c_before + (1.0 - z) * made;
}

/// Of the gradient of h_t that of what the cell made.
fn of_made_h(at: UnitIndex, dh: f32) -> f32 {
    var made = dh;
    if ZONEOUT_H != 0u {
        made = (1.0 - held_h(at)) * dh;
    }
    return select(0.0, made, at.counts);
}

/// What reaches h_(t-1) around U, of which so much goes through the cell.
fn past_u(at: UnitIndex, dh: f32, h_before: f32) -> f32 {
    var passed = h_before;
    if ZONEOUT_H != 0u {
        passed += held_h(at) * dh;
    }
    return select(dh, passed, at.counts);
}

/// Of the gradient of a second state that of what the cell made.
fn of_made_c(at: UnitIndex, dc: f32) -> f32 {
    if ZONEOUT_C == 0u || !at.counts {
        return dc;
    }
    return (1.0 - held_c(at)) * dc;
}

/// Whether a second state may not be what the cell made, and h was made of something else.
fn is_c_held(at: UnitIndex) -> bool {
    return ZONEOUT_C != 0u && at.counts;
}

fn gate_slope() -> f32 {
    return select(1.0 / 6.0, 0.2, GATE_ACTIVATION == 2u);
}
