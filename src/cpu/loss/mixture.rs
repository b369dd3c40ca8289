//! The loss of a mixture of normal distributions; its twin is `shaders/gaussian_mixture.wgsl`.
//!
//! The contract: Σ_k e^(c_k) is never formed but relative to its largest term.

use super::{Row, number, sigmoid, softplus};
use crate::cpu::real::Real;

/// Outputs K logits, `[K, N]` means, `[K, N]` scales.
pub(super) fn gaussian_mixture<T: Real>(
    Row { y, weight, gradient }: &mut Row<'_, T>,
    targets: &[T],
    settings: &[T],
) -> T {
    let (floor, count) = (settings[1], targets.len());
    let components = y.len() / (1 + 2 * count);
    let (logits, rest) = y.split_at_mut(components);
    let (means, raws) = rest.split_at_mut(components * count);
    let of_logits = logits.iter().fold(LnSum::none(), |sum, logit| sum.and(*logit)).ln();
    let ln_share = |k: usize, logits: &[T], means: &[T], raws: &[T]| {
        let numbers = (k * count..).zip(targets).map(|(at, target)| {
            let scale = floor + softplus(raws[at]);
            let z = (*target - means[at]) / scale;
            number::<T>(-0.5) * z * z - scale.ln() - number(HALF_LN_TAU)
        });
        logits[k] - of_logits + numbers.sum::<T>()
    };
    let all = (0..components).fold(LnSum::none(), |sum, k| sum.and(ln_share(k, logits, means, raws))).ln();
    if *gradient {
        for k in 0..components {
            let share = (ln_share(k, logits, means, raws) - all).exp();
            logits[k] = *weight * ((logits[k] - of_logits).exp() - share);
            for (at, target) in (k * count..).zip(targets) {
                let scale = floor + softplus(raws[at]);
                let z = (*target - means[at]) / scale;
                means[at] = *weight * share * (-z / scale);
                raws[at] = *weight * share * ((z * z - T::one()) / scale * -sigmoid(raws[at]));
            }
        }
    }
    -*weight * all
}

/// ½·ln 2π.
const HALF_LN_TAU: f64 = 0.918_938_533_204_672_8;

/// Σ eˣ of the terms so far.
struct LnSum<T> {
    largest: T,
    /// Relative to e to the power of the largest.
    sum: T,
}

impl<T: Real> LnSum<T> {
    fn none() -> Self {
        LnSum { largest: T::neg_infinity(), sum: T::zero() }
    }

    fn and(self, x: T) -> Self {
        if x <= self.largest {
            LnSum { sum: self.sum + (x - self.largest).exp(), ..self }
        } else {
            LnSum { largest: x, sum: self.sum * (self.largest - x).exp() + T::one() }
        }
    }

    fn ln(&self) -> T {
        self.largest + self.sum.ln()
    }
}
