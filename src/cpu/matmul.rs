//! Products of whole windows with a weight.
//!
//! The contract: what is summed in which order does not depend on the number of threads.

use super::gradient::transposed_product;
use super::matrix::{Matrix, Out, PRODUCTS_PER_TASK};
use super::packed::{Begin, Panels, Product, TALLEST};
use super::real::Real;
use super::tensors::Tensors;
use super::threads;
use crate::plan::{MatMul, Transpose};

pub(super) fn matmul<T: Real>(op: &MatMul, memory: &mut Tensors<'_, T>) {
    let mut tensor = memory.take(op.out.tensor);
    let pack = (!op.transpose_a).then(|| memory.pack(&op.b, op.transpose_b, op.out.rows));
    let (mut scratch, mut totals) = (std::mem::take(memory.scratch), std::mem::take(memory.totals));
    let out = Out { values: &mut tensor[op.out.range()], row: op.out.stride };
    let bias = op.bias.as_ref().map(|bias| memory.view(bias));
    let a = Matrix::new(memory.view(&op.a), op.a.stride);
    let (rows, cols) = (op.out.rows, op.out.cols);
    match pack {
        Some(pack) => packed_product(rows, a, memory.panels(pack), bias, out),
        // No plan of a network multiplies so; it is here because the operation says that it can.
        None => {
            let b = Matrix::new(memory.view(&op.b), op.b.stride).transposed(op.transpose_b);
            let to = Out { values: &mut *out.values, row: out.row };
            transposed_product((rows, cols, op.a.rows), a, b, to, &mut [], (&mut scratch, &mut totals));
            if let Some(bias) = bias {
                let rows = out.values.chunks_mut(out.row);
                rows.for_each(|row| row.iter_mut().zip(bias).for_each(|(sum, bias)| *sum += *bias));
            }
        }
    }
    (*memory.scratch, *memory.totals) = (scratch, totals);
    memory.put(op.out.tensor, tensor);
}

/// So many rows of `a`, or more if they are short, stay in a cache close by while all panels pass.
const ROWS_AT_A_TIME: usize = 96;
/// So many numbers do.
const NUMBERS_AT_A_TIME: usize = 1 << 16;
/// So many numbers of `b` come from a cache as fast as they are multiplied by a block of rows, whose part of `out` is
/// written from end to end then.
const NEAR: usize = 1 << 20;

/// `out = a·b + bias`, the rows of `out` shared by the threads.
fn packed_product<T: Real>(rows: usize, a: Matrix<'_, T>, b: Panels<'_, T>, bias: Option<&[T]>, out: Out<'_, T>) {
    let begin = bias.map_or(Begin::Zero, Begin::Row);
    let stride = out.row;
    let at_a_time = if b.k * b.n <= NEAR { TALLEST } else { ROWS_AT_A_TIME.max(NUMBERS_AT_A_TIME / b.k.max(1)) };
    let part = |first: usize, values: &mut [T]| {
        for (part, values) in values.chunks_mut(at_a_time * stride).enumerate() {
            let a = a.from(first + part * at_a_time, 0);
            let rows = values.len().div_ceil(stride);
            T::multiply(Product { rows, a, b, begin, out: Out { values, row: stride } });
        }
    };
    let share = rows.div_ceil(threads::shares((rows * b.k * b.n / PRODUCTS_PER_TASK).min(rows)));
    let shares = out.values.chunks_mut(share * stride).enumerate();
    threads::for_each(shares, |(number, values)| part(number * share, values));
}

pub(super) fn transpose<T: Real>(op: &Transpose, memory: &mut Tensors<'_, T>) {
    let mut tensor = memory.take(op.out.tensor);
    let input = memory.view(&op.input);
    let out = &mut tensor[op.out.range()];
    for (i, row) in input.chunks_exact(op.input.cols).enumerate() {
        for (j, value) in row.iter().enumerate() {
            out[j * op.input.rows + i] = *value;
        }
    }
    memory.put(op.out.tensor, tensor);
}
