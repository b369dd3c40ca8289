//! The losses of the network's own read-out and of its heads, and what is measured of a step.
//!
//! The contract: every loss is planned alike, and the sum of several is made of what each leaves in the metrics.

use super::{Builder, ForwardTensors, LossTensors, PlanTensors};
use crate::error::Result;
use crate::model::Config;
use crate::plan::{
    DType, Lifetime, LossGradient, METRICS_SLOTS, MetricsRow, Op, Phase, StepMetrics, StepParams, Sum, TensorId, View,
};
use crate::recipe::{Clip, Loss, Recipe, TargetKind};

/// A loss that was planned.
pub(super) struct RowLoss {
    pub inputs: LossTensors,
    /// `[R]`.
    pub row_loss: TensorId,
}

impl Builder<'_> {
    /// The losses: the network's own read-out's, and each head's.
    pub(super) fn losses(&mut self, recipe: &Recipe, forward: &ForwardTensors, gradient: bool) -> Result<Vec<RowLoss>> {
        // The metrics of training are those of one run of steps, whatever windows these have; an evaluation has its
        // own.
        let lifetime = if gradient { Lifetime::Shared } else { Lifetime::Scratch };
        let metrics = self.real("metrics", &metrics_shape(self.config), lifetime)?;
        let lengths = forward.lengths;
        let mut losses = vec![self.loss("", &recipe.loss, (forward.outputs, lengths), metrics, gradient)?];
        for head in &forward.shared.heads {
            let Some(loss) = recipe.head(&head.name) else { unreachable!("a recipe that was checked") };
            let name = format!(".{}", head.name);
            losses.push(self.loss(&name, &loss.loss, (head.outputs, lengths), metrics, gradient)?);
        }
        Ok(losses)
    }

    /// A loss, the names of whose tensors end so.
    fn loss(
        &mut self,
        suffix: &str,
        loss: &Loss,
        (outputs, lengths): (View, TensorId),
        metrics: TensorId,
        gradient: bool,
    ) -> Result<RowLoss> {
        if let Loss::Ctc { blank, .. } = loss {
            return self.ctc(suffix, *blank as usize, (outputs, lengths), metrics, gradient);
        }
        let name = |what: &str| format!("{what}{suffix}");
        let (kind, rows) = (loss.kind(), outputs.rows);
        let mut weights = vec![rows];
        let targets = match loss.targets() {
            TargetKind::Sequences => unreachable!("a loss with operations of its own"),
            TargetKind::Classes => self.id(&name("targets"), &[rows])?,
            TargetKind::Values => {
                let numbers = loss.numbers(outputs.cols)?;
                if self.elementwise && kind.record().elementwise {
                    weights.push(numbers);
                }
                self.real(&name("targets"), &[rows, numbers], Lifetime::Input)?
            }
        };
        let loss_weights = self.real(&name("loss_weights"), &weights, Lifetime::Input)?;
        let settings = match loss.setting_count(outputs.cols) {
            0 => None,
            count => Some(self.real(&name("loss_settings"), &[count], Lifetime::Input)?),
        };
        let step_params = self.real(&name("step_params"), &[StepParams::LEN], Lifetime::Input)?;
        let row_loss = self.real(&name("row_loss"), &[outputs.rows], Lifetime::Transient)?;
        let loss_scale = self.loss_scale;
        let op = LossGradient {
            loss: kind,
            outputs,
            targets,
            loss_weights,
            settings,
            step_params,
            row_loss,
            gradient,
            loss_scale,
        };
        self.plan.push(Phase::Loss, Op::LossGradient(op));
        Ok(RowLoss { inputs: LossTensors { targets, loss_weights, settings, step_params, metrics }, row_loss })
    }

    /// The metrics of the losses and of the gradient, where there is one: its parts and how it is clipped.
    pub(super) fn measure(&mut self, losses: &[RowLoss], gradient: Option<(TensorId, Clip)>) -> Result<()> {
        let (partials, clip) = gradient.map_or((None, Clip::None), |(partials, clip)| (Some(partials), clip));
        let [RowLoss { inputs: LossTensors { step_params, metrics, .. }, .. }, heads @ ..] = losses else {
            return Ok(());
        };
        let (step_params, metrics) = (*step_params, *metrics);
        for (at, RowLoss { row_loss, .. }) in losses.iter().enumerate() {
            let rows = self.plan.get(*row_loss).len();
            let row_loss = if self.target.parallel && rows > Sum::LONGEST {
                let to = self.scratch("block_loss", &[rows.div_ceil(Sum::BLOCK)], DType::F32)?;
                self.plan.push(Phase::Update, Op::Sum(Sum { from: *row_loss, to }));
                to
            } else {
                *row_loss
            };
            let (partials, clip, table) =
                if heads.is_empty() { (partials, clip, 0) } else { (None, Clip::None, at + 1) };
            let op = StepMetrics { row_loss: Some(row_loss), partials, clip, step_params, metrics, table };
            self.plan.push(Phase::Update, Op::StepMetrics(op));
        }
        if !heads.is_empty() {
            let op = StepMetrics { row_loss: None, partials, clip, step_params, metrics, table: 0 };
            self.plan.push(Phase::Update, Op::StepMetrics(op));
        }
        Ok(())
    }
}

impl PlanTensors {
    /// Where the inputs of all losses are.
    pub(super) fn take(&mut self, losses: &[RowLoss]) {
        let mut losses = losses.iter().map(|loss| Some(loss.inputs));
        self.loss = losses.next().flatten();
        self.heads.iter_mut().zip(losses).for_each(|(head, loss)| head.loss = loss);
    }
}

/// Rows of the metrics: of the one loss, or of the sum of several and behind it of each.
pub(super) fn metrics_shape(config: &Config) -> [usize; 2] {
    let tables = if config.heads.is_empty() { 1 } else { 2 + config.heads.len() };
    [tables * METRICS_SLOTS, MetricsRow::LEN]
}
