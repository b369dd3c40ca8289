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

/// `x = x + y`.
#[derive(Clone, Debug)]
pub struct Accumulate {
    /// `[R, N]`, read and written.
    pub x: View,
    /// `[R, N]`.
    pub y: View,
}

impl Operation for Accumulate {
    fn name(&self) -> String {
        "accumulation".to_owned()
    }

    fn operands(&self, _: &Plan) -> Vec<Operand> {
        vec![Operand::update(&self.x), Operand::read(&self.y)]
    }

    fn flops(&self, _: &Plan) -> u64 {
        self.x.len() as u64
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

/// `weight[sl] = Σ_b` of the initial state's gradient, of one state of one layer, into the first slice; 0 unless fresh,
/// but for what comes of resets.
#[derive(Clone, Debug)]
pub struct InitialStateGradient {
    /// `[T+D, B, D·H]`.
    pub from: TensorId,
    /// In which slot of it each direction's gradient lies.
    pub slots: Vec<usize>,
    /// And in which that of all directions, of resets, where there may be any.
    pub resets: Option<usize>,
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
        (1 + u64::from(self.resets.is_some())) * self.batch(plan) as u64 * columns(plan, self.from)
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

/// `out[b] = max(lengths[b] − skipped, 0)`: how many of the steps from `skipped` on are valid; and of a recurrence with
/// resets the rows of the steps from there on, 0 behind the last.
///
/// A recurrence knows nothing of the steps before its own, so all parts of a long sequence are the same dispatches.
#[derive(Clone, Debug)]
pub struct RemainingLengths {
    /// `[B]`, or with resets `[T+2, B]`.
    pub lengths: TensorId,
    /// How many steps of the sequences were done.
    pub skipped: usize,
    /// `[B]`, or of as many steps as a part has, written.
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
