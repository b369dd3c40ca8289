//! The recurrence forwards and backwards, written once for all cells.
//!
//! Sequences of a batch do not depend on each other, so a batch is cut into as many bands of rows as there are threads,
//! and each thread takes its band through all steps without waiting for the others.

use gemm::Parallelism;
use rayon::prelude::*;

use super::{
    cells::{self, Backward, Forward},
    matmul::{Matrix, product},
    memory::Memory,
    real::Real,
    steps::Steps,
};
use crate::model::CellMemory;
use crate::plan::{Recurrence, TensorId};

/// Multiplications that are worth a thread's while.
const PRODUCTS_A_TASK: usize = 1 << 18;

/// What a thread owns of the tensors: its rows of every step.
struct Band<'a, T> {
    /// The first of its rows in the batch.
    first: usize,
    rows: usize,
    /// Forwards the history, backwards the gradients of h.
    h: Steps<'a, T>,
    gates: Steps<'a, T>,
    memory: Steps<'a, T>,
    scratch: &'a mut [T],
}

pub(super) fn forward<T: Real>(op: &Recurrence, memory: &mut Memory<'_, T>) {
    let mut tensors = Owned::take(op, op.history, memory);
    let (weight, bias) = (memory.view(&op.weight), memory.view(&op.bias));
    let turned = match &op.weight_transposed {
        Some(turned) => Matrix::new(memory.view(turned), op.weight.rows),
        None => Matrix::new(weight, op.hidden).turned(true),
    };
    tensors.bands(op, op.weight.rows, |mut band| {
        for t in 0..op.steps {
            let (h_before, h, _) = band.h.around(t);
            band.scratch.chunks_exact_mut(bias.len()).for_each(|r| r.copy_from_slice(bias));
            let sizes = (band.rows, bias.len(), op.hidden);
            product(sizes, Matrix::new(h_before, op.hidden), turned, band.scratch, true, Parallelism::None);
            forward_step(op, t, (h_before, h), band.gates.at(t), &mut band.memory, band.scratch);
        }
    });
    tensors.put(op, op.history, memory);
}

/// h_t and what the cell keeps, row by row.
fn forward_step<T: Real>(
    op: &Recurrence,
    t: usize,
    (h_before, h): (&[T], &mut [T]),
    gates: &mut [T],
    memory: &mut Steps<'_, T>,
    r: &[T],
) {
    let (c_before, c, recurrent): (&[T], &mut [T], &mut [T]) = match op.cell.memory() {
        CellMemory::None => (&[], &mut [], &mut []),
        CellMemory::State => {
            let (c_before, c, _) = memory.around(t);
            (c_before, c, &mut [])
        }
        CellMemory::Recurrent => (&[], &mut [], memory.at(t)),
    };
    let (hidden, width) = (op.hidden, op.weight.rows);
    for (row, x) in gates.chunks_exact_mut(width).enumerate() {
        let (units, gates) = (row * hidden..(row + 1) * hidden, row * width..(row + 1) * width);
        let row = Forward {
            x,
            r: &r[gates.clone()],
            h_before: &h_before[units.clone()],
            h: &mut h[units.clone()],
            c_before: part(c_before, units.clone()),
            c: part_mut(c, units),
            recurrent: part_mut(recurrent, gates),
        };
        cells::forward(op.cell, row);
    }
}

pub(super) fn backward<T: Real>(op: &Recurrence, upstream: TensorId, memory: &mut Memory<'_, T>) {
    let mut tensors = Owned::take(op, upstream, memory);
    let (history, weight) = (memory.real(op.history), memory.view(&op.weight));
    let (hidden, width) = (op.hidden, op.weight.rows);
    tensors.bands(op, 0, |mut band| {
        for t in (0..op.steps).rev() {
            let (dh_before, dh) = band.h.with_before(t);
            if t + 1 < op.steps {
                // The gradient of U·h_t + b_U.
                let later = match op.cell.memory() {
                    CellMemory::Recurrent => band.memory.at(t + 1),
                    _ => band.gates.at(t + 1),
                };
                let sizes = (band.rows, hidden, width);
                product(sizes, Matrix::new(later, width), Matrix::new(weight, hidden), dh, true, Parallelism::None);
            }
            let before = (t * op.batch + band.first) * hidden;
            let states = (&history[before..], &history[before + op.batch * hidden..]);
            backward_step(op, t, (dh_before, dh), states, band.gates.at(t), &mut band.memory);
        }
    });
    tensors.put(op, upstream, memory);
}

/// The gradients of a step's gates, row by row.
fn backward_step<T: Real>(
    op: &Recurrence,
    t: usize,
    (dh_before, dh): (&mut [T], &[T]),
    (h_before, h): (&[T], &[T]),
    gates: &mut [T],
    memory: &mut Steps<'_, T>,
) {
    let (c_before, c, dc, recurrent): (&[T], &mut [T], &[T], &mut [T]) = match op.cell.memory() {
        CellMemory::None => (&[], &mut [], &[], &mut []),
        CellMemory::State => {
            let (c_before, c, dc) = memory.around(t);
            (c_before, c, if t + 1 < op.steps { dc } else { &[] }, &mut [])
        }
        CellMemory::Recurrent => (&[], &mut [], &[], memory.at(t)),
    };
    let (hidden, width) = (op.hidden, op.weight.rows);
    for (row, x) in gates.chunks_exact_mut(width).enumerate() {
        let units = row * hidden..(row + 1) * hidden;
        let row = Backward {
            dh: &dh[units.clone()],
            gates: x,
            h_before: &h_before[units.clone()],
            h: &h[units.clone()],
            c_before: part(c_before, units.clone()),
            c: part_mut(c, units.clone()),
            dc: part(dc, units.clone()),
            recurrent: part_mut(recurrent, row * width..(row + 1) * width),
            dh_before: part_mut(dh_before, units),
        };
        cells::backward(op.cell, row);
    }
}

/// Part of a slice, or nothing of an empty one.
fn part<T>(values: &[T], range: std::ops::Range<usize>) -> &[T] {
    if values.is_empty() { values } else { &values[range] }
}

/// Part of a slice, or nothing of an empty one.
fn part_mut<T>(values: &mut [T], range: std::ops::Range<usize>) -> &mut [T] {
    if values.is_empty() { values } else { &mut values[range] }
}

/// The tensors that a recurrence writes, taken out of the memory.
struct Owned<T> {
    h: Vec<T>,
    gates: Vec<T>,
    memory: Vec<T>,
    scratch: Vec<T>,
}

impl<T: Real> Owned<T> {
    fn take(op: &Recurrence, h: TensorId, memory: &mut Memory<'_, T>) -> Self {
        Owned {
            h: memory.take(h),
            gates: memory.take(op.gates),
            memory: op.memory.map(|id| memory.take(id)).unwrap_or_default(),
            scratch: std::mem::take(memory.scratch),
        }
    }

    fn put(self, op: &Recurrence, h: TensorId, memory: &mut Memory<'_, T>) {
        memory.put(h, self.h);
        memory.put(op.gates, self.gates);
        if let Some(id) = op.memory {
            memory.put(id, self.memory);
        }
        *memory.scratch = self.scratch;
    }

    /// Does `work` for every band, each with `scratch` numbers a row, on threads of their own if there are several.
    fn bands(&mut self, op: &Recurrence, scratch: usize, work: impl Fn(Band<'_, T>) + Sync) {
        let (hidden, width) = (op.hidden, op.weight.rows);
        let tasks = (op.steps * op.batch * op.weight.len() / PRODUCTS_A_TASK).max(1);
        let rows = op.batch.div_ceil(tasks.min(rayon::current_num_threads()).min(op.batch));
        let kept = if op.cell.memory() == CellMemory::State { hidden } else { width };
        self.scratch.resize(op.batch * scratch, T::zero());
        if rows == op.batch {
            work(Band {
                first: 0,
                rows,
                h: Steps::whole(&mut self.h, op.batch * hidden),
                gates: Steps::whole(&mut self.gates, op.batch * width),
                memory: Steps::whole(&mut self.memory, op.batch * kept),
                scratch: &mut self.scratch,
            });
            return;
        }
        let count = op.batch.div_ceil(rows);
        let mut spare = self.scratch.chunks_mut((rows * scratch).max(1));
        let h = Steps::cut(&mut self.h, op.batch, rows, hidden);
        let gates = Steps::cut(&mut self.gates, op.batch, rows, width);
        let memory = Steps::cut(&mut self.memory, op.batch, rows, kept);
        let bands: Vec<_> = (h.into_iter().zip(gates).zip(memory).enumerate())
            .map(|(band, ((h, gates), memory))| Band {
                first: band * rows,
                rows: rows.min(op.batch - band * rows),
                h,
                gates,
                memory,
                scratch: spare.next().unwrap_or_default(),
            })
            .collect();
        debug_assert_eq!(bands.len(), count);
        bands.into_par_iter().for_each(&work);
    }
}
