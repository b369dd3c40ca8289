//! What a layer is to the plan: something that runs over parts of a window and goes back over them. The plan strings
//! layers together by these and knows none by its name.

use super::Builder;
use crate::error::Result;
use crate::plan::{DropoutDraw, TensorId, View};

/// A place of the network at which dropout draws.
#[derive(Clone, Copy)]
pub(super) enum Site {
    Inputs,
    /// Between this layer and the next.
    Outputs(usize),
    Hidden(usize),
}

/// A part of the steps of a window: all of them, a chunk, or a segment.
pub(super) struct Part {
    /// The first step.
    pub first: usize,
    pub steps: usize,
    /// `[B]`: how many of the steps from the first on are valid.
    pub lengths: TensorId,
    /// The states that it starts from: the tensor, and where in it.
    pub state: (TensorId, usize),
    /// Whether it leaves its states there.
    pub leaves: bool,
}

/// The part of a window that is gone back over at once: all of it, unless gradients are checkpointed.
#[derive(Clone, Copy)]
pub(super) struct Segment {
    /// The first step.
    pub first: usize,
    /// Whether no segment comes after it.
    pub is_last: bool,
    pub slices: TensorId,
    /// [`StepParams`].
    pub step_params: TensorId,
}

/// What a layer reads of a part.
#[derive(Clone, Copy)]
pub(super) enum Below {
    /// Token ids, from this one of the window on.
    Tokens { ids: TensorId, first: usize },
    /// `[T·B, ·]`.
    Rows(View),
}

/// What a layer reads that another has made: for its gradient's way back.
#[derive(Clone, Copy)]
pub(super) struct Link<'a> {
    /// Of the layer below.
    pub tape: &'a dyn Tape,
    /// What was read.
    pub rows: View,
    /// The dropout between the two.
    pub draw: Option<DropoutDraw>,
}

/// A layer whose tensors are there, ready to run over the parts of a window.
pub(super) trait OpenLayer {
    /// Runs it over a part: returns its rows `[T·B, ·]` and what goes back over them.
    fn forward(&self, builder: &mut Builder<'_>, part: &Part, below: Below) -> Result<(View, Box<dyn Tape>)>;
}

/// What a layer has left of a part, for the way back.
pub(super) trait Tape {
    /// Where whoever reads the layer's rows puts their gradient.
    fn gradient(&self, builder: &mut Builder<'_>) -> Result<View>;

    /// Goes back over a segment, from the gradient of the rows to those of the parameters and of what was read; without
    /// `below` nobody wants the latter.
    fn backward(&self, builder: &mut Builder<'_>, segment: Segment, below: Option<Link<'_>>) -> Result<()>;

    /// D of the recurrence that made the rows.
    fn directions(&self) -> usize {
        1
    }
}

/// A layer after a part.
pub(super) struct Done {
    pub rows: View,
    pub tape: Box<dyn Tape>,
    /// What the next layer reads of it, by way of the dropout between them.
    pub handed: View,
    pub draw: Option<DropoutDraw>,
}
