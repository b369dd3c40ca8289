//! Dropout: which elements are kept, and the multiplication by that.

use super::{memory::Memory, real::Real};
use crate::plan::{
    Draw, Mask,
    random::{threefry, threshold},
};

/// A site's draw in this step.
pub(super) struct Drawn<T> {
    key: [u32; 2],
    threshold: u32,
    kept: T,
}

impl<T: Real> Drawn<T> {
    pub fn new(draw: &Draw, memory: &Memory<'_, T>) -> Self {
        let keys = &memory.ids(draw.keys)[2 * draw.site..];
        // As f32, so that every executor multiplies by the same number.
        let kept = T::from_f64(f64::from((1.0 / (1.0 - draw.rate)) as f32));
        Drawn { key: [keys[0], keys[1]], threshold: threshold(draw.rate), kept }
    }

    /// 0, or 1 / (1 − p).
    pub fn factor(&self, position: usize) -> T {
        let [word, _] = threefry(self.key, [position as u32, 0]);
        if word < self.threshold { T::zero() } else { self.kept }
    }
}

pub(super) fn mask<T: Real>(op: &Mask, memory: &mut Memory<'_, T>) {
    let mut tensor = memory.take(op.out.tensor);
    let drawn = Drawn::new(&op.draw, memory);
    let out = &mut tensor[op.out.range()];
    match &op.input {
        Some(input) => out.copy_from_slice(memory.view(input)),
        None => out.fill(T::one()),
    }
    let period = op.period * op.out.cols;
    out.iter_mut().enumerate().for_each(|(at, value)| *value = *value * drawn.factor(at % period));
    memory.put(op.out.tensor, tensor);
}
