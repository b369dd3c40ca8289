//! The loops of one invocation, by which operations are cut into dispatches.
//!
//! The contract: counts are upper bounds of what any driver iterates, the turn that only ends a loop included.

/// What an invocation goes through in order: its loop over steps, or over what it sums.
pub(super) struct Walk {
    /// How much there is.
    pub length: usize,
    /// How much of it one turn of the loop takes.
    pub stride: usize,
    /// The iterations of one round: its own, and those of the loops inside.
    pub per_round: u64,
    /// Those of the loops before and after.
    pub around: u64,
    /// Whether a dispatch may take up where another ended.
    pub is_cut: bool,
}

impl Walk {
    /// No loops.
    pub const NONE: Walk = Walk::once(0);

    /// Loops that are not cut.
    pub const fn once(iterations: u64) -> Walk {
        Walk { length: 1, stride: 1, per_round: iterations, around: 0, is_cut: false }
    }

    /// A sum over `length`, of which a workgroup takes `stride` at a time.
    pub fn sum(length: usize, stride: usize, around: u64) -> Walk {
        Walk { length, stride, per_round: 1, around, is_cut: true }
    }

    pub fn iterations(&self, length: usize) -> u64 {
        (length.div_ceil(self.stride) as u64).saturating_mul(self.per_round).saturating_add(self.around)
    }

    /// The most that fits, at least one turn.
    pub fn most(&self, iterations: u64) -> usize {
        let rounds = (iterations.saturating_sub(self.around) / self.per_round.max(1)).max(1);
        if self.is_cut {
            usize::try_from(rounds).unwrap_or(usize::MAX).saturating_mul(self.stride).min(self.length)
        } else {
            self.length
        }
    }
}

/// Iterations of a sum or maximum over 256 threads, with the one that only ends the loop.
pub(super) const REDUCE: u64 = 9;
