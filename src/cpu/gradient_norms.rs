//! How large the gradient is at every step.

use super::{real::Real, tensors::Tensors};
use crate::plan::{GradientNorms, LossScale};

pub(super) fn gradient_norms<T: Real>(op: &GradientNorms, memory: &mut Tensors<'_, T>) {
    let mut out = memory.take(op.out);
    let all = memory.plan.get(op.out).shape[1];
    let (upstream, lengths) = (memory.real(op.upstream), memory.ids(op.lengths));
    let unscaled = op.loss_scale.map_or(1.0, |loss_scale| LossScale::of(memory.real(loss_scale)).inverse.as_f64());
    let (batch, width) = (memory.plan.get(op.upstream).shape[1], memory.plan.get(op.upstream).shape[2]);
    let hidden = width / op.directions;
    for (t, slot) in upstream.chunks_exact(batch * width).skip(1).take(op.steps).enumerate() {
        for direction in 0..op.directions {
            let rows = slot.chunks_exact(width).zip(lengths).filter(|(_, length)| t < **length as usize);
            // f64 has room for the square of any f32; numbers in f64 are taken as they come.
            // Many sums side by side: they become vectors.
            let mut sums = [0.0; 16];
            for (row, _) in rows {
                for part in row[direction * hidden..][..hidden].chunks(sums.len()) {
                    sums.iter_mut().zip(part).for_each(|(sum, g)| *sum += g.as_f64() * g.as_f64());
                }
            }
            let sum: f64 = sums.iter().sum();
            out[(op.row + direction) * all + op.first + t] = T::from_f64(sum.sqrt() * unscaled);
        }
    }
    memory.put(op.out, out);
}
