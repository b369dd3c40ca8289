//! The pointwise functions of each cell, one row of the batch at a time.

mod elman;

use super::real::Real;
use crate::model::Cell;

/// h_t from `x` = W·x_t + b_W and `r` = U·h_(t-1) + b_U, each `[G·H]`.
pub(super) fn forward<T: Real>(cell: Cell, x: &[T], r: &[T], h: &mut [T]) {
    match cell {
        Cell::Elman(activation) => elman::forward(activation, x, r, h),
    }
}

/// The gradient of the pre-activations `[G·H]` from `dh`, the gradient of h_t.
pub(super) fn backward<T: Real>(cell: Cell, dh: &[T], h: &[T], gates: &mut [T]) {
    match cell {
        Cell::Elman(activation) => elman::backward(activation, dh, h, gates),
    }
}
