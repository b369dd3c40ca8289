//! The cross-entropy's options.
//!
//! The contract: those that are left as they are cost nothing; two that contradict each other are an error.

use serde::{Deserialize, Serialize};

use super::kind::LossKind;
use super::{check_weights, positive};
use crate::error::{Error, Result};

/// A cross-entropy with options, a [`Loss`](crate::Loss) by `into`.
///
/// With q the probabilities that are expected of the classes, one class or several, and w the classes' weights, a
/// position's loss is −Σ_c w_c·q_c·ln softmax(y)\[c\].
///
/// ```
/// use recurrent::recipe::{CrossEntropy, Divisor};
/// use recurrent::{Loss, Recipe};
/// // As PyTorch's `CrossEntropyLoss(weight=[1, 5], label_smoothing=0.1, ignore_index=9)`.
/// let loss = CrossEntropy::new().with_class_weights([1.0, 5.0]).with_smoothing(0.1).with_ignored(9);
/// let recipe = Recipe::new(loss).with_divisor(Divisor::Weights);
/// # assert!(matches!(recipe.loss, Loss::CrossEntropyWith(_)));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default, deny_unknown_fields)]
pub struct CrossEntropy {
    /// ε: q is (1 − ε)·q + ε / O (Szegedy et al. 2016).
    pub smoothing: f64,
    /// w, one a class; none where all are 1.
    pub class_weights: Vec<f64>,
    /// A class id, among those of the model or not, whose positions do not count.
    pub ignored: Option<u32>,
    /// γ: the loss of a position is multiplied by (1 − p)^γ, p being the probability of its class (Lin et al. 2017).
    pub focus: f64,
    /// Whether targets are `[R, O]` probabilities q in place of class ids; that a row of them adds up to 1 is the
    /// caller's to see to.
    pub soft_targets: bool,
}

impl Default for CrossEntropy {
    fn default() -> Self {
        Self::new()
    }
}

impl CrossEntropy {
    /// Settings before the weights of the classes.
    const BEFORE_WEIGHTS: usize = 2;

    /// That without options, [`Loss::CrossEntropy`](crate::Loss::CrossEntropy).
    pub fn new() -> Self {
        CrossEntropy { smoothing: 0.0, class_weights: Vec::new(), ignored: None, focus: 0.0, soft_targets: false }
    }

    /// The same with this much of every label spread over all classes.
    pub fn with_smoothing(self, smoothing: f64) -> Self {
        CrossEntropy { smoothing, ..self }
    }

    /// The same with weights of the classes. The mean's divisor stays the number of positions, unless the recipe says
    /// [`Divisor::Weights`](crate::recipe::Divisor::Weights).
    pub fn with_class_weights(self, weights: impl Into<Vec<f64>>) -> Self {
        CrossEntropy { class_weights: weights.into(), ..self }
    }

    /// The same with a class id whose positions do not count.
    pub fn with_ignored(self, id: u32) -> Self {
        CrossEntropy { ignored: Some(id), ..self }
    }

    /// The same, focussed by this exponent on positions whose class is found unlikely.
    pub fn with_focus(self, focus: f64) -> Self {
        CrossEntropy { focus, ..self }
    }

    /// The same against `[R, O]` probabilities in place of class ids.
    pub fn with_soft_targets(self) -> Self {
        CrossEntropy { soft_targets: true, ..self }
    }

    pub(super) fn kind(&self) -> LossKind {
        match self {
            CrossEntropy { soft_targets: true, .. } => LossKind::SoftCrossEntropy,
            CrossEntropy { smoothing: 0.0, focus: 0.0, class_weights, .. } if class_weights.is_empty() => {
                LossKind::CrossEntropy
            }
            _ => LossKind::CrossEntropyWith,
        }
    }

    pub(super) fn setting_count(&self, outputs: usize) -> usize {
        if self.kind() == LossKind::CrossEntropy { 0 } else { Self::BEFORE_WEIGHTS + outputs }
    }

    pub(super) fn setting(&self, at: usize) -> f64 {
        match at {
            0 => self.smoothing,
            1 => self.focus,
            _ => self.class_weight(at - Self::BEFORE_WEIGHTS),
        }
    }

    pub(super) fn class_weight(&self, class: usize) -> f64 {
        self.class_weights.get(class).copied().unwrap_or(1.0)
    }

    pub(super) fn check(&self, outputs: usize) -> Result<()> {
        if !(0.0..=1.0).contains(&self.smoothing) {
            return Err(Error::Config(format!("label smoothing is {}, expected 0 to 1", self.smoothing)));
        }
        check_weights("the weights of classes", &self.class_weights, outputs)?;
        if self.focus != 0.0 {
            positive("the exponent of a focal loss", self.focus)?;
            if self.smoothing > 0.0 || self.soft_targets {
                let other = if self.soft_targets { "targets are probabilities" } else { "labels are smoothed" };
                return Err(Error::Config(format!(
                    "the cross-entropy is focussed (exponent {}), but {other}; expected one class a position",
                    self.focus
                )));
            }
        }
        if let (true, Some(id)) = (self.soft_targets, self.ignored) {
            return Err(Error::Config(format!(
                "the cross-entropy ignores id {id}, but targets are probabilities; expected a mask in its place"
            )));
        }
        Ok(())
    }
}
