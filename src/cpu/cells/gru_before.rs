//! The pointwise functions of the GRU that is reset before the product; their twin is `shaders/gru_before.wgsl`.

use super::{Backward, Forward, Pointwise, sigmoid_slice};
use crate::cpu::real::Real;
use crate::model::Cell;

pub(super) struct Functions;

impl Pointwise for Functions {
    /// r and z, and r ⊙ h_(t-1).
    fn operand<T: Real>(Forward { x, r: u, h_before, operand, .. }: Forward<'_, T>) {
        let n = h_before.len();
        let rz = &mut x[..2 * n];
        rz.iter_mut().zip(u).for_each(|(x, u)| *x += *u);
        sigmoid_slice(rz);
        for j in 0..n {
            operand[j] = rz[j] * h_before[j];
        }
    }

    fn forward<T: Real>(_cell: Cell, Forward { x, r: u, h_before, h, .. }: Forward<'_, T>) {
        let n = h.len();
        let (rz, candidate) = x.split_at_mut(2 * n);
        candidate.iter_mut().zip(&u[2 * n..]).for_each(|(x, u)| *x += *u);
        T::tanh_slice(candidate);
        for j in 0..n {
            h[j] = candidate[j] + rz[n + j] * (h_before[j] - candidate[j]);
        }
    }

    /// z and n; r waits for the operand's gradient.
    fn backward<T: Real>(_cell: Cell, Backward { dh, gates, h_before, dh_before, .. }: Backward<'_, T>) {
        let n = dh.len();
        let one = T::one();
        for j in 0..n {
            let (z, candidate) = (gates[n + j], gates[2 * n + j]);
            dh_before[j] += dh[j] * z;
            gates[n + j] = dh[j] * (h_before[j] - candidate) * z * (one - z);
            gates[2 * n + j] = dh[j] * (one - z) * (one - candidate * candidate);
        }
    }

    fn operand_backward<T: Real>(Backward { gates, h_before, d_operand, dh_before, .. }: Backward<'_, T>) {
        for j in 0..h_before.len() {
            let r = gates[j];
            dh_before[j] += d_operand[j] * r;
            gates[j] = d_operand[j] * h_before[j] * r * (T::one() - r);
        }
    }
}
