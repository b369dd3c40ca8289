//! What the threads of a recurrence own and read: bands of the rows of a batch.
//!
//! The contract: no two bands have a number in common, so each goes through all steps without waiting for the others.

use super::{cells::Held, matrix::PRODUCTS_PER_TASK, real::Real, steps::Steps, tensors::Tensors, threads};
use crate::model::Saved;
use crate::plan::{Hold, Recurrence, TensorId, View};

/// What a thread owns of the tensors: its rows of every slot, both directions of them.
pub(super) struct Band<'a, T> {
    /// The first of its rows in the batch.
    pub first: usize,
    pub rows: usize,
    /// Forwards the history, backwards the gradients of h.
    pub h: Steps<'a, T>,
    pub gates: Steps<'a, T>,
    pub memory: Steps<'a, T>,
    /// w_ci, w_cf and w_co of both directions.
    pub peepholes: &'a [T],
    /// What goes to their gradients, a row for each of the band's and a 1 behind it.
    pub d_peepholes: Steps<'a, T>,
    /// Where h is projected: forwards what it is made of, and backwards, with zoneout of h, the gradient of W_hr's
    /// product.
    pub projected: Steps<'a, T>,
    pub scratch: &'a mut [T],
    /// H zeros: the gradient of h where a step is not valid.
    pub zeros: &'a [T],
}

/// What is only read.
pub(super) struct Inputs<'a, T> {
    pub lengths: &'a [u32],
    pub mask: Option<&'a [T]>,
    /// Of h and of c, over all steps, sequences and directions.
    pub held: [Held<'a, T>; 2],
}

impl<'a, T: Real> Inputs<'a, T> {
    pub fn of(op: &Recurrence, memory: &'a Tensors<'_, T>) -> Self {
        let held = op.zoneout.map(|hold| match hold {
            Hold::None => Held::Nothing,
            Hold::Drawn(drawn) => Held::Drawn(memory.view(&drawn)),
            Hold::Share(rate) => Held::Share(T::from_f64(rate)),
        });
        Inputs { lengths: memory.ids(op.lengths), mask: op.dropout_mask.map(|mask| memory.real(mask)), held }
    }

    /// What is kept of both states of a row of the batch at a step of a direction; nothing is of one that is not valid,
    /// which is held whole.
    pub fn held(&self, op: &Recurrence, at: &At, row: usize) -> [Held<'a, T>; 2] {
        if !self.counts(row, at.time) {
            return [Held::Nothing; 2];
        }
        let row = (at.time * op.batch + row) * op.directions + at.direction;
        let of = |kind: usize, width| self.held[kind].of(row * width..(row + 1) * width);
        [of(0, op.operand()), of(1, op.hidden)]
    }

    /// Whether a row of the batch begins anew at a step: against the time it does so where, in time, another sequence
    /// begins behind it.
    pub fn is_reset(&self, op: &Recurrence, at: &At, row: usize) -> bool {
        let flags = (at.time + if at.is_reverse { 2 } else { 1 }) * op.batch;
        op.resets.is_some() && self.lengths[flags + row] != 0
    }

    /// Whether any of some rows does.
    pub fn is_any_reset(&self, op: &Recurrence, at: &At, mut rows: std::ops::Range<usize>) -> bool {
        op.resets.is_some() && rows.any(|row| self.is_reset(op, at, row))
    }

    pub fn counts(&self, row: usize, time: usize) -> bool {
        time < self.lengths[row] as usize
    }
}

/// The state before a step, of the rows of a band.
#[derive(Clone, Copy)]
pub(super) struct Before<'a, T> {
    /// What the step before left.
    pub left: &'a [T],
    /// What rows begin anew from.
    pub start: &'a [T],
}

impl<'a, T> Before<'a, T> {
    /// That of rows that begin anew, or of those that do not.
    pub fn of(self, is_reset: bool) -> &'a [T] {
        if is_reset { self.start } else { self.left }
    }
}

/// One direction of a band at one step.
pub(super) struct At {
    pub direction: usize,
    pub is_reverse: bool,
    pub time: usize,
    /// The slot of the state after the step; the state before it and the one after the next are in those beside it.
    pub slot: usize,
    /// Whether no gradient comes from further on.
    pub is_last: bool,
}

impl At {
    pub fn new(op: &Recurrence, direction: usize, step: usize) -> Self {
        let slot = op.slot(direction, Some(step));
        let (is_reverse, is_last) = (op.is_reverse(direction), step + 1 == op.steps);
        At { direction, is_reverse, time: slot - 1, slot, is_last }
    }

    /// The slots before and after in the order of reading, from those below and above.
    pub fn ordered<S>(&self, below: S, above: S) -> (S, S) {
        if self.is_reverse { (above, below) } else { (below, above) }
    }
}

/// How many intermediate results one sequence has at a time: its sums and one operand.
fn scratch_of_one(op: &Recurrence) -> usize {
    op.rows() + op.hidden
}

/// How many intermediate results all sequences have at a time, with a row of zeros.
pub(super) fn scratch(op: &Recurrence) -> usize {
    op.hidden + op.batch * scratch_of_one(op)
}

/// What a recurrence writes, taken out of the memory.
pub(super) struct Owned<T> {
    pub h: Vec<T>,
    pub gates: Vec<T>,
    pub memory: Vec<T>,
    pub peepholes: Vec<T>,
    pub scratch: Vec<T>,
}

impl<T: Real> Owned<T> {
    pub fn take(op: &Recurrence, h: TensorId, memory: &mut Tensors<'_, T>) -> Self {
        Owned {
            h: memory.take(h),
            gates: memory.take(op.gates),
            memory: op.saved.map(|id| memory.take(id)).unwrap_or_default(),
            peepholes: op.peepholes.map(|id| memory.take(id)).unwrap_or_default(),
            scratch: std::mem::take(memory.scratch),
        }
    }

    pub fn put(self, op: &Recurrence, h: TensorId, memory: &mut Tensors<'_, T>) {
        memory.put(h, self.h);
        memory.put(op.gates, self.gates);
        if let Some(id) = op.saved {
            memory.put(id, self.memory);
        }
        if let Some(id) = op.peepholes {
            memory.put(id, self.peepholes);
        }
        *memory.scratch = self.scratch;
    }

    /// Does `work` for every band, each with room for its sums and one operand, on threads of their own if there are
    /// several. Behind h may lie what a projection has.
    pub fn bands(&mut self, op: &Recurrence, projected: Option<View>, work: impl Fn(Band<'_, T>) + Sync) {
        let (width, gates) = (op.width(), op.directions * op.rows());
        let h_width = op.state_width(0);
        let (end, behind) = projected.map_or((self.h.len(), width), |view| (view.offset, view.cols));
        let (h, projected) = self.h.split_at_mut(end);
        let tasks = op.steps * op.batch * op.weight.len() / PRODUCTS_PER_TASK;
        let rows = op.batch.div_ceil(threads::shares(tasks.min(op.batch)));
        let kept = if op.cell.saved() == Saved::Recurrent { gates } else { width };
        let scratch = scratch_of_one(op);
        self.scratch.clear();
        self.scratch.resize(self::scratch(op), T::zero());
        // No thread writes to these.
        let (zeros, scratches) = self.scratch.split_at_mut(op.hidden);
        let zeros = &*zeros;
        let own = if self.peepholes.is_empty() { 0 } else { 3 * width };
        let (peepholes, d_peepholes) = self.peepholes.split_at_mut(own);
        let (peepholes, row) = (&*peepholes, op.peephole_row());
        if rows == op.batch {
            work(Band {
                first: 0,
                rows,
                h: Steps::whole(h, op.batch * h_width),
                gates: Steps::whole(&mut self.gates, op.batch * gates),
                memory: Steps::whole(&mut self.memory, op.batch * kept),
                peepholes,
                d_peepholes: Steps::whole(d_peepholes, op.batch * row),
                projected: Steps::whole(projected, op.batch * behind),
                scratch: scratches,
                zeros,
            });
            return;
        }
        let mut spare = scratches.chunks_mut(rows * scratch);
        let h = Steps::cut(h, op.batch, rows, h_width);
        let of_gates = Steps::cut(&mut self.gates, op.batch, rows, gates);
        let memory = Steps::cut(&mut self.memory, op.batch, rows, kept);
        let d_peepholes = Steps::cut(d_peepholes, op.batch, rows, row);
        let projected = Steps::cut(projected, op.batch, rows, behind);
        let more = memory.into_iter().zip(d_peepholes).zip(projected);
        let bands: Vec<_> = (h.into_iter().zip(of_gates).zip(more).enumerate())
            .map(|(band, ((h, gates), ((memory, d_peepholes), projected)))| Band {
                first: band * rows,
                rows: rows.min(op.batch - band * rows),
                h,
                gates,
                memory,
                peepholes,
                d_peepholes,
                projected,
                scratch: spare.next().unwrap_or_default(),
                zeros,
            })
            .collect();
        threads::for_each(bands.into_iter(), work);
    }
}
