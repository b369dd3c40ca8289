//! Sums over as many terms as a training has rows: a few at a time in the twin's own numbers, and these sums in f64.
//!
//! The contract: the order is one of sizes alone, and of 10⁷ equal terms a sum in f32 is right to 10⁻⁶ of itself.

use pulp::Arch;

use super::matmul::Matrix;
use super::real::Real;

/// The most terms that are summed one after another. Every sum in f32 is rounded by up to 2⁻²⁴ of itself, and of equal terms
/// many in a row the same way: n of them are off by up to n/3 · 2⁻²⁴ together, which of as many as these is 6.4·10⁻⁷.
pub(super) const TERMS: usize = 32;

/// The sums of columns, row by row.
pub(super) struct ColumnSums<'a, T> {
    /// Of the last rows, [`TERMS`] at most.
    last: &'a mut [T],
    rows: usize,
    /// Of the rows before these, once there are any.
    long: &'a mut [f64],
    is_long: bool,
}

impl<'a, T: Real> ColumnSums<'a, T> {
    /// Sums of nothing, which are left in `sums`; `long` is room for as many at least.
    pub fn new(sums: &'a mut [T], long: &'a mut [f64]) -> Self {
        let mut sums = ColumnSums { last: sums, rows: 0, long, is_long: false };
        sums.clear();
        sums
    }

    pub fn clear(&mut self) {
        self.last.fill(T::zero());
        (self.rows, self.is_long) = (0, false);
    }

    #[inline(always)]
    pub fn add(&mut self, row: impl Iterator<Item = T>) {
        if self.rows == TERMS {
            put_by(self.last, self.long, self.is_long);
            self.last.fill(T::zero());
            (self.rows, self.is_long) = (0, true);
        }
        self.last.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
        self.rows += 1;
    }

    /// Adds the first rows of a matrix.
    pub fn add_rows(&mut self, matrix: Matrix<'_, T>, rows: usize) {
        Arch::new().dispatch(|| {
            matrix.values.chunks(matrix.row).take(rows).for_each(|row| self.add(row.iter().copied()));
        });
    }

    /// The sums of all rows; others begin with [`ColumnSums::clear`].
    pub fn finish(&mut self) -> &[T] {
        if self.is_long {
            let sums = self.last.iter_mut().zip(&*self.long);
            sums.for_each(|(last, long)| *last = T::from_f64(long + last.as_f64()));
        }
        self.last
    }
}

/// `long = sums`, or `long += sums`.
pub(super) fn put_by<T: Real>(sums: &[T], long: &mut [f64], add: bool) {
    Arch::new().dispatch(|| {
        let pairs = long.iter_mut().zip(sums);
        if add {
            pairs.for_each(|(long, sum)| *long += sum.as_f64());
        } else {
            pairs.for_each(|(long, sum)| *long = sum.as_f64());
        }
    });
}

/// The sum of numbers.
#[inline(always)]
pub(super) fn sum<T: Real>(values: impl Iterator<Item = T>) -> T {
    T::from_f64(values.map(T::as_f64).sum())
}
