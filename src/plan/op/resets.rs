//! What a recurrence needs beside itself where the states of sequences may go back to their start within a window.
//!
//! The contract: a state at its start lies in a slot of its own behind those of all steps, the same for every sequence.

use super::{Operand, Operation, columns};
use crate::plan::{Plan, TensorId, View};

/// `to[b] = learned` for every sequence b, or 0 without: the state that resets go back to, or room for its gradient.
#[derive(Clone, Copy, Debug)]
pub struct StartState {
    /// `[1, D·H]`.
    pub learned: Option<View>,
    /// What is bound as such where nothing is learned.
    pub parameters: TensorId,
    /// `[B, D·H]`, written.
    pub to: View,
}

impl Operation for StartState {
    fn name(&self) -> String {
        "start state".to_owned()
    }

    fn operands(&self, _: &Plan) -> Vec<Operand> {
        let learned = self.learned.map_or((self.parameters, 0), |learned| (self.parameters, learned.len() as u64));
        vec![Operand::write(&self.to), Operand::read(learned)]
    }
}

/// `out[t, b] = h_(t-1)` of each direction as step t of sequence b has read it: what the gradient of U is a product
/// with.
#[derive(Clone, Copy, Debug)]
pub struct StatesBefore {
    /// h, slots as in a recurrence's history.
    pub history: TensorId,
    /// The slot of the start.
    pub start: usize,
    /// `[T+2, B]`, as a recurrence with resets has them.
    pub lengths: TensorId,
    /// D.
    pub directions: usize,
    /// Whether the one direction is from the last step to the first.
    pub reverse: bool,
    /// T.
    pub steps: usize,
    /// `[T·B, D·P]`, written.
    pub out: View,
}

impl Operation for StatesBefore {
    fn name(&self) -> String {
        "states before".to_owned()
    }

    fn operands(&self, plan: &Plan) -> Vec<Operand> {
        let len = self.out.len() as u64;
        let flags = self.steps as u64 * columns(plan, self.lengths);
        vec![Operand::write(&self.out), Operand::read((self.history, len)), Operand::read((self.lengths, flags))]
    }
}
