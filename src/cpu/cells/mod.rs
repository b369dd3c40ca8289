//! The pointwise functions of each cell, one row of the batch at a time.

mod cifg;
mod elman;
mod gru;
mod gru_before;
mod lstm;
mod peephole_lstm;

use std::ops::Range;

use pulp::Arch;

use super::real::Real;
use crate::model::{Cell, GateActivation, table};

/// How much of a state each unit keeps of the step before.
#[derive(Clone, Copy)]
pub(super) enum Held<'a, T> {
    Nothing,
    /// All where there is a 0, else nothing.
    Drawn(&'a [T]),
    /// So large a part.
    Share(T),
}

impl<'a, T: Real> Held<'a, T> {
    /// That of some of the units.
    pub fn of(self, units: Range<usize>) -> Self {
        if let Held::Drawn(drawn) = self { Held::Drawn(&drawn[units]) } else { self }
    }

    /// That of unit j: 0 or 1, or the part.
    #[inline(always)]
    pub fn share(self, j: usize) -> T {
        match self {
            Held::Nothing => T::zero(),
            Held::Drawn(drawn) if drawn[j] == T::zero() => T::one(),
            Held::Drawn(_) => T::zero(),
            Held::Share(part) => part,
        }
    }

    pub fn is_nothing(self) -> bool {
        matches!(self, Held::Nothing)
    }

    /// A state of what it was and what the cell has made of it.
    #[inline(always)]
    pub fn keep(self, before: &[T], state: &mut [T]) {
        if self.is_nothing() {
            return;
        }
        for (j, (state, before)) in state.iter_mut().zip(before).enumerate() {
            let z = self.share(j);
            *state = z * *before + (T::one() - z) * *state;
        }
    }
}

/// One sequence at one step, forwards. `x` holds W·x_t + b_W and is where a cell leaves what its gradient needs; `r`
/// holds U·h_(t-1) + b_U; both are `[G·H]`, the others `[H]`.
pub(super) struct Forward<'a, T> {
    pub x: &'a mut [T],
    pub r: &'a [T],
    pub h_before: &'a [T],
    pub h: &'a mut [T],
    /// An LSTM's c_(t-1) and c_t, of either kind; empty for the others.
    pub c_before: &'a [T],
    pub c: &'a mut [T],
    /// A GRU's copy of `r` `[G·H]`; empty for the others.
    pub recurrent: &'a mut [T],
    /// What a second product's sums are over; empty for cells of one.
    pub operand: &'a mut [T],
    /// Whether the step is valid. If not, h is put back to what it was, but a second state is for the cell to hold.
    pub counts: bool,
    pub gate_activation: GateActivation,
    /// What c is cut off at, where it is.
    pub cell_clip: Option<f64>,
    /// What is kept of c at a valid step.
    pub held_c: Held<'a, T>,
    /// w_ci, w_cf and w_co; empty for cells without.
    pub peepholes: [&'a [T]; 3],
}

/// One sequence at one step, backwards.
pub(super) struct Backward<'a, T> {
    /// The whole gradient of what the cell made of h_t; zeros at a step that is not valid.
    pub dh: &'a [T],
    /// What forwards left in `x`; becomes the gradient of W·x_t + b_W.
    pub gates: &'a mut [T],
    pub h_before: &'a [T],
    pub h: &'a [T],
    pub c_before: &'a [T],
    /// An LSTM's c_t; becomes the gradient of c_(t-1).
    pub c: &'a mut [T],
    /// The gradient of c_t from the step after; zeros at the last.
    pub dc: &'a [T],
    /// A GRU's U·h_(t-1) + b_U; becomes its gradient.
    pub recurrent: &'a mut [T],
    /// The gradient of the second product's operand, once it is known.
    pub d_operand: &'a [T],
    /// The gradient of h_(t-1) so far, to which a GRU adds its direct path.
    pub dh_before: &'a mut [T],
    /// Whether the step is valid.
    pub counts: bool,
    pub gate_activation: GateActivation,
    /// What c is cut off at, where it is.
    pub cell_clip: Option<f64>,
    /// What is kept of c at a valid step.
    pub held_c: Held<'a, T>,
    /// w_ci, w_cf and w_co; empty for cells without.
    pub peepholes: [&'a [T]; 3],
    /// What the step adds to the gradients of these, written.
    pub d_peepholes: [&'a mut [T]; 3],
}

/// c cut off at a bound, where there is one.
#[inline(always)]
fn clip<T: Real>(bound: Option<f64>, c: &mut [T]) {
    let Some(bound) = bound.map(T::from_f64) else { return };
    for c in c {
        // Not by max and min: these turn NaN into a number and hide a divergence.
        *c = if *c > bound { bound } else { *c };
        *c = if *c < -bound { -bound } else { *c };
    }
}

/// Which of a c it was cut off at.
#[inline(always)]
fn clipped<T: Real>(bound: Option<f64>, c: &[T]) -> impl Iterator<Item = usize> {
    let at = bound.map(T::from_f64).into_iter();
    at.flat_map(|bound| c.iter().enumerate().filter(move |(_, c)| **c >= bound || **c <= -bound).map(|(j, _)| j))
}

/// Gates, in the place of their sums.
#[inline(always)]
fn gates<T: Real>(function: GateActivation, sums: &mut [T]) {
    let Some(slope) = function.slope() else { return T::sigmoid_slice(sums) };
    let (slope, half, one) = (T::from_f64(slope), T::from_f64(0.5), T::one());
    for x in sums {
        let y = *x * slope + half;
        // Not clamped by max and min: these turn NaN into a number and hide a divergence.
        *x = if y <= T::zero() { T::zero() } else { y };
        *x = if *x >= one { one } else { *x };
    }
}

/// The gradient of a gate's sums, from its own and the gate: of σ.
#[inline(always)]
fn through_sigmoid<T: Real>(d: T, gate: T) -> T {
    d * gate * (T::one() - gate)
}

/// The same of straight lines of this slope.
#[inline(always)]
fn through_lines<T: Real>(slope: f64) -> impl Fn(T, T) -> T + Copy {
    let slope = T::from_f64(slope);
    move |d, gate| if gate > T::zero() && gate < T::one() { d * slope } else { T::zero() }
}

/// A cell's functions, under the names that its shader has for them.
trait Pointwise {
    fn forward<T: Real>(cell: Cell, row: Forward<'_, T>);

    fn backward<T: Real>(cell: Cell, row: Backward<'_, T>);

    /// Between two products: from the first gates' sums to the operand of the others'.
    fn operand<T: Real>(_row: Forward<'_, T>) {}

    /// Between two products backwards: from the operand's gradient to that of the first gates and of h_(t-1).
    fn operand_backward<T: Real>(_row: Backward<'_, T>) {}
}

macro_rules! functions {
    ($($file:ident: $cell:pat,)*) => {
        pub(super) fn forward<T: Real>(cell: Cell, row: Forward<'_, T>) {
            Arch::new().dispatch(
                #[inline(always)]
                || match cell { $($cell => $file::Functions::forward(cell, row),)* },
            )
        }

        pub(super) fn backward<T: Real>(cell: Cell, row: Backward<'_, T>) {
            Arch::new().dispatch(
                #[inline(always)]
                || match cell { $($cell => $file::Functions::backward(cell, row),)* },
            )
        }

        pub(super) fn operand<T: Real>(cell: Cell, row: Forward<'_, T>) {
            Arch::new().dispatch(
                #[inline(always)]
                || match cell { $($cell => $file::Functions::operand(row),)* },
            )
        }

        pub(super) fn operand_backward<T: Real>(cell: Cell, row: Backward<'_, T>) {
            Arch::new().dispatch(
                #[inline(always)]
                || match cell { $($cell => $file::Functions::operand_backward(row),)* },
            )
        }
    };
}
table!(functions);

/// The gates of a row as a slice each, all of one length, so that a loop over them needs no bounds checks.
#[inline(always)]
fn split<T, const G: usize>(gates: &mut [T], hidden: usize) -> [&mut [T]; G] {
    let mut rest = gates.chunks_exact_mut(hidden);
    std::array::from_fn(|_| rest.next().unwrap_or_default())
}
