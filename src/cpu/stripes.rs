//! A matrix whose columns are the rows of a product, packed into stripes: `[K, ROWS]`, the columns that one block of
//! the product reads.
//!
//! The contract: stripes hold the matrix's numbers as they are, one stripe behind the other.

use super::matrix::Matrix;

/// Numbers between stripes, for each of their columns: at a power of two of them, as many as are written at a time
/// would not fit into the first-level cache side by side.
const GAP: usize = 2;

/// Returns how many numbers a `[K, M]` is when packed.
pub(super) fn room(k: usize, m: usize) -> usize {
    (k + GAP) * m
}

/// Packs `[K, M]`, whose rows are contiguous, into stripes of so many columns, and returns these as a matrix in which
/// the row that a stripe's first column is begins where the stripe does.
#[inline(always)]
pub(super) fn pack<'s>(
    (k, m): (usize, usize),
    a: Matrix<'_, f32>,
    height: usize,
    stripes: &'s mut [f32],
) -> Matrix<'s, f32> {
    macro_rules! of_height {
        ($($height:literal)*) => {
            match height {
                $($height => pack_rows::<$height>((k, m), a, stripes),)*
                height => unreachable!("no stripe of {height} columns"),
            }
        };
    }
    of_height!(1 2 3 4 5 6 7 8 9 10 11 12);
    Matrix::new(stripes, k + GAP)
}

/// Row by row, as the memory is read ahead so.
#[inline(always)]
fn pack_rows<const HEIGHT: usize>((k, m): (usize, usize), a: Matrix<'_, f32>, stripes: &mut [f32]) {
    let (length, last) = ((k + GAP) * HEIGHT, m % HEIGHT);
    for (row, values) in a.values.chunks(a.row).take(k).enumerate() {
        let (whole, rest) = values[..m].as_chunks::<HEIGHT>();
        let mut stripes = stripes.chunks_mut(length);
        for (values, out) in whole.iter().zip(&mut stripes) {
            out[row * HEIGHT..][..HEIGHT].copy_from_slice(values);
        }
        if let (Some(out), false) = (stripes.next(), rest.is_empty()) {
            out[row * last..][..last].copy_from_slice(rest);
        }
    }
}
