//! The two kinds of number that the twins are generic over, and what each has of its own: f64 plain loops, f32 vectors.

use std::fmt::{Debug, Display};
use std::iter::Sum;
use std::ops::AddAssign;

use num_traits::Float;
use pulp::{Arch, Simd, WithSimd};

use super::packed::{self, Product, Turned};
use super::vector;

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
    /// tanh of every element.
    fn tanh_slice(values: &mut [Self]);
    /// 1 / (1 + e⁻ˣ) of every element.
    fn sigmoid_slice(values: &mut [Self]);
    /// The numbers in a row of a panel of a packed matrix.
    fn panel() -> usize;
    /// A product with a packed matrix.
    fn multiply(product: Product<'_, Self>);
    /// A product of a matrix that is turned over with a packed one.
    fn multiply_turned(product: Turned<'_, Self>);
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

    fn tanh_slice(values: &mut [Self]) {
        values.iter_mut().for_each(|v| *v = v.tanh());
    }

    fn sigmoid_slice(values: &mut [Self]) {
        values.iter_mut().for_each(|v| *v = 0.5 + 0.5 * (0.5 * *v).tanh());
    }

    fn panel() -> usize {
        8
    }

    fn multiply(product: Product<'_, Self>) {
        packed::plain(product);
    }

    fn multiply_turned(product: Turned<'_, Self>) {
        packed::plain_turned(product);
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

    fn multiply_turned(product: Turned<'_, Self>) {
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
