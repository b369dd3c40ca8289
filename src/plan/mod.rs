//! The plan: for one window size and one purpose, the list of operations over named tensors.
//!
//! A plan computes nothing and knows no GPU type. Printing it shows the whole step; counting it gives dispatches and
//! bytes before anything is allocated. Both executors replay it, so every operation has a twin to be checked against.
//!
//! One training step, time outermost in memory (`[T, B, ·]`) so that a step is one contiguous slice:
//!
//! 1. X·Wᵀ + b_W for all T at once (for tokens a gathering of columns of W);
//! 2. the recurrence, by one dispatch a step or one for the whole sequence;
//! 3. H·Vᵀ + c for all T at once, then loss and its gradient in one kernel;
//! 4. the same backwards: the read-out for all T, the reverse recurrence, then dU, dW and the biases' gradients as one
//!    product each over T·B;
//! 5. norm, clip and update over the flat buffers.

mod bounds;
mod builder;
mod cost;
mod cut;
mod flags;
mod op;
pub(crate) mod random;
mod record;
mod sharing;
mod table;
mod target;
mod tensor;
mod tile;
mod walk;

use std::fmt;

pub use bounds::{Bounds, Work};
pub(crate) use builder::SharedTensors;
pub use builder::{
    ColumnTensors, HeadTensors, LossTensors, PlanTensors, ReadGradients, TokenTensors, TrainingTensors, UpdatedTable,
};
pub use cost::Cost;
pub use cut::Cut;
pub use flags::{
    CLIPPED_APART, FROZEN, GROUP_SETTINGS, GROUP_SHIFT, NOT_DECAYED, flags_len, grouped_flags, parameter_flags,
};
pub use op::*;
pub use record::{LossScale, MetricsRow, NormPartial, Record, StepParams};
pub(crate) use table::PlanTable;
pub use target::Target;
pub use tensor::{DType, Lifetime, Tensor, TensorId, View};
pub use tile::{ProductTile, RecurrenceMode, Tile, Way};

use crate::error::{Error, Result};
use crate::model::{Config, Layout};
use crate::recipe::Recipe;

/// A plan that an executor has prepared; that executor's alone, and good until it is told to free the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PlanId(pub(crate) usize);

/// The number of steps whose metrics the device keeps before they must be read.
pub const METRICS_SLOTS: usize = 1024;

/// What one run of a plan is for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Purpose<'a> {
    /// Outputs only.
    Infer,
    /// The rows of this layer in the place of the outputs, and nothing of what stands above it.
    Observe(usize),
    /// Outputs and the losses against targets that a recipe names.
    Evaluate(&'a Recipe),
    /// Losses, gradients, clipping and the update of the parameters.
    Train(&'a Recipe),
    /// The same with one of several windows of a step, whose windows have so many steps of sequences together.
    TrainPart(&'a Recipe, usize),
}

/// The form of a window that a plan is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WindowForm {
    /// T.
    pub steps: usize,
    /// B.
    pub batch: usize,
    /// Whether the numbers that a position is compared with are masked or weighed each by itself, where a loss takes
    /// that.
    pub elementwise: bool,
    /// Whether the states of sequences may go back to their start within the window.
    pub resets: bool,
    /// L: for how many labels of a sequence there is room, where a loss is of label sequences.
    pub labels: usize,
}

impl WindowForm {
    /// So many steps of so many sequences, weighed by positions, with room for no label.
    pub fn new(steps: usize, batch: usize) -> Self {
        WindowForm { steps, batch, elementwise: false, resets: false, labels: 0 }
    }
}

/// Which part of a step an operation belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Phase {
    /// From inputs to outputs.
    Forward,
    /// Loss and its gradient.
    Loss,
    /// From the gradient of the outputs to that of every parameter.
    Backward,
    /// Metrics, clipping and the update.
    Update,
}

/// An operation and the part of the step it belongs to.
#[derive(Clone, Debug)]
pub struct Stage {
    /// The part of the step.
    pub phase: Phase,
    /// The operation.
    pub op: Op,
}

/// Which part of a plan is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of it.
    All,
    /// What comes before the caller sees the outputs, of a plan with a loss of his.
    Forward,
    /// What comes after.
    Rest,
}

/// Operations over tensors, in order.
#[derive(Clone, Debug)]
pub struct Plan {
    tensors: Vec<Tensor>,
    stages: Vec<Stage>,
    bounds: Bounds,
}

/// Bytes that the GPU executor allocates for a plan. The CPU executor gives every tensor memory of its own, and what is
/// planned for it shares nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bytes {
    /// Parameters, gradients, optimiser moments, metrics and parameter flags: shared by all plans of an executor.
    pub shared: u64,
    /// What the host uploads before a run.
    pub inputs: u64,
    /// Activations, histories and everything else; tensors whose lives do not overlap count once, as their largest.
    pub scratch: u64,
}

impl Bytes {
    /// All of it.
    pub fn total(self) -> u64 {
        self.shared + self.inputs + self.scratch
    }
}

impl Plan {
    /// A plan with no operations, within [`Bounds::HARDWARE`]; [`Plan::tensor`] and [`Plan::push`] fill it.
    pub fn empty() -> Self {
        Plan { tensors: Vec::new(), stages: Vec::new(), bounds: Bounds::HARDWARE }
    }

    /// The same operations within other bounds.
    pub fn within(self, bounds: Bounds) -> Self {
        Plan { bounds, ..self }
    }

    /// How much a dispatch and a submission may do.
    pub fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// The plan of one run over a window of `steps` steps and `batch` sequences, and where its inputs and outputs are.
    ///
    /// # Errors
    /// Same as [`Plan::of_form`].
    pub fn new(
        config: &Config,
        purpose: Purpose<'_>,
        steps: usize,
        batch: usize,
        target: &Target,
    ) -> Result<(Self, PlanTensors)> {
        Self::of_form(config, purpose, WindowForm::new(steps, batch), target)
    }

    /// The plan of one run over a window of this form, and where its inputs and outputs are.
    ///
    /// # Errors
    /// [`Error::Config`] for a size of zero, a rate out of its range or dropout between the layers of a network of one,
    /// [`Error::Limit`] for a tensor that the target cannot hold.
    pub fn of_form(
        config: &Config,
        purpose: Purpose<'_>,
        form: WindowForm,
        target: &Target,
    ) -> Result<(Self, PlanTensors)> {
        for (what, size) in [("steps (T)", form.steps), ("sequences in a batch (B)", form.batch)] {
            if size == 0 {
                return Err(Error::Config(format!("the number of {what} is 0, expected at least 1")));
            }
        }
        let layout = Layout::new(config)?;
        match purpose {
            Purpose::Infer => {}
            Purpose::Observe(layer) => config.check_layer(layer)?,
            Purpose::Evaluate(recipe) => recipe.check_losses(config)?,
            Purpose::Train(recipe) | Purpose::TrainPart(recipe, _) => recipe.check_for(config)?,
        }
        target.check()?;
        builder::build(config, &layout, purpose, form, target)
    }

    /// The tensors that outlive every window, and no operations.
    pub(crate) fn shared(config: &Config, recipe: Option<&Recipe>, target: &Target) -> Result<(Self, SharedTensors)> {
        recipe.map_or(Ok(()), |recipe| recipe.check_for(config))?;
        target.check()?;
        builder::shared(config, &Layout::new(config)?, recipe, target)
    }

    /// Adds a tensor.
    ///
    /// # Errors
    /// [`Error::Limit`] where it has more elements than 32-bit indices reach.
    pub fn tensor(&mut self, name: &str, shape: &[usize], dtype: DType, lifetime: Lifetime) -> Result<TensorId> {
        let tensor = Tensor::new(name, shape, dtype, lifetime)?;
        self.tensors.push(tensor);
        Ok(TensorId(self.tensors.len() - 1))
    }

    /// Adds an operation at the end.
    pub fn push(&mut self, phase: Phase, op: Op) {
        self.stages.push(Stage { phase, op });
    }

    /// The tensors, in the order of their ids.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// One tensor.
    pub fn get(&self, id: TensorId) -> &Tensor {
        &self.tensors[id.0]
    }

    /// The tensor of that name.
    pub fn find(&self, name: &str) -> Option<TensorId> {
        self.tensors.iter().position(|t| t.name == name).map(TensorId)
    }

    /// The operations, in order.
    pub fn stages(&self) -> &[Stage] {
        &self.stages
    }

    /// How many dispatches a GPU needs for one part of the step.
    pub fn dispatches(&self, phase: Phase) -> usize {
        self.stages.iter().filter(|s| s.phase == phase).map(|s| s.op.dispatches(self)).sum()
    }

    /// Whether a copy is one of bytes that lie side by side, which is no dispatch: not where 16-bit floats are
    /// read or written, which would have to start and end at multiples of four bytes, and may have to be rounded.
    pub(crate) fn copies_bytes(&self, from: &View, to: &View) -> bool {
        let is_half = |view: &View| self.tensors.get(view.tensor.0).is_some_and(|t| t.dtype == DType::F16);
        [from, to].iter().all(|view| view.is_contiguous() && !is_half(view))
    }

    /// What an executor allocates. Inputs lie in one buffer, each from a multiple of 256 bytes on, which is not
    /// counted.
    pub fn bytes(&self) -> Bytes {
        let of = |lifetime: Lifetime| {
            let tensors = self.tensors.iter().filter(move |tensor| tensor.lifetime == lifetime);
            tensors.map(Tensor::bytes).sum::<u64>()
        };
        let blocks: u64 = self.blocks().iter().filter_map(|block| block.first()).map(|t| self.get(*t).bytes()).sum();
        Bytes { shared: of(Lifetime::Shared), inputs: of(Lifetime::Input), scratch: of(Lifetime::Scratch) + blocks }
    }

    /// Bytes that the plan itself takes on the host.
    pub(crate) fn host_bytes(&self) -> u64 {
        let tensors = self.tensors.iter().map(|t| size_of::<Tensor>() + t.name.len() + size_of_val(t.shape.as_slice()));
        (tensors.sum::<usize>() + self.stages.len() * size_of::<Stage>()) as u64
    }

    pub(crate) fn check_limits(&self, target: &Target) -> Result<()> {
        // All inputs lie in one buffer, which is uploaded at once.
        let inputs = self.tensors.iter().filter(|tensor| tensor.lifetime == Lifetime::Input);
        let inputs = ("all inputs of a run".to_owned(), inputs.map(Tensor::bytes).sum());
        let tensors = self.tensors.iter().map(|t| (format!("tensor `{}`", t.name), t.bytes()));
        for (name, bytes) in tensors.chain([inputs]) {
            if bytes > target.binding_bytes {
                return Err(Error::Limit {
                    what: format!("{name} (bytes)"),
                    limit: "the adapter's max_storage_buffer_binding_size",
                    asked: bytes,
                    allowed: target.binding_bytes,
                });
            }
        }
        self.stages.iter().try_for_each(|stage| stage.op.check_bounds(self))
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut block_of = vec![None; self.tensors.len()];
        for (number, block) in self.blocks().iter().enumerate() {
            block.iter().for_each(|tensor| block_of[tensor.0] = Some(number));
        }
        for (tensor, block) in self.tensors.iter().zip(block_of) {
            let block = block.map_or(String::new(), |number| format!(" in block {number}"));
            writeln!(f, "{tensor}{block}")?;
        }
        for Stage { phase, op } in &self.stages {
            let phase = format!("{phase:?}").to_lowercase();
            writeln!(f, "{phase:<9}{:<4}{}", format!("{}×", op.dispatches(self)), op.describe(self))?;
        }
        Ok(())
    }
}
