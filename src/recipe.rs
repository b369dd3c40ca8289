//! How a network is trained: loss, clipping, optimiser, learning rate, dropout, and the precision it is stored in.
//!
//! The contract: it is plain data, which every checkpoint stores, and a setting out of its range is an error before
//! anything is made by it.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::model::{Config, Directions};

/// What is minimised: a mean over the positions that count.
///
/// ```
/// use recurrent::{Loss, recipe::TargetKind};
/// assert_eq!(Loss::CrossEntropy.targets(), TargetKind::Classes);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// −ln softmax(y)\[target\], in nats, against class ids.
    CrossEntropy,
    /// (y − target)², against real numbers; a position's loss is the mean over its O outputs, as in PyTorch.
    MeanSquared,
}

/// Hands the table of losses to another macro: for each the name of its shader, and which loss it is.
#[cfg(feature = "gpu")]
macro_rules! losses {
    ($make:ident) => {
        $make! {
            cross_entropy: $crate::recipe::Loss::CrossEntropy,
            mean_squared: $crate::recipe::Loss::MeanSquared,
        }
    };
}
#[cfg(feature = "gpu")]
pub(crate) use losses;

/// What a loss compares the outputs with.
///
/// ```
/// use recurrent::{Loss, recipe::TargetKind};
/// assert_eq!(Loss::MeanSquared.targets(), TargetKind::Values);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TargetKind {
    /// A class id for each position.
    Classes,
    /// A real number for each output of a position.
    Values,
}

/// What a plan knows of a loss.
pub(crate) struct LossRecord {
    /// What it is called in printed plans and profiles.
    pub name: &'static str,
    pub targets: TargetKind,
    /// How often a kernel goes over the outputs of a position.
    pub passes: u64,
}

impl Loss {
    /// Returns what it compares the outputs with.
    pub fn targets(self) -> TargetKind {
        self.record().targets
    }

    pub(crate) const fn record(self) -> LossRecord {
        match self {
            Loss::CrossEntropy => LossRecord { name: "cross entropy", targets: TargetKind::Classes, passes: 3 },
            Loss::MeanSquared => LossRecord { name: "mean squared", targets: TargetKind::Values, passes: 1 },
        }
    }
}

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

/// The rule of the update.
///
/// ```
/// use recurrent::{Loss, Optimizer, Recipe};
/// let recipe = Recipe::new(Loss::CrossEntropy).with_optimizer(Optimizer::adam_w(0.01), 1e-3);
/// assert_eq!(recipe.optimizer.moment_count(), 2);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(rename_all = "snake_case")]
pub enum Optimizer {
    /// v ← μ·v + g, θ ← θ − η·v.
    Sgd {
        /// μ; 0 for plain gradient descent.
        momentum: f64,
    },
    /// v ← α·v + (1 − α)·g², θ ← θ − η·g / (√v + ε) (Tieleman & Hinton 2012).
    RmsProp {
        /// α.
        alpha: f64,
        /// ε.
        epsilon: f64,
    },
    /// Adam (Kingma & Ba 2015), with the decoupled weight decay of AdamW (Loshchilov & Hutter 2019).
    Adam {
        /// β₁.
        beta1: f64,
        /// β₂.
        beta2: f64,
        /// ε.
        epsilon: f64,
        /// λ: θ ← max(1 − η·λ, 0)·θ before each update; 0 is plain Adam. At most 1 / η of the full learning rate.
        weight_decay: f64,
    },
}

impl Optimizer {
    /// Gradient descent with momentum.
    pub fn sgd(momentum: f64) -> Self {
        Optimizer::Sgd { momentum }
    }

    /// RMSprop with α 0.99 and ε 1e-8.
    pub fn rms_prop() -> Self {
        Optimizer::RmsProp { alpha: 0.99, epsilon: 1e-8 }
    }

    /// Adam with β 0.9 and 0.999 and ε 1e-8.
    pub fn adam() -> Self {
        Self::adam_w(0.0)
    }

    /// Adam with decoupled weight decay.
    pub fn adam_w(weight_decay: f64) -> Self {
        Optimizer::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay }
    }

    /// How many moments it keeps for every parameter.
    pub fn moment_count(self) -> usize {
        self.record().moments
    }

    pub(crate) const fn record(self) -> OptimizerRecord {
        match self {
            Optimizer::Sgd { .. } => OptimizerRecord { name: "sgd", moments: 1, flops: 5 },
            Optimizer::RmsProp { .. } => OptimizerRecord { name: "rms prop", moments: 1, flops: 10 },
            Optimizer::Adam { .. } => OptimizerRecord { name: "adam", moments: 2, flops: 15 },
        }
    }

    /// 1 − β₁ᵗ and 1 − β₂ᵗ, by which Adam's moments are divided at step t (counted from 1); 1 elsewhere.
    pub(crate) fn corrections(self, step: u64) -> [f64; 2] {
        match self {
            Optimizer::Adam { beta1, beta2, .. } => {
                let step = i32::try_from(step).unwrap_or(i32::MAX);
                [1.0 - beta1.powi(step), 1.0 - beta2.powi(step)]
            }
            _ => [1.0, 1.0],
        }
    }
}

/// What a plan knows of an optimiser.
pub(crate) struct OptimizerRecord {
    /// What it is called in printed plans and profiles.
    pub name: &'static str,
    /// How many moments it keeps for every parameter.
    pub moments: usize,
    /// Floating-point operations for every parameter, with the clip's one.
    pub flops: u64,
}

/// Which parameters an optimiser's weight decay shrinks, if it has one.
///
/// ```
/// use recurrent::{DecayScope, Loss, Optimizer, Recipe};
/// let recipe = Recipe::new(Loss::CrossEntropy).with_optimizer(Optimizer::adam_w(0.1), 1e-3);
/// let recipe = recipe.with_decay_scope(DecayScope::All); // biases too
/// # assert_eq!(recipe.decay_scope, DecayScope::All);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(rename_all = "snake_case")]
pub enum DecayScope {
    /// The weights: neither biases nor learned initial states, which say where things lie and not how much inputs
    /// count.
    #[default]
    Weights,
    /// All of them, as PyTorch's AdamW does where nobody makes groups.
    All,
}

/// The learning rate as a plain function of the step.
///
/// ```
/// use recurrent::{LearningRateSchedule, Loss, Recipe};
/// let schedule = LearningRateSchedule::Cosine { warm_up: 100, total: 1000, floor: 0.0 };
/// let recipe = Recipe::new(Loss::CrossEntropy).with_learning_rate(1e-2).with_schedule(schedule);
/// assert!(recipe.rate(10) < recipe.rate(100) && recipe.rate(900) < recipe.rate(100));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(rename_all = "snake_case")]
pub enum LearningRateSchedule {
    /// The same at every step.
    Constant,
    /// Multiplied by `factor` every `every` steps, from step `after` on.
    StepDecay {
        /// Steps that keep the full rate.
        after: u64,
        /// Steps between two multiplications.
        every: u64,
        /// What it is multiplied by; with more than 1 the rate grows, to [`Recipe::MAX_RATE`] at the most.
        factor: f64,
    },
    /// A linear rise over `warm_up` steps, then half a cosine down to `floor` times the rate at step `total`
    /// (Loshchilov & Hutter 2017).
    Cosine {
        /// Steps of the rise.
        warm_up: u64,
        /// The step at which the floor is reached.
        total: u64,
        /// The last rate as a fraction of the full one.
        floor: f64,
    },
}

impl LearningRateSchedule {
    /// The factor on the learning rate at step `step`, counted from 1.
    pub fn factor(self, step: u64) -> f64 {
        let done = step.saturating_sub(1);
        match self {
            LearningRateSchedule::Constant => 1.0,
            LearningRateSchedule::StepDecay { after, every, factor } => {
                let times = if done < after { 0 } else { (done - after) / every.max(1) + 1 };
                factor.powi(i32::try_from(times).unwrap_or(i32::MAX))
            }
            LearningRateSchedule::Cosine { warm_up, .. } if done < warm_up => step as f64 / warm_up as f64,
            LearningRateSchedule::Cosine { warm_up, total, floor } => {
                let length = total.saturating_sub(warm_up).max(1);
                let at = ((step - warm_up) as f64 / length as f64).min(1.0);
                floor + (1.0 - floor) * 0.5 * (1.0 + (std::f64::consts::PI * at).cos())
            }
        }
    }
}

/// What is left out at random in training, each with a probability p, while what is kept is multiplied by 1 / (1 − p).
///
/// Masks are a function of the seed, the step and the position, the same on every executor, so a training repeats and
/// resumes exactly. Evaluation and inference drop nothing.
///
/// ```
/// use recurrent::{Dropout, Loss, Recipe};
/// // A tenth of the inputs and of the hidden state, the same ones at all steps; a fifth between the layers.
/// let dropout = Dropout::variational(0.1, 0.1).with_outputs(0.2).with_seed(7);
/// let recipe = Recipe::new(Loss::CrossEntropy).with_dropout(dropout);
/// # assert_eq!(recipe.dropout, dropout);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(deny_unknown_fields)]
pub struct Dropout {
    /// Of what a layer hands to the next, every element by itself, as PyTorch's `dropout` (Srivastava et al. 2014).
    pub outputs: f64,
    /// Of what the first layer reads, with one mask for all steps of a window; a token is dropped as a whole (Gal &
    /// Ghahramani 2016).
    pub inputs: f64,
    /// Of h_(t-1) where it is multiplied with U, with one mask for all steps of a window (Gal & Ghahramani 2016).
    pub hidden: f64,
    /// Where the drawing starts.
    pub seed: u64,
}

impl Dropout {
    /// Nothing is left out.
    pub const NONE: Dropout = Dropout { outputs: 0.0, inputs: 0.0, hidden: 0.0, seed: 0 };

    /// Between layers, with this probability.
    pub fn between_layers(p: f64) -> Self {
        Dropout { outputs: p, ..Self::NONE }
    }

    /// Variational: on inputs and on the hidden state, with these probabilities.
    pub fn variational(inputs: f64, hidden: f64) -> Self {
        Dropout { inputs, hidden, ..Self::NONE }
    }

    /// The same, and between layers with this probability.
    pub fn with_outputs(self, p: f64) -> Self {
        Dropout { outputs: p, ..self }
    }

    /// Whether anything is left out.
    pub(crate) fn is_none(&self) -> bool {
        [self.outputs, self.inputs, self.hidden] == [0.0; 3]
    }

    /// The same, drawn from another seed.
    pub fn with_seed(self, seed: u64) -> Self {
        Dropout { seed, ..self }
    }
}

/// What of the forward pass is kept for the backward pass (gradient checkpointing: Chen et al. 2016; of recurrent
/// networks: Gruslys et al. 2016).
///
/// A window of T steps is cut into segments. The states between them are kept, and gates and histories of one segment
/// alone: going back, each segment but the last is computed once more. That is about one forward pass more, for the
/// memory of one segment in place of T steps. The gradient is the same, up to the rounding of its sums. Inputs, and the
/// outputs that are read out at every step, are not cut.
///
/// ```
/// use recurrent::{GradientCheckpointing, Loss, Recipe};
/// // Memory for about √T steps in place of T.
/// let recipe = Recipe::new(Loss::CrossEntropy).with_gradient_checkpointing(GradientCheckpointing::Sqrt);
/// # assert_eq!(recipe.gradient_checkpointing, GradientCheckpointing::Sqrt);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(rename_all = "snake_case")]
pub enum GradientCheckpointing {
    /// All steps.
    #[default]
    None,
    /// Segments of √T steps, rounded up: gates and histories of √T steps and the states at √T borders are held in place
    /// of gates and histories of T steps.
    Sqrt,
    /// Segments of so many steps, at least 1; a window that is no longer is kept whole. Longer ones where there would
    /// be more than 1024 of them: then the states between them, and the plan itself, would take more memory than is
    /// spared.
    Steps(usize),
}

/// The most segments of a window. Of a million steps √T is as many.
const MAX_SEGMENTS: usize = 1024;

impl GradientCheckpointing {
    /// The steps of a segment of a window of so many steps.
    pub(crate) fn segment(self, steps: usize) -> usize {
        match self {
            GradientCheckpointing::None => steps,
            GradientCheckpointing::Sqrt => steps.isqrt() + usize::from(steps.isqrt().pow(2) < steps),
            GradientCheckpointing::Steps(segment) => segment.max(steps.div_ceil(MAX_SEGMENTS)).clamp(1, steps.max(1)),
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

/// How a network is trained.
///
/// ```
/// use recurrent::{Clip, Loss, Optimizer, Recipe};
/// let recipe = Recipe::new(Loss::CrossEntropy) // Adam, a rate of 2e-3, the gradient clipped to a norm of 5
///     .with_optimizer(Optimizer::sgd(0.9), 0.05)
///     .with_clip(Clip::Norm(1.0));
/// assert_eq!(recipe.rate(1), 0.05);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// What is minimised.
    pub loss: Loss,
    /// What is done to the gradient.
    pub clip: Clip,
    /// The rule of the update.
    pub optimizer: Optimizer,
    /// η, the full learning rate, at most [`Recipe::MAX_RATE`].
    pub learning_rate: f64,
    /// How the rate changes with the step.
    pub schedule: LearningRateSchedule,
    /// What is left out at random.
    pub dropout: Dropout,
    /// What the optimiser's weight decay shrinks.
    #[serde(alias = "decay")]
    pub decay_scope: DecayScope,
    /// What is kept for the backward pass.
    #[serde(alias = "checkpointing")]
    pub gradient_checkpointing: GradientCheckpointing,
    /// Whether the backward pass measures the gradient at every step, for
    /// [`Trainer::trace_async`](crate::Trainer::trace_async) to say: one more dispatch a layer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub trace: bool,
}

impl Recipe {
    /// The highest learning rate that may be given, and at which one that grows by its schedule stays. A gradient that
    /// was clipped to a norm, times this rate, is a number that f32 can hold, with any momentum.
    pub const MAX_RATE: f64 = 1e15;

    /// Adam at a rate of 2e-3, the gradient clipped to a norm of 5.
    pub fn new(loss: Loss) -> Self {
        Recipe {
            loss,
            clip: Clip::Norm(5.0),
            optimizer: Optimizer::adam(),
            learning_rate: 2e-3,
            schedule: LearningRateSchedule::Constant,
            dropout: Dropout::NONE,
            decay_scope: DecayScope::Weights,
            gradient_checkpointing: GradientCheckpointing::None,
            trace: false,
        }
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

    /// The same with dropout.
    pub fn with_dropout(self, dropout: Dropout) -> Self {
        Recipe { dropout, ..self }
    }

    /// The same with weight decay of these parameters.
    pub fn with_decay_scope(self, decay_scope: DecayScope) -> Self {
        Recipe { decay_scope, ..self }
    }

    /// The same with other memory for the backward pass.
    pub fn with_gradient_checkpointing(self, gradient_checkpointing: GradientCheckpointing) -> Self {
        Recipe { gradient_checkpointing, ..self }
    }

    /// The same, with the gradient measured at every step.
    pub fn with_trace(self) -> Self {
        Recipe { trace: true, ..self }
    }

    /// The learning rate of step `step`, counted from 1.
    pub fn rate(&self, step: u64) -> f64 {
        (self.learning_rate * self.schedule.factor(step)).min(Self::MAX_RATE)
    }

    /// [`Recipe::check`], and whether a network has what is dropped.
    pub(crate) fn check_for(&self, config: &Config) -> Result<()> {
        self.check()?;
        if self.dropout.outputs > 0.0 && config.layers == 1 {
            let p = self.dropout.outputs;
            return Err(Error::Config(format!(
                "dropout between layers is {p}, but the network has one layer; expected 0, or at least two layers"
            )));
        }
        if self.gradient_checkpointing != GradientCheckpointing::None && config.directions == Directions::Bidirectional
        {
            let asked = self.gradient_checkpointing;
            return Err(Error::Config(format!(
                "gradients are checkpointed ({asked:?}), but the network reads both ways: the second direction starts \
                where the last segment ends; expected GradientCheckpointing::None, or a network of one direction"
            )));
        }
        Ok(())
    }

    pub(crate) fn check(&self) -> Result<()> {
        let positive = |what: &str, v: f64| {
            // In f32 too, where a number that is too small becomes 0 and one that is too large infinite.
            if v > 0.0 && (v as f32).is_normal() {
                Ok(())
            } else {
                Err(Error::Config(format!("{what} is {v}, expected a number above 0 that f32 can hold")))
            }
        };
        let fraction = |what: &str, v: f64| {
            // In f32 too, where a number just below 1 becomes 1.
            if v >= 0.0 && (v as f32) < 1.0 {
                Ok(())
            } else {
                Err(Error::Config(format!("{what} is {v}, expected at least 0 and, in f32, below 1")))
            }
        };
        let at_most = |what: &str, v: f64, most: f64| {
            positive(what, v)?;
            if v <= most { Ok(()) } else { Err(Error::Config(format!("{what} is {v:e}, expected at most {most:e}"))) }
        };
        at_most("the learning rate", self.learning_rate, Self::MAX_RATE)?;
        fraction("dropout between layers", self.dropout.outputs)?;
        fraction("dropout of inputs", self.dropout.inputs)?;
        fraction("dropout of the hidden state", self.dropout.hidden)?;
        if self.gradient_checkpointing == GradientCheckpointing::Steps(0) {
            return Err(Error::Config("gradients are checkpointed every 0 steps, expected at least 1".to_owned()));
        }
        match self.clip {
            Clip::None => {}
            Clip::Norm(v) | Clip::Value(v) => positive("the clipping bound", v)?,
            Clip::Normalize(v) => at_most("the clipping bound", v, MAX_NORM)?,
        }
        match self.optimizer {
            Optimizer::Sgd { momentum } => fraction("momentum", momentum)?,
            Optimizer::RmsProp { alpha, epsilon } => {
                fraction("RMSprop's alpha", alpha)?;
                positive("RMSprop's epsilon", epsilon)?;
            }
            Optimizer::Adam { beta1, beta2, epsilon, weight_decay } => {
                fraction("Adam's beta1", beta1)?;
                fraction("Adam's beta2", beta2)?;
                positive("Adam's epsilon", epsilon)?;
                let rate = self.learning_rate;
                if !(weight_decay >= 0.0 && weight_decay * rate <= 1.0) {
                    return Err(Error::Config(format!(
                        "weight decay is {weight_decay:e}, expected at least 0 and, at a learning rate of {rate:e}, at \
                        most {:e}: more would carry a weight past zero",
                        rate.recip()
                    )));
                }
            }
        }
        match self.schedule {
            LearningRateSchedule::Constant => {}
            LearningRateSchedule::StepDecay { every, factor, .. } => {
                positive("the decay of the learning rate", factor)?;
                if every == 0 {
                    return Err(Error::Config("the learning rate decays every 0 steps, expected at least 1".into()));
                }
            }
            LearningRateSchedule::Cosine { floor, .. } => {
                if !(0.0..=1.0).contains(&floor) {
                    return Err(Error::Config(format!("the cosine's floor is {floor}, expected 0 to 1")));
                }
            }
        }
        Ok(())
    }
}
