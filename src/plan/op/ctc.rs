//! Connectionist temporal classification: the normalisers of the outputs, the recursions over the states of label
//! sequences, and the gradient of the outputs.
//!
//! The contract: the three run one after the other in the place of [`LossGradient`](super::LossGradient), of which they
//! have weights, divisor and loss scale.

use super::{Operand, Operation, columns};
use crate::plan::walk::{REDUCE, Walk};
use crate::plan::{Plan, TensorId, View};

/// `out[r] = ln Σ_o exp(outputs[r, o])`.
#[derive(Clone, Debug)]
pub struct LogSums {
    /// `[R, O]`.
    pub outputs: View,
    /// `[R]`, written.
    pub out: TensorId,
}

impl LogSums {
    /// How many threads share a row on a GPU.
    pub(crate) fn threads(&self) -> usize {
        threads(self.outputs.cols)
    }
}

/// How many threads share so many numbers on a GPU.
fn threads(numbers: usize) -> usize {
    if numbers <= 256 { 64 } else { 256 }
}

impl Operation for LogSums {
    fn name(&self) -> String {
        "log sums".to_owned()
    }

    fn operands(&self, plan: &Plan) -> Vec<Operand> {
        vec![Operand::write((plan, self.out)), Operand::read(&self.outputs)]
    }

    fn flops(&self, _: &Plan) -> u64 {
        3 * self.outputs.len() as u64
    }

    fn walk(&self, _: &Plan) -> Walk {
        Walk::once(2 * (self.outputs.cols.div_ceil(self.threads()) as u64 + 1) + 2 * REDUCE)
    }
}

/// What the operations of a loss of label sequences share.
#[derive(Clone, Debug)]
pub struct Ctc {
    /// `[T·B, O]`.
    pub outputs: View,
    /// `[T·B]`, of [`LogSums`].
    pub log_sums: TensorId,
    /// `[B, 1 + 2·L]`: how many labels each sequence has, these, and their places, those of a smaller label first and
    /// of equal ones in their order.
    pub labels: TensorId,
    /// `[B]`: how many steps of each sequence are valid.
    pub lengths: TensorId,
    /// `[B]`, at least 0.
    pub loss_weights: TensorId,
    /// [`StepParams`](crate::plan::StepParams).
    pub step_params: TensorId,
    /// The output that says no label.
    pub blank: usize,
    /// `[2, B, T, 2·L + 4]`: of each way and sequence, step by step, the logarithms of its states, as
    /// `shaders/ctc_states.wgsl` says; of a loss without a gradient `[1, B, 2, 2·L + 4]`, or one slot where T is 1.
    pub states: TensorId,
}

impl Ctc {
    /// L, how many labels there is room for.
    pub(crate) fn labels(&self, plan: &Plan) -> usize {
        (plan.get(self.labels).len() / self.batch(plan) - 1) / 2
    }

    /// B.
    pub(crate) fn batch(&self, plan: &Plan) -> usize {
        columns(plan, self.lengths).max(1) as usize
    }

    /// T.
    pub(crate) fn steps(&self, plan: &Plan) -> usize {
        self.outputs.rows / self.batch(plan)
    }

    /// How many numbers a slot of the states has.
    pub(crate) fn width(&self, plan: &Plan) -> usize {
        2 * self.labels(plan) + 4
    }

    /// The most states of a sequence.
    fn most_states(&self, plan: &Plan) -> usize {
        2 * self.labels(plan) + 1
    }

    /// What all read of the loss: labels, lengths, weights, and the parameters of the step.
    fn read(&self, plan: &Plan) -> [Operand; 5] {
        [
            Operand::read((plan, self.log_sums)),
            Operand::read((plan, self.labels)),
            Operand::read((plan, self.lengths)),
            Operand::read((plan, self.loss_weights)),
            Operand::read((self.step_params, 1)),
        ]
    }
}

/// The recursions of connectionist temporal classification over the steps, forwards and, for a gradient, backwards, and
/// each sequence's part of the mean loss.
#[derive(Clone, Debug)]
pub struct CtcStates {
    /// What it shares with [`CtcGradient`]; the states are written.
    pub ctc: Ctc,
    /// `[B]`, written.
    pub row_loss: TensorId,
    /// Whether there is a gradient.
    pub gradient: bool,
}

impl CtcStates {
    /// How many threads share the states of a sequence on a GPU.
    pub(crate) fn threads(&self, plan: &Plan) -> usize {
        threads(self.ctc.most_states(plan))
    }

    /// Forwards, or forwards and backwards.
    pub(crate) fn ways(&self) -> usize {
        if self.gradient { 2 } else { 1 }
    }

    /// How many steps the states are kept of.
    pub(crate) fn slots(&self, plan: &Plan) -> usize {
        let steps = self.ctc.steps(plan);
        if self.gradient { steps } else { steps.min(2) }
    }

    /// How many states there are in all.
    fn states(&self, plan: &Plan) -> u64 {
        (self.ways() as u64 * self.ctc.outputs.rows as u64).saturating_mul(self.ctc.most_states(plan) as u64)
    }
}

impl Operation for CtcStates {
    fn name(&self) -> String {
        "ctc states".to_owned()
    }

    fn operands(&self, plan: &Plan) -> Vec<Operand> {
        let states = self.states(plan);
        let written = [
            Operand::write((plan, self.row_loss)),
            // Of every step those of the step before are read.
            Operand::write((self.ctc.states, 2 * states)),
            Operand::read(&self.ctc.outputs).of(states),
        ];
        written.into_iter().chain(self.ctc.read(plan)).collect()
    }

    fn flops(&self, plan: &Plan) -> u64 {
        // Three exponentials, a logarithm, and what is between them.
        12 * self.states(plan)
    }

    fn walk(&self, plan: &Plan) -> Walk {
        let rounds = self.ctc.most_states(plan).div_ceil(self.threads(plan)) as u64;
        let steps = self.ctc.steps(plan);
        Walk { length: steps, stride: 1, per_round: rounds + 2 + REDUCE, around: 0, is_cut: true }
    }
}

/// The gradient of the outputs, in their place, from the states of both ways.
#[derive(Clone, Debug)]
pub struct CtcGradient {
    /// What it shares with [`CtcStates`]; the outputs are overwritten, and the states are used up.
    pub ctc: Ctc,
    /// [`LossScale`](crate::plan::LossScale), by whose factor the gradient is multiplied, if it is scaled.
    pub loss_scale: Option<TensorId>,
}

impl CtcGradient {
    /// How many threads share a row on a GPU.
    pub(crate) fn threads(&self, plan: &Plan) -> usize {
        threads(self.ctc.most_states(plan).max(self.ctc.outputs.cols))
    }
}

impl Operation for CtcGradient {
    fn name(&self) -> String {
        "ctc gradient".to_owned()
    }

    fn operands(&self, plan: &Plan) -> Vec<Operand> {
        let states = self.ctc.outputs.rows as u64 * self.ctc.most_states(plan) as u64;
        let first = [Operand::update(&self.ctc.outputs), Operand::update((self.ctc.states, 2 * states))];
        let scale = self.loss_scale.map(|scale| Operand::read((scale, 1)));
        first.into_iter().chain(self.ctc.read(plan)).chain(scale).collect()
    }

    fn flops(&self, plan: &Plan) -> u64 {
        let states = self.ctc.outputs.rows as u64 * self.ctc.most_states(plan) as u64;
        4 * self.ctc.outputs.len() as u64 + 5 * states
    }

    fn walk(&self, plan: &Plan) -> Walk {
        let threads = self.threads(plan);
        let rounds = |of: usize| of.div_ceil(threads) as u64 + 1;
        let (states, labels) = (rounds(self.ctc.most_states(plan)), self.ctc.labels(plan));
        // All labels may be the same one, and one thread's.
        Walk::once(2 * states + rounds(self.ctc.outputs.cols) + rounds(labels) + labels as u64 + 1 + 3 * REDUCE)
    }
}
