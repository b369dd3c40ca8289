//! The rule by which a gradient becomes an update.
//!
//! The contract: an optimiser is a variant, its record, a shader with its rule, its settings in
//! `gpu/kernels/optimizer.rs` and its twin in `cpu/optimizer.rs`.

use serde::{Deserialize, Serialize};

use super::{fraction, positive};
use crate::error::{Error, Result};

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
    /// Nesterov's momentum, as PyTorch's `SGD(nesterov=True)`: v ← μ·v + g, θ ← θ − η·(g + μ·v) (Sutskever et al.
    /// 2013).
    Nesterov {
        /// μ.
        momentum: f64,
    },
    /// v ← v + g², θ ← θ − η·g / (√v + ε) (Duchi, Hazan & Singer 2011). The steps become ever shorter.
    Adagrad {
        /// ε.
        epsilon: f64,
    },
    /// Adam whose second moment is the largest that there was so far (Reddi, Kale & Kumar 2018), with decoupled weight
    /// decay. It keeps three moments.
    AmsGrad {
        /// β₁.
        beta1: f64,
        /// β₂.
        beta2: f64,
        /// ε.
        epsilon: f64,
        /// λ, as Adam's.
        weight_decay: f64,
    },
    /// Adam whose first steps, while the second moment is of too few gradients to be trusted, do without it, and whose
    /// later ones are rectified for what it is still off by (Liu et al. 2020); with decoupled weight decay.
    RAdam {
        /// β₁.
        beta1: f64,
        /// β₂.
        beta2: f64,
        /// ε.
        epsilon: f64,
        /// λ, as Adam's.
        weight_decay: f64,
    },
    /// θ ← θ − η·sign(β₁·m + (1 − β₁)·g), m ← β₂·m + (1 − β₂)·g, with decoupled weight decay (Chen et al. 2023). All
    /// elements move by the rate, so it wants one of about a tenth of Adam's, and a decay ten times Adam's.
    Lion {
        /// β₁, of the step.
        beta1: f64,
        /// β₂, of the moment.
        beta2: f64,
        /// λ, as Adam's.
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

    /// Gradient descent with Nesterov's momentum.
    pub fn nesterov(momentum: f64) -> Self {
        Optimizer::Nesterov { momentum }
    }

    /// Adagrad with ε 1e-10.
    pub fn adagrad() -> Self {
        Optimizer::Adagrad { epsilon: 1e-10 }
    }

    /// AMSGrad with Adam's β and ε.
    pub fn ams_grad(weight_decay: f64) -> Self {
        Optimizer::AmsGrad { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay }
    }

    /// RAdam with Adam's β and ε.
    pub fn r_adam(weight_decay: f64) -> Self {
        Optimizer::RAdam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay }
    }

    /// Lion with β 0.9 and 0.99.
    pub fn lion(weight_decay: f64) -> Self {
        Optimizer::Lion { beta1: 0.9, beta2: 0.99, weight_decay }
    }

    /// How many moments it keeps for every parameter.
    pub fn moment_count(self) -> usize {
        self.record().moments.iter().sum()
    }

    pub(crate) const fn record(self) -> OptimizerRecord {
        match self {
            Optimizer::Sgd { .. } => OptimizerRecord { name: "sgd", moments: &[1], flops: 5 },
            Optimizer::RmsProp { .. } => OptimizerRecord { name: "rms prop", moments: &[1], flops: 10 },
            Optimizer::Adam { .. } => OptimizerRecord { name: "adam", moments: &[1, 1], flops: 15 },
            Optimizer::Nesterov { .. } => OptimizerRecord { name: "nesterov", moments: &[1], flops: 7 },
            Optimizer::Adagrad { .. } => OptimizerRecord { name: "adagrad", moments: &[1], flops: 8 },
            Optimizer::AmsGrad { .. } => OptimizerRecord { name: "ams grad", moments: &[1, 2], flops: 16 },
            Optimizer::RAdam { .. } => OptimizerRecord { name: "r adam", moments: &[1, 1], flops: 15 },
            Optimizer::Lion { .. } => OptimizerRecord { name: "lion", moments: &[1], flops: 12 },
        }
    }

    /// λ, of those that have one.
    pub(crate) const fn weight_decay(self) -> Option<f64> {
        match self {
            Optimizer::Adam { weight_decay, .. }
            | Optimizer::AmsGrad { weight_decay, .. }
            | Optimizer::RAdam { weight_decay, .. }
            | Optimizer::Lion { weight_decay, .. } => Some(weight_decay),
            Optimizer::Sgd { .. }
            | Optimizer::RmsProp { .. }
            | Optimizer::Nesterov { .. }
            | Optimizer::Adagrad { .. } => None,
        }
    }

    /// Checks its settings, at this full learning rate.
    pub(super) fn check(self, rate: f64) -> Result<()> {
        let name = self.record().name;
        match self {
            Optimizer::Sgd { momentum } | Optimizer::Nesterov { momentum } => fraction("momentum", momentum)?,
            Optimizer::RmsProp { alpha, epsilon } => {
                fraction("RMSprop's alpha", alpha)?;
                positive("RMSprop's epsilon", epsilon)?;
            }
            Optimizer::Adagrad { epsilon } => positive("Adagrad's epsilon", epsilon)?,
            Optimizer::Adam { beta1, beta2, epsilon, .. } => {
                fraction("Adam's beta1", beta1)?;
                fraction("Adam's beta2", beta2)?;
                positive("Adam's epsilon", epsilon)?;
            }
            Optimizer::AmsGrad { beta1, beta2, epsilon, .. } | Optimizer::RAdam { beta1, beta2, epsilon, .. } => {
                fraction(&format!("beta1 of {name}"), beta1)?;
                fraction(&format!("beta2 of {name}"), beta2)?;
                positive(&format!("epsilon of {name}"), epsilon)?;
            }
            Optimizer::Lion { beta1, beta2, .. } => {
                fraction("Lion's beta1", beta1)?;
                fraction("Lion's beta2", beta2)?;
            }
        }
        check_decay("weight decay", self.weight_decay().unwrap_or(0.0), rate)
    }

    /// What its rule divides or multiplies by at step t, counted from 1: of Adam and AMSGrad 1 − β₁ᵗ and 1 − β₂ᵗ; of
    /// RAdam 1 − β₁ᵗ and r·√(1 − β₂ᵗ) with the rectification r, or 0 where the step does without the second moment; 1
    /// elsewhere.
    pub(crate) fn corrections(self, step: u64) -> [f64; 2] {
        let power = |beta: f64| beta.powi(i32::try_from(step).unwrap_or(i32::MAX));
        match self {
            Optimizer::Adam { beta1, beta2, .. } | Optimizer::AmsGrad { beta1, beta2, .. } => {
                [1.0 - power(beta1), 1.0 - power(beta2)]
            }
            Optimizer::RAdam { beta1, beta2, .. } => {
                // The length of the moving average and its limit (their equation 5); above 5 its variance is tractable
                // enough, as PyTorch has it.
                let correction = 1.0 - power(beta2);
                let limit = 2.0 / (1.0 - beta2) - 1.0;
                let length = limit - 2.0 * step as f64 * power(beta2) / correction;
                let rectified = if length > 5.0 {
                    let part = |length: f64| (length - 4.0) * (length - 2.0) / length;
                    (part(length) / part(limit) * correction).sqrt()
                } else {
                    0.0
                };
                [1.0 - power(beta1), rectified]
            }
            _ => [1.0, 1.0],
        }
    }
}

/// Checks that a weight decay carries no weight past zero at this learning rate.
pub(super) fn check_decay(what: &str, decay: f64, rate: f64) -> Result<()> {
    if decay >= 0.0 && decay * rate <= 1.0 {
        return Ok(());
    }
    Err(Error::Config(format!(
        "{what} is {decay:e}, expected at least 0 and, at a learning rate of {rate:e}, at most {:e}: more would carry \
        a weight past zero",
        rate.recip()
    )))
}

/// What a plan knows of an optimiser.
pub(crate) struct OptimizerRecord {
    /// What it is called in printed plans and profiles.
    pub name: &'static str,
    /// Of each tensor of moments, how many it holds of every parameter, one `[flat]` behind the other: a kernel binds
    /// two such tensors at most.
    pub moments: &'static [usize],
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
    /// The weights and an embedding's table: neither biases nor learned initial states, which say where things lie and
    /// not how much inputs count, nor a norm's gain.
    #[default]
    Weights,
    /// All of them, as PyTorch's AdamW does where nobody makes groups.
    All,
}

/// Which rows of a table, an embedding's or a column's, a step changes.
///
/// A step reads few rows of a large table, and the gradient of all others is zero. A rule that remembers changes those
/// as well: their moments decay, and what these still hold moves them on.
///
/// ```
/// use recurrent::{EmbeddingUpdate, Loss, Recipe};
/// // A hundred thousand words, of which a step reads some hundreds.
/// let recipe = Recipe::new(Loss::CrossEntropy).with_embedding_update(EmbeddingUpdate::Lazy);
/// # assert_eq!(recipe.embedding_update, EmbeddingUpdate::Lazy);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(rename_all = "snake_case")]
pub enum EmbeddingUpdate {
    /// All of them, as the rule says. What a step costs grows with the number of rows.
    #[default]
    Exact,
    /// Those that a valid step reads, but for the padding's; all others and their moments stay bit for bit as they are,
    /// and no weight decays that does not occur. What a step costs does not depend on the number of rows. Of Adam it is
    /// PyTorch's `SparseAdam`; of gradient descent without momentum and decay it is the same as `Exact`. A read-out
    /// that is tied to the table has a gradient of every row, so there it is an error.
    Lazy,
}

impl EmbeddingUpdate {
    /// Whether it is the one that a file says nothing of.
    pub(super) fn is_exact(&self) -> bool {
        *self == EmbeddingUpdate::Exact
    }
}
