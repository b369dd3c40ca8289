//! The pointwise functions of the GRU that is reset before the product; their twin is `shaders/gru_before.wgsl`.

use super::{Backward, Forward, Pointwise, gates, split, through_lines, through_sigmoid};
use crate::cpu::real::Real;
use crate::model::Cell;

pub(super) struct Functions;

impl Pointwise for Functions {
    /// r and z, and r ⊙ h_(t-1).
    #[inline(always)]
    fn operand<T: Real>(Forward { x, r: u, h_before, operand, gate_activation, .. }: Forward<'_, T>) {
        let n = h_before.len();
        let rz = &mut x[..2 * n];
        rz.iter_mut().zip(u).for_each(|(x, u)| *x += *u);
        gates(gate_activation, rz);
        for ((operand, r), h_before) in operand.iter_mut().zip(&*rz).zip(h_before) {
            *operand = *r * *h_before;
        }
    }

    #[inline(always)]
    fn forward<T: Real>(_cell: Cell, Forward { x, r: u, h_before, h, .. }: Forward<'_, T>) {
        let n = h.len();
        let (rz, candidate) = x.split_at_mut(2 * n);
        candidate.iter_mut().zip(&u[2 * n..]).for_each(|(x, u)| *x += *u);
        T::tanh_slice(candidate);
        for (((h, candidate), z), h_before) in h.iter_mut().zip(candidate).zip(&rz[n..]).zip(h_before) {
            *h = *candidate + *z * (*h_before - *candidate);
        }
    }

    /// z and n; r waits for the operand's gradient.
    #[inline(always)]
    fn backward<T: Real>(_cell: Cell, row: Backward<'_, T>) {
        match row.gate_activation.slope() {
            None => backward(row, through_sigmoid),
            Some(slope) => backward(row, through_lines(slope)),
        }
    }

    #[inline(always)]
    fn operand_backward<T: Real>(row: Backward<'_, T>) {
        match row.gate_activation.slope() {
            None => operand_backward(row, through_sigmoid),
            Some(slope) => operand_backward(row, through_lines(slope)),
        }
    }
}

#[inline(always)]
fn backward<T: Real>(Backward { dh, gates, h_before, dh_before, .. }: Backward<'_, T>, through: impl Fn(T, T) -> T) {
    let n = dh.len();
    let one = T::one();
    let ([_, z, candidate], h_before, dh_before) = (split(gates, n), &h_before[..n], &mut dh_before[..n]);
    for j in 0..n {
        dh_before[j] += dh[j] * z[j];
        let dz = through(dh[j] * (h_before[j] - candidate[j]), z[j]);
        candidate[j] = dh[j] * (one - z[j]) * (one - candidate[j] * candidate[j]);
        z[j] = dz;
    }
}

#[inline(always)]
fn operand_backward<T: Real>(
    Backward { gates, h_before, d_operand, dh_before, .. }: Backward<'_, T>,
    through: impl Fn(T, T) -> T,
) {
    let n = h_before.len();
    let (r, d_operand, dh_before) = (&mut gates[..n], &d_operand[..n], &mut dh_before[..n]);
    for j in 0..n {
        dh_before[j] += d_operand[j] * r[j];
        r[j] = through(d_operand[j] * h_before[j], r[j]);
    }
}
