//! Products of whole windows: those with a weight through [`super::packed`], the weights' gradients through `gemm`, to
//! which this is the one door.
//!
//! The contract: what is summed in which order does not depend on the number of threads.

use gemm::Parallelism;
use rayon::prelude::*;

use super::memory::Memory;
use super::packed::{Begin, Panels, Product};
use super::real::Real;
use crate::plan::{MatMul, Transpose, WeightGradient};

/// A matrix by its first element and the distances between rows and between columns.
#[derive(Clone, Copy)]
pub struct Matrix<'a, T> {
    pub values: &'a [T],
    pub row: usize,
    pub col: usize,
}

impl<'a, T> Matrix<'a, T> {
    pub fn new(values: &'a [T], cols: usize) -> Self {
        Matrix { values, row: cols, col: 1 }
    }

    pub fn turned(self, turn: bool) -> Self {
        if turn { Matrix { row: self.col, col: self.row, ..self } } else { self }
    }

    fn reaches(&self, rows: usize, cols: usize) -> bool {
        (rows - 1) * self.row + (cols - 1) * self.col < self.values.len()
    }
}

/// Where a product goes: rows `row` apart, contiguous each.
pub struct Out<'a, T> {
    pub values: &'a mut [T],
    pub row: usize,
}

/// `out = a·b`, or `out += a·b`; a `[m, k]`, b `[k, n]`, out `[m, n]`.
#[allow(unsafe_code)]
pub(super) fn product<T: Real>(
    (m, n, k): (usize, usize, usize),
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    out: Out<'_, T>,
    add: bool,
    parallelism: Parallelism,
) {
    if m == 0 || n == 0 {
        return;
    }
    let reaches = (m - 1) * out.row + n <= out.values.len() && (m == 1 || out.row >= n);
    assert!(reaches && (k == 0 || (a.reaches(m, k) && b.reaches(k, n))), "a product out of bounds");
    // Slices are at most isize::MAX bytes long, so no stride inside one is cut.
    let [out_row, a_row, a_col, b_row, b_col] = [out.row, a.row, a.col, b.row, b.col].map(|stride| stride as isize);
    // SAFETY: the assertion above holds every index that gemm forms, (m-1, n-1) the largest of out's, (m-1, k-1) of
    // a's and (k-1, n-1) of b's, inside its slice, and no element of `out` has two indices; `out` is exclusive, so it
    // overlaps neither `a` nor `b`.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.values.as_mut_ptr(),
            1,
            out_row,
            add,
            a.values.as_ptr(),
            a_col,
            a_row,
            b.values.as_ptr(),
            b_col,
            b_row,
            T::one(),
            T::one(),
            false,
            false,
            false,
            parallelism,
        );
    }
}

pub(super) fn matmul<T: Real>(op: &MatMul, memory: &mut Memory<'_, T>) {
    let mut tensor = memory.take(op.out.tensor);
    let pack = (!op.transpose_a).then(|| memory.pack(&op.b, op.transpose_b));
    let out = Out { values: &mut tensor[op.out.range()], row: op.out.stride };
    let bias = op.bias.as_ref().map(|bias| memory.view(bias));
    let a = Matrix::new(memory.view(&op.a), op.a.stride);
    let (rows, cols) = (op.out.rows, op.out.cols);
    match pack {
        Some(pack) => packed_product(rows, a, memory.panels(pack), bias, out),
        None => {
            if let Some(bias) = bias {
                out.values.chunks_mut(out.row).for_each(|row| row[..cols].copy_from_slice(bias));
            }
            let b = Matrix::new(memory.view(&op.b), op.b.stride).turned(op.transpose_b);
            // No plan of a network multiplies so; it is here because the operation says that it can.
            product((rows, cols, op.a.rows), a.turned(true), b, out, bias.is_some(), Parallelism::Rayon(0));
        }
    }
    memory.put(op.out.tensor, tensor);
}

/// Multiplications that are worth a thread's while.
pub(super) const PRODUCTS_A_TASK: usize = 1 << 18;
/// So many rows of `a` stay in a cache close by while all panels pass.
const ROWS_AT_A_TIME: usize = 96;

/// `out = a·b + bias`, the rows of `out` shared by the threads.
fn packed_product<T: Real>(rows: usize, a: Matrix<'_, T>, b: Panels<'_, T>, bias: Option<&[T]>, out: Out<'_, T>) {
    let begin = bias.map_or(Begin::Zero, Begin::Row);
    let stride = out.row;
    let part = |(first, values): (usize, &mut [T])| {
        for (part, values) in values.chunks_mut(ROWS_AT_A_TIME * stride).enumerate() {
            let a = Matrix { values: &a.values[(first + part * ROWS_AT_A_TIME) * a.row..], ..a };
            let rows = values.len().div_ceil(stride);
            T::multiply(Product { rows, a, b, begin, out: Out { values, row: stride } });
        }
    };
    let tasks = (rows * b.k * b.n / PRODUCTS_A_TASK).clamp(1, rayon::current_num_threads());
    if tasks == 1 {
        part((0, out.values));
    } else {
        let share = rows.div_ceil(tasks);
        let shares = out.values.par_chunks_mut(share * stride).enumerate();
        shares.for_each(|(number, values)| part((number * share, values)));
    }
}

pub(super) fn transpose<T: Real>(op: &Transpose, memory: &mut Memory<'_, T>) {
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

/// Elements of `d` that are taken at a time: what the product has read the sum of the bias finds in the cache.
const ELEMENTS_AT_A_TIME: usize = 1 << 18;

pub(super) fn weight_gradient<T: Real>(op: &WeightGradient, memory: &mut Memory<'_, T>) {
    let mut tensor = memory.take(op.slices);
    let (d, x) = (memory.view(&op.d), memory.view(&op.x));
    let (rows, m, n) = (op.d.rows, op.d.cols, op.x.cols);
    let (cuts, flat) = memory.matrix(op.slices);
    let tasks = (rows * m * n / cuts / PRODUCTS_A_TASK).clamp(1, rayon::current_num_threads());
    let (share, step) = (m.div_ceil(tasks), (ELEMENTS_AT_A_TIME / m).max(1));
    for (s, slice) in tensor.chunks_exact_mut(flat).enumerate() {
        let (first, end) = (rows * s / cuts, rows * (s + 1) / cuts);
        let bias = op.bias.map_or(0..0, |bias| bias..bias + m);
        let Ok([weight, bias]) = slice.get_disjoint_mut([op.weight..op.weight + m * n, bias]) else {
            unreachable!("a plan puts a weight's gradient over its bias's")
        };
        let part = |number: usize, weight: &mut [T], bias: &mut [T]| {
            let (columns, cols) = (number * share, weight.len() / n);
            if first == end {
                weight.fill(T::zero());
                bias.fill(T::zero());
            }
            for begin in (first..end).step_by(step) {
                let count = step.min(end - begin);
                let d = Matrix::new(&d[begin * op.d.stride + columns..], op.d.stride);
                let x = Matrix::new(&x[begin * op.x.stride..], op.x.stride);
                let out = Out { values: &mut *weight, row: n };
                product((cols, n, count), d.turned(true), x, out, begin > first, Parallelism::None);
                if !bias.is_empty() {
                    sum_rows(d, count, begin > first, bias);
                }
            }
        };
        if tasks == 1 {
            part(0, weight, bias);
        } else {
            let biases = (0..tasks).zip(bias.chunks_mut(share).map(Some).chain(std::iter::repeat_with(|| None)));
            rayon::scope(|scope| {
                for ((number, bias), weight) in biases.zip(weight.chunks_mut(share * n)) {
                    scope.spawn(move |_| part(number, weight, bias.unwrap_or_default()));
                }
            });
        }
    }
    memory.put(op.slices, tensor);
}

/// `out = Σ_r d[r]` over the first rows of d, or `out += Σ_r d[r]`.
pub(super) fn sum_rows<T: Real>(d: Matrix<'_, T>, rows: usize, add: bool, out: &mut [T]) {
    if !add {
        out.fill(T::zero());
    }
    for row in d.values.chunks(d.row).take(rows) {
        out.iter_mut().zip(row).for_each(|(sum, value)| *sum += *value);
    }
}
