//! From slices of the gradient to the next parameters: sums, norm, clipping and the optimiser; and what is measured.

use super::{Operand, Operation, TableRows, columns, rows};
use crate::plan::walk::{REDUCE, Walk};
use crate::plan::{LossScale, METRICS_SLOTS, Plan, TensorId};
use crate::recipe::{Clip, Optimizer};

/// `out[row + d, first + t] = ‖dL/dh_t‖` of direction d, over the sequences that have a step t: what vanishes or
/// explodes (Bengio, Simard & Frasconi 1994; Pascanu, Mikolov & Bengio 2013).
#[derive(Clone, Debug)]
pub struct GradientNorms {
    /// `[T+D, B, D·H]`, as [`Op::Backward`](super::Op::Backward) left it: the whole gradient of h_t at slot t + 1.
    pub upstream: TensorId,
    /// D.
    pub directions: usize,
    /// T.
    pub steps: usize,
    /// `[B]`, or with resets `[T+2, B]`: how many of these steps each sequence has.
    pub lengths: TensorId,
    /// [`LossScale`](crate::plan::LossScale), by whose factor the gradient is divided, if it was scaled.
    pub loss_scale: Option<TensorId>,
    /// [`StepParams`](crate::plan::StepParams), which takes the binding of a loss scale where there is none.
    pub step_params: TensorId,
    /// The row of the first direction.
    pub row: usize,
    /// The column of the first step.
    pub first: usize,
    /// `[ΣD, steps of the window]`, in part written.
    pub out: TensorId,
}

impl Operation for GradientNorms {
    fn name(&self) -> String {
        "gradient norms".to_owned()
    }

    fn operands(&self, plan: &Plan) -> Vec<Operand> {
        vec![
            Operand::write((self.out, self.norms())),
            Operand::read((self.upstream, self.elements(plan))),
            Operand::read((plan, self.lengths)),
            // Where there is no loss scale something else is bound in its place.
            Operand::read(self.loss_scale.map_or((self.step_params, 0), |scale| (scale, 1))),
        ]
    }

    fn flops(&self, plan: &Plan) -> u64 {
        3 * self.elements(plan) + (2 + u64::from(self.loss_scale.is_some())) * self.norms()
    }

    fn walk(&self, plan: &Plan) -> Walk {
        let slot = (columns(plan, self.lengths) * columns(plan, self.upstream).max(1)) as usize;
        Walk { per_round: 2, ..Walk::sum(slot.div_ceil(self.directions.max(1)), 256, 5 * REDUCE) }
    }

    fn note(&self) -> String {
        format!(", row {} from step {}", self.row, self.first)
    }
}

impl GradientNorms {
    fn norms(&self) -> u64 {
        (self.steps * self.directions) as u64
    }

    /// Of the gradient at all steps.
    fn elements(&self, plan: &Plan) -> u64 {
        self.steps as u64 * columns(plan, self.lengths) * columns(plan, self.upstream)
    }
}

/// `gradients = Σ_s slices[s]`, added to what is there where the step accumulates or the segment adds, and 0 where
/// frozen; each block of [`ReduceGradients::BLOCK`] elements leaves its largest magnitude, its sum of squares over that
/// magnitude squared, and whether all of it is finite (1 or 0).
#[derive(Clone, Debug)]
pub struct ReduceGradients {
    /// `[S, N]`, N being the flat buffers' length or, where tables are updated by rows, that before the tables; or that
    /// of the rows of one table.
    pub slices: TensorId,
    /// [`LossScale`](crate::plan::LossScale), by whose factor the slices are divided, if they were scaled.
    pub loss_scale: Option<TensorId>,
    /// [`StepParams`](crate::plan::StepParams).
    pub step_params: TensorId,
    /// `[flat]`: [`FROZEN`](crate::plan::FROZEN) and [`CLIPPED_APART`](crate::plan::CLIPPED_APART) elements.
    pub parameter_flags: TensorId,
    /// Whether there may be elements of the second kind, whose magnitude is not measured here.
    pub clips_apart: bool,
    /// The flag of the first element: of rows of a table, which have the same, that of the table's first row.
    pub first_flag: usize,
    /// `[N]`, read where the step accumulates, and written.
    pub gradients: TensorId,
    /// Where the window is cut into segments, which are combined one after another.
    pub segment: Option<GradientSegment>,
    /// `[blocks]` of [`NormPartial`](crate::plan::NormPartial), written from `first_block` on.
    pub partials: TensorId,
    /// Where this gradient's blocks begin among those of all.
    pub first_block: usize,
}

/// A segment whose gradient is added to that of the others of its window.
#[derive(Clone, Copy, Debug)]
pub struct GradientSegment {
    /// `[N]`: by how much the gradient is too large so far, written, and read where the segment adds.
    pub excess: TensorId,
    /// Whether part of this window's gradient is there already.
    pub adds: bool,
}

impl ReduceGradients {
    /// Elements of the flat gradient that one workgroup takes.
    pub const BLOCK: usize = 2048;

    /// How many blocks a gradient of so many elements has.
    pub fn blocks(len: usize) -> usize {
        len.div_ceil(Self::BLOCK)
    }
}

impl Operation for ReduceGradients {
    fn name(&self) -> String {
        "reduce gradients".to_owned()
    }

    fn operands(&self, plan: &Plan) -> Vec<Operand> {
        let adds = self.segment.is_some_and(|segment| segment.adds);
        let sum = |tensor| if adds { Operand::update((plan, tensor)) } else { Operand::write((plan, tensor)) };
        let len = plan.get(self.gradients).len();
        let operands = [
            sum(self.gradients),
            Operand::write((self.partials, ReduceGradients::blocks(len) as u64 * columns(plan, self.partials))),
            Operand::read((plan, self.slices)),
            Operand::read((self.parameter_flags, len as u64)),
            Operand::read((plan, self.step_params)),
        ];
        let scale = self.loss_scale.map(|scale| Operand::read((scale, 1)));
        operands.into_iter().chain(self.segment.map(|segment| sum(segment.excess))).chain(scale).collect()
    }

    fn flops(&self, plan: &Plan) -> u64 {
        // The sum over the slices; then g / max, its square and their sum.
        let each = rows(plan, self.slices) * (1 + u64::from(self.loss_scale.is_some())) + 3;
        each * plan.get(self.gradients).len() as u64
    }

    fn walk(&self, plan: &Plan) -> Walk {
        Walk::once((ReduceGradients::BLOCK / 256) as u64 * (3 + rows(plan, self.slices)) + 3 * REDUCE)
    }
}

/// Loss, gradient norm before clipping, clip scale and finite flag, into this step's slot of a table of the metrics;
/// the flag is 0 where the step has more windows to come. The loss is a sum over rows, added to the slot's where the
/// step accumulates; or, where there are several, the sum of those of the tables behind the first.
///
/// The norm is √Σg² without overflow: the partials carry their largest magnitude apart.
#[derive(Clone, Debug)]
pub struct StepMetrics {
    /// `[R]`, or `None` for the sum of several losses.
    pub row_loss: Option<TensorId>,
    /// `[blocks]` of [`NormPartial`](crate::plan::NormPartial), where there is a gradient; else the norm is 0 and the
    /// scale
    /// 1.
    pub partials: Option<TensorId>,
    /// Decides the scale.
    pub clip: Clip,
    /// [`StepParams`](crate::plan::StepParams).
    pub step_params: TensorId,
    /// Tables of `[METRICS_SLOTS]` of [`MetricsRow`](crate::plan::MetricsRow): one, and where there are several losses
    /// one for each of them behind it. One row of one table is written; its loss is read where the step accumulates, or
    /// those of the tables behind.
    pub metrics: TensorId,
    /// Which table is written.
    pub table: usize,
}

impl Operation for StepMetrics {
    fn name(&self) -> String {
        "step metrics".to_owned()
    }

    fn operands(&self, plan: &Plan) -> Vec<Operand> {
        let written = match self.row_loss {
            Some(_) => Operand::write((self.metrics, columns(plan, self.metrics))),
            None => Operand::update((self.metrics, columns(plan, self.metrics))),
        };
        let read = self.row_loss.into_iter().chain(self.partials).chain([self.step_params]);
        std::iter::once(written).chain(read.map(|tensor| Operand::read((plan, tensor)))).collect()
    }

    fn flops(&self, plan: &Plan) -> u64 {
        // A block's part of the norm: its maximum over the largest, squared, times its sum, added.
        (self.rows(plan) + self.losses(plan)) as u64 + 4 * self.partials.map_or(0, |partials| rows(plan, partials))
    }

    fn walk(&self, plan: &Plan) -> Walk {
        let blocks = self.partials.map_or(0, |partials| plan.get(partials).shape[0]);
        let rounds = self.rows(plan).div_ceil(256) + self.losses(plan) + 1 + 2 * blocks.div_ceil(256);
        Walk::once(rounds as u64 + 4 * REDUCE)
    }

    fn note(&self) -> String {
        let table = if self.table > 0 { format!(", table {}", self.table) } else { String::new() };
        format!(", {:?}{table}", self.clip)
    }
}

impl StepMetrics {
    /// R, of a sum over rows.
    fn rows(&self, plan: &Plan) -> usize {
        self.row_loss.map_or(0, |row_loss| plan.get(row_loss).len())
    }

    /// How many losses are added up, of a sum of several: one for each table behind the first.
    pub(crate) fn losses(&self, plan: &Plan) -> usize {
        let tables = rows(plan, self.metrics) as usize / METRICS_SLOTS;
        if self.row_loss.is_none() { tables.saturating_sub(1) } else { 0 }
    }
}

/// The optimiser's step over the flat buffers, from their beginning as far as there is a gradient, or over some rows of
/// a table; nothing changes where this step's finite flag is 0, nor what is frozen.
#[derive(Clone, Debug)]
pub struct Update {
    /// The rule.
    pub optimizer: Optimizer,
    /// [`Clip::Value`] is applied here, the others through the scale.
    pub clip: Clip,
    /// [`StepParams`](crate::plan::StepParams).
    pub step_params: TensorId,
    /// `[METRICS_SLOTS]` of [`MetricsRow`](crate::plan::MetricsRow).
    pub metrics: TensorId,
    /// `[N]`, or `[U, width]` of rows of a table.
    pub gradients: TensorId,
    /// Of which rows this is the gradient, if of some.
    pub rows: Option<TableRows>,
    /// `[flat]`: [`FROZEN`](crate::plan::FROZEN) and [`NOT_DECAYED`](crate::plan::NOT_DECAYED) elements and the numbers
    /// of groups; behind them the settings of these.
    pub parameter_flags: TensorId,
    /// `[flat]`, read and written.
    pub parameters: TensorId,
    /// `[flat]` each or, of two that lie one behind the other, `[2·flat]`; read and written, as many as the optimiser
    /// keeps.
    pub moments: Vec<TensorId>,
}

impl Operation for Update {
    fn name(&self) -> String {
        self.optimizer.record().name.to_owned()
    }

    fn operands(&self, plan: &Plan) -> Vec<Operand> {
        let len = plan.get(self.gradients).len() as u64;
        let operands = [
            Operand::update((self.parameters, len)),
            Operand::read((plan, self.gradients)),
            Operand::read((self.parameter_flags, len)),
            Operand::read((plan, self.step_params)),
            Operand::read((self.metrics, columns(plan, self.metrics))),
        ];
        let counts = self.optimizer.record().moments;
        let moments =
            self.moments.iter().zip(counts).map(|(moment, count)| Operand::update((*moment, *count as u64 * len)));
        operands.into_iter().chain(moments).chain(self.rows.map(|rows| rows.operand(plan))).collect()
    }

    fn flops(&self, plan: &Plan) -> u64 {
        self.optimizer.record().flops * plan.get(self.gradients).len() as u64
    }

    fn note(&self) -> String {
        let rows = if self.rows.is_some() { ", by rows" } else { "" };
        format!(", {:?}{rows}", self.optimizer)
    }
}

/// `average = average + w·(parameters − average)`, w being the step's [`average_weight`](crate::plan::StepParams);
/// nothing changes where that is 0.
///
/// By itself and not in the update: that binds as many buffers as WebGPU's default limits allow, and of a table that is
/// updated by rows all rows have a part in the mean.
#[derive(Clone, Debug)]
pub struct AverageParameters {
    /// [`StepParams`](crate::plan::StepParams).
    pub step_params: TensorId,
    /// `[flat]`.
    pub parameters: TensorId,
    /// `[flat]`, read and written.
    pub average: TensorId,
}

impl Operation for AverageParameters {
    fn name(&self) -> String {
        "average parameters".to_owned()
    }

    fn operands(&self, plan: &Plan) -> Vec<Operand> {
        vec![
            Operand::update((plan, self.average)),
            Operand::read((plan, self.parameters)),
            Operand::read((plan, self.step_params)),
        ]
    }

    fn flops(&self, plan: &Plan) -> u64 {
        3 * plan.get(self.average).len() as u64
    }
}

/// Dynamic loss scaling (Micikevicius et al. 2018, section 3.2): the factor on the gradient of the loss is halved where
/// this step's finite flag is 0, and doubled where it was 1 in [`UpdateLossScale::INTERVAL`] consecutive steps. Nothing
/// changes where the step has more windows to come.
///
/// The gradient passes through f16 tensors, in which small numbers would be rounded to 0; the slices of the
/// parameters' gradients, which have 32, are divided by the factor. All factors are powers of two, so they round
/// nothing.
#[derive(Clone, Debug)]
pub struct UpdateLossScale {
    /// [`LossScale`](crate::plan::LossScale), read and written.
    pub loss_scale: TensorId,
    /// [`StepParams`](crate::plan::StepParams).
    pub step_params: TensorId,
    /// `[METRICS_SLOTS]` of [`MetricsRow`](crate::plan::MetricsRow).
    pub metrics: TensorId,
}

impl UpdateLossScale {
    /// The loss scale before the first step.
    pub const FIRST: LossScale = LossScale { factor: 65536.0, inverse: 1.0 / 65536.0, finite_steps: 0.0 };
    /// The smallest factor, 24 halvings below the first.
    pub const MIN_SCALE: f32 = 1.0 / 256.0;
    /// The largest, 2²⁴.
    pub const MAX_SCALE: f32 = 16_777_216.0;
    /// After how many finite steps the factor is doubled: those of PyTorch.
    pub const INTERVAL: usize = 2000;
}

impl Operation for UpdateLossScale {
    fn name(&self) -> String {
        "update loss scale".to_owned()
    }

    fn operands(&self, plan: &Plan) -> Vec<Operand> {
        vec![
            Operand::update((plan, self.loss_scale)),
            Operand::read((plan, self.step_params)),
            Operand::read((self.metrics, columns(plan, self.metrics))),
        ]
    }
}
