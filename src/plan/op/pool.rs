//! One row for each sequence of those of its steps, and back.

use super::{Operand, Operation};
use crate::plan::walk::Walk;
use crate::plan::{Plan, TensorId, View};

/// One row for each sequence.
#[derive(Clone, Debug)]
pub struct Pool {
    /// Which.
    pub kind: PoolKind,
    /// D, of [`PoolKind::Last`]; the second half of the columns is the second direction's.
    pub directions: usize,
    /// How many steps of the sequences were done before the first of these; if any, what was made of them is in `out`.
    pub skipped: usize,
    /// `[T·B, N]`.
    pub rows: View,
    /// `[B]`.
    pub lengths: TensorId,
    /// `[B, N]`, written; where steps were skipped, read too.
    pub out: View,
    /// `[B, N]`: by how much a mean is too large so far, or of which step a maximum is; written as `out` is.
    pub excess: TensorId,
}

/// What [`Pool`] makes of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolKind {
    /// Each direction's last state: of rows that a sequence that has ended holds.
    Last,
    /// The mean over the valid steps.
    Mean,
    /// The row of the last valid step.
    LastRow,
    /// The row of the first step.
    FirstRow,
    /// The maximum over the valid steps, the first of several.
    Max,
}

impl PoolKind {
    /// Whether it goes through all steps.
    fn is_of_all(self) -> bool {
        matches!(self, PoolKind::Mean | PoolKind::Max)
    }

    /// Whether steps that were skipped have left something.
    fn goes_on(self) -> bool {
        self != PoolKind::Last
    }
}

impl Operation for Pool {
    fn name(&self) -> String {
        "pool".to_owned()
    }

    fn operands(&self, plan: &Plan) -> Vec<Operand> {
        let size = self.out.len() as u64;
        let steps = if self.kind.is_of_all() { self.steps() as u64 } else { 1 };
        let (rows, lengths) = (Operand::read((self.rows.tensor, steps * size)), Operand::read((plan, self.lengths)));
        let excess = if self.kind.is_of_all() { size } else { 0 };
        let (out, excess) = if self.skipped > 0 && self.kind.goes_on() {
            (Operand::update(&self.out), Operand::update((self.excess, excess)))
        } else {
            (Operand::write(&self.out), Operand::write((self.excess, excess)))
        };
        vec![out, rows, lengths, excess]
    }

    fn flops(&self, _: &Plan) -> u64 {
        if self.kind.is_of_all() { (self.steps() as u64 + 1) * self.out.len() as u64 } else { 0 }
    }

    fn walk(&self, _: &Plan) -> Walk {
        Walk::sum(self.steps(), 1, 0)
    }

    fn note(&self) -> String {
        format!(" ({:?})", self.kind)
    }
}

impl Pool {
    /// T.
    pub(crate) fn steps(&self) -> usize {
        self.rows.rows / self.out.rows.max(1)
    }
}

/// The gradient of the rows of some steps of a window from that of [`Pool`].
#[derive(Clone, Debug)]
pub struct PoolGradient {
    /// Which.
    pub kind: PoolKind,
    /// D.
    pub directions: usize,
    /// How many steps of the window come before the first of these; of [`PoolKind::Last`] none.
    pub skipped: usize,
    /// `[B, N]`.
    pub d: View,
    /// `[B]`.
    pub lengths: TensorId,
    /// `[B, N]`, of [`PoolKind::Max`]: of which step each maximum is.
    pub at: Option<TensorId>,
    /// `[T·B, N]`, written.
    pub rows: View,
}

impl Operation for PoolGradient {
    fn name(&self) -> String {
        "pool gradient".to_owned()
    }

    fn operands(&self, plan: &Plan) -> Vec<Operand> {
        let written = Operand::write((self.rows.tensor, self.rows.len() as u64));
        let read = [Operand::read(&self.d), Operand::read((plan, self.lengths))];
        let at = self.at.map(|at| Operand::read((plan, at)));
        [written].into_iter().chain(read).chain(at).collect()
    }

    fn flops(&self, _: &Plan) -> u64 {
        if self.kind == PoolKind::Mean { self.rows.len() as u64 } else { 0 }
    }

    fn note(&self) -> String {
        format!(" ({:?})", self.kind)
    }
}
