//! The LSTM's two pointwise functions; their twin is `shaders/lstm.wgsl`.

use super::{Backward, Forward, Pointwise, sigmoid_slice};
use crate::cpu::real::Real;
use crate::model::Cell;

pub(super) struct Functions;

impl Pointwise for Functions {
    fn forward<T: Real>(_cell: Cell, Forward { x, r, h, c_before, c, counts, .. }: Forward<'_, T>) {
        x.iter_mut().zip(r).for_each(|(x, r)| *x += *r);
        let n = h.len();
        sigmoid_slice(&mut x[..2 * n]);
        T::tanh_slice(&mut x[2 * n..3 * n]);
        sigmoid_slice(&mut x[3 * n..]);
        if !counts {
            // c_t = c_(t-1), and backwards its gradient goes where it came from.
            x.fill(T::zero());
            x[n..2 * n].fill(T::one());
        }
        for j in 0..n {
            c[j] = x[n + j] * c_before[j] + x[j] * x[2 * n + j];
        }
        h.copy_from_slice(c);
        T::tanh_slice(h);
        h.iter_mut().zip(&x[3 * n..]).for_each(|(h, o)| *h = *h * *o);
    }

    fn backward<T: Real>(_cell: Cell, Backward { dh, gates, c_before, c, dc, .. }: Backward<'_, T>) {
        let n = dh.len();
        let one = T::one();
        // tanh(c_t) takes c_t's place, and then the gradient of c_(t-1).
        T::tanh_slice(c);
        for j in 0..n {
            let [i, f, g, o] = [0, n, 2 * n, 3 * n].map(|gate| gates[gate + j]);
            let tanh_c = c[j];
            let later = dc.get(j).copied().unwrap_or_default();
            let dc = later + dh[j] * o * (one - tanh_c * tanh_c);
            gates[j] = dc * g * i * (one - i);
            gates[n + j] = dc * c_before[j] * f * (one - f);
            gates[2 * n + j] = dc * i * (one - g * g);
            gates[3 * n + j] = dh[j] * tanh_c * o * (one - o);
            c[j] = dc * f;
        }
    }
}
