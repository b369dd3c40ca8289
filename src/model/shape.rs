//! How many steps and sequences a window has.
//!
//! The contract: the two numbers are never two arguments side by side, which could be swapped.

use crate::error::{Error, Result};

/// The size of a window: T steps of B sequences.
///
/// ```
/// use recurrent::{Batch, BatchShape};
/// let shape = BatchShape { steps: 3, batch_size: 2 };
/// let batch = Batch::tokens(shape, vec![0, 1, 2, 3, 4, 5], vec![2, 3, 4, 5, 6, 7]);
/// assert_eq!(batch.sequences.steps, 3);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchShape {
    /// T, the number of steps.
    pub steps: usize,
    /// B, the number of sequences side by side.
    pub batch_size: usize,
}

impl BatchShape {
    /// Checks that neither is 0.
    pub(crate) fn check(self) -> Result<()> {
        check_size("steps (T)", self.steps)?;
        check_size("sequences in a batch (B)", self.batch_size)
    }
}

/// What rows a read-out reads: one for each step of each sequence, or behind a pool one for each sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rows {
    Steps,
    Sequences,
}

impl Rows {
    /// How many a window has.
    pub fn count(self, BatchShape { steps, batch_size }: BatchShape) -> usize {
        match self {
            Rows::Steps => steps.saturating_mul(batch_size),
            Rows::Sequences => batch_size,
        }
    }
}

pub(crate) fn check_size(what: &str, size: usize) -> Result<()> {
    if size == 0 { Err(Error::Config(format!("the number of {what} is 0, expected at least 1"))) } else { Ok(()) }
}
