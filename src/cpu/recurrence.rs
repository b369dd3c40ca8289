//! The recurrence forwards and backwards, written once for all cells, directions and lengths.
//!
//! Sequences of a batch do not depend on each other, so a batch is cut into as many bands of rows as there are threads,
//! and each thread takes its band through all steps without waiting for the others.

use std::ops::Range;

use super::{
    cells::{self, Backward, Forward, Held},
    matrix::{Matrix, Out, PRODUCTS_PER_TASK},
    packed::{Begin, Panels, Product},
    real::Real,
    steps::Steps,
    tensors::Tensors,
    threads,
};
use crate::model::Saved;
use crate::plan::{BackwardRecurrence, Hold, Recurrence, TensorId, View};

/// What a thread owns of the tensors: its rows of every slot, both directions of them.
struct Band<'a, T> {
    /// The first of its rows in the batch.
    first: usize,
    rows: usize,
    /// Forwards the history, backwards the gradients of h.
    h: Steps<'a, T>,
    gates: Steps<'a, T>,
    memory: Steps<'a, T>,
    /// w_ci, w_cf and w_co of both directions.
    peepholes: &'a [T],
    /// What goes to their gradients, a row for each of the band's and a 1 behind it.
    d_peepholes: Steps<'a, T>,
    scratch: &'a mut [T],
    /// H zeros: the gradient of h where a step is not valid.
    zeros: &'a [T],
}

/// What is only read.
struct Inputs<'a, T> {
    lengths: &'a [u32],
    mask: Option<&'a [T]>,
    /// Of h and of c, over all steps, sequences and directions.
    held: [Held<'a, T>; 2],
}

impl<'a, T: Real> Inputs<'a, T> {
    fn of(op: &Recurrence, memory: &'a Tensors<'_, T>) -> Self {
        let held = op.zoneout.map(|hold| match hold {
            Hold::None => Held::Nothing,
            Hold::Drawn(drawn) => Held::Drawn(memory.view(&drawn)),
            Hold::Share(rate) => Held::Share(T::from_f64(rate)),
        });
        Inputs { lengths: memory.ids(op.lengths), mask: op.dropout_mask.map(|mask| memory.real(mask)), held }
    }

    /// What is kept of both states of a row of the batch at a step of a direction; nothing is of one that is not valid,
    /// which is held whole.
    fn held(&self, op: &Recurrence, at: &At, row: usize) -> [Held<'a, T>; 2] {
        if !self.counts(row, at.time) {
            return [Held::Nothing; 2];
        }
        let start = ((at.time * op.batch + row) * op.directions + at.direction) * op.hidden;
        self.held.map(|held| held.of(start..start + op.hidden))
    }

    fn counts(&self, row: usize, time: usize) -> bool {
        time < self.lengths[row] as usize
    }
}

/// One direction of a band at one step.
struct At {
    direction: usize,
    is_reverse: bool,
    time: usize,
    /// The slot of the state after the step; the state before it and the one after the next are in those beside it.
    slot: usize,
    /// Whether no gradient comes from further on.
    is_last: bool,
}

impl At {
    fn new(op: &Recurrence, direction: usize, step: usize) -> Self {
        let slot = op.slot(direction, Some(step));
        let (is_reverse, is_last) = (op.is_reverse(direction), step + 1 == op.steps);
        At { direction, is_reverse, time: slot - 1, slot, is_last }
    }

    /// The slots before and after in the order of reading, from those below and above.
    fn ordered<S>(&self, below: S, above: S) -> (S, S) {
        if self.is_reverse { (above, below) } else { (below, above) }
    }
}

/// The gates, as columns of one direction, whose sums are each product's; of a cell of one product those of the second
/// are none.
fn products(op: &Recurrence) -> [Range<usize>; 2] {
    let first = op.cell.first_gates() * op.hidden;
    [0..first, first..op.rows()]
}

/// The numbers of U's packed parts, of the forward pass transposed, by direction and product.
fn pack<T: Real>(op: &Recurrence, transpose: bool, memory: &mut Tensors<'_, T>) -> [[usize; 2]; 2] {
    let mut packs = [[0; 2]; 2];
    for (direction, packs) in packs.iter_mut().enumerate().take(op.directions) {
        for (pack, gates) in packs.iter_mut().zip(products(op)).take(op.cell.products()) {
            let offset = op.weight.offset + (direction * op.rows() + gates.start) * op.hidden;
            *pack = memory.pack(&View { offset, rows: gates.len(), ..op.weight }, transpose, op.batch);
        }
    }
    packs
}

pub(super) fn forward<T: Real>(op: &Recurrence, memory: &mut Tensors<'_, T>) {
    let mut tensors = Owned::take(op, op.history, memory);
    let packs = pack(op, true, memory);
    let inputs = Inputs::of(op, memory);
    let bias = op.bias.map(|bias| memory.view(&bias));
    let u = packs.map(|packs| packs.map(|pack| memory.panels(pack)));
    tensors.bands(op, |mut band| {
        let (hidden, width) = (op.hidden, op.width());
        let (sums, masked) = band.scratch.split_at_mut(band.rows * op.rows());
        for direction in 0..op.directions {
            let bias = bias.map(|bias| &bias[direction * op.rows()..][..op.rows()]);
            for step in 0..op.steps {
                let at = At::new(op, direction, step);
                for (number, part) in products(op).into_iter().enumerate().take(op.cell.products()) {
                    let [below, h, above] = band.h.around(at.slot);
                    let (h_before, _) = at.ordered(&*below, &*above);
                    let operand = if number == 0 { h_before } else { &*band.memory.at(at.time) };
                    let mut operand = Matrix { values: &operand[direction * hidden..], row: width, col: 1 };
                    if let Some(mask) = inputs.mask {
                        let mask = &mask[band.first * width + direction * hidden..];
                        for ((out, x), m) in
                            masked.chunks_mut(hidden).zip(operand.values.chunks(width)).zip(mask.chunks(width))
                        {
                            out.iter_mut().zip(x).zip(m).for_each(|((out, x), m)| *out = *x * *m);
                        }
                        operand = Matrix::new(masked, hidden);
                    }
                    let begin = bias.map_or(Begin::Zero, |bias| Begin::Row(&bias[part.clone()]));
                    let out = Out { values: &mut sums[part.start..], row: op.rows() };
                    T::multiply(Product { rows: band.rows, a: operand, b: u[direction][number], begin, out });
                    let is_done = number + 1 == op.cell.products();
                    let kept = (&mut band.gates, &mut band.memory, band.peepholes);
                    forward_step(op, (&inputs, band.first), &at, (h_before, h), kept, sums, is_done);
                }
            }
        }
    });
    tensors.put(op, op.history, memory);
}

/// h_t and what the cell keeps, or before a second product its operand, row by row.
fn forward_step<T: Real>(
    op: &Recurrence,
    (inputs, first): (&Inputs<'_, T>, usize),
    at: &At,
    (h_before, h): (&[T], &mut [T]),
    (gates, memory, peepholes): (&mut Steps<'_, T>, &mut Steps<'_, T>, &[T]),
    sums: &[T],
    is_done: bool,
) {
    let (mut c_before, mut c, mut recurrent, mut operand): (&[T], &mut [T], &mut [T], &mut [T]) =
        (&[], &mut [], &mut [], &mut []);
    match op.cell.saved() {
        Saved::None => {}
        Saved::State => {
            let [below, now, above] = memory.around(at.slot);
            (c_before, c) = (at.ordered(&*below, &*above).0, now);
        }
        Saved::Recurrent => recurrent = memory.at(at.time),
        Saved::Operand => operand = memory.at(at.time),
    }
    let (hidden, rows, width) = (op.hidden, op.rows(), op.width());
    let peepholes = of_direction(op, at, peepholes);
    for (row, (x, r)) in
        gates.at(at.time).chunks_exact_mut(op.directions * rows).zip(sums.chunks_exact(rows)).enumerate()
    {
        let start = row * width + at.direction * hidden;
        let (units, columns) = (start..start + hidden, at.direction * rows..(at.direction + 1) * rows);
        let counts = inputs.counts(first + row, at.time);
        let [held_h, held_c] = inputs.held(op, at, first + row);
        let this = Forward {
            x: &mut x[columns.clone()],
            r,
            h_before: &h_before[units.clone()],
            h: &mut h[units.clone()],
            c_before: part(c_before, units.clone()),
            c: part_mut(c, units.clone()),
            recurrent: part_mut(
                recurrent,
                row * op.directions * rows + columns.start..row * op.directions * rows + columns.end,
            ),
            operand: part_mut(operand, units.clone()),
            counts,
            gate_activation: op.gate_activation,
            cell_clip: op.cell_clip,
            held_c,
            peepholes,
        };
        if is_done {
            cells::forward(op.cell, this);
            held_h.keep(&h_before[units.clone()], &mut h[units.clone()]);
            if !counts {
                h[units.clone()].copy_from_slice(&h_before[units]);
            }
        } else {
            cells::operand(op.cell, this);
        }
    }
}

pub(super) fn backward<T: Real>(
    BackwardRecurrence { recurrence: op, upstream, to_start, carried }: &BackwardRecurrence,
    memory: &mut Tensors<'_, T>,
) {
    let (upstream, to_start, carried) = (*upstream, *to_start, *carried);
    debug_assert!(!carried || !op.is_reverse(op.directions - 1), "gradients are carried to a forward recurrence");
    let mut tensors = Owned::take(op, upstream, memory);
    let packs = pack(op, false, memory);
    let inputs = Inputs::of(op, memory);
    let history = memory.real(op.history);
    let u = packs.map(|packs| packs.map(|pack| memory.panels(pack)));
    tensors.bands(op, |mut band| {
        for (direction, u) in u.iter().enumerate().take(op.directions) {
            // What a cell hands around U to the state before the first step is added to nothing.
            let (start, columns) =
                (band.h.at(op.slot(direction, None)), direction * op.hidden..(direction + 1) * op.hidden);
            start.chunks_exact_mut(op.width()).for_each(|row| row[columns.clone()].fill(T::zero()));
            for step in (0..op.steps).rev() {
                let mut at = At::new(op, direction, step);
                if !at.is_last {
                    let after = At::new(op, direction, step + 1);
                    into_operand(op, &inputs, u[0], &mut band, &after, Some(at.slot));
                } else if carried {
                    let [_, dh, later] = band.h.around(at.slot);
                    dh.iter_mut().zip(later).for_each(|(dh, later)| *dh += *later);
                    at.is_last = false;
                }
                backward_step(op, &inputs, history, &at, &mut band, true);
                if op.cell.products() == 2 {
                    into_operand(op, &inputs, u[1], &mut band, &at, None);
                    backward_step(op, &inputs, history, &at, &mut band, false);
                }
            }
            if to_start {
                let first = At::new(op, direction, 0);
                let start = Some(op.slot(direction, None));
                into_operand(op, &inputs, u[0], &mut band, &first, start);
            }
        }
    });
    tensors.put(op, upstream, memory);
}

/// Uᵀ times the gradient of a product's sums at a step: of the first product added to a slot of the gradients of h, of
/// the second assigned to the scratch.
fn into_operand<T: Real>(
    op: &Recurrence,
    inputs: &Inputs<'_, T>,
    u: Panels<'_, T>,
    band: &mut Band<'_, T>,
    at: &At,
    to: Option<usize>,
) {
    let (hidden, rows, width) = (op.hidden, op.rows(), op.width());
    let [first, second] = products(op);
    let part = if to.is_some() { first } else { second };
    let d = match op.cell.saved() {
        Saved::Recurrent => band.memory.at(at.time),
        _ => band.gates.at(at.time),
    };
    let d = Matrix { values: &d[at.direction * rows + part.start..], row: op.directions * rows, col: 1 };
    if let (Some(slot), None) = (to, inputs.mask) {
        let out = Out { values: &mut band.h.at(slot)[at.direction * hidden..], row: width };
        T::multiply(Product { rows: band.rows, a: d, b: u, begin: Begin::There, out });
        return;
    }
    let scratch = &mut band.scratch[..band.rows * hidden];
    let out = Out { values: &mut *scratch, row: hidden };
    T::multiply(Product { rows: band.rows, a: d, b: u, begin: Begin::Zero, out });
    if let Some(mask) = inputs.mask {
        let mask = mask[band.first * width + at.direction * hidden..].chunks(width);
        for (row, mask) in scratch.chunks_exact_mut(hidden).zip(mask) {
            row.iter_mut().zip(mask).for_each(|(d, m)| *d = *d * *m);
        }
    }
    if let Some(slot) = to {
        let dh = band.h.at(slot)[at.direction * hidden..].chunks_mut(width);
        for (dh, row) in dh.zip(scratch.chunks_exact(hidden)) {
            dh.iter_mut().zip(row).for_each(|(dh, d)| *dh += *d);
        }
    }
}

/// The gradients of a step's gates, row by row; of those before a second product once its operand's gradient is known.
fn backward_step<T: Real>(
    op: &Recurrence,
    inputs: &Inputs<'_, T>,
    history: &[T],
    at: &At,
    band: &mut Band<'_, T>,
    is_first: bool,
) {
    let (hidden, rows, width) = (op.hidden, op.rows(), op.width());
    let slot = |slot: usize| &history[(slot * op.batch + band.first) * width..];
    let (h_before, h) = (at.ordered(at.slot - 1, at.slot + 1).0, slot(at.slot));
    let h_before = slot(h_before);
    let [below, dh, above] = band.h.around(at.slot);
    let (dh_before, _) = at.ordered(below, above);
    let (mut c_before, mut c, mut dc, mut recurrent): (&[T], &mut [T], &[T], &mut [T]) = (&[], &mut [], &[], &mut []);
    match op.cell.saved() {
        Saved::None | Saved::Operand => {}
        Saved::State => {
            let [below, now, above] = band.memory.around(at.slot);
            let (before, after) = at.ordered(&*below, &*above);
            (c_before, c, dc) = (before, now, after);
        }
        Saved::Recurrent => recurrent = band.memory.at(at.time),
    }
    let zeros = &band.zeros[..hidden];
    let peepholes = of_direction(op, at, band.peepholes);
    let mut d_peepholes = band.d_peepholes.at(at.time).chunks_exact_mut(op.peephole_row());
    // Behind the gradients of a second product's operand.
    let (d_operands, of_made) = band.scratch.split_at_mut(band.rows * hidden);
    for (row, x) in band.gates.at(at.time).chunks_exact_mut(op.directions * rows).enumerate() {
        let start = row * width + at.direction * hidden;
        let (units, columns) = (start..start + hidden, at.direction * rows..(at.direction + 1) * rows);
        let counts = inputs.counts(band.first + row, at.time);
        if is_first && !counts {
            dh_before[units.clone()].iter_mut().zip(&dh[units.clone()]).for_each(|(before, dh)| *before += *dh);
        }
        let [held_h, held_c] = inputs.held(op, at, band.first + row);
        let mut dh = if counts { &dh[units.clone()] } else { zeros };
        if is_first && !held_h.is_nothing() {
            let of_made = &mut of_made[..hidden];
            for (j, before) in dh_before[units.clone()].iter_mut().enumerate() {
                let z = held_h.share(j);
                *before += z * dh[j];
                of_made[j] = (T::one() - z) * dh[j];
            }
            dh = of_made;
        }
        let gates = row * op.directions * rows;
        let d_peepholes = d_peepholes.next().unwrap_or_default();
        if let Some(one) = d_peepholes.last_mut() {
            *one = T::one();
        }
        let this = Backward {
            dh,
            gates: &mut x[columns.clone()],
            h_before: &h_before[units.clone()],
            h: &h[units.clone()],
            c_before: part(c_before, units.clone()),
            c: part_mut(c, units.clone()),
            dc: if at.is_last { zeros } else { part(dc, units.clone()) },
            recurrent: part_mut(recurrent, gates + columns.start..gates + columns.end),
            d_operand: &d_operands[row * hidden..(row + 1) * hidden],
            dh_before: &mut dh_before[units],
            counts,
            gate_activation: op.gate_activation,
            cell_clip: op.cell_clip,
            held_c,
            peepholes,
            d_peepholes: parts_mut(d_peepholes, width, at.direction * hidden..(at.direction + 1) * hidden),
        };
        if is_first {
            cells::backward(op.cell, this);
        } else {
            cells::operand_backward(op.cell, this);
        }
    }
}

/// The peepholes of a direction, or nothing of a cell without.
fn of_direction<'a, T>(op: &Recurrence, at: &At, peepholes: &'a [T]) -> [&'a [T]; 3] {
    let units = at.direction * op.hidden..(at.direction + 1) * op.hidden;
    let mut all = peepholes.chunks_exact(op.width());
    std::array::from_fn(|_| part(all.next().unwrap_or_default(), units.clone()))
}

/// The same part of each of three rows of so many, or nothing of empty ones.
fn parts_mut<T>(values: &mut [T], width: usize, range: Range<usize>) -> [&mut [T]; 3] {
    let mut all = values.chunks_exact_mut(width);
    std::array::from_fn(|_| part_mut(all.next().unwrap_or_default(), range.clone()))
}

/// Part of a slice, or nothing of an empty one.
fn part<T>(values: &[T], range: std::ops::Range<usize>) -> &[T] {
    if values.is_empty() { values } else { &values[range] }
}

/// Part of a slice, or nothing of an empty one.
fn part_mut<T>(values: &mut [T], range: std::ops::Range<usize>) -> &mut [T] {
    if values.is_empty() { values } else { &mut values[range] }
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
struct Owned<T> {
    h: Vec<T>,
    gates: Vec<T>,
    memory: Vec<T>,
    peepholes: Vec<T>,
    scratch: Vec<T>,
}

impl<T: Real> Owned<T> {
    fn take(op: &Recurrence, h: TensorId, memory: &mut Tensors<'_, T>) -> Self {
        Owned {
            h: memory.take(h),
            gates: memory.take(op.gates),
            memory: op.saved.map(|id| memory.take(id)).unwrap_or_default(),
            peepholes: op.peepholes.map(|id| memory.take(id)).unwrap_or_default(),
            scratch: std::mem::take(memory.scratch),
        }
    }

    fn put(self, op: &Recurrence, h: TensorId, memory: &mut Tensors<'_, T>) {
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
    /// several.
    fn bands(&mut self, op: &Recurrence, work: impl Fn(Band<'_, T>) + Sync) {
        let (width, gates) = (op.width(), op.directions * op.rows());
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
                h: Steps::whole(&mut self.h, op.batch * width),
                gates: Steps::whole(&mut self.gates, op.batch * gates),
                memory: Steps::whole(&mut self.memory, op.batch * kept),
                peepholes,
                d_peepholes: Steps::whole(d_peepholes, op.batch * row),
                scratch: scratches,
                zeros,
            });
            return;
        }
        let mut spare = scratches.chunks_mut(rows * scratch);
        let h = Steps::cut(&mut self.h, op.batch, rows, width);
        let of_gates = Steps::cut(&mut self.gates, op.batch, rows, gates);
        let memory = Steps::cut(&mut self.memory, op.batch, rows, kept);
        let d_peepholes = Steps::cut(d_peepholes, op.batch, rows, row);
        let bands: Vec<_> = (h.into_iter().zip(of_gates).zip(memory.into_iter().zip(d_peepholes)).enumerate())
            .map(|(band, ((h, gates), (memory, d_peepholes)))| Band {
                first: band * rows,
                rows: rows.min(op.batch - band * rows),
                h,
                gates,
                memory,
                peepholes,
                d_peepholes,
                scratch: spare.next().unwrap_or_default(),
                zeros,
            })
            .collect();
        threads::for_each(bands.into_iter(), work);
    }
}
