//! Loss and its gradient in one pass over the outputs, each position apart.

use pulp::Arch;

use super::{real::Real, sums::sum, tensors::Tensors, threads};
use crate::plan::{LossGradient, LossScale, StepParams};
use crate::recipe::Loss;

/// Positions that are worth a thread's while.
const ROWS_PER_TASK: usize = 128;

pub(super) fn loss_gradient<T: Real>(op: &LossGradient, memory: &mut Tensors<'_, T>) {
    let mut outputs = memory.take(op.outputs.tensor);
    let mut row_loss = memory.take(op.row_loss);
    let (mask, positions) = (memory.real(op.loss_mask), StepParams::of(memory.real(op.step_params)).positions);
    let scale = op.loss_scale.map_or(T::one(), |loss_scale| LossScale::of(memory.real(loss_scale)).factor);
    let width = op.outputs.cols;
    let row = |r: usize, y: &mut [T]| {
        if mask[r].is_zero() {
            // What lies at a position that does not count may be anything, so it is not even multiplied by zero.
            if op.gradient {
                y.fill(T::zero());
            }
            return T::zero();
        }
        let weight = mask[r] / positions;
        let loss = match op.loss {
            Loss::CrossEntropy => cross_entropy(y, memory.ids(op.targets)[r] as usize, weight, op.gradient),
            Loss::MeanSquared => {
                let targets = &memory.real(op.targets)[r * width..][..width];
                mean_squared(y, targets, weight / T::from_f64(width as f64), op.gradient)
            }
        };
        if op.gradient && op.loss_scale.is_some() {
            y.iter_mut().for_each(|y| *y = *y * scale);
        }
        loss
    };
    let y = &mut outputs[op.outputs.range()];
    let tasks = y.chunks_mut(ROWS_PER_TASK * width).zip(row_loss.chunks_mut(ROWS_PER_TASK));
    threads::for_each(tasks.enumerate(), |(task, (y, losses))| {
        for (i, (y, loss)) in y.chunks_exact_mut(width).zip(losses).enumerate() {
            *loss = row(task * ROWS_PER_TASK + i, y);
        }
    });
    memory.put(op.outputs.tensor, outputs);
    memory.put(op.row_loss, row_loss);
}

/// `weight`·(ln Σ eʸ − y\[target\]); y becomes `weight`·(softmax(y) − onehot).
fn cross_entropy<T: Real>(y: &mut [T], target: usize, weight: T, gradient: bool) -> T {
    let max = y.iter().fold(T::neg_infinity(), |max, v| max.max(*v));
    let at_target = y[target];
    let total = if gradient {
        Arch::new().dispatch(|| {
            y.iter_mut().for_each(|v| *v = *v - max);
            T::exp_slice(y);
        });
        let total = sum(y.iter().copied());
        let scale = weight / total;
        y.iter_mut().for_each(|v| *v = *v * scale);
        y[target] = y[target] - weight;
        total
    } else {
        sum(y.iter().map(|v| (*v - max).exp()))
    };
    weight * (total.ln() + max - at_target)
}

/// `weight`·Σ (y − target)²; y becomes 2·`weight`·(y − target).
fn mean_squared<T: Real>(y: &mut [T], targets: &[T], weight: T, gradient: bool) -> T {
    let squares = y.iter_mut().zip(targets).map(|(y, target)| {
        let error = *y - *target;
        if gradient {
            *y = (weight + weight) * error;
        }
        error * error
    });
    weight * sum(squares)
}
