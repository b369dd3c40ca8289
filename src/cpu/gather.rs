//! W·x and its gradient where x is a token: columns of W gathered, and gradients brought back to them.

use super::{dropout::Drawn, matrix::Matrix, real::Real, sums::ColumnSums, tensors::Tensors, threads};
use crate::plan::{Gather, GatherGradient, TableGradient};

/// Rows that are worth a thread's while.
const ROWS_PER_TASK: usize = 256;
/// Elements of a gradient that are.
const ELEMENTS_PER_TASK: usize = 1 << 17;

pub(super) fn gather<T: Real>(op: &Gather, memory: &mut Tensors<'_, T>) {
    let mut tensor = memory.take(op.out.tensor);
    // Columns of W lie apart. Turned over once they are read as they lie, which pays if most are read.
    let pack = (!op.by_rows && op.out.rows >= op.weight.cols).then(|| memory.pack(&op.weight, true, op.out.rows));
    let transposed = pack.map(|pack| memory.panels(pack));
    let (weight, tokens) = (memory.view(&op.weight), &memory.ids(op.tokens)[op.first..]);
    let bias = op.bias.map(|bias| memory.view(&bias));
    let drawn = op.draw.map(|draw| Drawn::new(&draw, memory));
    let (vocabulary, width) = (if op.by_rows { op.weight.rows } else { op.weight.cols }, op.out.cols);
    let fill = |(task, (rows, tokens)): (usize, (&mut [T], &[u32]))| {
        for (r, (row, token)) in rows.chunks_mut(op.out.stride).zip(tokens).enumerate() {
            let row = &mut row[..width];
            let (b, token) = ((task * ROWS_PER_TASK + r) % op.batch, *token as usize);
            let factor = drawn.as_ref().map_or(T::one(), |drawn| drawn.factor(b * vocabulary + token));
            match transposed {
                Some(transposed) => transposed.copy_row(token, row),
                None if op.by_rows => row.copy_from_slice(&weight[token * width..][..width]),
                None => row.iter_mut().enumerate().for_each(|(j, value)| *value = weight[j * vocabulary + token]),
            }
            if drawn.is_some() {
                row.iter_mut().for_each(|value| *value = *value * factor);
            }
            if let Some(bias) = bias {
                row.iter_mut().zip(bias).for_each(|(value, bias)| *value += *bias);
            }
        }
    };
    let (out, tokens) = (&mut tensor[op.out.range()], &tokens[..op.out.rows]);
    let tasks = out.chunks_mut(ROWS_PER_TASK * op.out.stride).zip(tokens.chunks(ROWS_PER_TASK));
    threads::for_each(tasks.enumerate(), fill);
    memory.put(op.out.tensor, tensor);
}

pub(super) fn gather_gradient<T: Real>(op: &GatherGradient, memory: &mut Tensors<'_, T>) {
    match op.table {
        Some(table) => gradient_by_rows(op, table, memory),
        None => gradient_by_columns(op, memory),
    }
}

/// Of a table with a row for each token, whose threads share the tokens.
fn gradient_by_rows<T: Real>(op: &GatherGradient, table: TableGradient, memory: &mut Tensors<'_, T>) {
    let TableGradient { adds, padding, rows } = table;
    let mut tensor = memory.take(op.slices);
    let (mut sums, mut totals) = (std::mem::take(memory.scratch), std::mem::take(memory.totals));
    let (d, order, starts) = (memory.view(&op.d), memory.ids(op.order), memory.ids(op.starts));
    let drawn = op.draw.map(|draw| Drawn::new(&draw, memory));
    let ((cuts, flat), width) = (memory.matrix(op.slices), op.d.cols);
    let row = memory.plan.get(op.starts).shape.last().copied().unwrap_or_default();
    let (vocabulary, starts) = (row - 1, &starts[op.part * row..][..row]);
    // Where only some rows are wanted, masks are drawn of the whole vocabulary all the same.
    let ids = rows.map(|rows| (memory.ids(rows.ids), rows.vocabulary));
    let place = |token: usize| ids.map_or((token, vocabulary), |(ids, all)| (ids[token] as usize, all));
    let share = vocabulary.div_ceil(threads::shares((op.d.len() + vocabulary * width) / ELEMENTS_PER_TASK));
    let shares = vocabulary.div_ceil(share);
    sums.resize(shares * width, T::zero());
    totals.resize(shares * width, 0.0);
    for (s, slice) in tensor.chunks_exact_mut(flat).enumerate() {
        let table = slice[op.weight..op.weight + vocabulary * width].chunks_mut(share * width);
        let parts = table.zip(sums.chunks_mut(width).zip(totals.chunks_mut(width))).enumerate();
        threads::for_each(parts, |(number, (table, (sums, totals)))| {
            let mut sums = ColumnSums::new(sums, totals);
            for (token, out) in (number * share..).zip(table.chunks_exact_mut(width)) {
                let of_token = &order[starts[token] as usize..starts[token + 1] as usize];
                let part = &of_token[of_token.len() * s / cuts..of_token.len() * (s + 1) / cuts];
                if part.is_empty() || padding == Some(token) {
                    if !adds {
                        out.fill(T::zero());
                    }
                    continue;
                }
                let (id, all) = place(token);
                sums.clear();
                for &row in part {
                    let row = row as usize;
                    let factor = drawn.as_ref().map_or(T::one(), |drawn| drawn.factor(row % op.batch * all + id));
                    sums.add(d[row * op.d.stride..][..width].iter().map(|value| *value * factor));
                }
                for (value, sum) in out.iter_mut().zip(sums.finish()) {
                    *value = if adds { *value + *sum } else { *sum };
                }
            }
        });
    }
    (*memory.scratch, *memory.totals) = (sums, totals);
    memory.put(op.slices, tensor);
}

/// Of W, whose threads share the columns of the gradient, and of its bias.
fn gradient_by_columns<T: Real>(op: &GatherGradient, memory: &mut Tensors<'_, T>) {
    let mut tensor = memory.take(op.slices);
    let (mut sums, mut totals) = (std::mem::take(memory.scratch), std::mem::take(memory.totals));
    sums.resize(op.d.cols, T::zero());
    totals.resize(op.d.cols, 0.0);
    let (d, order, starts) = (memory.view(&op.d), memory.ids(op.order), memory.ids(op.starts));
    let drawn = op.draw.map(|draw| Drawn::new(&draw, memory));
    let ((cuts, flat), (rows, width)) = (memory.matrix(op.slices), (op.d.rows, op.d.cols));
    let row = memory.plan.get(op.starts).shape.last().copied().unwrap_or_default();
    let (vocabulary, starts) = (row - 1, &starts[op.part * row..][..row]);
    let share = width.div_ceil(threads::shares(rows * width / ELEMENTS_PER_TASK));
    for (s, slice) in tensor.chunks_exact_mut(flat).enumerate() {
        // A share of the columns of d.
        let part = |number: usize, weight: &mut [T], mut sums: ColumnSums<'_, T>| {
            let first_column = number * share;
            for token in 0..vocabulary {
                let (first, end) = (starts[token] as usize, starts[token + 1] as usize);
                let of_token = &order[first..end];
                let part = &of_token[of_token.len() * s / cuts..of_token.len() * (s + 1) / cuts];
                sums.clear();
                for &row in part {
                    let row = row as usize;
                    let factor =
                        drawn.as_ref().map_or(T::one(), |drawn| drawn.factor(row % op.batch * vocabulary + token));
                    sums.add(d[row * op.d.stride + first_column..].iter().map(|value| *value * factor));
                }
                for (row, value) in weight.chunks_exact_mut(vocabulary).zip(sums.finish()) {
                    row[token] = *value;
                }
            }
        };
        let weight = &mut slice[op.weight..op.weight + width * vocabulary];
        let sums_of_parts = sums[..width].chunks_mut(share).zip(totals.chunks_mut(share));
        let parts = weight.chunks_mut(share * vocabulary).zip(sums_of_parts).enumerate();
        threads::for_each(parts, |(number, (weight, (sums, totals)))| {
            part(number, weight, ColumnSums::new(sums, totals))
        });
        if let Some(bias) = op.bias {
            let (first, end) = (rows * s / cuts, rows * (s + 1) / cuts);
            let mut sums = ColumnSums::new(&mut slice[bias..bias + width], &mut totals);
            sums.add_rows(Matrix::new(&d[first * op.d.stride..], op.d.stride), end - first);
            sums.finish();
        }
    }
    (*memory.scratch, *memory.totals) = (sums, totals);
    memory.put(op.slices, tensor);
}
