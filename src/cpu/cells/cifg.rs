//! The two pointwise functions of the LSTM of coupled gates; their twin is `shaders/cifg.wgsl`.

use super::{Backward, Forward, Pointwise, clip, clipped, gates, split, through_lines, through_sigmoid};
use crate::cpu::real::Real;
use crate::model::Cell;

pub(super) struct Functions;

impl Pointwise for Functions {
    #[inline(always)]
    fn forward<T: Real>(_cell: Cell, row: Forward<'_, T>) {
        let Forward { x, r, h, c_before, c, counts, gate_activation, cell_clip, held_c, .. } = row;
        x.iter_mut().zip(r).for_each(|(x, r)| *x += *r);
        let (n, one) = (h.len(), T::one());
        gates(gate_activation, &mut x[..n]);
        T::tanh_slice(&mut x[n..2 * n]);
        gates(gate_activation, &mut x[2 * n..]);
        if !counts {
            // c_t = c_(t-1), and backwards its gradient goes where it came from.
            x.fill(T::zero());
            x[..n].fill(one);
        }
        let [f, g, o] = split(x, n);
        for ((c, c_before), (f, g)) in c.iter_mut().zip(c_before).zip(f.iter().zip(&*g)) {
            *c = *f * *c_before + (one - *f) * *g;
        }
        // A c that is held stays what it was.
        clip(cell_clip.filter(|_| counts), c);
        h.copy_from_slice(c);
        T::tanh_slice(h);
        h.iter_mut().zip(&*o).for_each(|(h, o)| *h = *h * *o);
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
    let held_c = row.held_c;
    if held_c.is_nothing() {
        return backward_from(row, |_, dc| dc, through);
    }
    // What h was made of takes the place of what is kept of it.
    let n = row.dh.len();
    for j in 0..n {
        row.c[j] = row.gates[j] * row.c_before[j] + (T::one() - row.gates[j]) * row.gates[n + j];
    }
    clip(row.cell_clip, row.c);
    let (c, dc) = (&mut *row.c, row.dc);
    backward_from(Backward { c: &mut *c, ..row }, |j, dc| (T::one() - held_c.share(j)) * dc, through);
    for j in 0..n {
        c[j] += held_c.share(j) * dc[j];
    }
}

/// The same, where of the gradient of c_t `of_made` is that of what the cell made.
#[inline(always)]
fn backward_from<T: Real>(row: Backward<'_, T>, of_made: impl Fn(usize, T) -> T, through: impl Fn(T, T) -> T) {
    let Backward { dh, gates, c_before, c, dc, counts, cell_clip, .. } = row;
    let n = dh.len();
    let one = T::one();
    let [f, g, o] = split(gates, n);
    // Where c was cut off, gates through which nothing goes back.
    for j in clipped(cell_clip.filter(|_| counts), c) {
        (f[j], g[j]) = (T::zero(), one);
    }
    // tanh(c_t) takes c_t's place, and then the gradient of c_(t-1).
    T::tanh_slice(c);
    let (c_before, dc, c) = (&c_before[..n], &dc[..n], &mut c[..n]);
    for j in 0..n {
        let dc = of_made(j, dc[j]) + dh[j] * o[j] * (one - c[j] * c[j]);
        [f[j], g[j], o[j], c[j]] = [
            through(dc * (c_before[j] - g[j]), f[j]),
            dc * (one - f[j]) * (one - g[j] * g[j]),
            through(dh[j] * c[j], o[j]),
            dc * f[j],
        ];
    }
}
