//! The recurrence forwards and backwards, written once for all cells, directions and lengths.
//!
//! Sequences of a batch do not depend on each other, so a batch is cut into as many bands of rows as there are threads,
//! and each thread takes its band through all steps without waiting for the others.

use std::ops::Range;

use super::{
    bands::{At, Band, Before, Inputs, Owned},
    cells::{self, Backward, Forward},
    matrix::{Matrix, Out},
    packed::{Begin, Panels, Product},
    real::Real,
    steps::Steps,
    tensors::Tensors,
};
use crate::model::Saved;
use crate::plan::{BackwardRecurrence, Projection, Recurrence, View};

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
            let offset = op.weight.offset + (direction * op.rows() + gates.start) * op.operand();
            *pack = memory.pack(&View { offset, rows: gates.len(), ..op.weight }, transpose, op.batch);
        }
    }
    packs
}

/// The same of W_hr, by direction.
fn pack_projection<T: Real>(op: &Recurrence, transpose: bool, memory: &mut Tensors<'_, T>) -> Option<[usize; 2]> {
    let Projection { size, weight, .. } = op.projection?;
    let mut packs = [0; 2];
    for (direction, pack) in packs.iter_mut().enumerate().take(op.directions) {
        let offset = weight.offset + direction * size * op.hidden;
        *pack = memory.pack(&View { offset, rows: size, ..weight }, transpose, op.batch);
    }
    Some(packs)
}

pub(super) fn forward<T: Real>(op: &Recurrence, memory: &mut Tensors<'_, T>) {
    let mut tensors = Owned::take(op, op.history, memory);
    let (packs, w_hr) = (pack(op, true, memory), pack_projection(op, true, memory));
    let inputs = Inputs::of(op, memory);
    let bias = op.bias.map(|bias| memory.view(&bias));
    let u = packs.map(|packs| packs.map(|pack| memory.panels(pack)));
    let w_hr = w_hr.map(|packs| packs.map(|pack| memory.panels(pack)));
    let projected = op.projection.map(|projection| projection.projected);
    tensors.bands(op, projected, |mut band| {
        let (length, width) = (op.operand(), op.state_width(0));
        let (sums, masked) = band.scratch.split_at_mut(band.rows * op.rows());
        for direction in 0..op.directions {
            let bias = bias.map(|bias| &bias[direction * op.rows()..][..op.rows()]);
            for step in 0..op.steps {
                let at = At::new(op, direction, step);
                for (number, part) in products(op).into_iter().enumerate().take(op.cell.products()) {
                    let ([below, h, above], [start, _]) = band.h.around_and(at.slot, op.resets);
                    let h_before = Before { left: at.ordered(&*below, &*above).0, start };
                    let operand = if number == 0 {
                        h_before
                    } else {
                        let left = &*band.memory.at(at.time);
                        Before { left, start: left }
                    };
                    let mut product = Matrix { values: &operand.left[direction * length..], row: width, col: 1 };
                    let rows = band.first..band.first + band.rows;
                    if inputs.mask.is_some() || (number == 0 && inputs.is_any_reset(op, &at, rows)) {
                        for (row, out) in masked.chunks_mut(length).enumerate().take(band.rows) {
                            let x = operand.of(inputs.is_reset(op, &at, band.first + row));
                            let x = &x[row * width + direction * length..][..length];
                            match inputs.mask {
                                None => out.copy_from_slice(x),
                                Some(mask) => {
                                    let mask = &mask[(band.first + row) * width + direction * length..];
                                    out.iter_mut().zip(x).zip(mask).for_each(|((out, x), m)| *out = *x * *m);
                                }
                            }
                        }
                        product = Matrix::new(masked, length);
                    }
                    let begin = bias.map_or(Begin::Zero, |bias| Begin::Row(&bias[part.clone()]));
                    let out = Out { values: &mut sums[part.start..], row: op.rows() };
                    T::multiply(Product { rows: band.rows, a: product, b: u[direction][number], begin, out });
                    let is_done = number + 1 == op.cell.products();
                    let kept = (&mut band.gates, &mut band.memory, band.peepholes);
                    let inputs = (&inputs, band.first);
                    let Some(w_hr) = w_hr else {
                        forward_step(op, inputs, &at, (h_before, h), kept, sums, is_done);
                        continue;
                    };
                    let projected = band.projected.at(at.time);
                    let none = Before { left: &[], start: &[] };
                    forward_step(op, inputs, &at, (none, projected), kept, sums, is_done);
                    project(op, inputs, &at, (projected, w_hr[direction]), (h_before, h), band.rows);
                }
            }
        }
    });
    tensors.put(op, op.history, memory);
}

/// h_t of what it is projected from and of what zoneout keeps; behind the end of a sequence it is held.
fn project<T: Real>(
    op: &Recurrence,
    (inputs, first): (&Inputs<'_, T>, usize),
    at: &At,
    (projected, w_hr): (&[T], Panels<'_, T>),
    (h_before, h): (Before<'_, T>, &mut [T]),
    rows: usize,
) {
    let (length, width) = (op.operand(), op.state_width(0));
    let a = Matrix { values: &projected[at.direction * op.hidden..], row: op.width(), col: 1 };
    let out = Out { values: &mut h[at.direction * length..], row: width };
    T::multiply(Product { rows, a, b: w_hr, begin: Begin::Zero, out });
    for row in 0..rows {
        let units = row * width + at.direction * length..row * width + (at.direction + 1) * length;
        let h_before = h_before.of(inputs.is_reset(op, at, first + row));
        let (h_before, h) = (&h_before[units.clone()], &mut h[units]);
        if inputs.counts(first + row, at.time) {
            inputs.held(op, at, first + row)[0].keep(h_before, h);
        } else {
            h.copy_from_slice(h_before);
        }
    }
}

/// h_t, or what is projected to it, and what the cell keeps, or before a second product its operand, row by row.
fn forward_step<T: Real>(
    op: &Recurrence,
    (inputs, first): (&Inputs<'_, T>, usize),
    at: &At,
    (h_before, h): (Before<'_, T>, &mut [T]),
    (gates, memory, peepholes): (&mut Steps<'_, T>, &mut Steps<'_, T>, &[T]),
    sums: &[T],
    is_done: bool,
) {
    let mut c_before = Before { left: &[][..], start: &[] };
    let (mut c, mut recurrent, mut operand): (&mut [T], &mut [T], &mut [T]) = (&mut [], &mut [], &mut []);
    match op.cell.saved() {
        Saved::None => {}
        Saved::State => {
            let ([below, now, above], [start, _]) = memory.around_and(at.slot, op.resets);
            (c_before, c) = (Before { left: at.ordered(&*below, &*above).0, start }, now);
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
        let is_reset = inputs.is_reset(op, at, first + row);
        let (h_before, c_before) = (h_before.of(is_reset), c_before.of(is_reset));
        let [held_h, held_c] = inputs.held(op, at, first + row);
        let this = Forward {
            x: &mut x[columns.clone()],
            r,
            h_before: part(h_before, units.clone()),
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
            if op.projection.is_some() {
                continue;
            }
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
    BackwardRecurrence { recurrence: op, upstream, projected, to_start, carried }: &BackwardRecurrence,
    memory: &mut Tensors<'_, T>,
) {
    let (upstream, to_start, carried) = (*upstream, *to_start, *carried);
    debug_assert!(!carried || !op.is_reverse(op.directions - 1), "gradients are carried to a forward recurrence");
    let mut tensors = Owned::take(op, upstream, memory);
    let (packs, w_hr) = (pack(op, false, memory), pack_projection(op, false, memory));
    let inputs = Inputs::of(op, memory);
    let history = memory.real(op.history);
    let u = packs.map(|packs| packs.map(|pack| memory.panels(pack)));
    let w_hr = w_hr.map(|packs| packs.map(|pack| memory.panels(pack)));
    tensors.bands(op, *projected, |mut band| {
        for (direction, u) in u.iter().enumerate().take(op.directions) {
            // What a cell hands around U to the state before the first step is added to nothing.
            let (start, columns) =
                (band.h.at(op.slot(direction, None)), direction * op.operand()..(direction + 1) * op.operand());
            start.chunks_exact_mut(op.state_width(0)).for_each(|row| row[columns.clone()].fill(T::zero()));
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
                if let Some(w_hr) = w_hr {
                    through_projection(op, &inputs, w_hr[direction], &mut band, &at);
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

/// W_hrᵀ times the gradient of h_t, but for what zoneout keeps, assigned to the scratch; that, and behind the end of a
/// sequence all of it, is passed on.
fn through_projection<T: Real>(
    op: &Recurrence,
    inputs: &Inputs<'_, T>,
    w_hr: Panels<'_, T>,
    band: &mut Band<'_, T>,
    at: &At,
) {
    let (length, width) = (op.operand(), op.state_width(0));
    let ([below, dh, above], [start, _]) = band.h.around_and(at.slot, op.resets);
    let (dh_before, _) = at.ordered(below, above);
    let made = band.projected.at(at.time);
    for row in 0..band.rows {
        let units = row * width + at.direction * length..row * width + (at.direction + 1) * length;
        let counts = inputs.counts(band.first + row, at.time);
        let held = inputs.held(op, at, band.first + row)[0];
        let made = part_mut(made, units.clone());
        let dh_before = if inputs.is_reset(op, at, band.first + row) { &mut *start } else { &mut *dh_before };
        for (j, (before, dh)) in dh_before[units.clone()].iter_mut().zip(&dh[units]).enumerate() {
            let z = if counts { held.share(j) } else { T::one() };
            if !counts || !held.is_nothing() {
                *before += z * *dh;
            }
            if let Some(made) = made.get_mut(j) {
                *made = if counts { (T::one() - z) * *dh } else { T::zero() };
            }
        }
    }
    let of_made = if made.is_empty() { &*dh } else { &*made };
    let a = Matrix { values: &of_made[at.direction * length..], row: width, col: 1 };
    let out = Out { values: &mut band.scratch[..band.rows * op.hidden], row: op.hidden };
    T::multiply(Product { rows: band.rows, a, b: w_hr, begin: Begin::Zero, out });
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
    let (hidden, rows, width) = (op.operand(), op.rows(), op.state_width(0));
    let [first, second] = products(op);
    let part = if to.is_some() { first } else { second };
    let d = match op.cell.saved() {
        Saved::Recurrent => band.memory.at(at.time),
        _ => band.gates.at(at.time),
    };
    let d = Matrix { values: &d[at.direction * rows + part.start..], row: op.directions * rows, col: 1 };
    let begins = inputs.is_any_reset(op, at, band.first..band.first + band.rows);
    if let (Some(slot), None, false) = (to, inputs.mask, begins) {
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
        for (row, d) in scratch.chunks_exact(hidden).enumerate() {
            let to = op.resets.filter(|_| inputs.is_reset(op, at, band.first + row)).unwrap_or(slot);
            let dh = &mut band.h.at(to)[row * width + at.direction * hidden..];
            dh.iter_mut().zip(d).for_each(|(dh, d)| *dh += *d);
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
    let (mut h, mut dh, mut dh_before, mut dh_start): (&[T], &[T], &mut [T], &mut [T]) = (&[], &[], &mut [], &mut []);
    let mut h_before = Before { left: &[][..], start: &[] };
    // Else the gradient of what is projected is in the scratch, and h is none of the cell's business.
    if op.projection.is_none() {
        let slot = |slot: usize| &history[(slot * op.batch + band.first) * width..];
        let start = op.resets.map_or(&[][..], slot);
        (h_before, h) = (Before { left: slot(at.ordered(at.slot - 1, at.slot + 1).0), start }, slot(at.slot));
        let ([below, now, above], [start, _]) = band.h.around_and(at.slot, op.resets);
        (dh, dh_before, dh_start) = (now, at.ordered(below, above).0, start);
    }
    let mut c_before = Before { left: &[][..], start: &[] };
    let (mut c, mut dc, mut recurrent, mut dc_start): (&mut [T], &[T], &mut [T], &mut [T]) =
        (&mut [], &[], &mut [], &mut []);
    match op.cell.saved() {
        Saved::None | Saved::Operand => {}
        Saved::State => {
            let ([below, now, above], [start, gradient]) = band.memory.around_and(at.slot, op.resets);
            let (left, after) = at.ordered(&*below, &*above);
            (c_before, c, dc, dc_start) = (Before { left, start }, now, after, gradient);
        }
        Saved::Recurrent => recurrent = band.memory.at(at.time),
    }
    let zeros = &band.zeros[..hidden];
    let peepholes = of_direction(op, at, band.peepholes);
    let mut d_peepholes = band.d_peepholes.at(at.time).chunks_exact_mut(op.peephole_row());
    // Behind the gradients of a second product's operand, or of what is projected.
    let (d_operands, of_made) = band.scratch.split_at_mut(band.rows * hidden);
    for (row, x) in band.gates.at(at.time).chunks_exact_mut(op.directions * rows).enumerate() {
        let start = row * width + at.direction * hidden;
        let (units, columns) = (start..start + hidden, at.direction * rows..(at.direction + 1) * rows);
        let counts = inputs.counts(band.first + row, at.time);
        let is_reset = inputs.is_reset(op, at, band.first + row);
        let (h_before, c_before) = (h_before.of(is_reset), c_before.of(is_reset));
        let dh_before = if is_reset { &mut *dh_start } else { &mut *dh_before };
        if is_first && !counts && op.projection.is_none() {
            dh_before[units.clone()].iter_mut().zip(&dh[units.clone()]).for_each(|(before, dh)| *before += *dh);
        }
        let [held_h, held_c] = inputs.held(op, at, band.first + row);
        let d_operand = &d_operands[row * hidden..(row + 1) * hidden];
        let mut dh = match op.projection {
            _ if !counts => zeros,
            Some(_) => d_operand,
            None => &dh[units.clone()],
        };
        if is_first && !held_h.is_nothing() && op.projection.is_none() {
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
            h_before: part(h_before, units.clone()),
            h: part(h, units.clone()),
            c_before: part(c_before, units.clone()),
            c: part_mut(c, units.clone()),
            dc: if at.is_last { zeros } else { part(dc, units.clone()) },
            recurrent: part_mut(recurrent, gates + columns.start..gates + columns.end),
            d_operand,
            dh_before: part_mut(dh_before, units.clone()),
            counts,
            gate_activation: op.gate_activation,
            cell_clip: op.cell_clip,
            held_c,
            peepholes,
            d_peepholes: parts_mut(d_peepholes, width, at.direction * hidden..(at.direction + 1) * hidden),
        };
        if is_first {
            cells::backward(op.cell, this);
            if is_reset {
                // The step before hears nothing of it.
                for (sum, dc) in part_mut(dc_start, units.clone()).iter_mut().zip(part_mut(c, units)) {
                    *sum += *dc;
                    *dc = T::zero();
                }
            }
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
