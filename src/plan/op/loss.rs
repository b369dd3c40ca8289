//! The loss, the gradient of the outputs, and the sums that make one number of many.

use super::{Operand, Operation};
use crate::plan::walk::{REDUCE, Walk};
use crate::plan::{Plan, TensorId, View};
use crate::recipe::Loss;

/// The loss of R positions and its gradient; a position counts where its mask is 1.
#[derive(Clone, Debug)]
pub struct LossGradient {
    /// Which loss.
    pub loss: Loss,
    /// `[R, O]`, read; where `gradient` is set, overwritten by the gradient of the mean loss.
    pub outputs: View,
    /// `[R]` class ids or `[R, O]` numbers.
    pub targets: TensorId,
    /// `[R]`, 0 or 1.
    pub loss_mask: TensorId,
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
            Operand::read((plan, self.loss_mask)),
            Operand::read((self.step_params, 1)),
        ];
        operands.into_iter().chain(self.loss_scale.map(|scale| Operand::read((scale, 1)))).collect()
    }

    fn flops(&self, _: &Plan) -> u64 {
        // y − max, exp, sum, and the gradient's division; or error, square, sum, and the gradient's product.
        let each = 3 + u64::from(self.gradient) + u64::from(self.gradient && self.loss_scale.is_some());
        each * self.outputs.len() as u64
    }

    fn walk(&self, _: &Plan) -> Walk {
        let rounds = self.outputs.cols.div_ceil(self.threads()) as u64;
        Walk::once(self.loss.record().passes * rounds + 2 * REDUCE)
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
