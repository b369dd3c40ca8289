//! Weights' gradients: products that sum over the rows of a whole window, and the sums of these rows for the biases.
//!
//! The contract: what is summed in which order is one of sizes alone, in the pieces of [`super::sums`], so that it is the
//! same on any number of threads and right however many rows there are.

use super::matmul::{Matrix, Out, PRODUCTS_A_TASK};
use super::memory::Memory;
use super::packed::{Panels, Turned};
use super::real::Real;
use super::sums::{ColumnSums, TERMS, put_by};
use super::threads;
use crate::plan::WeightGradient;

/// Rows whose sums are made in the twin's own numbers before they go on in f64: so few sums of [`TERMS`] terms that theirs
/// keeps within the same bound, and so many that going on costs little. As many rows of a panel stay in the closest cache.
const ROWS: usize = 8 * TERMS;
/// So many columns of the matrix that is turned over, and of the other one, stay in a core's second cache.
const TURNED_COLUMNS: usize = 128;
const COLUMNS: usize = 512;

pub(super) fn weight_gradient<T: Real>(op: &WeightGradient, memory: &mut Memory<'_, T>) {
    let mut tensor = memory.take(op.slices);
    let (mut scratch, mut long) = (std::mem::take(memory.scratch), std::mem::take(memory.long));
    let (d, x) = (Matrix::new(memory.view(&op.d), op.d.stride), Matrix::new(memory.view(&op.x), op.x.stride));
    let (rows, m, n) = (op.d.rows, op.d.cols, op.x.cols);
    let (cuts, flat) = memory.matrix(op.slices);
    for (s, slice) in tensor.chunks_exact_mut(flat).enumerate() {
        let (first, end) = (rows * s / cuts, rows * (s + 1) / cuts);
        let bias = op.bias.map_or(0..0, |bias| bias..bias + m);
        let Ok([weight, bias]) = slice.get_disjoint_mut([op.weight..op.weight + m * n, bias]) else {
            unreachable!("a plan puts a weight's gradient over its bias's")
        };
        let out = Out { values: weight, row: n };
        turned_product((m, n, end - first), d.from(first, 0), x.from(first, 0), out, bias, (&mut scratch, &mut long));
    }
    (*memory.scratch, *memory.long) = (scratch, long);
    memory.put(op.slices, tensor);
}

/// `out = aᵀ·b` and, unless it is empty, `sums = Σ_k a[k]`; a `[k, m]` with its rows contiguous, b `[k, n]`, out `[m, n]`.
/// The threads share the columns of a.
pub(super) fn turned_product<T: Real>(
    (m, n, k): (usize, usize, usize),
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    out: Out<'_, T>,
    sums: &mut [T],
    (scratch, long): (&mut Vec<T>, &mut Vec<f64>),
) {
    if k == 0 {
        out.values.chunks_mut(out.row).for_each(|row| row[..n].fill(T::zero()));
        sums.fill(T::zero());
        return;
    }
    let share = m.div_ceil(threads::shares(m * n * k / PRODUCTS_A_TASK));
    let (rows, columns) = (k.min(ROWS), n.min(COLUMNS));
    let products = share.min(TURNED_COLUMNS) * columns;
    let sizes = [rows * share.min(TURNED_COLUMNS), Panels::<T>::len((rows, columns)), products];
    let (numbers, shares) = (sizes.iter().sum(), m.div_ceil(share));
    scratch.resize(shares * numbers, T::zero());
    long.resize(shares * (products + TURNED_COLUMNS), 0.0);
    let room = scratch.chunks_exact_mut(numbers).zip(long.chunks_exact_mut(products + TURNED_COLUMNS));
    let (stride, mut sums) = (out.row, sums.chunks_mut(share));
    let parts = out.values.chunks_mut(share * stride).zip(room).enumerate();
    let parts = parts.map(|(number, part)| (number * share, part, sums.next().unwrap_or_default()));
    threads::each(parts, |(first, (values, (scratch, long)), sums)| {
        let mut room = Room::new(scratch, sizes, long);
        let mut sums = sums.chunks_mut(TURNED_COLUMNS);
        for (tile, values) in values.chunks_mut(TURNED_COLUMNS * stride).enumerate() {
            let (a, m) = (a.from(0, first + tile * TURNED_COLUMNS), values.len().div_ceil(stride));
            // Once, beside the first product: they find the rows in the cache.
            let mut sums = sums.next();
            for column in (0..n).step_by(COLUMNS) {
                let out = Out { values: &mut values[column..], row: stride };
                let size = (m, COLUMNS.min(n - column), k);
                tile_product(size, a, b.from(0, column), out, sums.take(), &mut room);
            }
        }
    });
}

/// What one thread computes in.
struct Room<'a, T> {
    stripes: &'a mut [T],
    panels: &'a mut [T],
    products: &'a mut [T],
    /// What is summed of `products` and of the sums.
    long: [&'a mut [f64]; 2],
}

impl<'a, T> Room<'a, T> {
    fn new(scratch: &'a mut [T], [stripes, panels, products]: [usize; 3], long: &'a mut [f64]) -> Self {
        let (stripes, scratch) = scratch.split_at_mut(stripes);
        let (panels, scratch) = scratch.split_at_mut(panels);
        let long = long.split_at_mut(products);
        Room { stripes, panels, products: scratch, long: [long.0, long.1] }
    }
}

/// [`turned_product`] of no more columns than are taken at a time, on this thread.
fn tile_product<T: Real>(
    (m, n, k): (usize, usize, usize),
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    out: Out<'_, T>,
    sums: Option<&mut [T]>,
    room: &mut Room<'_, T>,
) {
    let [long, long_sums] = &mut room.long;
    let long = &mut long[..m * n];
    let mut sums = sums.map(|sums| ColumnSums::new(sums, &mut long_sums[..]));
    for first in (0..k).step_by(ROWS) {
        let (a, b, rows) = (a.from(first, 0), b.from(first, 0), ROWS.min(k - first));
        let (panels, stripes) = (&mut room.panels[..Panels::<T>::len((rows, n))], &mut room.stripes[..rows * m]);
        Panels::pack((rows, n), b, panels);
        let b = Panels::new((rows, n), panels);
        let is_all = k <= ROWS;
        let to = if is_all {
            Out { values: &mut *out.values, row: out.row }
        } else {
            Out { values: &mut room.products[..m * n], row: n }
        };
        T::multiply_turned(Turned { m, a, b, out: to, room: stripes });
        if let Some(sums) = &mut sums {
            sums.add_rows(a, rows);
        }
        if !is_all {
            put_by(&room.products[..m * n], long, first > 0);
        }
    }
    if k > ROWS {
        for (out, long) in out.values.chunks_mut(out.row).zip(long.chunks_exact(n)) {
            out.iter_mut().zip(long).for_each(|(out, sum)| *out = T::from_f64(*sum));
        }
    }
    if let Some(mut sums) = sums {
        sums.finish();
    }
}
