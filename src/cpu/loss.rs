//! Loss and its gradient in one pass over the outputs, each position apart.

use pulp::Arch;
use rayon::prelude::*;

use super::{memory::Memory, real::Real};
use crate::plan::{Loss, LossGradient};

/// Positions that are worth a thread's while.
const ROWS_A_TASK: usize = 128;

pub(super) fn loss_gradient<T: Real>(op: &LossGradient, memory: &mut Memory<'_, T>) {
    let mut outputs = memory.take(op.outputs.tensor);
    let mut row_loss = memory.take(op.row_loss);
    let (mask, count) = (memory.real(op.mask), memory.real(op.count)[0]);
    let scale = op.scaling.map_or(T::one(), |scaling| memory.real(scaling)[0]);
    let width = op.outputs.cols;
    let row = |r: usize, y: &mut [T]| {
        if mask[r].is_zero() {
            // What lies at a position that does not count may be anything, so it is not even multiplied by zero.
            if op.gradient {
                y.fill(T::zero());
            }
            return T::zero();
        }
        let weight = mask[r] / count;
        let loss = match op.loss {
            Loss::CrossEntropy => cross_entropy(y, memory.ids(op.targets)[r] as usize, weight, op.gradient),
            Loss::MeanSquared => {
                let targets = &memory.real(op.targets)[r * width..][..width];
                mean_squared(y, targets, weight / T::from_f64(width as f64), op.gradient)
            }
        };
        if op.gradient && op.scaling.is_some() {
            y.iter_mut().for_each(|y| *y = *y * scale);
        }
        loss
    };
    let task = |first: usize, y: &mut [T], losses: &mut [T]| {
        for (i, (y, loss)) in y.chunks_exact_mut(width).zip(losses).enumerate() {
            *loss = row(first + i, y);
        }
    };
    let y = &mut outputs[op.outputs.range()];
    if op.outputs.rows <= ROWS_A_TASK {
        task(0, y, &mut row_loss);
    } else {
        y.par_chunks_mut(ROWS_A_TASK * width)
            .zip(row_loss.par_chunks_mut(ROWS_A_TASK))
            .enumerate()
            .for_each(|(i, (y, losses))| task(i * ROWS_A_TASK, y, losses));
    }
    memory.put(op.outputs.tensor, outputs);
    memory.put(op.row_loss, row_loss);
}

/// `weight`·(ln Σ eʸ − y\[target\]); y becomes `weight`·(softmax(y) − onehot).
fn cross_entropy<T: Real>(y: &mut [T], target: usize, weight: T, gradient: bool) -> T {
    let max = y.iter().fold(T::neg_infinity(), |max, v| max.max(*v));
    let at_target = y[target];
    let sum: T = if gradient {
        Arch::new().dispatch(|| {
            y.iter_mut().for_each(|v| *v = *v - max);
            T::exp_slice(y);
        });
        let sum = y.iter().copied().sum();
        let scale = weight / sum;
        y.iter_mut().for_each(|v| *v = *v * scale);
        y[target] = y[target] - weight;
        sum
    } else {
        y.iter().map(|v| (*v - max).exp()).sum()
    };
    weight * (sum.ln() + max - at_target)
}

/// `weight`·Σ (y − target)²; y becomes 2·`weight`·(y − target).
fn mean_squared<T: Real>(y: &mut [T], targets: &[T], weight: T, gradient: bool) -> T {
    let mut sum = T::zero();
    for (y, target) in y.iter_mut().zip(targets) {
        let error = *y - *target;
        sum += error * error;
        if gradient {
            *y = (weight + weight) * error;
        }
    }
    weight * sum
}
