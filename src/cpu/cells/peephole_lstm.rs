//! The two pointwise functions of the LSTM with peepholes; their twin is `shaders/peephole_lstm.wgsl`.

use super::{Backward, Forward, Pointwise, clip, gates, split, through_lines, through_sigmoid};
use crate::cpu::real::Real;
use crate::model::Cell;

pub(super) struct Functions;

impl Pointwise for Functions {
    #[inline(always)]
    fn forward<T: Real>(_cell: Cell, row: Forward<'_, T>) {
        let Forward { x, r, h, c_before, c, counts, gate_activation, cell_clip, held_c, peepholes, .. } = row;
        x.iter_mut().zip(r).for_each(|(x, r)| *x += *r);
        let n = h.len();
        let [w_i, w_f, w_o] = peepholes;
        for j in 0..n {
            x[j] += w_i[j] * c_before[j];
            x[n + j] += w_f[j] * c_before[j];
        }
        gates(gate_activation, &mut x[..2 * n]);
        T::tanh_slice(&mut x[2 * n..3 * n]);
        if !counts {
            // c_t = c_(t-1), and backwards its gradient goes where it came from.
            x.fill(T::zero());
            x[n..2 * n].fill(T::one());
        }
        for j in 0..n {
            c[j] = x[n + j] * c_before[j] + x[j] * x[2 * n + j];
        }
        // A c that is held stays what it was.
        clip(cell_clip.filter(|_| counts), c);
        if counts {
            x[3 * n..].iter_mut().zip(w_o.iter().zip(&*c)).for_each(|(x, (w, c))| *x += *w * *c);
            gates(gate_activation, &mut x[3 * n..]);
        }
        h.copy_from_slice(c);
        T::tanh_slice(h);
        h.iter_mut().zip(&x[3 * n..]).for_each(|(h, o)| *h = *h * *o);
        held_c.keep(c_before, c);
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
fn backward<T: Real>(row: Backward<'_, T>, through: impl Fn(T, T) -> T) {
    let Backward { dh, gates, c_before, c, dc, counts, cell_clip, held_c, peepholes, d_peepholes, .. } = row;
    let (n, one) = (dh.len(), T::one());
    let [i, f, g, o] = split(gates, n);
    let [w_i, w_f, w_o] = peepholes;
    let [d_i, d_f, d_o] = d_peepholes;
    let bound = cell_clip.filter(|_| counts).map(T::from_f64);
    if !held_c.is_nothing() {
        // What h was made of takes the place of what is kept of it.
        for j in 0..n {
            c[j] = f[j] * c_before[j] + i[j] * g[j];
        }
        clip(cell_clip, c);
    }
    // tanh(c_t) lies where what goes to w_co's gradient takes its place.
    d_o.copy_from_slice(c);
    T::tanh_slice(d_o);
    for j in 0..n {
        let (z, tanh_c) = (held_c.share(j), d_o[j]);
        let of_o = through(dh[j] * tanh_c, o[j]);
        let is_clipped = bound.is_some_and(|bound| c[j] >= bound || c[j] <= -bound);
        let made = (one - z) * dc[j] + dh[j] * o[j] * (one - tanh_c * tanh_c) + of_o * w_o[j];
        let made = if is_clipped { T::zero() } else { made };
        let (of_i, of_f) = (through(made * g[j], i[j]), through(made * c_before[j], f[j]));
        let of_g = made * i[j] * (one - g[j] * g[j]);
        [d_i[j], d_f[j], d_o[j]] = [of_i * c_before[j], of_f * c_before[j], of_o * c[j]];
        c[j] = made * f[j] + of_i * w_i[j] + of_f * w_f[j] + z * dc[j];
        [i[j], f[j], g[j], o[j]] = [of_i, of_f, of_g, of_o];
    }
}
