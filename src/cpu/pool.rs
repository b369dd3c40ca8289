//! One row for each sequence of those of its steps, and back.

use super::{
    real::Real,
    sums::{compensated, sum},
    tensors::Tensors,
};
use crate::plan::{Pool, PoolGradient, PoolKind};

pub(super) fn pool<T: Real>(op: &Pool, memory: &mut Tensors<'_, T>) {
    let (mut tensor, mut excess) = (memory.take(op.out.tensor), memory.take(op.excess));
    let (rows, lengths) = (memory.view(&op.rows), memory.ids(op.lengths));
    let (batch, width) = (op.out.rows, op.out.cols);
    for (b, row) in tensor[op.out.range()].chunks_exact_mut(width).enumerate() {
        let (length, goes_on) = (lengths[b] as usize, op.skipped > 0);
        let valid = length.saturating_sub(op.skipped).min(op.steps());
        for (j, out) in row.iter_mut().enumerate() {
            let at = |t: usize| rows[(t * batch + b) * width + j];
            let excess = &mut excess[b * width + j];
            match op.kind {
                PoolKind::Last => *out = at(if j / (width / op.directions) == 0 { op.steps() - 1 } else { 0 }),
                PoolKind::Mean => {
                    let part = sum((0..valid).map(at)) / T::from_f64(f64::from(lengths[b]));
                    (*out, *excess) = if goes_on { compensated(*out, *excess, part) } else { (part, T::zero()) };
                }
                PoolKind::LastRow => {
                    if (op.skipped + 1..=op.skipped + op.steps()).contains(&length) {
                        *out = at(valid - 1);
                    }
                }
                PoolKind::FirstRow => {
                    if !goes_on {
                        *out = at(0);
                    }
                }
                PoolKind::Max => {
                    for t in 0..valid {
                        // A NaN is above all numbers, so that divergence shows.
                        let (value, is_first) = (at(t), t == 0 && !goes_on);
                        if is_first || (!out.is_nan() && (value > *out || value.is_nan())) {
                            (*out, *excess) = (value, T::from_f64((op.skipped + t) as f64));
                        }
                    }
                }
            }
        }
    }
    memory.put(op.out.tensor, tensor);
    memory.put(op.excess, excess);
}

pub(super) fn pool_gradient<T: Real>(op: &PoolGradient, memory: &mut Tensors<'_, T>) {
    let mut rows = memory.take(op.rows.tensor);
    let (d, lengths, steps) = (memory.view(&op.d), memory.ids(op.lengths), op.at.map(|at| memory.real(at)));
    let (batch, width) = (op.d.rows, op.d.cols);
    let last = op.skipped + op.rows.rows / batch - 1;
    for (r, row) in rows[op.rows.range()].chunks_exact_mut(width).enumerate() {
        let (t, b) = (op.skipped + r / batch, r % batch);
        let length = lengths[b] as usize;
        for (j, out) in row.iter_mut().enumerate() {
            let d = d[b * width + j];
            let is_of = |step: usize| if t == step { d } else { T::zero() };
            *out = match op.kind {
                PoolKind::Last => is_of(if j / (width / op.directions) == 0 { last } else { 0 }),
                PoolKind::Mean if t < length => d / T::from_f64(f64::from(lengths[b])),
                PoolKind::Mean => T::zero(),
                PoolKind::LastRow => is_of(length.saturating_sub(1)),
                PoolKind::FirstRow => is_of(0),
                PoolKind::Max => {
                    let step = steps.map_or(T::zero(), |steps| steps[b * width + j]);
                    if T::from_f64(t as f64) == step { d } else { T::zero() }
                }
            };
        }
    }
    memory.put(op.rows.tensor, rows);
}
