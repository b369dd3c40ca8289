//! The pinball loss of several quantiles of each number; its twin is `shaders/quantiles.wgsl`.
//!
//! The contract: where outputs are increments, each is read before its gradient takes its place.

use super::{Row, number, sigmoid, softplus};
use crate::cpu::{real::Real, sums::sum};

/// Outputs `[Q, N]`.
pub(super) fn quantiles<T: Real>(
    Row { y, weight, gradient }: &mut Row<'_, T>,
    (targets, weights): (&[T], Option<&[T]>),
    settings: &[T],
) -> T {
    let (is_ordered, levels) = (!settings[0].is_zero(), &settings[1..]);
    let count = targets.len();
    let part = *weight / number((count * levels.len()) as f64);
    let losses = (0..count).map(|at| {
        let weight = weights.map_or(T::one(), |weights| weights[at]);
        let target = targets[at];
        let is_left_out = weight.is_zero();
        let mut quantile = T::zero();
        let (mut loss, mut slopes) = (T::zero(), T::zero());
        for (q, level) in levels.iter().enumerate() {
            quantile = next(quantile, y[q * count + at], is_ordered && q > 0);
            loss += pinball(target - quantile, *level).0;
            slopes += pinball(target - quantile, *level).1;
        }
        if *gradient {
            quantile = T::zero();
            for (q, level) in levels.iter().enumerate() {
                let raw = y[q * count + at];
                quantile = next(quantile, raw, is_ordered && q > 0);
                let slope = pinball(target - quantile, *level).1;
                // An increment moves all quantiles from its own on.
                let moved = match (is_ordered, q) {
                    (false, _) => slope,
                    (true, 0) => slopes,
                    (true, _) => slopes * sigmoid(raw),
                };
                slopes = slopes - slope;
                y[q * count + at] = if is_left_out { T::zero() } else { part * weight * moved };
            }
        }
        if is_left_out { T::zero() } else { weight * loss }
    });
    part * sum(losses)
}

fn next<T: Real>(before: T, raw: T, is_increment: bool) -> T {
    if is_increment { before + softplus(raw) } else { raw }
}

/// The loss of a target that lies so far above the quantile of this level, and its slope in the quantile.
fn pinball<T: Real>(above: T, level: T) -> (T, T) {
    if above > T::zero() {
        (level * above, -level)
    } else if above < T::zero() {
        ((level - T::one()) * above, T::one() - level)
    } else {
        // Halfway, or no number.
        (above, number::<T>(0.5) - level + above)
    }
}
