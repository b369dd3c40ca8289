//! Connectionist temporal classification: the twins of `shaders/log_sums.wgsl`, `ctc_states.wgsl` and
//! `ctc_gradient.wgsl`.
//!
//! The contract: what a shift takes from the states is added up beside them, so that they are as exact after many steps
//! as after few; what does not count is not looked at.

use super::{
    real::Real,
    sums::{compensated, largest, sum, sum_of_slice},
    tensors::Tensors,
    threads,
    vectorized::vectorized,
};
use crate::plan::{Ctc, CtcGradient, CtcStates, LogSums, LossScale, Plan, StepParams};

/// Outputs, or states, that are worth a thread's while.
const ELEMENTS_PER_TASK: usize = 1 << 13;
/// The logarithm of no probability at all: far below that of any path, and finite.
const NONE: f64 = -1e30;
/// The numbers behind the states of a step: its shift, Σ (log_sums − shift), and what rounding took from that.
const TAIL: usize = 3;

/// `out[r] = ln Σ exp(y[r])`.
pub(super) fn log_sums<T: Real>(op: &LogSums, memory: &mut Tensors<'_, T>) {
    let mut out = memory.take(op.out);
    let (y, columns) = (memory.view(&op.outputs), op.outputs.cols);
    let rows = (ELEMENTS_PER_TASK / columns).max(1);
    let tasks = y.chunks(rows * columns).zip(out.chunks_mut(rows));
    threads::for_each(tasks, |(y, out)| {
        for (y, out) in y.chunks_exact(columns).zip(out) {
            *out = log_sum_exp(y);
        }
    });
    memory.put(op.out, out);
}

fn log_sum_exp<T: Real>(y: &[T]) -> T {
    let max = largest(y);
    let (mut part, mut total) = ([T::zero(); 64], 0.0);
    for y in y.chunks(part.len()) {
        let part = &mut part[..y.len()];
        part.iter_mut().zip(y).for_each(|(part, y)| *part = *y - max);
        T::exp_slice(part);
        total += sum_of_slice(part).as_f64();
    }
    max + T::from_f64(total.ln())
}

/// The labels of a sequence.
#[derive(Clone, Copy)]
struct Labels<'a> {
    ids: &'a [u32],
    blank: usize,
}

impl<'a> Labels<'a> {
    /// Those of sequence `b`, of a tensor that has room for so many of each.
    fn of(ctc: &Ctc, room: usize, all: &'a [u32], b: usize) -> Self {
        let row = &all[b * (1 + 2 * room)..][..1 + 2 * room];
        Labels { ids: &row[1..1 + row[0] as usize], blank: ctc.blank }
    }

    /// 2·L + 1.
    fn states(self) -> usize {
        2 * self.ids.len() + 1
    }

    /// The output that a state says.
    fn symbol(self, state: usize) -> usize {
        if state.is_multiple_of(2) { self.blank } else { self.ids[state / 2] as usize }
    }

    /// The same, read from their end or not.
    fn read(self, state: usize, is_backward: bool) -> usize {
        self.symbol(if is_backward { self.states() - 1 - state } else { state })
    }
}

/// What a thread owns of the recursions: one sequence one way.
struct Walk<'a, T> {
    labels: Labels<'a>,
    is_backward: bool,
    length: usize,
    /// `[slots, width]`.
    states: &'a mut [T],
    width: usize,
    /// `[4, S]`.
    room: &'a mut [T],
}

pub(super) fn ctc_states<T: Real>(op: &CtcStates, memory: &mut Tensors<'_, T>) {
    let ctc = &op.ctc;
    let (batch, width, room) = (ctc.batch(memory.plan), ctc.width(memory.plan), ctc.labels(memory.plan));
    let (slots, columns) = (op.slots(memory.plan), ctc.outputs.cols);
    let (mut states, mut row_loss) = (memory.take(ctc.states), memory.take(op.row_loss));
    let mut scratch = std::mem::take(memory.scratch);
    scratch.clear();
    scratch.resize(states_scratch(op, memory.plan), T::zero());
    let (y, log_sums) = (memory.view(&ctc.outputs), memory.real(ctc.log_sums));
    let (ids, lengths, weights) = (memory.ids(ctc.labels), memory.ids(ctc.lengths), memory.real(ctc.loss_weights));
    let row = |t: usize, b: usize| &y[(t * batch + b) * columns..][..columns];
    let own = 4 * (width - TAIL);
    let each = (ELEMENTS_PER_TASK / (ctc.steps(memory.plan) * width)).max(1);
    let tasks = states.chunks_mut(each * slots * width).zip(scratch.chunks_mut(each * own)).enumerate();
    threads::for_each(tasks, |(task, (states, scratch))| {
        let parts = states.chunks_mut(slots * width).zip(scratch.chunks_mut(own));
        for (index, (states, room_of_one)) in parts.enumerate() {
            let index = task * each + index;
            let (b, is_backward) = (index % batch, index >= batch);
            // What lies in a sequence that does not count may be anything.
            if weights[b].is_zero() {
                continue;
            }
            let labels = Labels::of(ctc, room, ids, b);
            let length = lengths[b] as usize;
            let walk = Walk { labels, is_backward, length, states, width, room: room_of_one };
            walk.run(|t| row(t, b), |t| log_sums[t * batch + b]);
        }
    });
    let divisor = StepParams::of(memory.real(ctc.step_params)).divisor;
    for (b, loss) in row_loss.iter_mut().enumerate() {
        *loss = T::zero();
        let (count, length) = (Labels::of(ctc, room, ids, b).states(), lengths[b] as usize);
        if !weights[b].is_zero() && length > 0 {
            let last = &states[(b * slots + (length - 1) % slots) * width..][..width];
            let [shift, total, _] = tail(last);
            let ends = &last[count.saturating_sub(2)..count];
            let top = largest(ends);
            let ends = ends.iter().map(|end| (*end - top).exp()).sum::<T>().ln();
            *loss = weights[b] / divisor * (total - ((top - shift) + ends));
        }
    }
    *memory.scratch = scratch;
    memory.put(ctc.states, states);
    memory.put(op.row_loss, row_loss);
}

/// How many intermediate results [`ctc_states`] has.
pub(super) fn states_scratch(op: &CtcStates, plan: &Plan) -> usize {
    op.ways() * op.ctc.batch(plan) * 4 * (op.ctc.width(plan) - TAIL)
}

/// The numbers behind the states of a step.
fn tail<T: Real>(slot: &[T]) -> [T; TAIL] {
    let tail = &slot[slot.len() - TAIL..];
    [tail[0], tail[1], tail[2]]
}

impl<T: Real> Walk<'_, T> {
    fn run<'y>(self, y: impl Fn(usize) -> &'y [T], log_sum: impl Fn(usize) -> T) {
        let Walk { labels, is_backward, length, states, width, room } = self;
        let (count, slots, none) = (labels.states(), states.len() / width, T::from_f64(NONE));
        let (skips, room) = room[..4 * count].split_at_mut(count);
        for (j, skips) in skips.iter_mut().enumerate() {
            // Two equal labels have a blank between them.
            let is_open = j > 1 && j % 2 == 1 && labels.read(j, is_backward) != labels.read(j - 2, is_backward);
            *skips = if is_open { T::zero() } else { none };
        }
        let (mut shift, mut total, mut excess) = (T::zero(), T::zero(), T::zero());
        for step in 0..length {
            let time_of = |step: usize| if is_backward { length - 1 - step } else { step };
            let time = time_of(step);
            let slot = time % slots * width;
            if step == 0 {
                for (j, state) in states[slot..slot + count].iter_mut().enumerate() {
                    *state = if j < 2 { T::zero() } else { none };
                }
            } else {
                let before = time_of(step - 1) % slots * width;
                let (now, before) = two(states, slot, before, count);
                enter(now, before, skips, shift, room);
            }
            let (now, y) = (&mut states[slot..slot + width], y(time));
            let blank = y[labels.blank];
            for (j, state) in now[..count].iter_mut().enumerate() {
                *state += if j % 2 == 0 { blank } else { y[labels.read(j, is_backward)] };
            }
            shift = largest(&now[..count]);
            (total, excess) = compensated(total, excess, log_sum(time) - shift);
            now[width - TAIL..].copy_from_slice(&[shift, total, excess]);
        }
    }
}

/// Two slots, so many numbers of each: one to be written, and one to be read.
fn two<T>(states: &mut [T], write: usize, read: usize, count: usize) -> (&mut [T], &[T]) {
    if write > read {
        let (below, above) = states.split_at_mut(write);
        (&mut above[..count], &below[read..read + count])
    } else {
        let (below, above) = states.split_at_mut(read);
        (&mut below[write..write + count], &above[..count])
    }
}

/// `now[s] = ln(exp(before[s]) + exp(before[s − 1]) + exp(before[s − 2] + skips[s])) − shift`.
fn enter<T: Real>(now: &mut [T], before: &[T], skips: &[T], shift: T, room: &mut [T]) {
    let (count, none) = (now.len(), T::from_f64(NONE));
    let (stays, rest) = room.split_at_mut(count);
    let (one, two) = rest.split_at_mut(count);
    one[0] = none;
    one[1..].copy_from_slice(&before[..count - 1]);
    two[..count.min(2)].fill(none);
    vectorized!(|| {
        for ((two, before), skips) in two[count.min(2)..].iter_mut().zip(before).zip(&skips[count.min(2)..]) {
            *two = *before + *skips;
        }
        let larger = |a: T, b: T| if b > a { b } else { a };
        let of_three = now.iter_mut().zip(before).zip(stays.iter_mut().zip(&mut *one).zip(&mut *two));
        for ((top, before), ((stays, one), two)) in of_three {
            *top = larger(larger(*before, *one), *two);
            *stays = *before - *top;
            *one = *one - *top;
            *two = *two - *top;
        }
    });
    T::exp_slice(room);
    let (stays, rest) = room.split_at_mut(count);
    let (one, two) = rest.split_at(count);
    vectorized!(|| {
        for ((stays, one), two) in stays.iter_mut().zip(one).zip(two) {
            *stays = *stays + *one + *two;
        }
    });
    // One of the three is the largest, e⁰.
    T::ln_slice(stays);
    vectorized!(|| {
        for (top, ln) in now.iter_mut().zip(&*stays) {
            *top = *top + *ln - shift;
        }
    });
}

pub(super) fn ctc_gradient<T: Real>(op: &CtcGradient, memory: &mut Tensors<'_, T>) {
    let ctc = &op.ctc;
    let (batch, steps, width) = (ctc.batch(memory.plan), ctc.steps(memory.plan), ctc.width(memory.plan));
    let (room, columns) = (ctc.labels(memory.plan), ctc.outputs.cols);
    let mut outputs = memory.take(ctc.outputs.tensor);
    let mut scratch = std::mem::take(memory.scratch);
    scratch.clear();
    scratch.resize(gradient_scratch(op, memory.plan), T::zero());
    let (states, log_sums) = (memory.real(ctc.states), memory.real(ctc.log_sums));
    let (ids, lengths, weights) = (memory.ids(ctc.labels), memory.ids(ctc.lengths), memory.real(ctc.loss_weights));
    let divisor = StepParams::of(memory.real(ctc.step_params)).divisor;
    let factor = op.loss_scale.map_or(T::one(), |scale| LossScale::of(memory.real(scale)).factor);
    let each = rows_per_task(op, memory.plan);
    let y = &mut outputs[ctc.outputs.range()];
    let tasks = y.chunks_mut(each * columns).zip(scratch.chunks_mut(width - TAIL)).enumerate();
    threads::for_each(tasks, |(task, (y, room_of_one))| {
        for (r, y) in y.chunks_exact_mut(columns).enumerate() {
            let (t, b) = ((task * each + r) / batch, (task * each + r) % batch);
            if weights[b].is_zero() || t >= lengths[b] as usize {
                y.fill(T::zero());
                continue;
            }
            let labels = Labels::of(ctc, room, ids, b);
            let slot = |way: usize| &states[((way * batch + b) * steps + t) * width..][..labels.states()];
            let occupied = &mut room_of_one[..labels.states()];
            occupancies(occupied, [slot(0), slot(1)], labels, y);
            let scale = weights[b] / divisor * factor;
            let log_sum = log_sums[t * batch + b];
            for y in &mut *y {
                // Of an output that is all there is rounding may leave something above 0; a NaN stays.
                let ln_p = *y - log_sum;
                *y = if ln_p > T::zero() { T::zero() } else { ln_p };
            }
            T::exp_slice(y);
            y[labels.blank] = y[labels.blank] - sum(occupied.iter().step_by(2).copied());
            for (id, occupied) in labels.ids.iter().zip(occupied.iter().skip(1).step_by(2)) {
                y[*id as usize] = y[*id as usize] - *occupied;
            }
            y.iter_mut().for_each(|y| *y = *y * scale);
        }
    });
    *memory.scratch = scratch;
    memory.put(ctc.outputs.tensor, outputs);
}

/// The probability of every state at a step, given the labels: both ways have the step's output in them.
fn occupancies<T: Real>(out: &mut [T], [forwards, backwards]: [&[T]; 2], labels: Labels<'_>, y: &[T]) {
    let both = forwards.iter().zip(backwards.iter().rev()).enumerate();
    for (out, (s, (forwards, backwards))) in out.iter_mut().zip(both) {
        *out = *forwards + (*backwards - y[labels.symbol(s)]);
    }
    let top = largest(out);
    out.iter_mut().for_each(|out| *out = *out - top);
    T::exp_slice(out);
    let total = sum_of_slice(out);
    out.iter_mut().for_each(|out| *out = *out / total);
}

fn rows_per_task(op: &CtcGradient, plan: &Plan) -> usize {
    (ELEMENTS_PER_TASK / (op.ctc.outputs.cols + op.ctc.width(plan))).max(1)
}

/// How many intermediate results [`ctc_gradient`] has.
pub(super) fn gradient_scratch(op: &CtcGradient, plan: &Plan) -> usize {
    op.ctc.outputs.rows.div_ceil(rows_per_task(op, plan)) * (op.ctc.width(plan) - TAIL)
}
