//! The operations. Each is a record of which tensors it reads and writes; its name is shared by a shader in `shaders/`,
//! the kernel in `gpu/kernels` and the twin in `cpu/`.
//!
//! Unless a line says otherwise an operation assigns its outputs: it never adds to what was there.

use super::{
    LossScale,
    recipe::{Clip, Loss, Optimizer},
    tensor::{TensorId, View},
    tile::{ProductTile, Tile},
};
use crate::model::{Cell, Saved};

/// One operation.
#[derive(Clone, Debug)]
pub enum Op {
    /// `to = from`, element by element, between two tensors. Not a dispatch where both are contiguous.
    Copy {
        /// Read.
        from: View,
        /// Written.
        to: View,
    },
    /// A whole tensor set to zero. Not a dispatch.
    Zero {
        /// Written.
        tensor: TensorId,
    },
    /// The initial state, where it is learned.
    InitialState(InitialState),
    /// The lengths of what is left of sequences.
    RemainingLengths(RemainingLengths),
    /// Dropout.
    Dropout(DropoutMask),
    /// Columns of W by token id.
    Gather(Gather),
    /// A matrix transposed.
    Transpose(Transpose),
    /// A matrix product.
    MatMul(MatMul),
    /// The recurrence of a whole window, forwards.
    Forward(Recurrence),
    /// The recurrence of a whole window, backwards.
    Backward {
        /// As forwards.
        recurrence: Recurrence,
        /// `[T+D, B, D·H]`, slots as in the history. At the slots of h_1 to h_T the gradient that comes from above,
        /// read, and the whole gradient of h_t, written; at the initial state's slot its gradient, written.
        upstream: TensorId,
        /// Whether the gradient of the initial state is wanted; else part of it is left at its slot.
        to_start: bool,
        /// Whether the steps go on after these, and the gradient of the last state comes from there: of h it lies in
        /// slot T+1 of `upstream`, of a second state in slot T+1 of its history. For one direction.
        carried: bool,
    },
    /// How large the gradient is at every step of a layer.
    GradientNorms(GradientNorms),
    /// One vector for each sequence from the outputs of all steps.
    Pool(Pool),
    /// The gradient of the outputs from that of [`Op::Pool`].
    PoolGradient(PoolGradient),
    /// Loss and the gradient of the outputs.
    LossGradient(LossGradient),
    /// Gradients of a weight matrix and its bias.
    WeightGradient(WeightGradient),
    /// Gradients of W and its bias where the inputs are tokens.
    GatherGradient(GatherGradient),
    /// The gradient of a learned initial state.
    InitialStateGradient(InitialStateGradient),
    /// Sums of blocks.
    Sum(Sum),
    /// Slices of the gradient summed, and the first stage of its norm.
    ReduceGradients(ReduceGradients),
    /// Loss, norm, clip scale and the finite flag.
    StepMetrics(StepMetrics),
    /// The optimiser's step.
    Update(Update),
    /// How the gradient is scaled from the next step on.
    UpdateLossScale(UpdateLossScale),
}

/// `state[b] = learned` for every sequence b where `fresh` is 1; else the state stays.
#[derive(Clone, Debug)]
pub struct InitialState {
    /// `[S·L, D·H]`.
    pub learned: View,
    /// `[1]`: 0 or 1.
    pub fresh: TensorId,
    /// `[S, L, B, D·H]`, written.
    pub state: TensorId,
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

/// Which elements a dropout keeps: those whose number is not among the lowest part `rate` of 32 bits. An element's
/// number is Threefry's of key and position, and the keys are Threefry's of seed, step, window and site.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DropoutDraw {
    /// `[sites, 2]`: a key for each place of the network, new in every step.
    pub keys: TensorId,
    /// Which key.
    pub site: usize,
    /// The probability p that an element is dropped; those kept are multiplied by 1 / (1 − p).
    pub rate: f64,
}

/// `out[r, j] = input[r, j]·m((first + r) mod period, j)`, m being 0 where dropped and 1 / (1 − p) where kept.
#[derive(Clone, Debug)]
pub struct DropoutMask {
    /// `[R, N]`; all ones where there is none.
    pub input: Option<View>,
    /// `[R, N]`, written.
    pub out: View,
    /// The position of an element is ((first + r) mod period)·N + j.
    pub draw: DropoutDraw,
    /// How many rows of the same masking come before the first.
    pub first: usize,
    /// After how many rows the mask repeats: B for one mask over all steps, R for one without repetition.
    pub period: usize,
}

/// `out[r, j] = weight[j, tokens[r]]·m(b, tokens[r]) + bias[j]`: W·x + b for one-hot x.
#[derive(Clone, Debug)]
pub struct Gather {
    /// `[R]` ids below I.
    pub tokens: TensorId,
    /// Of which row of the tokens the first is.
    pub first: usize,
    /// `[N, I]`.
    pub weight: View,
    /// `[1, N]`.
    pub bias: Option<View>,
    /// m, by b·I + token; without it m is 1. A token that is dropped is so at every step of the sequence (Gal &
    /// Ghahramani 2016).
    pub draw: Option<DropoutDraw>,
    /// B; row r is of sequence b = r mod B.
    pub batch: usize,
    /// `[R, N]`, written.
    pub out: View,
}

/// `out[j, i] = input[i, j]`.
#[derive(Clone, Debug)]
pub struct Transpose {
    /// `[M, N]`.
    pub input: View,
    /// `[N, M]`, written.
    pub out: View,
}

/// `out = op(a)·op(b) + bias`, op a transposition or nothing.
#[derive(Clone, Debug)]
pub struct MatMul {
    /// `[M, K]`, or `[K, M]` if transposed.
    pub a: View,
    /// Whether `a` is transposed.
    pub transpose_a: bool,
    /// `[K, N]`, or `[N, K]` if transposed.
    pub b: View,
    /// Whether `b` is transposed.
    pub transpose_b: bool,
    /// `[1, N]`, added to every row.
    pub bias: Option<View>,
    /// `[M, N]`, written.
    pub out: View,
    /// What a workgroup makes of it.
    pub tile: ProductTile,
}

/// The recurrence over T steps; forwards it fills the history, backwards it turns the gates into their gradients.
///
/// D directions run side by side, the second from the last step to the first. A sequence that is shorter holds its
/// state while the others go on, so its final state is its last one, and the reverse direction starts at its own end.
#[derive(Clone, Debug)]
pub struct Recurrence {
    /// The cell.
    pub cell: Cell,
    /// D, 1 or 2.
    pub directions: usize,
    /// T.
    pub steps: usize,
    /// B.
    pub batch: usize,
    /// H.
    pub hidden: usize,
    /// `[B]`: how many steps of each sequence are valid; 0 or more.
    pub lengths: TensorId,
    /// U `[D·G·H, H]`.
    pub weight: View,
    /// Uᵀ `[H, D·G·H]`, if the schedule is [`RecurrenceMode::WholeSequence`]; only forwards.
    pub weight_transposed: Option<View>,
    /// b_U `[1, D·G·H]`; only forwards.
    pub bias: Option<View>,
    /// `[B, D·H]`: what multiplies the operand of every product with U, the same at all steps (Gal & Ghahramani 2016).
    pub dropout_mask: Option<TensorId>,
    /// `[T, B, D·G·H]`. Forwards: W·x + b_W, read; a cell that needs them later leaves its activated gates in their
    /// place. Backwards: the gradient of W·x + b_W, written.
    pub gates: TensorId,
    /// h `[T+D, B, D·H]`. Of the forward direction slot 0 is the initial state and slot t + 1 is h after step t; of the
    /// reverse direction slot T+1 is the initial state, and slot t + 1 again is h after step t. Forwards: slots 1 to T
    /// are written. Backwards: read.
    pub history: TensorId,
    /// What the cell keeps beside gates and h: c `[T+D, B, D·H]` of an LSTM (slots as in the history; backwards the
    /// gradient of the c before it takes a c's place), U·h + b_U `[T, B, D·G·H]` of a GRU (backwards its gradient), or
    /// the second product's operand `[T, B, D·H]`.
    pub saved: Option<TensorId>,
    /// How it is cut into dispatches.
    pub schedule: RecurrenceMode,
    /// What a workgroup of a dispatch takes.
    pub tile: Tile,
}

impl Recurrence {
    /// `[T, B, D·G·H]`: after the backward pass, the gradient of U·h + b_U.
    pub fn recurrent_gradient(&self) -> TensorId {
        match (self.cell.saved(), self.saved) {
            (Saved::Recurrent, Some(saved)) => saved,
            _ => self.gates,
        }
    }

    /// G·H.
    pub(crate) fn rows(&self) -> usize {
        self.cell.gates() * self.hidden
    }

    /// D·H.
    pub(crate) fn width(&self) -> usize {
        self.directions * self.hidden
    }

    /// The slot of a direction's state after a step, counted from 0 in the order in which it reads; before the first
    /// with `None`.
    pub(crate) fn slot(&self, direction: usize, step: Option<usize>) -> usize {
        let done = step.map_or(0, |step| step + 1);
        if direction == 0 { done } else { self.steps + 1 - done }
    }
}

/// `out[row + d, first + t] = ‖dL/dh_t‖` of direction d, over the sequences that have a step t: what vanishes or
/// explodes (Bengio, Simard & Frasconi 1994; Pascanu, Mikolov & Bengio 2013).
#[derive(Clone, Debug)]
pub struct GradientNorms {
    /// `[T+D, B, D·H]`, as [`Op::Backward`] left it: the whole gradient of h_t at slot t + 1.
    pub upstream: TensorId,
    /// D.
    pub directions: usize,
    /// T.
    pub steps: usize,
    /// `[B]`: how many of these steps each sequence has.
    pub lengths: TensorId,
    /// [`LossScale`], by whose factor the gradient is divided, if it was scaled.
    pub loss_scale: Option<TensorId>,
    /// [`StepParams`](super::StepParams), which takes the binding of a loss scale where there is none.
    pub step_params: TensorId,
    /// The row of the first direction.
    pub row: usize,
    /// The column of the first step.
    pub first: usize,
    /// `[L·D, steps of the window]`, in part written.
    pub out: TensorId,
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

/// How a recurrence is cut into dispatches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecurrenceMode {
    /// One dispatch a step and product with U, each over the whole batch and both directions.
    PerStep,
    /// One dispatch, in which each workgroup takes one direction of a few sequences from end to end.
    WholeSequence,
}

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
    /// [`StepParams`](super::StepParams).
    pub step_params: TensorId,
    /// `[R]`, written: each position's part of the mean loss.
    pub row_loss: TensorId,
    /// Whether `outputs` becomes the gradient.
    pub gradient: bool,
    /// [`LossScale`], by whose factor the gradient is multiplied, if it is scaled.
    pub loss_scale: Option<TensorId>,
}

impl LossGradient {
    /// How many threads share a row on a GPU.
    pub(crate) fn threads(&self) -> usize {
        if self.outputs.cols <= 1 << 14 { 64 } else { 256 }
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
    pub(super) const LONGEST: usize = 1 << 16;
}

/// `weight = dᵀ·x` and `bias = Σ_r d[r]`, the rows cut into slices, one result a slice.
#[derive(Clone, Debug)]
pub struct WeightGradient {
    /// `[R, M]`: the gradient of the layer's output.
    pub d: View,
    /// `[R, N]`: the layer's input.
    pub x: View,
    /// `[S, flat]`, written at `weight` and `bias` of every slice.
    pub slices: TensorId,
    /// Where `[M, N]` starts in a slice.
    pub weight: usize,
    /// Where `[M]` starts in a slice, if there is a bias.
    pub bias: Option<usize>,
    /// What a workgroup makes of a slice.
    pub tile: ProductTile,
}

/// `weight[j, v] = Σ d[r, j]·m(b, v)` over the rows r whose token is v, and `bias = Σ_r d[r]`; cut into slices.
///
/// The host sorts the rows by token: those of v are `order[starts[part, v]..starts[part, v + 1]]`.
#[derive(Clone, Debug)]
pub struct GatherGradient {
    /// `[R, M]`: the gradient of the gathered rows.
    pub d: View,
    /// Row numbers, counted within each part of the window, part by part, in these by token and then by position.
    pub order: TensorId,
    /// `[parts, I + 1]`.
    pub starts: TensorId,
    /// Which part of the window these rows are.
    pub part: usize,
    /// `[S, flat]`, written at `weight` and `bias` of every slice.
    pub slices: TensorId,
    /// Where `[M, I]` starts in a slice.
    pub weight: usize,
    /// Where `[M]` starts in a slice, if there is a bias.
    pub bias: Option<usize>,
    /// m, as in [`Gather`].
    pub draw: Option<DropoutDraw>,
    /// B.
    pub batch: usize,
}

/// The bit of the tensor `parameter_flags` that takes an element out of the training: it has no part in the gradient or
/// its norm, and neither it nor its moments change.
pub const FROZEN: u32 = 1;

/// The bit of the tensor `parameter_flags` that spares an element the weight decay.
pub const NOT_DECAYED: u32 = 2;

/// `gradients = Σ_s slices[s]`, added to what is there where the step accumulates or the segment adds, and 0 where
/// frozen; each block of [`ReduceGradients::BLOCK`] elements leaves its largest magnitude, its sum of squares over that
/// magnitude squared, and whether all of it is finite (1 or 0).
#[derive(Clone, Debug)]
pub struct ReduceGradients {
    /// `[S, flat]`.
    pub slices: TensorId,
    /// [`LossScale`], by whose factor the slices are divided, if they were scaled.
    pub loss_scale: Option<TensorId>,
    /// [`StepParams`](super::StepParams).
    pub step_params: TensorId,
    /// `[flat]`: [`FROZEN`] elements.
    pub parameter_flags: TensorId,
    /// `[flat]`, read where the step accumulates, and written.
    pub gradients: TensorId,
    /// Where the window is cut into segments, which are combined one after another.
    pub segment: Option<GradientSegment>,
    /// `[blocks]` of [`NormPartial`](super::NormPartial), written.
    pub partials: TensorId,
}

/// A segment whose gradient is added to that of the others of its window.
#[derive(Clone, Copy, Debug)]
pub struct GradientSegment {
    /// `[flat]`: by how much the gradient is too large so far, written, and read where the segment adds.
    pub excess: TensorId,
    /// Whether part of this window's gradient is there already.
    pub adds: bool,
}

impl ReduceGradients {
    /// Elements of the flat gradient that one workgroup takes.
    pub const BLOCK: usize = 2048;
}

/// Loss, gradient norm before clipping, clip scale and finite flag, into this step's slot of the metrics; the loss is
/// added to the slot's where the step accumulates, and the flag is 0 where it has more windows to come.
///
/// The norm is √Σg² without overflow: the partials carry their largest magnitude apart.
#[derive(Clone, Debug)]
pub struct StepMetrics {
    /// `[R]`.
    pub row_loss: TensorId,
    /// `[blocks]` of [`NormPartial`](super::NormPartial), where there is a gradient; else the norm is 0 and the scale
    /// 1.
    pub partials: Option<TensorId>,
    /// Decides the scale.
    pub clip: Clip,
    /// [`StepParams`](super::StepParams).
    pub step_params: TensorId,
    /// `[METRICS_SLOTS]` of [`MetricsRow`](super::MetricsRow), one row written, whose loss is read where the step
    /// accumulates.
    pub metrics: TensorId,
}

/// The optimiser's step over the flat buffers; nothing changes where this step's finite flag is 0, nor what is frozen.
#[derive(Clone, Debug)]
pub struct Update {
    /// The rule.
    pub optimizer: Optimizer,
    /// [`Clip::Value`] is applied here, the others through the scale.
    pub clip: Clip,
    /// [`StepParams`](super::StepParams).
    pub step_params: TensorId,
    /// `[METRICS_SLOTS]` of [`MetricsRow`](super::MetricsRow).
    pub metrics: TensorId,
    /// `[flat]`.
    pub gradients: TensorId,
    /// `[flat]`: [`FROZEN`] and [`NOT_DECAYED`] elements.
    pub parameter_flags: TensorId,
    /// `[flat]`, read and written.
    pub parameters: TensorId,
    /// `[flat]`, read and written, as many as the optimiser keeps.
    pub moments: Vec<TensorId>,
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
    /// [`LossScale`], read and written.
    pub loss_scale: TensorId,
    /// [`StepParams`](super::StepParams).
    pub step_params: TensorId,
    /// `[METRICS_SLOTS]` of [`MetricsRow`](super::MetricsRow).
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
