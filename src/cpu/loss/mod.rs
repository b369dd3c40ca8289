//! Loss and its gradient in one pass over the outputs, each position apart.
//!
//! The contract: where a weight is 0 there is neither loss nor gradient, whatever outputs and targets are.

mod classes;
mod gamma;
mod mixture;
mod numbers;
mod quantiles;

use super::{real::Real, tensors::Tensors, threads};
use crate::plan::{LossGradient, LossKind, LossScale, StepParams};

/// Positions that are worth a thread's while.
const ROWS_PER_TASK: usize = 128;
/// Outputs that are, however few positions they belong to.
const ELEMENTS_PER_TASK: usize = 1 << 17;

/// A position.
struct Row<'a, T> {
    /// Its outputs, which become their gradient where that is wanted.
    y: &'a mut [T],
    /// By what loss and gradient are multiplied: its weight by the divisor.
    weight: T,
    gradient: bool,
}

pub(super) fn loss_gradient<T: Real>(op: &LossGradient, memory: &mut Tensors<'_, T>) {
    let mut outputs = memory.take(op.outputs.tensor);
    let mut row_loss = memory.take(op.row_loss);
    let (weights, divisor) = (memory.real(op.loss_weights), StepParams::of(memory.real(op.step_params)).divisor);
    let settings = op.settings.map_or(&[][..], |settings| memory.real(settings));
    let scale = op.loss_scale.map_or(T::one(), |loss_scale| LossScale::of(memory.real(loss_scale)).factor);
    let (width, gradient) = (op.outputs.cols, op.gradient);
    let (numbers, elementwise) = (op.numbers(memory.plan), op.is_elementwise(memory.plan));
    let row = |r: usize, y: &mut [T]| {
        let (weight, each) = match elementwise {
            true => (T::one(), Some(&weights[r * numbers..][..numbers])),
            false => (weights[r], None),
        };
        if weight.is_zero() {
            // What lies at a position that does not count may be anything, so it is not even multiplied by zero.
            if gradient {
                y.fill(T::zero());
            }
            return T::zero();
        }
        let mut row = Row { y, weight: weight / divisor, gradient };
        let class = || memory.ids(op.targets)[r] as usize;
        let targets = || &memory.real(op.targets)[r * numbers..][..numbers];
        let loss = match op.loss {
            LossKind::CrossEntropy => classes::cross_entropy(&mut row, class()),
            LossKind::CrossEntropyWith => classes::cross_entropy_with(&mut row, class(), settings),
            LossKind::SoftCrossEntropy => classes::soft_cross_entropy(&mut row, targets(), settings),
            LossKind::Quantiles => quantiles::quantiles(&mut row, (targets(), each), settings),
            LossKind::GaussianMixture => mixture::gaussian_mixture(&mut row, targets(), settings),
            LossKind::External => {
                // The caller's loss is that of all positions together.
                row.y.copy_from_slice(targets());
                row.y.iter_mut().for_each(|y| *y = *y * row.weight);
                if r == 0 { settings[0] * row.weight } else { T::zero() }
            }
            of_numbers => numbers::numbers(of_numbers, &mut row, (targets(), each), settings),
        };
        if gradient && op.loss_scale.is_some() {
            row.y.iter_mut().for_each(|y| *y = *y * scale);
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

fn number<T: Real>(value: f64) -> T {
    T::from_f64(value)
}

/// ln(1 + eˣ) without overflow; a NaN stays one.
fn softplus<T: Real>(x: T) -> T {
    (if x > T::zero() { x } else { T::zero() }) + (-x.abs()).exp().ln_1p()
}

/// 1 / (1 + e⁻ˣ), the slope of [`softplus`].
fn sigmoid<T: Real>(x: T) -> T {
    let e = (-x.abs()).exp();
    (if x < T::zero() { e } else { T::one() }) / (T::one() + e)
}
