//! The Elman cell's two pointwise functions; their twin is `shaders/elman.wgsl`.

use super::{Backward, Forward, Pointwise};
use crate::cpu::real::Real;
use crate::model::{Activation, Cell};

pub(super) struct Functions;

const RELU: Cell = Cell::Elman(Activation::Relu);

impl Pointwise for Functions {
    #[inline(always)]
    fn forward<T: Real>(cell: Cell, Forward { x, r, h, .. }: Forward<'_, T>) {
        for ((h, x), r) in h.iter_mut().zip(x).zip(r) {
            *h = *x + *r;
        }
        if cell == RELU {
            // Not max(h, 0): that turns NaN into 0 and hides a divergence.
            h.iter_mut().for_each(|h| *h = if *h <= T::zero() { T::zero() } else { *h });
        } else {
            T::tanh_slice(h);
        }
    }

    #[inline(always)]
    fn backward<T: Real>(cell: Cell, Backward { dh, gates, h, .. }: Backward<'_, T>) {
        let relu = cell == RELU;
        for ((gate, dh), h) in gates.iter_mut().zip(dh).zip(h) {
            *gate = match relu {
                false => *dh * (T::one() - *h * *h),
                true if *h > T::zero() => *dh,
                true => T::zero(),
            };
        }
    }
}
