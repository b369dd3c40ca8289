//! What a recurrence with resets needs beside itself: the state at its start, and the states that steps have read.

use super::{real::Real, tensors::Tensors};
use crate::plan::{StartState, StatesBefore};

pub(super) fn start_state<T: Real>(op: &StartState, memory: &mut Tensors<'_, T>) {
    let mut tensor = memory.take(op.to.tensor);
    let rows = tensor[op.to.range()].chunks_exact_mut(op.to.cols);
    match op.learned {
        None => rows.for_each(|row| row.fill(T::zero())),
        Some(learned) => {
            let learned = memory.view(&learned);
            rows.for_each(|row| row.copy_from_slice(learned));
        }
    }
    memory.put(op.to.tensor, tensor);
}

pub(super) fn states_before<T: Real>(op: &StatesBefore, memory: &mut Tensors<'_, T>) {
    let mut tensor = memory.take(op.out.tensor);
    let (history, lengths) = (memory.real(op.history), memory.ids(op.lengths));
    let (width, batch) = (op.out.cols, op.out.rows / op.steps);
    let half = width / op.directions;
    for (row, out) in tensor[op.out.range()].chunks_exact_mut(width).enumerate() {
        let (time, b) = (row / batch, row % batch);
        for (direction, out) in out.chunks_exact_mut(half).enumerate() {
            let is_reverse = op.reverse || direction == 1;
            // Of the reverse direction a sequence begins where, in time, it ends.
            let begins = lengths[(time + if is_reverse { 2 } else { 1 }) * batch + b] != 0;
            let slot = match (begins, is_reverse) {
                (true, _) => op.start,
                (false, true) => time + 2,
                (false, false) => time,
            };
            out.copy_from_slice(&history[(slot * batch + b) * width + direction * half..][..half]);
        }
    }
    memory.put(op.out.tensor, tensor);
}
