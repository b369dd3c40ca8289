//! A mean of the parameters over the steps, beside the parameters.
//!
//! The contract: what a step adds to the mean is a function of the step alone, so a training that is resumed goes on
//! with the same weights.

use serde::{Deserialize, Serialize};

use super::fraction;
use crate::error::{Error, Result};

/// A mean of the parameters over the steps, which is often the better network (Polyak & Juditsky 1992; Izmailov et al.
/// 2018). PyTorch's `AveragedModel`.
///
/// All parameters have a part in it at every step that averages, those too that are frozen, and the rows of a table
/// that a step leaves as they are ([`EmbeddingUpdate::Lazy`](crate::EmbeddingUpdate)): so what such a step costs does
/// grow with the table.
///
/// ```
/// use recurrent::recipe::Average;
/// use recurrent::{Batch, BatchShape, Config, Device, InputKind, Loss, Model, Recipe, Trainer};
/// let model = Model::new(Config::elman(InputKind::Tokens(3), 8, 3))?;
/// let recipe = Recipe::new(Loss::CrossEntropy).with_averaged_weights(Average::ema(0.9));
/// let mut trainer = Trainer::new(&Device::cpu(), &model, recipe)?;
/// let window = Batch::tokens(BatchShape { steps: 3, batch_size: 1 }, vec![0, 1, 2], vec![1, 2, 0]);
/// for _ in 0..50 {
///     trainer.step(&window)?;
/// }
/// let (loss, of_the_mean) = (trainer.evaluate([&window])?, trainer.evaluate_averaged([&window])?);
/// let mean = trainer.averaged_model()?; // to save, to run
/// # assert!(loss < of_the_mean && mean != trainer.model()?);
/// # Ok::<(), recurrent::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(rename_all = "snake_case")]
pub enum Average {
    /// After every step mean ← d·mean + (1 − d)·θ, from θ after the first step on.
    Exponential {
        /// d: at least 0, below 1.
        decay: f64,
    },
    /// The plain mean of θ after step `from_step` and every `every`-th after it: stochastic weight averaging (Izmailov
    /// et al. 2018).
    Stochastic {
        /// The first step that counts, at least 1.
        from_step: u64,
        /// From one step that counts to the next, at least 1.
        every: u64,
    },
}

impl Average {
    /// The exponential mean with this d.
    pub fn ema(decay: f64) -> Self {
        Average::Exponential { decay }
    }

    /// The plain mean of every `every`-th step from `from_step` on.
    pub fn stochastic(from_step: u64, every: u64) -> Self {
        Average::Stochastic { from_step, every }
    }

    /// Returns w of step `step`, counted from 1: mean ← mean + w·(θ − mean).
    pub(crate) fn weight(self, step: u64) -> f64 {
        match self {
            Average::Exponential { .. } if step <= 1 => 1.0,
            Average::Exponential { decay } => 1.0 - decay,
            Average::Stochastic { from_step, every } => match step.checked_sub(from_step) {
                Some(after) if after.is_multiple_of(every) => 1.0 / ((after / every) as f64 + 1.0),
                _ => 0.0,
            },
        }
    }

    /// Whether there is a mean of anything after so many steps.
    pub(crate) fn has_begun(self, steps: u64) -> bool {
        match self {
            Average::Exponential { .. } => steps > 0,
            Average::Stochastic { from_step, .. } => steps >= from_step,
        }
    }

    pub(super) fn check(self) -> Result<()> {
        match self {
            Average::Exponential { decay } => fraction("the decay of the averaged weights", decay),
            Average::Stochastic { from_step, every } => {
                for (what, v) in [("from step", from_step), ("every so many steps, here", every)] {
                    if v == 0 {
                        return Err(Error::Config(format!("weights are averaged {what} 0, expected at least 1")));
                    }
                }
                Ok(())
            }
        }
    }
}
