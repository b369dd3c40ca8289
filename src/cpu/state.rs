//! Where sequences begin and end: copies of states, learned initial states, and one vector made of all outputs.

use super::{
    real::Real,
    sums::{compensated, sum},
    tensors::Tensors,
};
use crate::plan::{
    CopyView, InitialState, InitialStateGradient, Pool, PoolGradient, PoolKind, RemainingLengths, ZeroTensor,
};

pub(super) fn copy<T: Real>(CopyView { from, to }: &CopyView, memory: &mut Tensors<'_, T>) {
    let mut tensor = memory.take(to.tensor);
    let from_values = memory.view(from);
    for (row, out) in tensor[to.range()].chunks_mut(to.stride).enumerate() {
        out[..to.cols].copy_from_slice(&from_values[row * from.stride..][..from.cols]);
    }
    memory.put(to.tensor, tensor);
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

pub(super) fn pool<T: Real>(op: &Pool, memory: &mut Tensors<'_, T>) {
    let (mut tensor, mut excess) = (memory.take(op.out.tensor), memory.take(op.excess));
    let (history, lengths) = (memory.real(op.history), memory.ids(op.lengths));
    let (batch, width) = (op.out.rows, op.out.cols);
    for (b, row) in tensor[op.out.range()].chunks_exact_mut(width).enumerate() {
        let valid = (lengths[b] as usize).saturating_sub(op.skipped).min(op.steps);
        for (j, out) in row.iter_mut().enumerate() {
            let at = |slot: usize| history[(slot * batch + b) * width + j];
            match op.kind {
                PoolKind::Last => *out = at(if j / (width / op.directions) == 0 { op.steps } else { 1 }),
                PoolKind::Mean => {
                    let part = sum((1..=valid).map(at)) / T::from_f64(f64::from(lengths[b]));
                    let excess = &mut excess[b * width + j];
                    (*out, *excess) =
                        if op.skipped == 0 { (part, T::zero()) } else { compensated(*out, *excess, part) };
                }
            }
        }
    }
    memory.put(op.out.tensor, tensor);
    memory.put(op.excess, excess);
}

pub(super) fn pool_gradient<T: Real>(op: &PoolGradient, memory: &mut Tensors<'_, T>) {
    let mut upstream = memory.take(op.upstream);
    let (d, lengths) = (memory.view(&op.d), memory.ids(op.lengths));
    let (batch, width) = (op.d.rows, op.d.cols);
    for (t, slot) in upstream.chunks_exact_mut(batch * width).skip(1).take(op.steps).enumerate() {
        for (b, row) in slot.chunks_exact_mut(width).enumerate() {
            for (j, out) in row.iter_mut().enumerate() {
                let d = d[b * width + j];
                *out = match op.kind {
                    PoolKind::Last if t == (if j / (width / op.directions) == 0 { op.steps - 1 } else { 0 }) => d,
                    PoolKind::Mean if op.skipped + t < lengths[b] as usize => d / T::from_f64(f64::from(lengths[b])),
                    PoolKind::Last | PoolKind::Mean => T::zero(),
                };
            }
        }
    }
    memory.put(op.upstream, upstream);
}
