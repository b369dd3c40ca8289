//! What begins and ends sequences: the learned initial state, lengths, copies, and what a read-out pools.

use super::{Operand, Operation, columns};
use crate::plan::walk::Walk;
use crate::plan::{Plan, TensorId, View};

/// `to = from`, element by element, between two tensors. Not a dispatch where both are contiguous.
#[derive(Clone, Copy, Debug)]
pub struct CopyView {
    /// Read.
    pub from: View,
    /// Written.
    pub to: View,
}

impl Operation for CopyView {
    fn name(&self) -> String {
        "copy".to_owned()
    }

    fn operands(&self, _: &Plan) -> Vec<Operand> {
        vec![Operand::write(&self.to), Operand::read(&self.from)]
    }

    fn is_dispatch(&self, plan: &Plan) -> bool {
        !plan.copies_bytes(&self.from, &self.to)
    }
}

/// A whole tensor set to zero. Not a dispatch.
#[derive(Clone, Copy, Debug)]
pub struct ZeroTensor {
    /// Written.
    pub tensor: TensorId,
}

impl Operation for ZeroTensor {
    fn name(&self) -> String {
        "zero".to_owned()
    }

    fn operands(&self, plan: &Plan) -> Vec<Operand> {
        vec![Operand::write((plan, self.tensor))]
    }

    fn is_dispatch(&self, _: &Plan) -> bool {
        false
    }
}

/// `state[b] = learned` for every sequence b where `fresh` is 1; else the state stays.
#[derive(Clone, Debug)]
pub struct InitialState {
    /// `[L, D·H]`: of one kind of L layers that lie side by side, or of more of the same width.
    pub learned: View,
    /// `[1]`: 0 or 1.
    pub fresh: TensorId,
    /// `[L·B, D·H]`: theirs in the state, written.
    pub state: View,
}

impl Operation for InitialState {
    fn name(&self) -> String {
        "initial state".to_owned()
    }

    fn operands(&self, plan: &Plan) -> Vec<Operand> {
        vec![
            Operand::write((self.state.tensor, self.state.len() as u64)),
            Operand::read(&self.learned),
            Operand::read((plan, self.fresh)),
        ]
    }
}

/// `weight[sl] = Σ_b` of the initial state's gradient, of one state of one layer, into the first slice; 0 unless fresh.
#[derive(Clone, Debug)]
pub struct InitialStateGradient {
    /// `[T+D, B, D·H]`.
    pub from: TensorId,
    /// In which slot of it each direction's gradient lies.
    pub slots: Vec<usize>,
    /// `[1]`: 0 or 1.
    pub fresh: TensorId,
    /// `[S, flat]`, written at `weight` of the first slice.
    pub slices: TensorId,
    /// Where `[D·H]` starts in a slice.
    pub weight: usize,
}

impl Operation for InitialStateGradient {
    fn name(&self) -> String {
        "initial state gradient".to_owned()
    }

    fn operands(&self, plan: &Plan) -> Vec<Operand> {
        vec![
            Operand::write((self.slices, columns(plan, self.from))),
            Operand::read((self.from, self.flops(plan))),
            Operand::read((plan, self.fresh)),
        ]
    }

    fn flops(&self, plan: &Plan) -> u64 {
        self.batch(plan) as u64 * columns(plan, self.from)
    }

    fn walk(&self, plan: &Plan) -> Walk {
        Walk::sum(self.batch(plan), 1, 0)
    }

    fn note(&self) -> String {
        format!(" at {}, slots {:?}", self.weight, self.slots)
    }
}

impl InitialStateGradient {
    /// B.
    fn batch(&self, plan: &Plan) -> usize {
        plan.get(self.from).shape.get(1).copied().unwrap_or(1)
    }
}

/// `out[b] = max(lengths[b] − skipped, 0)`: how many of the steps from `skipped` on are valid.
///
/// A recurrence knows nothing of the steps before its own, so all parts of a long sequence are the same dispatches.
#[derive(Clone, Debug)]
pub struct RemainingLengths {
    /// `[B]`.
    pub lengths: TensorId,
    /// How many steps of the sequences were done.
    pub skipped: usize,
    /// `[B]`, written.
    pub out: TensorId,
}

impl Operation for RemainingLengths {
    fn name(&self) -> String {
        "remaining lengths".to_owned()
    }

    fn operands(&self, plan: &Plan) -> Vec<Operand> {
        vec![Operand::write((plan, self.out)), Operand::read((plan, self.lengths))]
    }

    fn note(&self) -> String {
        format!(" − {}", self.skipped)
    }
}

/// One vector for each sequence from the outputs of all steps.
#[derive(Clone, Debug)]
pub struct Pool {
    /// Which.
    pub kind: PoolKind,
    /// D.
    pub directions: usize,
    /// T.
    pub steps: usize,
    /// How many steps of the sequences were done before the first of these; if any, their part of a mean is in `out`.
    pub skipped: usize,
    /// `[T+D, B, D·H]`: slots 1 to T are the outputs.
    pub history: TensorId,
    /// `[B]`.
    pub lengths: TensorId,
    /// `[B, D·H]`, written; added to where steps were skipped.
    pub out: View,
    /// `[B, D·H]`: by how much a mean is too large so far, written, and read where steps were skipped.
    pub excess: TensorId,
}

/// What [`Pool`] makes of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolKind {
    /// Each direction's last state.
    Last,
    /// The mean over the valid steps.
    Mean,
}

impl Operation for Pool {
    fn name(&self) -> String {
        "pool".to_owned()
    }

    fn operands(&self, plan: &Plan) -> Vec<Operand> {
        let size = self.out.len() as u64;
        let history = Operand::read((self.history, self.steps() * size));
        let lengths = Operand::read((plan, self.lengths));
        let (out, excess) = match (self.kind, self.skipped) {
            (PoolKind::Last, _) => (Operand::write(&self.out), Operand::write((self.excess, 0))),
            (PoolKind::Mean, 0) => (Operand::write(&self.out), Operand::write((self.excess, size))),
            (PoolKind::Mean, _) => (Operand::update(&self.out), Operand::update((self.excess, size))),
        };
        vec![out, history, lengths, excess]
    }

    fn flops(&self, _: &Plan) -> u64 {
        if self.kind == PoolKind::Mean { (self.steps() + 1) * self.out.len() as u64 } else { 0 }
    }

    fn walk(&self, _: &Plan) -> Walk {
        Walk::sum(self.steps, 1, 0)
    }

    fn note(&self) -> String {
        format!(" ({:?})", self.kind)
    }
}

impl Pool {
    /// How many steps it reads.
    fn steps(&self) -> u64 {
        if self.kind == PoolKind::Mean { self.steps as u64 } else { 1 }
    }
}

/// The gradient of the outputs of some steps of a window from that of [`Pool`].
#[derive(Clone, Debug)]
pub struct PoolGradient {
    /// Which.
    pub kind: PoolKind,
    /// D.
    pub directions: usize,
    /// T; of [`PoolKind::Last`] all steps of the window.
    pub steps: usize,
    /// How many steps of the window come before the first of these.
    pub skipped: usize,
    /// `[B, D·H]`.
    pub d: View,
    /// `[B]`.
    pub lengths: TensorId,
    /// `[T+D, B, D·H]`, slots 1 to T written.
    pub upstream: TensorId,
}

impl Operation for PoolGradient {
    fn name(&self) -> String {
        "pool gradient".to_owned()
    }

    fn operands(&self, plan: &Plan) -> Vec<Operand> {
        let written = Operand::write((self.upstream, self.steps as u64 * self.d.len() as u64));
        vec![written, Operand::read(&self.d), Operand::read((plan, self.lengths))]
    }

    fn flops(&self, _: &Plan) -> u64 {
        if self.kind == PoolKind::Mean { self.steps as u64 * self.d.len() as u64 } else { 0 }
    }

    fn note(&self) -> String {
        format!(" ({:?})", self.kind)
    }
}
