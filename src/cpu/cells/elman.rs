//! The Elman cell's two pointwise functions; their twin is `shaders/elman.wgsl`.

use super::{Backward, Forward};
use crate::cpu::real::Real;
use crate::model::Activation;

pub(super) fn forward<T: Real>(activation: Activation, Forward { x, r, h, .. }: Forward<'_, T>) {
    for ((h, x), r) in h.iter_mut().zip(x).zip(r) {
        *h = *x + *r;
    }
    match activation {
        Activation::Tanh => T::tanh_slice(h),
        // Not max(h, 0): that turns NaN into 0 and hides a divergence.
        Activation::Relu => h.iter_mut().for_each(|h| *h = if *h <= T::zero() { T::zero() } else { *h }),
    }
}

pub(super) fn backward<T: Real>(activation: Activation, Backward { dh, gates, h, .. }: Backward<'_, T>) {
    for ((gate, dh), h) in gates.iter_mut().zip(dh).zip(h) {
        *gate = match activation {
            Activation::Tanh => *dh * (T::one() - *h * *h),
            Activation::Relu if *h > T::zero() => *dh,
            Activation::Relu => T::zero(),
        };
    }
}
