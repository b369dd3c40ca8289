//! Losses of numbers, one after the other; their twins are `shaders/elements.wgsl` and a file for each.
//!
//! The contract: of the numbers that count, a position's loss is the sum of the losses, each by its weight, divided by
//! how many numbers there are.

use super::gamma::{digamma_rise, ln_gamma_rise};
use super::{Row, number, sigmoid, softplus};
use crate::cpu::{real::Real, sums::sum};
use crate::plan::LossKind;

/// ½·ln 2π.
const HALF_LN_TAU: f64 = 0.918_938_533_204_672_8;

/// The loss of a position and its gradient.
pub(super) fn numbers<T: Real>(kind: LossKind, row: &mut Row<'_, T>, of: (&[T], Option<&[T]>), settings: &[T]) -> T {
    match kind {
        LossKind::MeanSquared => each(row, of, |[y], target, _| {
            let error = y - target;
            (error * error, [error + error])
        }),
        LossKind::MeanAbsolute => each(row, of, |[y], target, _| ((y - target).abs(), [sign(y - target)])),
        LossKind::Huber => each(row, of, |[y], target, _| huber(y - target, settings[0])),
        LossKind::LogCosh => each(row, of, |[y], target, _| (ln_cosh(y - target), [(y - target).tanh()])),
        LossKind::BinaryCrossEntropy => each(row, of, |[y], target, at| binary_cross_entropy(y, target, settings[at])),
        LossKind::Gaussian => each(row, of, |y, target, _| gaussian(y, target, settings[0])),
        LossKind::Laplace => each(row, of, |y, target, _| laplace(y, target, settings[0])),
        LossKind::StudentT => each(row, of, |y, target, _| student_t(y, target, settings[0])),
        LossKind::Poisson => each(row, of, |[y], target, _| (y.exp() - target * y, [y.exp() - target])),
        LossKind::NegativeBinomial => each(row, of, |y, target, _| negative_binomial(y, target, settings[0])),
        other => unreachable!("{other:?} is no loss of numbers"),
    }
}

/// Goes through the numbers, each of which P outputs describe, `[P, N]` in all.
#[inline(always)]
fn each<T: Real, const P: usize>(
    Row { y, weight, gradient }: &mut Row<'_, T>,
    (targets, weights): (&[T], Option<&[T]>),
    loss: impl Fn([T; P], T, usize) -> (T, [T; P]),
) -> T {
    let count = targets.len();
    let part = *weight / number(count as f64);
    if let (1, None) = (P, weights) {
        // One output a number, side by side: a loop that becomes vectors.
        let losses = y.iter_mut().zip(targets).enumerate().map(|(at, (y, target))| {
            let (loss, slopes) = loss([*y; P], *target, at);
            if *gradient {
                *y = part * slopes[0];
            }
            loss
        });
        return part * sum(losses);
    }
    let losses = (0..count).map(|at| {
        let weight = weights.map_or(T::one(), |weights| weights[at]);
        let is_left_out = weight.is_zero();
        let (loss, slopes) = loss(std::array::from_fn(|p| y[p * count + at]), targets[at], at);
        if *gradient {
            for (p, slope) in slopes.into_iter().enumerate() {
                y[p * count + at] = if is_left_out { T::zero() } else { part * weight * slope };
            }
        }
        if is_left_out { T::zero() } else { weight * loss }
    });
    part * sum(losses)
}

/// ±1, or x where that is 0 or no number.
fn sign<T: Real>(x: T) -> T {
    if x > T::zero() {
        T::one()
    } else if x < T::zero() {
        -T::one()
    } else {
        x
    }
}

fn huber<T: Real>(error: T, delta: T) -> (T, [T; 1]) {
    let half = number::<T>(0.5);
    if error.abs() <= delta {
        (half * error * error, [error])
    } else {
        (delta * (error.abs() - half * delta), [delta * sign(error)])
    }
}

fn ln_cosh<T: Real>(x: T) -> T {
    let x = x.abs();
    if x < T::one() {
        number::<T>(0.5) * (x.sinh() * x.sinh()).ln_1p()
    } else {
        x + (-x - x).exp().ln_1p() - number(std::f64::consts::LN_2)
    }
}

/// t·w·softplus(−y) + (1 − t)·softplus(y).
fn binary_cross_entropy<T: Real>(y: T, target: T, positive: T) -> (T, [T; 1]) {
    let (positive, negative) = (positive * target, T::one() - target);
    (positive * softplus(-y) + negative * softplus(y), [negative * sigmoid(y) - positive * sigmoid(-y)])
}

fn gaussian<T: Real>([mean, raw]: [T; 2], target: T, floor: T) -> (T, [T; 2]) {
    let scale = floor + softplus(raw);
    let z = (target - mean) / scale;
    let loss = number::<T>(0.5) * z * z + scale.ln() + number(HALF_LN_TAU);
    (loss, [-z / scale, (T::one() - z * z) / scale * sigmoid(raw)])
}

fn laplace<T: Real>([mean, raw]: [T; 2], target: T, floor: T) -> (T, [T; 2]) {
    let scale = floor + softplus(raw);
    let z = (mean - target) / scale;
    ((scale + scale).ln() + z.abs(), [sign(z) / scale, (T::one() - z.abs()) / scale * sigmoid(raw)])
}

fn student_t<T: Real>([mean, raw, raw_freedom]: [T; 3], target: T, floor: T) -> (T, [T; 3]) {
    let (half, one) = (number::<T>(0.5), T::one());
    let (scale, freedom) = (floor + softplus(raw), number::<T>(2.0) + softplus(raw_freedom));
    let z = (target - mean) / scale;
    // By how much z counts where its square is large: q / (1 + q) with q = z² / ν.
    let q = z / freedom * z;
    let share = q / (one + q);
    let (more, tail) = (freedom + one, q.ln_1p());
    let of_freedom = half * (freedom.ln() + number(std::f64::consts::PI.ln())) - ln_gamma_rise(freedom * half, half);
    let loss = of_freedom + scale.ln() + half * more * tail;
    let slope = half * (freedom.recip() + tail - more / freedom * share - digamma_rise(freedom * half, half));
    let of_scale = (one - more * share) / scale;
    (loss, [-more / (freedom + z * z) * z / scale, of_scale * sigmoid(raw), slope * sigmoid(raw_freedom)])
}

fn negative_binomial<T: Real>([raw_mean, raw_shape]: [T; 2], target: T, floor: T) -> (T, [T; 2]) {
    let (mean, shape) = (floor + softplus(raw_mean), floor + softplus(raw_shape));
    let of_shape = (mean / shape).ln_1p();
    let loss = ln_gamma_rise(T::one(), target) - ln_gamma_rise(shape, target)
        + shape * of_shape
        + target * (shape / mean).ln_1p();
    let by_mean = shape / (shape + mean) * ((mean - target) / mean);
    let by_shape = of_shape - digamma_rise(shape, target) + (target - mean) / (shape + mean);
    (loss, [by_mean * sigmoid(raw_mean), by_shape * sigmoid(raw_shape)])
}
