//! What a product's operands are: matrices that are read, and where rows are written.
//!
//! The contract: nothing here owns numbers or computes with them.

/// Multiplications that are worth a thread's while.
pub(super) const PRODUCTS_PER_TASK: usize = 1 << 18;

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

    pub fn transposed(self, transpose: bool) -> Self {
        if transpose { Matrix { row: self.col, col: self.row, ..self } } else { self }
    }

    /// Returns the part that begins at that row and column, empty where there is none.
    pub fn from(self, row: usize, col: usize) -> Self {
        Matrix { values: self.values.get(row * self.row + col * self.col..).unwrap_or_default(), ..self }
    }
}

/// Where a product goes: rows `row` apart, contiguous each.
pub struct Out<'a, T> {
    pub values: &'a mut [T],
    pub row: usize,
}
