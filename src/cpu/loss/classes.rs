//! Cross-entropies; their twins are `shaders/cross_entropy.wgsl`, `cross_entropy_with.wgsl` and
//! `soft_cross_entropy.wgsl`.
//!
//! The contract: no exponential overflows, and a probability of 0 has a finite logarithm as long as the outputs are
//! finite.

use super::{Row, number};
use crate::cpu::{
    real::Real,
    sums::{largest, sum, sum_of_slice},
    vectorized::vectorized,
};

/// `weight`·(ln Σ eʸ − y\[target\]); y becomes `weight`·(softmax(y) − onehot).
pub(super) fn cross_entropy<T: Real>(Row { y, weight, gradient }: &mut Row<'_, T>, target: usize) -> T {
    let weight = *weight;
    let max = largest(y);
    let at_target = y[target];
    let total = if *gradient {
        let total = exponentials(y, max);
        let scale = weight / total;
        y.iter_mut().for_each(|v| *v = *v * scale);
        y[target] = y[target] - weight;
        total
    } else {
        sum(y.iter().map(|v| (*v - max).exp()))
    };
    weight * (total.ln() + max - at_target)
}

/// The same with smoothed labels, weights of classes, or focussed.
pub(super) fn cross_entropy_with<T: Real>(row: &mut Row<'_, T>, target: usize, settings: &[T]) -> T {
    let ([smoothing, focus], weights) = ([settings[0], settings[1]], &settings[2..]);
    if focus.is_zero() {
        let spread = smoothing / number(row.y.len() as f64);
        let expected = |c: usize| if c == target { T::one() - smoothing + spread } else { spread };
        return expected_entropy(row, expected, weights);
    }
    let Row { y, weight, gradient } = row;
    let weight = *weight * weights[target];
    let max = largest(y);
    let at_target = y[target] - max;
    let total = sum(y.iter().map(|v| (*v - max).exp()));
    let ln_p = at_target - total.ln();
    let p = ln_p.exp();
    let rest = T::one() - p;
    let power = rest.powf(focus);
    if *gradient {
        let hard = if rest > T::zero() { focus * p * ln_p * power / rest } else { T::zero() };
        let slope = weight * (hard - power);
        exponentials(y, max);
        y.iter_mut().for_each(|v| *v = -slope * (*v / total));
        y[target] += slope;
    }
    -weight * power * ln_p
}

/// Against probabilities.
pub(super) fn soft_cross_entropy<T: Real>(row: &mut Row<'_, T>, targets: &[T], settings: &[T]) -> T {
    let (smoothing, weights) = (settings[0], &settings[2..]);
    let spread = smoothing / number(row.y.len() as f64);
    expected_entropy(row, |c| (T::one() - smoothing) * targets[c] + spread, weights)
}

/// `weight`·Σ_c w_c·q_c·(ln Σ eʸ − y\[c\]); y becomes `weight`·(Σ w·q · softmax(y) − w·q).
fn expected_entropy<T: Real>(
    Row { y, weight, gradient }: &mut Row<'_, T>,
    expected: impl Fn(usize) -> T,
    weights: &[T],
) -> T {
    let weight = *weight;
    let max = largest(y);
    let mass = sum(weights.iter().enumerate().map(|(c, w)| *w * expected(c)));
    let below = sum(y.iter().zip(weights).enumerate().map(|(c, (v, w))| *w * expected(c) * (*v - max)));
    let total = if *gradient {
        let total = exponentials(y, max);
        for (c, (v, w)) in y.iter_mut().zip(weights).enumerate() {
            *v = weight * (mass * (*v / total) - *w * expected(c));
        }
        total
    } else {
        sum(y.iter().map(|v| (*v - max).exp()))
    };
    weight * (mass * total.ln() - below)
}

/// Puts e^(y − max) in the place of y, and returns their sum.
fn exponentials<T: Real>(y: &mut [T], max: T) -> T {
    vectorized!(|| {
        y.iter_mut().for_each(|v| *v = *v - max);
        T::exp_slice(y);
    });
    sum_of_slice(y)
}
