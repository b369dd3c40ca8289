//! What of the forward pass is kept for the backward pass.
//!
//! The contract: whatever is kept, the gradient is the same up to the rounding of its sums.

use serde::{Deserialize, Serialize};

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
