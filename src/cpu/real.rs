//! The two kinds of number that the twins are generic over, and what each has of its own: f64 plain loops, f32 vectors.

use std::fmt::{Debug, Display};
use std::iter::Sum;
use std::ops::AddAssign;

use num_traits::Float;
use pulp::{Arch, Simd, WithSimd};

use super::packed::{self, Product, TransposedProduct};
use super::vector;

/// The most terms that are summed one after another in the element type. Each addition in f32 rounds by up to 2⁻²⁴ of
/// the sum, and with equal terms many in a row round the same way: a run of n terms is off by up to n/3 · 2⁻²⁴, here
/// 6.4·10⁻⁷.
pub(super) const MAX_RUN: usize = 32;

/// f32 or f64.
pub trait Real: Float + Default + Debug + Display + AddAssign + Sum + Send + Sync + Kernels + 'static {
    /// The nearest number of this kind.
    fn from_f64(value: f64) -> Self;
    /// The same number as f64.
    fn as_f64(self) -> f64;
}

/// What the two do each in its own way; nobody else can.
pub trait Kernels: Sized {
    /// eˣ of every element, none of which is positive.
    fn exp_slice(values: &mut [Self]);
    /// ln of every element, each from 1 to 4.
    fn ln_slice(values: &mut [Self]);
    /// tanh of every element.
    fn tanh_slice(values: &mut [Self]);
    /// 1 / (1 + e⁻ˣ) of every element.
    fn sigmoid_slice(values: &mut [Self]);
    /// The numbers in a row of a panel of a packed matrix.
    fn panel() -> usize;
    /// A product with a packed matrix.
    fn multiply(product: Product<'_, Self>);
    /// Multiplies a transposed matrix with a packed one.
    fn multiply_transposed(product: TransposedProduct<'_, Self>);
}

impl Real for f64 {
    fn from_f64(value: f64) -> Self {
        value
    }

    fn as_f64(self) -> f64 {
        self
    }
}

impl Kernels for f64 {
    fn exp_slice(values: &mut [Self]) {
        values.iter_mut().for_each(|v| *v = v.exp());
    }

    fn ln_slice(values: &mut [Self]) {
        values.iter_mut().for_each(|v| *v = v.ln());
    }

    fn tanh_slice(values: &mut [Self]) {
        values.iter_mut().for_each(|v| *v = v.tanh());
    }

    fn sigmoid_slice(values: &mut [Self]) {
        // e⁻|ˣ| cannot overflow, and keeps full precision where σ is small.
        for v in values {
            let e = (-v.abs()).exp();
            *v = if *v < 0.0 { e } else { 1.0 } / (1.0 + e);
        }
    }

    fn panel() -> usize {
        8
    }

    fn multiply(product: Product<'_, Self>) {
        packed::plain(product);
    }

    fn multiply_transposed(product: TransposedProduct<'_, Self>) {
        packed::plain_transposed(product);
    }
}

impl Real for f32 {
    fn from_f64(value: f64) -> Self {
        value as f32
    }

    fn as_f64(self) -> f64 {
        f64::from(self)
    }
}

impl Kernels for f32 {
    fn exp_slice(values: &mut [Self]) {
        vector::exp_of_negative(values);
    }

    fn ln_slice(values: &mut [Self]) {
        vector::ln_of_few(values);
    }

    fn tanh_slice(values: &mut [Self]) {
        vector::tanh(values);
    }

    fn sigmoid_slice(values: &mut [Self]) {
        vector::sigmoid(values);
    }

    fn panel() -> usize {
        Arch::new().dispatch(Lanes)
    }

    fn multiply(product: Product<'_, Self>) {
        Arch::new().dispatch(product);
    }

    fn multiply_transposed(product: TransposedProduct<'_, Self>) {
        Arch::new().dispatch(product);
    }
}

/// Asks for the numbers in a row of a panel.
struct Lanes;

impl WithSimd for Lanes {
    type Output = usize;

    fn with_simd<S: Simd>(self, _simd: S) -> usize {
        packed::width(S::F32_LANES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// x, σ(x) and tanh(x), computed in 60 digits and rounded once.
    #[test]
    fn sigmoid_and_tanh_in_f64_are_accurate_everywhere() {
        let exact = [
            (-1000.0, 0.0, -1.0),
            (-700.0, 9.85967654375977e-305, -1.0),
            (-100.0, 3.720075976020836e-44, -1.0),
            (-40.0, 4.248354255291589e-18, -1.0),
            (-35.0, 6.305116760146985e-16, -1.0),
            (-20.0, 2.0611536181902037e-09, -1.0),
            (-1.0, 0.2689414213699951, -0.7615941559557649),
            (-0.3, 0.425557483188341, -0.2913126124515909),
            (1e-10, 0.500000000025, 1e-10),
            (0.3, 0.574442516811659, 0.2913126124515909),
            (2.5, 0.9241418199787564, 0.9866142981514303),
            (20.0, 0.9999999979388464, 1.0),
            (35.0, 0.9999999999999993, 1.0),
            (700.0, 1.0, 1.0),
        ];
        for (x, sigmoid, tanh) in exact {
            let (mut s, mut t) = ([x], [x]);
            f64::sigmoid_slice(&mut s);
            f64::tanh_slice(&mut t);
            for (got, exact) in [(s[0], sigmoid), (t[0], tanh)] {
                let allowed = 2.0 * f64::EPSILON * exact.abs();
                assert!((got - exact).abs() <= allowed, "{x}: {got:e}, not {exact:e}");
            }
            // Where σ is small, its derivative is as accurate.
            let (got, exact) = (s[0] * (1.0 - s[0]), sigmoid * (1.0 - sigmoid));
            assert!(x >= 0.0 || (got - exact).abs() <= 4.0 * f64::EPSILON * exact, "{x}: {got:e}, not {exact:e}");
        }
        let mut ends = [f64::NEG_INFINITY, f64::INFINITY, f64::NAN];
        f64::sigmoid_slice(&mut ends);
        assert!(ends[0] == 0.0 && ends[1] == 1.0 && ends[2].is_nan(), "{ends:?}");
    }
}
