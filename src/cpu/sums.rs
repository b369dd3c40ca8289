//! Long sums: short runs of terms are summed in the element type, and the sums of the runs in f64.
//!
//! The contract: the order of summation depends on sizes alone, and the sum of 10⁷ equal f32 terms has a relative error
//! of at most 10⁻⁶.

use super::matrix::Matrix;
use super::real::{MAX_RUN, Real};
use super::vectorized::vectorized;

/// Column sums of a matrix that arrives row by row.
pub(super) struct ColumnSums<'a, T> {
    /// Sums of the current run.
    run: &'a mut [T],
    run_rows: usize,
    /// Sums of all earlier runs, meaningful once there is one.
    totals: &'a mut [f64],
    has_totals: bool,
}

impl<'a, T: Real> ColumnSums<'a, T> {
    /// Starts with no rows. The sums end up in `sums`; `totals` is scratch of at least that length.
    pub fn new(sums: &'a mut [T], totals: &'a mut [f64]) -> Self {
        let mut sums = ColumnSums { run: sums, run_rows: 0, totals, has_totals: false };
        sums.clear();
        sums
    }

    /// Starts again with no rows.
    pub fn clear(&mut self) {
        self.run.fill(T::zero());
        (self.run_rows, self.has_totals) = (0, false);
    }

    /// Adds a row.
    #[inline(always)]
    pub fn add(&mut self, row: impl Iterator<Item = T>) {
        if self.run_rows == MAX_RUN {
            accumulate(self.totals, self.run, self.has_totals);
            self.run.fill(T::zero());
            (self.run_rows, self.has_totals) = (0, true);
        }
        self.run.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
        self.run_rows += 1;
    }

    /// Adds the first `rows` rows of a matrix.
    pub fn add_rows(&mut self, matrix: Matrix<'_, T>, rows: usize) {
        let mut rows = matrix.values.chunks(matrix.row).take(rows);
        while rows.len() > 0 {
            if self.run_rows == MAX_RUN {
                accumulate(self.totals, self.run, self.has_totals);
                self.run.fill(T::zero());
                (self.run_rows, self.has_totals) = (0, true);
            }
            let left = MAX_RUN - self.run_rows;
            self.run_rows += left.min(rows.len());
            add_each(self.run, rows.by_ref().take(left));
        }
    }

    /// Completes and returns the sums; [`ColumnSums::clear`] has to come before the next row.
    pub fn finish(&mut self) -> &[T] {
        if self.has_totals {
            let sums = self.run.iter_mut().zip(&*self.totals);
            sums.for_each(|(run, total)| *run = T::from_f64(total + run.as_f64()));
        }
        self.run
    }
}

/// Adds rows one after another.
fn add_each<'r, T: Real>(sums: &mut [T], mut rows: impl Iterator<Item = &'r [T]>) {
    vectorized!(|| {
        // Four at a time, so that the sums are read and written less often.
        while let Some(first) = rows.next() {
            let others = [rows.next(), rows.next(), rows.next()];
            let first = &first[..sums.len()];
            if let [Some(second), Some(third), Some(fourth)] = others {
                let (second, third, fourth) = (&second[..sums.len()], &third[..sums.len()], &fourth[..sums.len()]);
                for j in 0..sums.len() {
                    sums[j] = sums[j] + first[j] + second[j] + third[j] + fourth[j];
                }
                continue;
            }
            for row in std::iter::once(first).chain(others.into_iter().flatten()) {
                for (sum, value) in sums.iter_mut().zip(row) {
                    *sum += *value;
                }
            }
        }
    });
}

/// Computes `totals += sums`, or `totals = sums`.
pub(super) fn accumulate<T: Real>(totals: &mut [f64], sums: &[T], add: bool) {
    vectorized!(|| {
        let pairs = totals.iter_mut().zip(sums);
        if add {
            pairs.for_each(|(total, sum)| *total += sum.as_f64());
        } else {
            pairs.for_each(|(total, sum)| *total = sum.as_f64());
        }
    });
}

/// Returns a sum and a term, and by how much the result is too large (Kahan 1965); `excess` says so of the sum.
#[inline(always)]
pub(super) fn compensated<T: Real>(sum: T, excess: T, term: T) -> (T, T) {
    let exact = term - excess;
    let total = sum + exact;
    let excess = (total - sum) - exact;
    // An infinite total has none.
    (total, if total.is_finite() { excess } else { T::zero() })
}

/// Returns the sum of an iterator's numbers.
#[inline(always)]
pub(super) fn sum<T: Real>(values: impl Iterator<Item = T>) -> T {
    T::from_f64(values.map(T::as_f64).sum())
}

/// Returns the sum of a slice's numbers, however many there are.
pub(super) fn sum_of_slice<T: Real>(values: &[T]) -> T {
    // Many sums side by side: they become vectors.
    let mut sums = [0.0; 16];
    vectorized!(|| {
        for part in values.chunks(sums.len()) {
            sums.iter_mut().zip(part).for_each(|(sum, value)| *sum += value.as_f64());
        }
    });
    T::from_f64(sums.iter().sum())
}

/// Returns the largest number, NaN not being one.
pub(super) fn largest<T: Real>(values: &[T]) -> T {
    // Many maxima side by side: they become vectors.
    let mut largest = [T::neg_infinity(); 32];
    vectorized!(|| {
        for part in values.chunks(largest.len()) {
            for (largest, value) in largest.iter_mut().zip(part) {
                *largest = if *value > *largest { *value } else { *largest };
            }
        }
    });
    largest.into_iter().fold(T::neg_infinity(), T::max)
}
