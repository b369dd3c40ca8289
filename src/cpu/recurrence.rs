//! The recurrence forwards and backwards, written once for all cells.
//!
//! Sequences of a batch do not depend on each other, so a batch is cut into as many bands of rows as there are threads,
//! and each thread takes its band through all steps without waiting for the others.

use gemm::Parallelism;
use rayon::prelude::*;

use super::{
    cells,
    matmul::{Matrix, product},
    memory::Memory,
    real::Real,
};
use crate::plan::{Recurrence, TensorId};

/// Multiplications that are worth a thread's while.
const PRODUCTS_A_TASK: usize = 1 << 18;

pub(super) fn forward<T: Real>(op: &Recurrence, memory: &mut Memory<'_, T>) {
    let mut history = memory.take(op.history);
    let mut scratch = std::mem::take(memory.scratch);
    let (gates, weight, bias) = (memory.real(op.gates), memory.view(&op.weight), memory.view(&op.bias));
    let (hidden, width) = (op.hidden, op.weight.rows);
    scratch.resize(op.batch * width, T::zero());
    let bands = Bands::new(op);
    let turned = match &op.weight_transposed {
        Some(turned) => Matrix::new(memory.view(turned), width),
        None => Matrix::new(weight, hidden).turned(true),
    };

    // One step of one band: h_(t-1) and W·x to h_t.
    let step = |rows: usize, before: &[T], x: &[T], h: &mut [T], r: &mut [T]| {
        r.chunks_exact_mut(width).for_each(|r| r.copy_from_slice(bias));
        product((rows, width, hidden), Matrix::new(before, hidden), turned, r, true, Parallelism::None);
        for ((h, x), r) in h.chunks_exact_mut(hidden).zip(x.chunks_exact(width)).zip(r.chunks_exact(width)) {
            cells::forward(op.cell, x, r, h);
        }
    };
    if bands.count == 1 {
        for t in 0..op.steps {
            let (past, h) = history[t * op.batch * hidden..].split_at_mut(op.batch * hidden);
            let x = &gates[t * op.batch * width..][..op.batch * width];
            step(op.batch, past, x, &mut h[..op.batch * hidden], &mut scratch);
        }
    } else {
        let columns = bands.columns(&mut history, hidden);
        columns.into_par_iter().zip(scratch.par_chunks_mut(bands.rows * width)).enumerate().for_each(
            |(band, (mut column, r))| {
                for t in 0..op.steps {
                    let (past, future) = column.split_at_mut(t + 1);
                    let x = &gates[(t * op.batch + band * bands.rows) * width..];
                    step(r.len() / width, past[t], x, future[0], r);
                }
            },
        );
    }
    *memory.scratch = scratch;
    memory.put(op.history, history);
}

pub(super) fn backward<T: Real>(op: &Recurrence, upstream: TensorId, memory: &mut Memory<'_, T>) {
    let mut gates = memory.take(op.gates);
    let mut scratch = std::mem::take(memory.scratch);
    let (history, weight, upstream) = (memory.real(op.history), memory.view(&op.weight), memory.real(upstream));
    let (hidden, width) = (op.hidden, op.weight.rows);
    scratch.resize(op.batch * hidden, T::zero());
    let bands = Bands::new(op);

    // One step of one band, whose first row is row `first` of all T·B: the gradient of h_t, then of its gates.
    let step = |first: usize, gates: &mut [T], later: Option<&[T]>, dh: &mut [T]| {
        let rows = dh.len() / hidden;
        dh.copy_from_slice(&upstream[first * hidden..][..rows * hidden]);
        if let Some(later) = later {
            let (d, u) = (Matrix::new(later, width), Matrix::new(weight, hidden));
            product((rows, hidden, width), d, u, dh, true, Parallelism::None);
        }
        let h = &history[(first + op.batch) * hidden..];
        for ((gates, dh), h) in gates.chunks_exact_mut(width).zip(dh.chunks_exact(hidden)).zip(h.chunks_exact(hidden)) {
            cells::backward(op.cell, dh, h, gates);
        }
    };
    if bands.count == 1 {
        for t in (0..op.steps).rev() {
            let (now, later) = gates[t * op.batch * width..].split_at_mut(op.batch * width);
            step(t * op.batch, now, (t + 1 < op.steps).then_some(&*later), &mut scratch);
        }
    } else {
        let columns = bands.columns(&mut gates, width);
        columns.into_par_iter().zip(scratch.par_chunks_mut(bands.rows * hidden)).enumerate().for_each(
            |(band, (mut column, dh))| {
                for t in (0..op.steps).rev() {
                    let (now, later) = column[t..].split_at_mut(1);
                    step(t * op.batch + band * bands.rows, now[0], later.first().map(|l| &**l), dh);
                }
            },
        );
    }
    *memory.scratch = scratch;
    memory.put(op.gates, gates);
}

/// How a batch is cut into bands of rows.
struct Bands {
    batch: usize,
    count: usize,
    /// Rows of every band but the last.
    rows: usize,
}

impl Bands {
    fn new(op: &Recurrence) -> Self {
        let tasks = (op.steps * op.batch * op.weight.len() / PRODUCTS_A_TASK).max(1);
        let count = tasks.min(rayon::current_num_threads()).min(op.batch);
        let rows = op.batch.div_ceil(count);
        Bands { batch: op.batch, count: op.batch.div_ceil(rows), rows }
    }

    /// A tensor `[·, B, width]` as one list of slices a band, a slice for every step.
    fn columns<'a, T>(&self, values: &'a mut [T], width: usize) -> Vec<Vec<&'a mut [T]>> {
        let mut columns: Vec<Vec<_>> = (0..self.count).map(|_| Vec::new()).collect();
        for step in values.chunks_exact_mut(self.batch * width) {
            for (column, part) in columns.iter_mut().zip(step.chunks_mut(self.rows * width)) {
                column.push(part);
            }
        }
        columns
    }
}
