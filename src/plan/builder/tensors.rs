//! Which tensors of a plan the host writes and reads, by their roles.
//!
//! The contract: what a purpose does not need is `None`.

use crate::plan::{TableRows, TensorId, View};

/// Where a plan's inputs and outputs are. What a purpose does not need is `None`.
#[derive(Clone, Debug)]
pub struct PlanTensors {
    /// `[flat]`: all parameters; of an inference in half precision these are [`DType::F16`](crate::plan::DType::F16).
    pub parameters: TensorId,
    /// `[T·B]` token ids, or `[T·B, I]` numbers.
    pub inputs: TensorId,
    /// What is read beside them, in the order of the network's columns.
    pub columns: Vec<ColumnTensors>,
    /// `[B]`: how many steps of each sequence are valid.
    pub lengths: TensorId,
    /// `[1]`: 1 where the sequences start from the learned initial state, 0 where from `state`; if there is
    /// one; of an inference the host writes `state` in both cases.
    pub fresh: Option<TensorId>,
    /// `[R, O]`: the read-out, or the rows that are [observed](crate::plan::Purpose::Observe); behind it those of the
    /// heads, where there are any. A training run leaves nothing here, unless it is [kept](crate::plan::Plan::keep):
    /// then its gradient.
    pub outputs: TensorId,
    /// The network's heads, in their order, where they are read out.
    pub heads: Vec<HeadTensors>,
    /// h `[B, D·H]` of every recurrent layer, then c of those that have one: the initial state before a run, the final
    /// state after it.
    pub state: TensorId,
    /// The inputs of a loss.
    pub loss: Option<LossTensors>,
    /// What training adds.
    pub training: Option<TrainingTensors>,
}

/// What is read of a column.
#[derive(Clone, Copy, Debug)]
pub struct ColumnTensors {
    /// `[T·B]` token ids, or `[T·B, ·]` numbers.
    pub input: TensorId,
    /// What a training that reads tokens is told of them.
    pub rows_by_token: Option<TokenTensors>,
}

/// What a training is told of the tokens of a window, as [`GatherGradient`](crate::plan::GatherGradient) reads it, and
/// leaves.
#[derive(Clone, Copy, Debug)]
pub struct TokenTensors {
    /// `[T·B]`: rows by token.
    pub order: TensorId,
    /// `[parts, V + 1]`, or `[parts, U + 1]` of the rows that are updated: where each token's begin.
    pub starts: TensorId,
    /// Where only the rows of a table that occur are updated.
    pub updated: Option<UpdatedTable>,
}

/// Rows of a table that are updated.
#[derive(Clone, Copy, Debug)]
pub struct UpdatedTable {
    /// Which they are: all windows of a step have the same.
    pub rows: TableRows,
    /// `[U, width]`: their gradient before clipping.
    pub gradients: TensorId,
}

/// What a head reads and leaves, as the network's own read-out does.
#[derive(Clone, Copy, Debug)]
pub struct HeadTensors {
    /// `[R, O]`, of the plan's `outputs`.
    pub outputs: View,
    /// The inputs of its loss, whose `divisor` is divided by its weight.
    pub loss: Option<LossTensors>,
}

/// The inputs of a loss and its result.
#[derive(Clone, Copy, Debug)]
pub struct LossTensors {
    /// `[R]` class ids or `[R, N]` numbers.
    pub targets: TensorId,
    /// `[R]`, or `[R, N]` where numbers are weighed each by itself; 0 of what does not count.
    pub loss_weights: TensorId,
    /// What the loss's function is set to, where it has settings.
    pub settings: Option<TensorId>,
    /// [`StepParams`](crate::plan::StepParams).
    pub step_params: TensorId,
    /// `[METRICS_SLOTS]` of [`MetricsRow`](crate::plan::MetricsRow); where the network has heads, of the sum of all
    /// losses, and behind it as many of the network's own read-out and of each head.
    pub metrics: TensorId,
}

/// The tensors of training that the host reads or writes.
#[derive(Clone, Copy, Debug)]
pub struct TrainingTensors {
    /// `[flat]`, or as much of it as lies before the tables that are updated by rows: the gradient before clipping.
    pub gradients: TensorId,
    /// `[flat]`: what each element is left out of, as [`parameter_flags`](crate::plan::parameter_flags) says; as long
    /// as nobody writes it, nothing is frozen and everything decays. Behind them the settings of the recipe's groups,
    /// as [`grouped_flags`](crate::plan::grouped_flags) has them.
    pub parameter_flags: TensorId,
    /// `[flat]` each, or `[2·flat]` of two side by side: the optimiser's moments.
    pub moments: [Option<TensorId>; 2],
    /// `[flat]`: the mean of the parameters, where the recipe has one.
    pub average: Option<TensorId>,
    /// What it is told of the tokens, where the network reads some.
    pub rows_by_token: Option<TokenTensors>,
    /// How many steps a part of these rows has, but for the last: T, unless gradients are checkpointed.
    pub segment: usize,
    /// `[sites, 2]`: the keys of this step's dropout, where there is any.
    pub keys: Option<TensorId>,
    /// `[ΣD, T]`: the norm of dL/dh_t of every recurrent layer and direction, a row each, where the recipe traces them.
    pub trace: Option<TensorId>,
    /// The gradients of what was read, where the recipe asks for them.
    pub read_gradients: ReadGradients,
    /// `[3]`: how the gradient is scaled, in half precision; see [`UpdateLossScale`](crate::plan::UpdateLossScale),
    /// which says what it holds before the first step.
    pub loss_scale: Option<TensorId>,
}

/// The gradients of what a window reads, multiplied by the loss scale where there is one.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReadGradients {
    /// `[T·B, I]`, of numbers.
    pub inputs: Option<TensorId>,
    /// h `[B, D·H]` of every recurrent layer, then c of those that have one: of the state before the first step.
    pub state: Option<TensorId>,
}

/// The tensors of a training that outlive every window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SharedTensors {
    /// `[flat]`.
    pub parameters: TensorId,
    /// `[flat]` each, or `[2·flat]` of two side by side.
    pub moments: [Option<TensorId>; 2],
    /// `[flat]`, where the recipe has a mean of the parameters.
    pub average: Option<TensorId>,
    /// Tables of `[METRICS_SLOTS]` of [`MetricsRow`](crate::plan::MetricsRow), as [`LossTensors`] has them.
    pub metrics: Option<TensorId>,
    /// `[flat]`, and behind them the settings of the groups.
    pub parameter_flags: Option<TensorId>,
    /// `[3]`, in half precision.
    pub loss_scale: Option<TensorId>,
}
