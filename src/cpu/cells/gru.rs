//! The two pointwise functions of the GRU that is reset after the product; their twin is `shaders/gru.wgsl`.

use super::{Backward, Forward, Pointwise, sigmoid_slice};
use crate::cpu::real::Real;
use crate::model::Cell;

pub(super) struct Functions;

impl Pointwise for Functions {
    fn forward<T: Real>(_cell: Cell, Forward { x, r: u, h_before, h, recurrent, .. }: Forward<'_, T>) {
        let n = h.len();
        recurrent.copy_from_slice(u);
        let (rz, candidate) = x.split_at_mut(2 * n);
        rz.iter_mut().zip(u).for_each(|(x, u)| *x += *u);
        sigmoid_slice(rz);
        for j in 0..n {
            candidate[j] += rz[j] * u[2 * n + j];
        }
        T::tanh_slice(candidate);
        for j in 0..n {
            h[j] = candidate[j] + rz[n + j] * (h_before[j] - candidate[j]);
        }
    }

    fn backward<T: Real>(_cell: Cell, Backward { dh, gates, h_before, recurrent, dh_before, .. }: Backward<'_, T>) {
        let n = dh.len();
        let one = T::one();
        for j in 0..n {
            let [r, z, candidate] = [0, n, 2 * n].map(|gate| gates[gate + j]);
            let dn = dh[j] * (one - z) * (one - candidate * candidate);
            let dr = dn * recurrent[2 * n + j] * r * (one - r);
            let dz = dh[j] * (h_before[j] - candidate) * z * (one - z);
            [gates[j], gates[n + j], gates[2 * n + j]] = [dr, dz, dn];
            [recurrent[j], recurrent[n + j], recurrent[2 * n + j]] = [dr, dz, dn * r];
            dh_before[j] += dh[j] * z;
        }
    }
}
