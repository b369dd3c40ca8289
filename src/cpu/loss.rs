//! Loss and its gradient in one pass over the outputs, each position apart.

use super::{
    real::Real,
    sums::{sum, sum_of_slice},
    tensors::Tensors,
    threads,
    vectorized::vectorized,
};
use crate::plan::{LossGradient, LossScale, StepParams};
use crate::recipe::Loss;

/// Positions that are worth a thread's while.
const ROWS_PER_TASK: usize = 128;
/// Outputs that are, however few positions they belong to.
const ELEMENTS_PER_TASK: usize = 1 << 17;

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
    let rows_per_task = (ELEMENTS_PER_TASK / width).clamp(1, ROWS_PER_TASK);
    let tasks = y.chunks_mut(rows_per_task * width).zip(row_loss.chunks_mut(rows_per_task));
    threads::for_each(tasks.enumerate(), |(task, (y, losses))| {
        for (i, (y, loss)) in y.chunks_exact_mut(width).zip(losses).enumerate() {
            *loss = row(task * rows_per_task + i, y);
        }
    });
    memory.put(op.outputs.tensor, outputs);
    memory.put(op.row_loss, row_loss);
}

/// `weight`·(ln Σ eʸ − y\[target\]); y becomes `weight`·(softmax(y) − onehot).
fn cross_entropy<T: Real>(y: &mut [T], target: usize, weight: T, gradient: bool) -> T {
    let max = largest(y);
    let at_target = y[target];
    let total = if gradient {
        vectorized!(|| {
            y.iter_mut().for_each(|v| *v = *v - max);
            T::exp_slice(y);
        });
        let total = sum_of_slice(y);
        let scale = weight / total;
        y.iter_mut().for_each(|v| *v = *v * scale);
        y[target] = y[target] - weight;
        total
    } else {
        sum(y.iter().map(|v| (*v - max).exp()))
    };
    weight * (total.ln() + max - at_target)
}

/// Returns the largest number, NaN not being one.
fn largest<T: Real>(values: &[T]) -> T {
    // Many maxima side by side: they become vectors.
    let mut largest = [T::neg_infinity(); 32];
    vectorized!(|| {
        for part in values.chunks(largest.len()) {
            for (largest, value) in largest.iter_mut().zip(part) {
                *largest = if *value > *largest { *value } else { *largest };
            }
        }
    });
    largest.into_iter().fold(T::neg_infinity(), T::max)
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
