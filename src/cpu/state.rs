//! Copies and sums of rows, and where sequences begin and end.

use super::{real::Real, sums::sum, tensors::Tensors, threads};
use crate::plan::{Accumulate, CopyView, InitialState, InitialStateGradient, RemainingLengths, ZeroTensor};

/// Elements that are worth a thread's while.
const ELEMENTS_PER_TASK: usize = 1 << 15;

pub(super) fn copy<T: Real>(CopyView { from, to }: &CopyView, memory: &mut Tensors<'_, T>) {
    let mut tensor = memory.take(to.tensor);
    let from_values = memory.view(from);
    // Whole rows each.
    let rows = (ELEMENTS_PER_TASK / to.stride.max(1)).max(1);
    threads::for_each(tensor[to.range()].chunks_mut(rows * to.stride).enumerate(), |(task, out)| {
        for (row, out) in (task * rows..).zip(out.chunks_mut(to.stride)) {
            out[..to.cols].copy_from_slice(&from_values[row * from.stride..][..from.cols]);
        }
    });
    memory.put(to.tensor, tensor);
}

pub(super) fn accumulate<T: Real>(Accumulate { x, y }: &Accumulate, memory: &mut Tensors<'_, T>) {
    let mut tensor = memory.take(x.tensor);
    let tasks = tensor[x.range()].chunks_mut(ELEMENTS_PER_TASK).zip(memory.view(y).chunks(ELEMENTS_PER_TASK));
    threads::for_each(tasks, |(x, y)| x.iter_mut().zip(y).for_each(|(x, y)| *x += *y));
    memory.put(x.tensor, tensor);
}

pub(super) fn zero<T: Real>(op: &ZeroTensor, memory: &mut Tensors<'_, T>) {
    let mut values = memory.take(op.tensor);
    values.fill(T::zero());
    memory.put(op.tensor, values);
}

pub(super) fn remaining_lengths<T: Real>(op: &RemainingLengths, memory: &mut Tensors<'_, T>) {
    let mut out = memory.take_ids(op.out);
    for (left, length) in out.iter_mut().zip(memory.ids(op.lengths)) {
        *left = length.saturating_sub(op.skipped as u32);
    }
    memory.put_ids(op.out, out);
}

pub(super) fn initial_state<T: Real>(op: &InitialState, memory: &mut Tensors<'_, T>) {
    if memory.real(op.fresh)[0].is_zero() {
        return;
    }
    let mut state = memory.take(op.state.tensor);
    let learned = memory.view(&op.learned);
    let (width, batch) = (op.learned.cols, op.state.rows / op.learned.rows);
    let states = state[op.state.range()].chunks_exact_mut(batch * width);
    for (rows, learned) in states.zip(learned.chunks_exact(width)) {
        rows.chunks_exact_mut(width).for_each(|row| row.copy_from_slice(learned));
    }
    memory.put(op.state.tensor, state);
}

pub(super) fn initial_state_gradient<T: Real>(op: &InitialStateGradient, memory: &mut Tensors<'_, T>) {
    let mut slices = memory.take(op.slices);
    let shape = &memory.plan.get(op.from).shape;
    let (batch, width) = (shape[1], shape[2]);
    let hidden = width / op.slots.len();
    let (from, fresh) = (memory.real(op.from), memory.real(op.fresh)[0]);
    for (j, out) in slices[op.weight..op.weight + width].iter_mut().enumerate() {
        let slot = op.slots[j / hidden];
        let at = |b: usize| from[(slot * batch + b) * width + j];
        *out = if fresh.is_zero() { T::zero() } else { sum((0..batch).map(at)) };
    }
    memory.put(op.slices, slices);
}
