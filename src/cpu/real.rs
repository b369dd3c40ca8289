//! The two kinds of number that the twins are generic over.

use std::fmt::{Debug, Display};
use std::iter::Sum;
use std::ops::AddAssign;

use num_traits::Float;

/// f32 or f64.
pub trait Real: Float + Default + Debug + Display + AddAssign + Sum + Send + Sync + 'static {
    /// The nearest number of this kind.
    fn from_f64(value: f64) -> Self;
    /// The same number as f64.
    fn as_f64(self) -> f64;
    /// tanh of every element, within a few units in the last place.
    fn tanh_slice(values: &mut [Self]);
}

impl Real for f64 {
    fn from_f64(value: f64) -> Self {
        value
    }

    fn as_f64(self) -> f64 {
        self
    }

    fn tanh_slice(values: &mut [Self]) {
        values.iter_mut().for_each(|v| *v = v.tanh());
    }
}

impl Real for f32 {
    fn from_f64(value: f64) -> Self {
        value as f32
    }

    fn as_f64(self) -> f64 {
        f64::from(self)
    }

    fn tanh_slice(values: &mut [Self]) {
        values.iter_mut().for_each(|v| *v = tanh(*v));
    }
}

/// tanh as a quotient of polynomials, without a branch, so that a loop over it becomes vector instructions, which a call
/// of the C library's does not.
///
/// The coefficients are the minimax fit on ±7.9 that Eigen uses (`generic_fast_tanh_float`, MPL-2.0).
#[inline]
fn tanh(x: f32) -> f32 {
    const ODD: [f32; 7] =
        [-2.760_768_5e-16, 2.000_188e-13, -8.604_672e-11, 5.122_297e-8, 1.485_722_4e-5, 6.372_619e-4, 4.893_525e-3];
    const EVEN: [f32; 4] = [1.198_258_4e-6, 1.185_347_1e-4, 2.268_434_6e-3, 4.893_525_3e-3];
    // Not `clamp`, which is a branch to the vectoriser; a NaN stays a NaN.
    let bounded = if x > 7.905_311 { 7.905_311 } else { x };
    let bounded = if bounded < -7.905_311 { -7.905_311 } else { bounded };
    let square = bounded * bounded;
    let odd = ODD[1..].iter().fold(ODD[0], |sum, c| sum * square + c);
    let even = EVEN[1..].iter().fold(EVEN[0], |sum, c| sum * square + c);
    bounded * odd / even
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fast_tanh_is_within_a_few_units_of_the_exact_one() {
        // Sums of f32 pre-activations are not better than this themselves.
        const RELATIVE: f64 = 4.0 * f32::EPSILON as f64;
        for i in -120_000..=120_000 {
            let x = i as f32 * 1e-4;
            let (exact, fast) = (f64::from(x).tanh(), f64::from(tanh(x)));
            let error = (fast - exact).abs();
            assert!(
                error <= RELATIVE * exact.abs().max(f64::from(f32::MIN_POSITIVE)),
                "tanh({x}) = {fast}, not {exact}"
            );
        }
    }

    #[test]
    fn fast_tanh_holds_at_the_ends() {
        for x in [100.0, 1e30, f32::INFINITY] {
            assert!((tanh(x) - 1.0).abs() <= f32::EPSILON && (tanh(-x) + 1.0).abs() <= f32::EPSILON);
        }
        assert!(tanh(f32::NAN).is_nan());
        assert_eq!(tanh(0.0).to_bits(), 0.0f32.to_bits());
    }
}
