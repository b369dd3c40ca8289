//! Dropout: which elements are kept, and the multiplication by that.

use super::{real::Real, tensors::Tensors, threads};
use crate::plan::{
    DropoutDraw, DropoutMask, MaskSlices,
    random::{kept, threefry, threshold},
};

/// Draws that are worth a thread's while.
const ELEMENTS_PER_TASK: usize = 1 << 13;

/// A site's draw in this step.
pub(super) struct Drawn<T> {
    key: [u32; 2],
    threshold: u32,
    kept: T,
}

impl<T: Real> Drawn<T> {
    pub fn new(draw: &DropoutDraw, memory: &Tensors<'_, T>) -> Self {
        let keys = &memory.ids(draw.keys)[2 * draw.site..];
        let kept = T::from_f64(f64::from(kept(draw.rate)));
        Drawn { key: [keys[0], keys[1]], threshold: threshold(draw.rate), kept }
    }

    /// 0, or 1 / (1 − p).
    pub fn factor(&self, position: usize) -> T {
        let [word, _] = threefry(self.key, [position as u32, 0]);
        if word < self.threshold { T::zero() } else { self.kept }
    }
}

/// How many factors are drawn before they are used.
pub(super) fn scratch(op: &DropoutMask) -> usize {
    (op.period * op.out.cols).min(op.out.range().len())
}

pub(super) fn dropout<T: Real>(op: &DropoutMask, memory: &mut Tensors<'_, T>) {
    let mut tensor = memory.take(op.out.tensor);
    let mut factors = std::mem::take(memory.scratch);
    let drawn = Drawn::new(&op.draw, memory);
    let out = &mut tensor[op.out.range()];
    // Drawn once for all rows that have the same mask.
    let (first, whole) = (op.first * op.out.cols, op.period * op.out.cols);
    let period = whole.min(out.len());
    factors.resize(period, T::zero());
    threads::for_each(factors.chunks_mut(ELEMENTS_PER_TASK).enumerate(), |(task, factors)| {
        for (j, factor) in factors.iter_mut().enumerate() {
            *factor = drawn.factor((first + task * ELEMENTS_PER_TASK + j) % whole);
        }
    });
    match &op.input {
        Some(input) => out.copy_from_slice(memory.view(input)),
        None => out.fill(T::one()),
    }
    for rows in out.chunks_mut(period) {
        rows.iter_mut().zip(&factors).for_each(|(value, factor)| *value = *value * *factor);
    }
    *memory.scratch = factors;
    memory.put(op.out.tensor, tensor);
}

pub(super) fn mask_slices<T: Real>(op: &MaskSlices, memory: &mut Tensors<'_, T>) {
    let mut slices = memory.take(op.slices);
    let (drawn, flat) = (Drawn::new(&op.draw, memory), memory.plan.get(op.slices).shape[1]);
    for slice in slices.chunks_exact_mut(flat) {
        let parts = slice[op.weight..][..op.len].chunks_mut(ELEMENTS_PER_TASK).enumerate();
        threads::for_each(parts, |(task, part)| {
            for (j, value) in part.iter_mut().enumerate() {
                *value = *value * drawn.factor(task * ELEMENTS_PER_TASK + j);
            }
        });
    }
    memory.put(op.slices, slices);
}
