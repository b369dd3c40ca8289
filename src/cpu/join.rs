//! What both directions of a layer say made one, and back.

use super::{real::Real, tensors::Tensors};
use crate::model::Join;
use crate::plan::{JoinDirections, JoinGradient};

pub(super) fn join<T: Real>(JoinDirections { join, rows, out }: &JoinDirections, memory: &mut Tensors<'_, T>) {
    let mut tensor = memory.take(out.tensor);
    let (rows, hidden) = (memory.view(rows), out.cols);
    for (out, row) in tensor[out.range()].chunks_exact_mut(hidden).zip(rows.chunks_exact(2 * hidden)) {
        let (forward, reverse) = row.split_at(hidden);
        for ((out, a), b) in out.iter_mut().zip(forward).zip(reverse) {
            *out = match join {
                // What lies side by side is not joined.
                Join::Concat => continue,
                Join::Sum => *a + *b,
                Join::Mean => T::from_f64(0.5) * (*a + *b),
                Join::Product => *a * *b,
            };
        }
    }
    memory.put(out.tensor, tensor);
}

pub(super) fn join_gradient<T: Real>(op: &JoinGradient, memory: &mut Tensors<'_, T>) {
    let mut tensor = memory.take(op.out.tensor);
    let (d, rows, hidden) = (memory.view(&op.d), op.rows.map(|rows| memory.view(&rows)), op.d.cols);
    for (r, out) in tensor[op.out.range()].chunks_exact_mut(2 * hidden).enumerate() {
        for (column, out) in out.iter_mut().enumerate() {
            let d = d[r * hidden + column % hidden];
            *out = match (op.join, rows) {
                (Join::Mean, _) => T::from_f64(0.5) * d,
                (Join::Product, Some(rows)) => d * rows[2 * hidden * r + (column + hidden) % (2 * hidden)],
                _ => d,
            };
        }
    }
    memory.put(op.out.tensor, tensor);
}
