//! ln Γ and its slope, as differences that lose no digits where both terms are large; their twin is
//! `shaders/gamma.wgsl`.
//!
//! The contract: for x > 0 and h >= 0; by Stirling's series (Abramowitz & Stegun 1964, 6.1.41 and 6.3.18) from 8 on,
//! below it by recurrence.

use crate::cpu::real::Real;

/// Where the series is used: what it leaves out is 10⁻¹¹ there.
const SERIES_FROM: usize = 8;

/// ln Γ(x + h) − ln Γ(x).
pub(super) fn ln_gamma_rise<T: Real>(x: T, h: T) -> T {
    let (mut a, mut below) = (x, T::zero());
    if x < number(SERIES_FROM as f64) {
        for _ in 0..SERIES_FROM {
            below += (h / a).ln_1p();
            a += T::one();
        }
    }
    let series = (a - number(0.5)) * (h / a).ln_1p() + h * ((a + h).ln() - T::one());
    series + (of_stirling(a + h) - of_stirling(a)) - below
}

/// ψ(x + h) − ψ(x), the slope of [`ln_gamma_rise`] in x.
pub(super) fn digamma_rise<T: Real>(x: T, h: T) -> T {
    let (mut a, mut below) = (x, T::zero());
    if x < number(SERIES_FROM as f64) {
        for _ in 0..SERIES_FROM {
            below += h / a / (a + h);
            a += T::one();
        }
    }
    (h / a).ln_1p() + (of_digamma(a + h) - of_digamma(a)) + below
}

/// ln Γ(a) but for (a − ½)·ln a − a + ½·ln 2π.
fn of_stirling<T: Real>(a: T) -> T {
    let square = a.recip() * a.recip();
    let series = number::<T>(-1.0 / 360.0) + square * (number::<T>(1.0 / 1260.0) - square * number(1.0 / 1680.0));
    (number::<T>(1.0 / 12.0) + square * series) / a
}

/// ψ(a) but for ln a.
fn of_digamma<T: Real>(a: T) -> T {
    let square = a.recip() * a.recip();
    let series = number::<T>(1.0 / 120.0) - square * (number::<T>(1.0 / 252.0) - square * number(1.0 / 240.0));
    -number::<T>(0.5) / a - square * (number::<T>(1.0 / 12.0) - square * series)
}

fn number<T: Real>(value: f64) -> T {
    T::from_f64(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// x, h, and the two differences, computed in 40 digits.
    #[test]
    fn rises_of_ln_gamma_and_digamma_are_accurate() {
        let exact = [
            (0.001, 0.0, 0.0, 0.0),
            (0.001, 1.0, -6.907755278982137, 1000.0),
            (0.5, 0.5, -0.5723649429247001, 1.3862943611198906),
            (1.0, 0.5, -0.12078223763524522, 0.6137056388801094),
            (1.0, 5.0, 4.787491742782046, 2.283333333333333),
            (1.5, 170.0, 709.2639452685635, 5.105175007455423),
            (7.999, 0.5, 1.0240414427461557, 0.06445763958725113),
            (8.0, 0.5, 1.0241058962355833, 0.06444933962381012),
            (8.0, 1000.0, 5951.985234340143, 4.899585856913849),
            (33.3, 0.5, 1.7490250857490324, 0.015127727651687886),
            (1000.0, 0.5, 3.453752639496277, 0.000500124999984375),
            (10000.0, 10000.0, 95966.00075320379, 0.6931721811849453),
            (0.001, 10000.0, 82092.81952784742, 1009.7858624029582),
            (1000000.0, 3.0, 41.44653467389032, 2.999997000005e-06),
        ];
        for (x, h, ln_gamma, digamma) in exact {
            let close = |got: f64, want: f64| (got - want).abs() <= 1e-11 * want.abs().max(1.0);
            let (l, d) = (ln_gamma_rise::<f64>(x, h), digamma_rise::<f64>(x, h));
            assert!(close(l, ln_gamma) && close(d, digamma), "{x}, {h}: {l:e}, {d:e}, not {ln_gamma:e}, {digamma:e}");
        }
    }
}
