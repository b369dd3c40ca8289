//! Numbers that know how they were made, so that the gradient of a result follows from the chain rule alone, one
//! operation at a time (Werbos, *Backpropagation Through Time: What It Does and How to Do It*, 1990).
//!
//! The contract: a derivative stands beside each elementary operation and nowhere else.

use std::cell::RefCell;
use std::ops::{Add, Mul, Sub};

/// Of every number, in the order in which they were made, the numbers it was made of and its derivatives by them.
#[derive(Default)]
pub struct Tape(RefCell<Vec<Vec<(usize, f64)>>>);

/// A number on a tape.
#[derive(Clone, Copy)]
pub struct Number<'a> {
    tape: &'a Tape,
    at: usize,
    pub value: f64,
}

impl Tape {
    fn push(&self, value: f64, made_of: Vec<(usize, f64)>) -> Number<'_> {
        let mut made = self.0.borrow_mut();
        made.push(made_of);
        Number { tape: self, at: made.len() - 1, value }
    }

    /// A number made of no other. The first on a tape is its number 0.
    pub fn number(&self, value: f64) -> Number<'_> {
        self.push(value, Vec::new())
    }
}

impl<'a> Number<'a> {
    /// The derivative of this number by every number of its tape.
    pub fn gradient(self) -> Vec<f64> {
        let made = self.tape.0.borrow();
        let mut gradient = vec![0.0; made.len()];
        gradient[self.at] = 1.0;
        for at in (0..made.len()).rev() {
            for (of, derivative) in &made[at] {
                gradient[*of] += gradient[at] * derivative;
            }
        }
        gradient
    }

    fn function(self, value: f64, derivative: f64) -> Number<'a> {
        self.tape.push(value, vec![(self.at, derivative)])
    }

    pub fn tanh(self) -> Number<'a> {
        let y = self.value.tanh();
        self.function(y, 1.0 - y * y)
    }

    /// σ(a) = 1 / (1 + e⁻ᵃ)
    pub fn sigmoid(self) -> Number<'a> {
        let y = 1.0 / (1.0 + (-self.value).exp());
        self.function(y, y * (1.0 - y))
    }

    /// min(max(a·slope + 1/2, 0), 1)
    pub fn hard_sigmoid(self, slope: f64) -> Number<'a> {
        let y = self.value * slope + 0.5;
        self.function(y.clamp(0.0, 1.0), if y > 0.0 && y < 1.0 { slope } else { 0.0 })
    }

    /// max(0, a)
    pub fn relu(self) -> Number<'a> {
        self.function(self.value.max(0.0), if self.value > 0.0 { 1.0 } else { 0.0 })
    }

    /// min(max(a, −bound), bound)
    pub fn clipped(self, bound: f64) -> Number<'a> {
        self.function(self.value.clamp(-bound, bound), if self.value.abs() < bound { 1.0 } else { 0.0 })
    }

    /// a^(−1/2)
    pub fn inverse_root(self) -> Number<'a> {
        let y = 1.0 / self.value.sqrt();
        self.function(y, -0.5 * y / self.value)
    }

    /// x·Φ(x): Hendrycks & Gimpel, *Gaussian Error Linear Units*, 2016; erf by its series of positive terms (Abramowitz
    /// & Stegun 7.1.6).
    pub fn gelu(self) -> Number<'a> {
        let x = self.value;
        let density = (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
        let (mut term, mut sum) = (x, x);
        for n in 1..400 {
            term *= x * x / (2 * n + 1) as f64;
            sum += term;
        }
        let normal = 0.5 + density * sum;
        self.function(x * normal, normal + x * density)
    }

    /// ln(1 + eˣ).
    pub fn softplus(self) -> Number<'a> {
        self.function(self.value.exp().ln_1p(), 1.0 / (1.0 + (-self.value).exp()))
    }

    pub fn exp(self) -> Number<'a> {
        self.function(self.value.exp(), self.value.exp())
    }

    pub fn ln(self) -> Number<'a> {
        self.function(self.value.ln(), 1.0 / self.value)
    }

    pub fn times(self, factor: f64) -> Number<'a> {
        self.function(self.value * factor, factor)
    }
}

impl<'a> Add for Number<'a> {
    type Output = Number<'a>;

    fn add(self, other: Self) -> Self {
        self.tape.push(self.value + other.value, vec![(self.at, 1.0), (other.at, 1.0)])
    }
}

impl<'a> Sub for Number<'a> {
    type Output = Number<'a>;

    fn sub(self, other: Self) -> Self {
        self.tape.push(self.value - other.value, vec![(self.at, 1.0), (other.at, -1.0)])
    }
}

impl<'a> Mul for Number<'a> {
    type Output = Number<'a>;

    fn mul(self, other: Self) -> Self {
        self.tape.push(self.value * other.value, vec![(self.at, other.value), (other.at, self.value)])
    }
}
