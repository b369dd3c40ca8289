//! What makes a mean of a sum of losses.
//!
//! The contract: it is a number that the host counts before a step, so no kernel knows which it is.

use serde::{Deserialize, Serialize};

/// What the sum of the losses of all positions is divided by, so that it is a mean.
///
/// A position that does not count, as it is padding or a mask or a weight of 0 leaves it out, is in none of them. Where
/// the numbers of a position are masked or weighed each by itself, each is that part of the position. The positions of
/// [`Loss::Ctc`](crate::Loss::Ctc) are sequences, so that `Positions` and `Sequences` are the same there.
///
/// ```
/// use recurrent::recipe::{CrossEntropy, Divisor};
/// use recurrent::Recipe;
/// // Divided as PyTorch's mean with weights of classes is.
/// let loss = CrossEntropy::new().with_class_weights([1.0, 20.0]);
/// let recipe = Recipe::new(loss).with_divisor(Divisor::Weights);
/// # assert_eq!(recipe.divisor, Divisor::Weights);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(rename_all = "snake_case")]
pub enum Divisor {
    /// How many count.
    #[default]
    Positions,
    /// The sum of their weights, times those of their classes.
    Weights,
    /// How many sequences have a position that counts: a sequence's loss is the sum over its steps.
    Sequences,
    /// B, where any position counts.
    Batch,
}

impl Divisor {
    /// Whether it is the one that a file says nothing of.
    pub(super) fn is_positions(&self) -> bool {
        *self == Divisor::Positions
    }
}
