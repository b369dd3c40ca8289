//! The operations. Each is a record of which tensors it reads and writes, and says of itself beside its fields what it
//! is called, what it touches, what it costs and how it loops; its name is shared by a shader in `shaders/`, the kernel
//! in `gpu/kernels` and the twin in `cpu/`.
//!
//! Unless a line says otherwise an operation assigns its outputs: it never adds to what was there.

mod activation;
mod ctc;
mod dropout;
mod group;
mod join;
mod loss;
mod normalize;
mod pool;
mod product;
mod recurrence;
mod resets;
mod state;
mod update;

pub use activation::{Activate, ActivateGradient};
pub use ctc::{Ctc, CtcGradient, CtcStates, LogSums};
pub use dropout::{DropoutDraw, DropoutMask, MaskSlices};
pub use group::{GroupNorm, ScaleGroup};
pub use join::{JoinDirections, JoinGradient};
pub use loss::{LossGradient, LossKind, Sum};
pub use normalize::{Normalize, NormalizeGradient, NormalizeWeightGradient};
pub use pool::{Pool, PoolGradient, PoolKind};
pub use product::{Gather, GatherGradient, MatMul, TableGradient, TableRows, Transpose, WeightGradient};
pub use recurrence::{BackwardRecurrence, Hold, Projection, Recurrence};
pub use resets::{StartState, StatesBefore};
pub use state::{Accumulate, CopyView, InitialState, InitialStateGradient, RemainingLengths, ZeroTensor};
pub use update::{
    AverageParameters, GradientNorms, GradientSegment, ReduceGradients, StepMetrics, Update, UpdateLossScale,
};

use super::walk::Walk;
use super::{Plan, TensorId, View};

/// One operation.
#[derive(Clone, Debug)]
pub enum Op {
    /// Elements of one tensor to another.
    Copy(CopyView),
    /// A whole tensor set to zero.
    Zero(ZeroTensor),
    /// A matrix added to another.
    Accumulate(Accumulate),
    /// A dropout's mask on the gradient of weights.
    MaskSlices(MaskSlices),
    /// Both directions of a layer made one.
    Join(JoinDirections),
    /// The same, backwards.
    JoinGradient(JoinGradient),
    /// The initial state, where it is learned.
    InitialState(InitialState),
    /// The lengths of what is left of sequences.
    RemainingLengths(RemainingLengths),
    /// The state that sequences go back to within a window.
    StartState(StartState),
    /// The states that the steps of a window have read.
    StatesBefore(StatesBefore),
    /// Dropout.
    Dropout(DropoutMask),
    /// Columns of W by token id.
    Gather(Gather),
    /// The function around a dense layer's sums.
    Activate(Activate),
    /// Its gradient.
    ActivateGradient(ActivateGradient),
    /// Layer normalisation.
    Normalize(Normalize),
    /// Its gradient.
    NormalizeGradient(NormalizeGradient),
    /// Those of its gain and bias.
    NormalizeWeightGradient(NormalizeWeightGradient),
    /// A matrix transposed.
    Transpose(Transpose),
    /// A matrix product.
    MatMul(MatMul),
    /// The recurrence of a whole window, forwards.
    Forward(Recurrence),
    /// The recurrence of a whole window, backwards.
    Backward(BackwardRecurrence),
    /// How large the gradient is at every step of a layer.
    GradientNorms(GradientNorms),
    /// One row for each sequence from those of its steps.
    Pool(Pool),
    /// The gradient of the steps' rows from that of [`Op::Pool`].
    PoolGradient(PoolGradient),
    /// Loss and the gradient of the outputs.
    LossGradient(LossGradient),
    /// The normalisers of the outputs.
    LogSums(LogSums),
    /// The recursions over the states of label sequences.
    CtcStates(CtcStates),
    /// The gradient of the outputs from these.
    CtcGradient(CtcGradient),
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
    /// The first stage of the norm of a group's gradient.
    GroupNorm(GroupNorm),
    /// A group's gradient clipped.
    ScaleGroup(ScaleGroup),
    /// Loss, norm, clip scale and the finite flag.
    StepMetrics(StepMetrics),
    /// The optimiser's step.
    Update(Update),
    /// The mean of the parameters over the steps.
    AverageParameters(AverageParameters),
    /// How the gradient is scaled from the next step on.
    UpdateLossScale(UpdateLossScale),
}

/// What an operation says of itself, for sharing memory, cutting it into dispatches, costs and printed plans.
pub(super) trait Operation {
    /// What it is called in printed plans and profiles.
    fn name(&self) -> String;

    /// Every tensor that it touches, the one that it is for first; of a tensor of which it reads two parts, both.
    fn operands(&self, plan: &Plan) -> Vec<Operand>;

    /// Floating-point operations.
    fn flops(&self, _plan: &Plan) -> u64 {
        0
    }

    /// What an invocation goes through in order.
    fn walk(&self, _plan: &Plan) -> Walk {
        Walk::NONE
    }

    /// Whether a GPU dispatches anything for it.
    fn is_dispatch(&self, _plan: &Plan) -> bool {
        true
    }

    /// What a printed plan adds to name and operands.
    fn note(&self) -> String {
        String::new()
    }
}

impl Op {
    /// The record, by what it says of itself.
    pub(super) fn operation(&self) -> &dyn Operation {
        match self {
            Op::Copy(op) => op,
            Op::Zero(op) => op,
            Op::Accumulate(op) => op,
            Op::MaskSlices(op) => op,
            Op::Join(op) => op,
            Op::JoinGradient(op) => op,
            Op::InitialState(op) => op,
            Op::RemainingLengths(op) => op,
            Op::Dropout(op) => op,
            Op::Gather(op) => op,
            Op::Activate(op) => op,
            Op::ActivateGradient(op) => op,
            Op::Normalize(op) => op,
            Op::NormalizeGradient(op) => op,
            Op::NormalizeWeightGradient(op) => op,
            Op::Transpose(op) => op,
            Op::MatMul(op) => op,
            Op::Forward(op) => op,
            Op::Backward(op) => op,
            Op::GradientNorms(op) => op,
            Op::Pool(op) => op,
            Op::PoolGradient(op) => op,
            Op::LossGradient(op) => op,
            Op::LogSums(op) => op,
            Op::CtcStates(op) => op,
            Op::CtcGradient(op) => op,
            Op::WeightGradient(op) => op,
            Op::GatherGradient(op) => op,
            Op::InitialStateGradient(op) => op,
            Op::StartState(op) => op,
            Op::StatesBefore(op) => op,
            Op::Sum(op) => op,
            Op::ReduceGradients(op) => op,
            Op::GroupNorm(op) => op,
            Op::ScaleGroup(op) => op,
            Op::StepMetrics(op) => op,
            Op::Update(op) => op,
            Op::AverageParameters(op) => op,
            Op::UpdateLossScale(op) => op,
        }
    }

    /// What it is called in printed plans and profiles.
    pub fn name(&self) -> String {
        self.operation().name()
    }

    /// Every tensor that it touches, the one that it is for first; of a tensor of which it reads two parts, both.
    pub fn operands(&self, plan: &Plan) -> Vec<Operand> {
        self.operation().operands(plan)
    }
}

/// What an operation, or a kernel, does with a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reads it.
    Read,
    /// Writes it, and reads nothing of it.
    Write,
    /// Reads and writes it.
    ReadWrite,
}

/// A tensor that an operation touches. Counts are of 64 bits: products of sizes go beyond the 32 of a wasm32 `usize`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operand {
    /// The tensor.
    pub tensor: TensorId,
    /// The part of it, where that is a matrix.
    pub view: Option<View>,
    /// What is done with it.
    pub access: Access,
    /// How many elements are read, and written, together.
    pub elements: u64,
}

/// Which part of a tensor.
struct Part {
    tensor: TensorId,
    view: Option<View>,
    elements: u64,
}

impl From<&View> for Part {
    fn from(view: &View) -> Self {
        Part { tensor: view.tensor, view: Some(*view), elements: view.len() as u64 }
    }
}

impl From<(TensorId, u64)> for Part {
    fn from((tensor, elements): (TensorId, u64)) -> Self {
        Part { tensor, view: None, elements }
    }
}

impl From<(&Plan, TensorId)> for Part {
    /// All of it.
    fn from((plan, tensor): (&Plan, TensorId)) -> Self {
        // Of a tensor that is not the plan's lowering complains.
        let elements = plan.tensors().get(tensor.0).map_or(0, |tensor| tensor.len() as u64);
        Part { tensor, view: None, elements }
    }
}

impl Operand {
    fn new(part: Part, access: Access) -> Self {
        let Part { tensor, view, elements } = part;
        Operand { tensor, view, access, elements }
    }

    fn read(part: impl Into<Part>) -> Self {
        Self::new(part.into(), Access::Read)
    }

    fn write(part: impl Into<Part>) -> Self {
        Self::new(part.into(), Access::Write)
    }

    /// Read and written, each element once.
    fn update(part: impl Into<Part>) -> Self {
        let part = part.into();
        let elements = 2 * part.elements;
        Self::new(Part { elements, ..part }, Access::ReadWrite)
    }

    /// The same, of so many elements.
    fn of(self, elements: u64) -> Self {
        Operand { elements, ..self }
    }

    pub(super) fn describe(&self, plan: &Plan) -> String {
        let name = &plan.get(self.tensor).name;
        match &self.view {
            Some(v) => format!("{name}[{}..][{}, {}]", v.offset, v.rows, v.cols),
            None => name.clone(),
        }
    }
}

/// The size of a tensor's first dimension.
fn rows(plan: &Plan, tensor: TensorId) -> u64 {
    plan.get(tensor).shape.first().map_or(0, |size| *size as u64)
}

/// The size of its last.
fn columns(plan: &Plan, tensor: TensorId) -> u64 {
    plan.get(tensor).shape.last().map_or(0, |size| *size as u64)
}
