//! The pointwise functions of each cell, one row of the batch at a time.

mod elman;
mod gru;
mod lstm;

use super::real::Real;
use crate::model::Cell;

/// One sequence at one step, forwards. `x` holds W·x_t + b_W and is where a cell leaves what its gradient needs; `r`
/// holds U·h_(t-1) + b_U; both are `[G·H]`, the others `[H]`.
pub(super) struct Forward<'a, T> {
    pub x: &'a mut [T],
    pub r: &'a [T],
    pub h_before: &'a [T],
    pub h: &'a mut [T],
    /// An LSTM's c_(t-1) and c_t; empty for the others.
    pub c_before: &'a [T],
    pub c: &'a mut [T],
    /// A GRU's copy of `r` `[G·H]`; empty for the others.
    pub recurrent: &'a mut [T],
}

/// One sequence at one step, backwards.
pub(super) struct Backward<'a, T> {
    /// The whole gradient of h_t.
    pub dh: &'a [T],
    /// What forwards left in `x`; becomes the gradient of W·x_t + b_W.
    pub gates: &'a mut [T],
    pub h_before: &'a [T],
    pub h: &'a [T],
    pub c_before: &'a [T],
    /// An LSTM's c_t; becomes the gradient of c_(t-1).
    pub c: &'a mut [T],
    /// The gradient of c_t from the step after; empty at the last.
    pub dc: &'a [T],
    /// A GRU's U·h_(t-1) + b_U; becomes its gradient.
    pub recurrent: &'a mut [T],
    /// The gradient of h_(t-1) so far, to which a GRU adds its direct path; empty at the first step.
    pub dh_before: &'a mut [T],
}

pub(super) fn forward<T: Real>(cell: Cell, row: Forward<'_, T>) {
    match cell {
        Cell::Elman(activation) => elman::forward(activation, row),
        Cell::Lstm => lstm::forward(row),
        Cell::Gru => gru::forward(row),
    }
}

pub(super) fn backward<T: Real>(cell: Cell, row: Backward<'_, T>) {
    match cell {
        Cell::Elman(activation) => elman::backward(activation, row),
        Cell::Lstm => lstm::backward(row),
        Cell::Gru => gru::backward(row),
    }
}

/// σ(x) = (1 + tanh(x / 2)) / 2 of every element.
fn sigmoid_slice<T: Real>(values: &mut [T]) {
    let half = T::from_f64(0.5);
    values.iter_mut().for_each(|v| *v = *v * half);
    T::tanh_slice(values);
    values.iter_mut().for_each(|v| *v = half + half * *v);
}
