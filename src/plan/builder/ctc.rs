//! The loss of label sequences: three operations in the place of one.
//!
//! The contract: what the host writes is where that of any other loss is, the labels of all sequences in one tensor.

use super::loss::RowLoss;
use super::{Builder, LossTensors};
use crate::error::Result;
use crate::plan::{Ctc, CtcGradient, CtcStates, Lifetime, LogSums, Op, Phase, StepParams, TensorId, View};

impl Builder<'_> {
    /// The loss of label sequences with this blank, the names of whose tensors end so.
    pub(super) fn ctc(
        &mut self,
        suffix: &str,
        blank: usize,
        (outputs, lengths): (View, TensorId),
        metrics: TensorId,
        gradient: bool,
    ) -> Result<RowLoss> {
        let name = |what: &str| format!("{what}{suffix}");
        let (batch, steps, labels) = (self.batch, self.steps, self.labels);
        let targets = self.id(&name("targets"), &[batch, labels.saturating_mul(2).saturating_add(1)])?;
        let loss_weights = self.real(&name("loss_weights"), &[batch], Lifetime::Input)?;
        let step_params = self.real(&name("step_params"), &[StepParams::LEN], Lifetime::Input)?;
        let row_loss = self.real(&name("row_loss"), &[batch], Lifetime::Transient)?;
        let log_sums = self.real(&name("log_sums"), &[outputs.rows], Lifetime::Transient)?;
        let (ways, slots) = if gradient { (2, steps) } else { (1, steps.min(2)) };
        let shape = [ways, batch, slots, labels.saturating_mul(2).saturating_add(4)];
        let states = self.real(&name("ctc_states"), &shape, Lifetime::Transient)?;
        let ctc = Ctc { outputs, log_sums, labels: targets, lengths, loss_weights, step_params, blank, states };
        let mut push = |op| self.plan.push(Phase::Loss, op);
        push(Op::LogSums(LogSums { outputs, out: log_sums }));
        push(Op::CtcStates(CtcStates { ctc: ctc.clone(), row_loss, gradient }));
        if gradient {
            let loss_scale = self.loss_scale;
            self.plan.push(Phase::Loss, Op::CtcGradient(CtcGradient { ctc, loss_scale }));
        }
        Ok(RowLoss { inputs: LossTensors { targets, loss_weights, settings: None, step_params, metrics }, row_loss })
    }
}
