//! What both directions of a layer say made one, and back.

use super::{real::Real, tensors::Tensors, threads};
use crate::model::Join;
use crate::plan::{JoinDirections, JoinGradient};

/// Elements of what is joined that are worth a thread's while.
const ELEMENTS_PER_TASK: usize = 1 << 15;

/// Rows of so many elements, each thread's at a time.
fn rows_per_task(hidden: usize) -> usize {
    (ELEMENTS_PER_TASK / hidden).max(1)
}

pub(super) fn join<T: Real>(JoinDirections { join, rows, out }: &JoinDirections, memory: &mut Tensors<'_, T>) {
    let mut tensor = memory.take(out.tensor);
    let (rows, hidden) = (memory.view(rows), out.cols);
    let some = rows_per_task(hidden);
    let tasks = tensor[out.range()].chunks_mut(some * hidden).zip(rows.chunks(some * 2 * hidden));
    threads::for_each(tasks, |(out, rows)| {
        for (out, row) in out.chunks_exact_mut(hidden).zip(rows.chunks_exact(2 * hidden)) {
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
    });
    memory.put(out.tensor, tensor);
}

pub(super) fn join_gradient<T: Real>(op: &JoinGradient, memory: &mut Tensors<'_, T>) {
    let mut tensor = memory.take(op.out.tensor);
    let (d, rows, hidden) = (memory.view(&op.d), op.rows.map(|rows| memory.view(&rows)), op.d.cols);
    let some = rows_per_task(hidden);
    let factor = if op.join == Join::Mean { T::from_f64(0.5) } else { T::one() };
    let tasks = tensor[op.out.range()].chunks_mut(some * 2 * hidden).enumerate();
    threads::for_each(tasks, |(task, out)| {
        for (r, out) in (task * some..).zip(out.chunks_exact_mut(2 * hidden)) {
            let d = &d[r * hidden..][..hidden];
            let (forward, reverse) = out.split_at_mut(hidden);
            // Of a product each side's is times the other.
            match rows.map(|rows| rows[r * 2 * hidden..][..2 * hidden].split_at(hidden)) {
                Some((a, b)) => {
                    forward.iter_mut().zip(d).zip(b).for_each(|((out, d), b)| *out = *d * *b);
                    reverse.iter_mut().zip(d).zip(a).for_each(|((out, d), a)| *out = *d * *a);
                }
                None => {
                    for out in [forward, reverse] {
                        out.iter_mut().zip(d).for_each(|(out, d)| *out = factor * *d);
                    }
                }
            }
        }
    });
    memory.put(op.out.tensor, tensor);
}
