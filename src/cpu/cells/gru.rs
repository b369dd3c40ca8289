//! The two pointwise functions of the GRU that is reset after the product; their twin is `shaders/gru.wgsl`.

use super::{Backward, Forward, Pointwise, gates, split, through_lines, through_sigmoid};
use crate::cpu::real::Real;
use crate::model::Cell;

pub(super) struct Functions;

impl Pointwise for Functions {
    #[inline(always)]
    fn forward<T: Real>(_cell: Cell, Forward { x, r: u, h_before, h, recurrent, gate_activation, .. }: Forward<'_, T>) {
        let n = h.len();
        recurrent.copy_from_slice(u);
        let (rz, candidate) = x.split_at_mut(2 * n);
        rz.iter_mut().zip(u).for_each(|(x, u)| *x += *u);
        gates(gate_activation, rz);
        let [r, z] = split(rz, n);
        candidate.iter_mut().zip(r).zip(&u[2 * n..]).for_each(|((x, r), u)| *x += *r * *u);
        T::tanh_slice(candidate);
        for (((h, candidate), z), h_before) in h.iter_mut().zip(candidate).zip(z).zip(h_before) {
            *h = *candidate + *z * (*h_before - *candidate);
        }
    }

    #[inline(always)]
    fn backward<T: Real>(_cell: Cell, row: Backward<'_, T>) {
        match row.gate_activation.slope() {
            None => backward(row, through_sigmoid),
            Some(slope) => backward(row, through_lines(slope)),
        }
    }
}

#[inline(always)]
fn backward<T: Real>(
    Backward { dh, gates, h_before, recurrent, dh_before, .. }: Backward<'_, T>,
    through: impl Fn(T, T) -> T,
) {
    let n = dh.len();
    let one = T::one();
    let ([r, z, candidate], [u_r, u_z, u_n]) = (split(gates, n), split(recurrent, n));
    let (h_before, dh_before) = (&h_before[..n], &mut dh_before[..n]);
    for j in 0..n {
        let dn = dh[j] * (one - z[j]) * (one - candidate[j] * candidate[j]);
        let dr = through(dn * u_n[j], r[j]);
        let dz = through(dh[j] * (h_before[j] - candidate[j]), z[j]);
        dh_before[j] += dh[j] * z[j];
        [u_r[j], u_z[j], u_n[j]] = [dr, dz, dn * r[j]];
        [r[j], z[j], candidate[j]] = [dr, dz, dn];
    }
}
