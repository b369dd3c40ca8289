//! The loss, the gradient of the outputs, and the sums that make one number of many.

use super::{Operand, Operation};
use crate::plan::walk::{REDUCE, Walk};
use crate::plan::{Plan, TensorId, View};
use crate::recipe::TargetKind;

pub use crate::recipe::LossKind;

/// The loss of R positions and its gradient; a position counts unless its weight is 0, and so does each of its numbers
/// where these are weighed.
#[derive(Clone, Debug)]
pub struct LossGradient {
    /// Which function.
    pub loss: LossKind,
    /// `[R, O]`, read; where `gradient` is set, overwritten by the gradient of the mean loss.
    pub outputs: View,
    /// `[R]` class ids or `[R, N]` numbers.
    pub targets: TensorId,
    /// `[R]` or `[R, N]`, at least 0.
    pub loss_weights: TensorId,
    /// What the function is set to, where it has settings; [`LossKind`] says what they are.
    pub settings: Option<TensorId>,
    /// [`StepParams`](crate::plan::StepParams).
    pub step_params: TensorId,
    /// `[R]`, written: each position's part of the mean loss.
    pub row_loss: TensorId,
    /// Whether `outputs` becomes the gradient.
    pub gradient: bool,
    /// [`LossScale`](crate::plan::LossScale), by whose factor the gradient is multiplied, if it is scaled.
    pub loss_scale: Option<TensorId>,
}

impl LossGradient {
    /// How many threads share a row on a GPU.
    pub(crate) fn threads(&self) -> usize {
        if self.outputs.cols <= 1 << 14 { 64 } else { 256 }
    }

    /// N: how many numbers a position is compared with; 1 of a class.
    pub(crate) fn numbers(&self, plan: &Plan) -> usize {
        match self.loss.record().targets {
            TargetKind::Classes | TargetKind::Sequences => 1,
            TargetKind::Values => plan.get(self.targets).len() / self.outputs.rows,
        }
    }

    /// Whether numbers are weighed each by itself.
    pub(crate) fn is_elementwise(&self, plan: &Plan) -> bool {
        plan.get(self.loss_weights).len() > self.outputs.rows
    }
}

impl Operation for LossGradient {
    fn name(&self) -> String {
        self.loss.record().name.to_owned()
    }

    fn operands(&self, plan: &Plan) -> Vec<Operand> {
        let row_loss = Operand::write((self.row_loss, self.outputs.rows as u64));
        let (first, second) = match self.gradient {
            true => (Operand::update(&self.outputs), row_loss),
            // Bound to be written, too, but only read.
            false => (row_loss, Operand::update(&self.outputs).of(self.outputs.len() as u64)),
        };
        let operands = [
            first,
            second,
            Operand::read((plan, self.targets)),
            Operand::read((plan, self.loss_weights)),
            Operand::read((self.step_params, 1)),
        ];
        let settings = self.settings.map(|settings| Operand::read((plan, settings)));
        operands.into_iter().chain(settings).chain(self.loss_scale.map(|scale| Operand::read((scale, 1)))).collect()
    }

    fn flops(&self, _: &Plan) -> u64 {
        let [loss, gradient] = self.loss.record().flops;
        let scaled = u64::from(self.gradient && self.loss_scale.is_some());
        let each = loss + if self.gradient { gradient } else { 0 } + scaled;
        each * self.outputs.len() as u64
    }

    fn walk(&self, plan: &Plan) -> Walk {
        let (columns, numbers) = (self.outputs.cols, self.numbers(plan));
        let rounds = |of: usize| of.div_ceil(self.threads()) as u64;
        let iterations = match self.loss {
            // Of each number, its parameters twice, and the recurrences of Γ.
            LossKind::StudentT => rounds(numbers) * (2 * 4 + 9),
            LossKind::NegativeBinomial => rounds(numbers) * (2 * 3 + 2 * 9),
            LossKind::Quantiles => rounds(numbers) * 2 * (columns / numbers + 1) as u64,
            LossKind::GaussianMixture => {
                let components = columns / (1 + 2 * numbers);
                rounds(components) * (5 + 4 * (numbers as u64 + 1))
            }
            kind if kind.record().elementwise => rounds(numbers) * 2 * (columns / numbers + 1) as u64,
            // Over the outputs for their maximum, their sums and their gradient.
            _ => 3 * rounds(columns),
        };
        Walk::once(iterations + 4 * REDUCE)
    }
}

/// `to[i] = Σ from[i·BLOCK..(i + 1)·BLOCK]`: the first stage of a sum that is too long for one workgroup.
#[derive(Clone, Debug)]
pub struct Sum {
    /// `[R]`.
    pub from: TensorId,
    /// `[blocks]`, written.
    pub to: TensorId,
}

impl Sum {
    /// Elements that one workgroup takes.
    pub const BLOCK: usize = 4096;
    /// The longest sum that is taken in one stage.
    pub(in crate::plan) const LONGEST: usize = 1 << 16;
}

impl Operation for Sum {
    fn name(&self) -> String {
        "sum".to_owned()
    }

    fn operands(&self, plan: &Plan) -> Vec<Operand> {
        vec![Operand::write((plan, self.to)), Operand::read((plan, self.from))]
    }

    fn flops(&self, plan: &Plan) -> u64 {
        plan.get(self.from).len() as u64
    }

    fn walk(&self, _: &Plan) -> Walk {
        Walk::once((Sum::BLOCK / 256) as u64 + REDUCE)
    }
}
