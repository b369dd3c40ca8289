//! How the learning rate changes from step to step.
//!
//! The contract: it is a function of the step alone, so a training that is resumed goes on with the same rates.

use serde::{Deserialize, Serialize};

use super::positive;
use crate::error::{Error, Result};

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
        /// What it is multiplied by; with more than 1 the rate grows, to [`Recipe::MAX_RATE`](crate::Recipe::MAX_RATE)
        /// at the most.
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

    pub(super) fn check(self) -> Result<()> {
        match self {
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
