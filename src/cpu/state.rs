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
    let lengths = memory.ids(op.lengths);
    let batch = memory.plan.get(op.lengths).shape.last().map_or(1, |batch| *batch);
    let (left, resets) = out.split_at_mut(batch);
    for (left, length) in left.iter_mut().zip(lengths) {
        *left = length.saturating_sub(op.skipped as u32);
    }
    let of_all = lengths.iter().skip((1 + op.skipped) * batch).copied().chain(std::iter::repeat(0));
    resets.iter_mut().zip(of_all).for_each(|(reset, of_all)| *reset = of_all);
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
        let at = |slot: usize, b: usize| from[(slot * batch + b) * width + j];
        let first = slot..slot + usize::from(!fresh.is_zero());
        let slots = first.chain(op.resets);
        *out = sum((0..batch).flat_map(|b| slots.clone().map(move |slot| at(slot, b))));
    }
    memory.put(op.slices, slices);
}
