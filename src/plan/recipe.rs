//! How a network is trained: loss, clipping, optimiser and learning rate. Plain data, stored in every checkpoint.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// What is minimised: a mean over the positions that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// −ln softmax(y)\[target\], in nats, against class ids.
    CrossEntropy,
    /// (y − target)², against real numbers; a position's loss is the mean over its O outputs, as in PyTorch.
    MeanSquared,
}

/// What is done to the gradient before the update.
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
    /// Scaled to this global norm, up or down; by 3·10³⁸ at the most.
    Normalize(f64),
}

/// The rule of the update.
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
        /// λ: θ ← θ − η·λ·θ before each update; 0 is plain Adam.
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
    pub fn moments(self) -> usize {
        match self {
            Optimizer::Sgd { .. } | Optimizer::RmsProp { .. } => 1,
            Optimizer::Adam { .. } => 2,
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

/// The learning rate as a plain function of the step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// The same at every step.
    Constant,
    /// Multiplied by `factor` every `every` steps, from step `after` on.
    StepDecay {
        /// Steps that keep the full rate.
        after: u64,
        /// Steps between two multiplications.
        every: u64,
        /// What it is multiplied by.
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

impl Schedule {
    /// The factor on the learning rate at step `step`, counted from 1.
    pub fn factor(self, step: u64) -> f64 {
        let done = step.saturating_sub(1);
        match self {
            Schedule::Constant => 1.0,
            Schedule::StepDecay { after, every, factor } => {
                let times = if done < after { 0 } else { (done - after) / every.max(1) + 1 };
                factor.powi(i32::try_from(times).unwrap_or(i32::MAX))
            }
            Schedule::Cosine { warm_up, .. } if done < warm_up => step as f64 / warm_up as f64,
            Schedule::Cosine { warm_up, total, floor } => {
                let length = total.saturating_sub(warm_up).max(1);
                let at = ((step - warm_up) as f64 / length as f64).min(1.0);
                floor + (1.0 - floor) * 0.5 * (1.0 + (std::f64::consts::PI * at).cos())
            }
        }
    }
}

/// How a network is trained.
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
    /// η, the full learning rate.
    pub learning_rate: f64,
    /// How the rate changes with the step.
    pub schedule: Schedule,
}

impl Recipe {
    /// Adam at a rate of 2e-3, the gradient clipped to a norm of 5.
    pub fn new(loss: Loss) -> Self {
        Recipe {
            loss,
            clip: Clip::Norm(5.0),
            optimizer: Optimizer::adam(),
            learning_rate: 2e-3,
            schedule: Schedule::Constant,
        }
    }

    /// The same with other clipping.
    pub fn with_clip(self, clip: Clip) -> Self {
        Recipe { clip, ..self }
    }

    /// The same with another optimiser and rate.
    pub fn with_optimizer(self, optimizer: Optimizer, learning_rate: f64) -> Self {
        Recipe { optimizer, learning_rate, ..self }
    }

    /// The same with another schedule.
    pub fn with_schedule(self, schedule: Schedule) -> Self {
        Recipe { schedule, ..self }
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
            if (0.0..1.0).contains(&v) {
                Ok(())
            } else {
                Err(Error::Config(format!("{what} is {v}, expected at least 0 and below 1")))
            }
        };
        positive("the learning rate", self.learning_rate)?;
        match self.clip {
            Clip::None => {}
            Clip::Norm(v) | Clip::Value(v) | Clip::Normalize(v) => positive("the clipping bound", v)?,
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
                if !(weight_decay.is_finite() && weight_decay >= 0.0) {
                    return Err(Error::Config(format!("weight decay is {weight_decay}, expected at least 0")));
                }
            }
        }
        match self.schedule {
            Schedule::Constant => {}
            Schedule::StepDecay { every, factor, .. } => {
                positive("the decay of the learning rate", factor)?;
                if every == 0 {
                    return Err(Error::Config("the learning rate decays every 0 steps, expected at least 1".into()));
                }
            }
            Schedule::Cosine { floor, .. } => {
                if !(0.0..=1.0).contains(&floor) {
                    return Err(Error::Config(format!("the cosine's floor is {floor}, expected 0 to 1")));
                }
            }
        }
        Ok(())
    }
}
