//! Weight and bias gradients: products and column sums over all rows of a window.
//!
//! The contract: as in [`super::sums`], the order of summation depends on sizes alone, so results are the same on any
//! number of threads and accurate for any number of rows.

use super::matrix::{Matrix, Out, PRODUCTS_PER_TASK};
use super::packed::{Panels, TransposedProduct};
use super::real::{MAX_RUN, Real};
use super::sums::{ColumnSums, accumulate};
use super::tensors::Tensors;
use super::threads;
use super::vectorized::vectorized;
use crate::plan::WeightGradient;

/// Rows that are summed in the element type before the result is added to f64 totals. Eight runs keep the error within
/// the contract's bound; as many rows of a panel fit the first-level cache, and adding to the totals costs little.
const BLOCK_ROWS: usize = 8 * MAX_RUN;
/// The largest tile of the result that has totals at a time, and of whose columns each block of rows of b is packed
/// once. What is read repeatedly, they and a strip, fits a second-level cache.
const TILE_ROWS: usize = 1024;
const TILE_COLUMNS: usize = 512;
/// The rows of a tile that are computed at a time.
const STRIP: usize = 192;

pub(super) fn weight_gradient<T: Real>(op: &WeightGradient, memory: &mut Tensors<'_, T>) {
    let mut tensor = memory.take(op.slices);
    let (mut scratch, mut totals) = (std::mem::take(memory.scratch), std::mem::take(memory.totals));
    let (d, x) = (Matrix::new(memory.view(&op.d), op.d.stride), Matrix::new(memory.view(&op.x), op.x.stride));
    let (rows, m, n) = (op.d.rows, op.d.cols, op.x.cols);
    let (cuts, flat) = memory.matrix(op.slices);
    for (s, slice) in tensor.chunks_exact_mut(flat).enumerate() {
        let (first, end) = (rows * s / cuts, rows * (s + 1) / cuts);
        let bias = op.bias.map_or(0..0, |bias| bias..bias + m);
        let Ok([weight, bias]) = slice.get_disjoint_mut([op.weight..op.weight + m * n, bias]) else {
            unreachable!("a plan puts a weight's gradient over its bias's")
        };
        let (size, out) = ((m, n, end - first), Out { values: weight, row: n });
        transposed_product(size, d.from(first, 0), x.from(first, 0), out, bias, (&mut scratch, &mut totals));
    }
    (*memory.scratch, *memory.totals) = (scratch, totals);
    memory.put(op.slices, tensor);
}

/// Computes `out = aᵀ·b` and, unless `sums` is empty, `sums = Σ_k a[k]`; a `[k, m]` with contiguous rows, b `[k, n]`,
/// out `[m, n]`. Threads share the rows of `out`.
pub(super) fn transposed_product<T: Real>(
    (m, n, k): (usize, usize, usize),
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    out: Out<'_, T>,
    sums: &mut [T],
    (scratch, totals): (&mut Vec<T>, &mut Vec<f64>),
) {
    if k == 0 {
        out.values.chunks_mut(out.row).for_each(|row| row[..n].fill(T::zero()));
        sums.fill(T::zero());
        return;
    }
    let share = m.div_ceil(threads::shares(m * n * k / PRODUCTS_PER_TASK));
    // About equally tall, as a tile of few rows takes all of b as well.
    let tall = share.div_ceil(share.div_ceil(TILE_ROWS));
    let (columns, block_rows) = (n.min(TILE_COLUMNS), k.min(BLOCK_ROWS));
    let strip = tall.min(STRIP);
    let sizes =
        [TransposedProduct::<T>::room(block_rows, strip), Panels::<T>::len((block_rows, columns)), strip * columns];
    let (scratch_len, totals_len, shares) = (sizes.iter().sum(), tall * (columns + 1), m.div_ceil(share));
    scratch.resize(shares * scratch_len, T::zero());
    totals.resize(shares * totals_len, 0.0);
    let rooms = scratch.chunks_exact_mut(scratch_len).zip(totals.chunks_exact_mut(totals_len));
    let (stride, mut sums) = (out.row, sums.chunks_mut(share));
    let parts = out.values.chunks_mut(share * stride).zip(rooms).enumerate();
    let parts = parts.map(|(number, part)| (number * share, part, sums.next().unwrap_or_default()));
    threads::for_each(parts, |(first, (values, (scratch, totals)), sums)| {
        let mut room = Room::new(scratch, sizes, totals, tall);
        let mut sums = sums.chunks_mut(tall);
        for (tile, values) in values.chunks_mut(tall * stride).enumerate() {
            let (a, m) = (a.from(0, first + tile * tall), values.len().div_ceil(stride));
            // Only with the first tile of columns, for whose product the rows of `a` are in the cache then.
            let mut sums = sums.next();
            for column in (0..n).step_by(TILE_COLUMNS) {
                let out = Out { values: &mut values[column..], row: stride };
                let size = (m, TILE_COLUMNS.min(n - column), k);
                tile_product(size, a, b.from(0, column), out, sums.take(), &mut room);
            }
        }
    });
}

/// One thread's scratch memory.
struct Room<'a, T> {
    stripes: &'a mut [T],
    panels: &'a mut [T],
    products: &'a mut [T],
    product_totals: &'a mut [f64],
    sum_totals: &'a mut [f64],
}

impl<'a, T> Room<'a, T> {
    fn new(scratch: &'a mut [T], [stripes, panels, products]: [usize; 3], totals: &'a mut [f64], tall: usize) -> Self {
        let (stripes, scratch) = scratch.split_at_mut(stripes);
        let (panels, scratch) = scratch.split_at_mut(panels);
        let (sum_totals, product_totals) = totals.split_at_mut(tall);
        Room { stripes, panels, products: &mut scratch[..products], product_totals, sum_totals }
    }
}

/// Computes a [`transposed_product`] of at most one tile on the calling thread.
fn tile_product<T: Real>(
    (m, n, k): (usize, usize, usize),
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    out: Out<'_, T>,
    sums: Option<&mut [T]>,
    room: &mut Room<'_, T>,
) {
    let mut sums = sums.map(|sums| ColumnSums::new(sums, &mut *room.sum_totals));
    let (strip, stride, is_one_block) = (m.min(STRIP), out.row, k <= BLOCK_ROWS);
    for first in (0..k).step_by(BLOCK_ROWS) {
        let (a, b, rows) = (a.from(first, 0), b.from(first, 0), BLOCK_ROWS.min(k - first));
        if let Some(sums) = &mut sums {
            sums.add_rows(a, rows);
        }
        let panels = &mut room.panels[..Panels::<T>::len((rows, n))];
        Panels::pack((rows, n), b, panels);
        let b = Panels::new((rows, n), panels);
        let totals = room.product_totals.chunks_mut(strip * n);
        for ((number, values), totals) in out.values.chunks_mut(strip * stride).enumerate().zip(totals) {
            let (a, m) = (a.from(0, number * strip), strip.min(m - number * strip));
            let (stripes, products) = (&mut *room.stripes, &mut room.products[..m * n]);
            let to = if is_one_block { Out { values, row: stride } } else { Out { values: products, row: n } };
            T::multiply_transposed(TransposedProduct { m, a, b, out: to, stripes });
            if first + rows < k {
                accumulate(&mut totals[..m * n], &room.products[..m * n], first > 0);
            } else if !is_one_block {
                let sums = totals.chunks_exact(n).zip(room.products.chunks_exact(n));
                for (out, (totals, last)) in values.chunks_mut(stride).zip(sums).take(m) {
                    finish(&mut out[..n], totals, last);
                }
            }
        }
    }
    if let Some(mut sums) = sums {
        sums.finish();
    }
}

/// Computes `out = totals + last`.
fn finish<T: Real>(out: &mut [T], totals: &[f64], last: &[T]) {
    vectorized!(|| {
        for (out, (total, last)) in out.iter_mut().zip(totals.iter().zip(last)) {
            *out = T::from_f64(total + last.as_f64());
        }
    });
}
