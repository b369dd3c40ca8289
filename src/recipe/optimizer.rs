//! The rule by which a gradient becomes an update.
//!
//! The contract: an optimiser is a variant, its record, a shader with its rule, its settings in
//! `gpu/kernels/optimizer.rs` and its twin in `cpu/update.rs`.

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

    /// Checks its settings, at this full learning rate.
    pub(super) fn check(self, rate: f64) -> Result<()> {
        match self {
            Optimizer::Sgd { momentum } => fraction("momentum", momentum)?,
            Optimizer::RmsProp { alpha, epsilon } => {
                fraction("RMSprop's alpha", alpha)?;
                positive("RMSprop's epsilon", epsilon)?;
            }
            Optimizer::Adam { beta1, beta2, epsilon, weight_decay } => {
                fraction("Adam's beta1", beta1)?;
                fraction("Adam's beta2", beta2)?;
                positive("Adam's epsilon", epsilon)?;

                if !(weight_decay >= 0.0 && weight_decay * rate <= 1.0) {
                    return Err(Error::Config(format!(
                        "weight decay is {weight_decay:e}, expected at least 0 and, at a learning rate of {rate:e}, at \
                        most {:e}: more would carry a weight past zero",
                        rate.recip()
                    )));
                }
            }
        }
        Ok(())
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
