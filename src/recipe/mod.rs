//! How a network is trained: loss, clipping, optimiser, learning rate, dropout, and the precision it is stored in.
//!
//! The contract: it is plain data, which every checkpoint stores, and a setting out of its range is an error before
//! anything is made by it.

mod average;
mod checkpointing;
mod distribution;
mod divisor;
mod dropout;
mod group;
mod loss;
mod optimizer;
mod schedule;

pub use average::Average;
pub use checkpointing::GradientCheckpointing;
pub use distribution::Distribution;
pub use divisor::Divisor;
pub use dropout::Dropout;
pub use group::Group;
pub(crate) use group::{matching, numbers};
#[doc(hidden)]
pub use loss::LossKind;
#[cfg(feature = "gpu")]
pub(crate) use loss::losses;
pub use loss::{CrossEntropy, Loss, TargetKind};
pub use optimizer::{DecayScope, EmbeddingUpdate, Optimizer};
pub use schedule::{Anneal, LearningRateSchedule};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::model::{Config, Layout, ReadOut, Rows};

/// What is done to the gradient before the update.
///
/// ```
/// use recurrent::{Clip, Loss, Recipe};
/// let recipe = Recipe::new(Loss::CrossEntropy).with_clip(Clip::Norm(1.0));
/// # assert_eq!(recipe.clip, Clip::Norm(1.0));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(rename_all = "snake_case")]
pub enum Clip {
    /// Nothing.
    None,
    /// Scaled down to this global norm where it is longer (Pascanu, Mikolov & Bengio 2013).
    Norm(f64),
    /// Each element held within ± this value.
    Value(f64),
    /// Scaled to this global norm, at most 10¹⁵, up or down; by 3·10³⁸ at the most.
    Normalize(f64),
}

impl Clip {
    fn check(self, what: &str) -> Result<()> {
        match self {
            Clip::None => Ok(()),
            Clip::Norm(v) | Clip::Value(v) => positive(what, v),
            Clip::Normalize(v) => at_most(what, v, MAX_NORM),
        }
    }
}

/// In how many bits a GPU stores what is large. The choice of a device,
/// [`Device::with_precision`](crate::Device::with_precision).
///
/// ```
/// use recurrent::{Device, Precision};
/// let device = Device::best();
/// // In half precision where the device has it.
/// let device = device.clone().with_precision(Precision::F16).unwrap_or(device);
/// # let _ = device;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Precision {
    /// 32.
    #[default]
    F32,
    /// 16: gates, h of all steps and its gradient, a GRU's recurrent sums or its second operand, and a copy of the
    /// parameters, rounded once a step, that all products read. Sums are made in 32 bits, and an LSTM's c, outputs,
    /// loss, gradients of the parameters, moments and the parameters themselves are kept in 32.
    ///
    /// 16-bit floats have 11 binary digits and end at 65504 and, with fewer digits, at 6·10⁻⁸. So in training the
    /// gradient of the loss is scaled on its way (Micikevicius et al. 2018).
    F16,
}

/// The largest norm that a gradient is scaled up to: its square, and the optimiser's sums of them, are numbers of f32.
const MAX_NORM: f64 = 1e15;

/// What a head is trained by.
///
/// ```
/// use recurrent::{Loss, Recipe};
/// let recipe = Recipe::new(Loss::CrossEntropy).with_head("value", Loss::MeanSquared, 0.5);
/// assert_eq!((recipe.heads[0].name.as_str(), recipe.heads[0].weight), ("value", 0.5));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(deny_unknown_fields)]
pub struct HeadLoss {
    /// The head's.
    pub name: String,
    /// What is minimised: a mean over the head's positions that count.
    pub loss: Loss,
    /// By what it is multiplied in the sum of all losses: above 0, at most [`HeadLoss::MAX_WEIGHT`].
    pub weight: f64,
}

impl HeadLoss {
    /// The largest weight.
    pub const MAX_WEIGHT: f64 = 1e6;
}

/// How a network is trained.
///
/// ```
/// use recurrent::{Clip, Loss, Optimizer, Recipe};
/// let recipe = Recipe::new(Loss::CrossEntropy) // Adam, a rate of 2e-3, the gradient clipped to a norm of 5
///     .with_optimizer(Optimizer::sgd(0.9), 0.05)
///     .with_clip(Clip::Norm(1.0));
/// assert_eq!(recipe.rate(1), 0.05);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// What is minimised, of the network's own read-out.
    pub loss: Loss,
    /// What is added to it, of each head of the network.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub heads: Vec<HeadLoss>,
    /// What the sum over the positions of each is divided by.
    #[serde(default, skip_serializing_if = "Divisor::is_positions")]
    pub divisor: Divisor,
    /// What is done to the gradient.
    pub clip: Clip,
    /// The rule of the update.
    pub optimizer: Optimizer,
    /// η, the full learning rate, at most [`Recipe::MAX_RATE`].
    pub learning_rate: f64,
    /// How the rate changes with the step.
    pub schedule: LearningRateSchedule,
    /// Steps of a linear rise to the schedule's first rate, before the schedule begins.
    #[serde(default, skip_serializing_if = "is_none")]
    pub warm_up: u64,
    /// What is trained otherwise than the rest: a parameter is of the first group that names it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Group>,
    /// Whether a mean over the steps is kept of the parameters, and which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub average: Option<Average>,
    /// What is left out at random.
    pub dropout: Dropout,
    /// What the optimiser's weight decay shrinks.
    #[serde(alias = "decay")]
    pub decay_scope: DecayScope,
    /// Which rows of a table a step changes.
    #[serde(default, skip_serializing_if = "EmbeddingUpdate::is_exact")]
    pub embedding_update: EmbeddingUpdate,
    /// What is kept for the backward pass.
    #[serde(alias = "checkpointing")]
    pub gradient_checkpointing: GradientCheckpointing,
    /// Whether the backward pass measures the gradient at every step, for
    /// [`Trainer::trace_async`](crate::Trainer::trace_async) to say: one more dispatch a layer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub trace: bool,
    /// Whether the backward pass goes on to what the network reads, for
    /// [`Trainer::input_gradients_async`](crate::Trainer::input_gradients_async) to say: one more product.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub input_gradients: bool,
}

impl Recipe {
    /// The highest learning rate that may be given, and at which one that grows by its schedule stays. A gradient that
    /// was clipped to a norm, times this rate, is a number that f32 can hold, with any momentum.
    pub const MAX_RATE: f64 = 1e15;

    /// Adam at a rate of 2e-3, the gradient clipped to a norm of 5.
    pub fn new(loss: impl Into<Loss>) -> Self {
        Recipe {
            loss: loss.into(),
            heads: Vec::new(),
            divisor: Divisor::Positions,
            clip: Clip::Norm(5.0),
            optimizer: Optimizer::adam(),
            learning_rate: 2e-3,
            schedule: LearningRateSchedule::Constant,
            warm_up: 0,
            groups: Vec::new(),
            average: None,
            dropout: Dropout::NONE,
            decay_scope: DecayScope::Weights,
            embedding_update: EmbeddingUpdate::Exact,
            gradient_checkpointing: GradientCheckpointing::None,
            trace: false,
            input_gradients: false,
        }
    }

    /// The same with the loss of a head of that name, times a weight, added to what is minimised.
    pub fn with_head(mut self, name: impl Into<String>, loss: impl Into<Loss>, weight: f64) -> Self {
        self.heads.push(HeadLoss { name: name.into(), loss: loss.into(), weight });
        self
    }

    /// The same with means by another divisor.
    pub fn with_divisor(self, divisor: Divisor) -> Self {
        Recipe { divisor, ..self }
    }

    /// The same with other clipping.
    pub fn with_clip(self, clip: Clip) -> Self {
        Recipe { clip, ..self }
    }

    /// Returns the same recipe with another learning rate.
    pub fn with_learning_rate(self, learning_rate: f64) -> Self {
        Recipe { learning_rate, ..self }
    }

    /// Returns the same recipe with another optimizer and learning rate.
    pub fn with_optimizer(self, optimizer: Optimizer, learning_rate: f64) -> Self {
        Recipe { optimizer, learning_rate, ..self }
    }

    /// The same with another schedule.
    pub fn with_schedule(self, schedule: LearningRateSchedule) -> Self {
        Recipe { schedule, ..self }
    }

    /// The same with so many steps of a linear rise in front of the schedule, which begins after them: at step s of W
    /// the rate is s / W of the schedule's first, where PyTorch's `LinearLR` in a `SequentialLR` takes s / W of the
    /// full rate.
    ///
    /// ```
    /// use recurrent::{LearningRateSchedule, Loss, Recipe};
    /// let schedule = LearningRateSchedule::Exponential { factor: 0.5 };
    /// let recipe = Recipe::new(Loss::CrossEntropy).with_learning_rate(1.0).with_schedule(schedule).with_warm_up(4);
    /// assert_eq!([1, 2, 3, 4, 5, 6].map(|step| recipe.rate(step)), [0.25, 0.5, 0.75, 1.0, 1.0, 0.5]);
    /// ```
    pub fn with_warm_up(self, steps: u64) -> Self {
        Recipe { warm_up: steps, ..self }
    }

    /// The same with a group of parameters that are trained otherwise than the rest, behind the groups there are.
    pub fn with_group(mut self, group: Group) -> Self {
        self.groups.push(group);
        self
    }

    /// The same with a mean of the parameters over the steps, for
    /// [`Trainer::averaged_model`](crate::Trainer::averaged_model_async).
    pub fn with_averaged_weights(self, average: Average) -> Self {
        Recipe { average: Some(average), ..self }
    }

    /// The same with dropout.
    pub fn with_dropout(self, dropout: Dropout) -> Self {
        Recipe { dropout, ..self }
    }

    /// The same with weight decay of these parameters.
    pub fn with_decay_scope(self, decay_scope: DecayScope) -> Self {
        Recipe { decay_scope, ..self }
    }

    /// The same with another choice of the rows of a table that a step changes.
    pub fn with_embedding_update(self, embedding_update: EmbeddingUpdate) -> Self {
        Recipe { embedding_update, ..self }
    }

    /// The same with other memory for the backward pass.
    pub fn with_gradient_checkpointing(self, gradient_checkpointing: GradientCheckpointing) -> Self {
        Recipe { gradient_checkpointing, ..self }
    }

    /// The same, with the gradient measured at every step.
    pub fn with_trace(self) -> Self {
        Recipe { trace: true, ..self }
    }

    /// The same, with the gradients of inputs and of the state before the first step.
    pub fn with_input_gradients(self) -> Self {
        Recipe { input_gradients: true, ..self }
    }

    /// The learning rate of step `step`, counted from 1.
    pub fn rate(&self, step: u64) -> f64 {
        let factor = if step <= self.warm_up {
            step as f64 / self.warm_up.max(1) as f64 * self.schedule.factor(1)
        } else {
            self.schedule.factor(step - self.warm_up)
        };
        (self.learning_rate * factor).min(Self::MAX_RATE)
    }

    /// [`Recipe::check`], and whether a network has what is dropped.
    pub(crate) fn check_for(&self, config: &Config) -> Result<()> {
        self.check()?;
        self.check_losses(config)?;
        if !self.groups.is_empty() {
            numbers(&self.groups, &Layout::new(config)?)?;
        }
        if self.dropout.outputs > 0.0 && config.recurrent_layers().count() == 1 {
            let p = self.dropout.outputs;
            return Err(Error::Config(format!(
                "dropout between layers is {p}, but the network has one recurrent layer; expected 0, or at least \
                two"
            )));
        }
        if self.embedding_update == EmbeddingUpdate::Lazy {
            let expected = "expected EmbeddingUpdate::Exact";
            if config.tied {
                return Err(Error::Config(format!(
                    "only the rows of the embedding that occur are to be updated (EmbeddingUpdate::Lazy), but the \
                    read-out is tied to it, so that all have a gradient; {expected}"
                )));
            }
            if !config.has_table() {
                return Err(Error::Config(format!(
                    "only the rows of a table that occur are to be updated (EmbeddingUpdate::Lazy), but the network \
                    has neither an embedding nor a column of tokens; {expected}"
                )));
            }
        }
        if self.gradient_checkpointing != GradientCheckpointing::None
            && let Some(layer) = config.read_from_end()
        {
            let asked = self.gradient_checkpointing;
            return Err(Error::Config(format!(
                "gradients are checkpointed ({asked:?}), but {layer}, and starts where the last segment ends; \
                expected GradientCheckpointing::None, or layers that read forwards"
            )));
        }
        Ok(())
    }

    /// Checks that the network's heads are those that have a loss, and that each can be the loss of its read-out.
    pub(crate) fn check_losses(&self, config: &Config) -> Result<()> {
        self.check_heads(config)?;
        for read_out in config.read_outs() {
            let Some(loss) = self.loss_of(read_out.name) else { continue };
            loss.check(read_out.outputs).and_then(|()| check_rows(loss, read_out)).map_err(|error| {
                match read_out.name {
                    None => error,
                    Some(name) => error.inside(&format!("head `{name}`")),
                }
            })?;
        }
        Ok(())
    }

    /// Checks that the network's heads are those that have a loss.
    fn check_heads(&self, config: &Config) -> Result<()> {
        for (at, HeadLoss { name, .. }) in self.heads.iter().enumerate() {
            if self.heads[..at].iter().any(|other| other.name == *name) {
                return Err(Error::Config(format!("the recipe has two losses of a head `{name}`, expected one")));
            }
            if !config.heads.iter().any(|head| head.name == *name) {
                let heads: Vec<&str> = config.heads.iter().map(|head| head.name.as_str()).collect();
                return Err(Error::Config(format!(
                    "the recipe has a loss of a head `{name}`, but the network's heads are {heads:?}"
                )));
            }
        }
        match config.heads.iter().find(|head| self.head(&head.name).is_none()) {
            None => Ok(()),
            Some(head) => Err(Error::Config(format!(
                "the network has a head `{}`, but the recipe has no loss of it; expected Recipe::with_head",
                head.name
            ))),
        }
    }

    /// The loss of a read-out, the network's own or a head's.
    pub(crate) fn loss_of(&self, head: Option<&str>) -> Option<&Loss> {
        head.map_or(Some(&self.loss), |name| self.head(name).map(|head| &head.loss))
    }

    /// Whether the loss of a read-out is the caller's.
    pub(crate) fn is_external(&self) -> bool {
        std::iter::once(&self.loss).chain(self.heads.iter().map(|head| &head.loss)).any(|loss| *loss == Loss::External)
    }

    /// The weight of the loss of a read-out, the network's own or a head.
    pub(crate) fn weight(&self, head: Option<&str>) -> f64 {
        head.and_then(|name| self.head(name)).map_or(1.0, |head| head.weight)
    }

    /// The loss of a head.
    pub(crate) fn head(&self, name: &str) -> Option<&HeadLoss> {
        self.heads.iter().find(|head| head.name == name)
    }

    pub(crate) fn is_lazy(&self) -> bool {
        self.embedding_update == EmbeddingUpdate::Lazy
    }

    pub(crate) fn check(&self) -> Result<()> {
        for HeadLoss { name, weight, .. } in &self.heads {
            at_most(&format!("the weight of the loss of head `{name}`"), *weight, HeadLoss::MAX_WEIGHT)?;
        }
        at_most("the learning rate", self.learning_rate, Self::MAX_RATE)?;
        fraction("dropout between layers", self.dropout.outputs)?;
        fraction("dropout of inputs", self.dropout.inputs)?;
        fraction("dropout of the hidden state", self.dropout.hidden)?;
        fraction("dropout of the recurrent weights", self.dropout.weights)?;
        if self.gradient_checkpointing == GradientCheckpointing::Steps(0) {
            return Err(Error::Config("gradients are checkpointed every 0 steps, expected at least 1".to_owned()));
        }
        self.clip.check("the clipping bound")?;
        self.optimizer.check(self.learning_rate)?;
        group::check(&self.groups, self.optimizer, self.learning_rate)?;
        self.average.map_or(Ok(()), Average::check)?;
        self.schedule.check()
    }
}

/// Checks that a read-out has the rows that a loss is of.
fn check_rows(loss: &Loss, read_out: ReadOut<'_>) -> Result<()> {
    match (loss.targets(), read_out.rows) {
        (TargetKind::Sequences, Rows::Sequences) => Err(Error::Config(
            "the loss (ctc) is of the outputs of all steps, but there is a pool below the read-out; expected a network \
             or a head that is read out at every step"
                .to_owned(),
        )),
        _ => Ok(()),
    }
}

/// What a file leaves out.
fn is_none(steps: &u64) -> bool {
    *steps == 0
}

/// Checks that a number is above 0, in f32 too, where one that is too small becomes 0 and one that is too large
/// infinite.
fn positive(what: &str, v: f64) -> Result<()> {
    if v > 0.0 && (v as f32).is_normal() {
        Ok(())
    } else {
        Err(Error::Config(format!("{what} is {v}, expected a number above 0 that f32 can hold")))
    }
}

/// Checks that a number is at least 0 and below 1, in f32 too, where one just below 1 becomes 1.
fn fraction(what: &str, v: f64) -> Result<()> {
    if v >= 0.0 && (v as f32) < 1.0 {
        Ok(())
    } else {
        Err(Error::Config(format!("{what} is {v}, expected at least 0 and, in f32, below 1")))
    }
}

/// Checks that a number is above 0 and no more than `most`.
fn at_most(what: &str, v: f64, most: f64) -> Result<()> {
    positive(what, v)?;
    if v <= most { Ok(()) } else { Err(Error::Config(format!("{what} is {v:e}, expected at most {most:e}"))) }
}
