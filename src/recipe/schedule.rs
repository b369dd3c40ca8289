//! How the learning rate changes from step to step.
//!
//! The contract: it is a function of the step alone, so a training that is resumed goes on with the same rates.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use super::positive;
use crate::error::{Error, Result};

/// The learning rate as a plain function of the step. A rise in front of any of them is
/// [`Recipe::with_warm_up`](crate::Recipe::with_warm_up); what follows a measured loss in place of the step is
/// [`Plateau`](crate::Plateau).
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
    /// Half cosines one after another, each from the full rate down towards `floor` times it: SGDR (Loshchilov &
    /// Hutter 2017), PyTorch's `CosineAnnealingWarmRestarts` with a step in the place of its epoch.
    CosineRestarts {
        /// Steps of the first one, at least 1.
        first: u64,
        /// How many times as long as the one before it each is, at least 1.
        growth: u64,
        /// The last rate of each as a fraction of the full one.
        floor: f64,
    },
    /// Up to the full rate and down again, once (Smith & Topin 2019), as PyTorch's `OneCycleLR` in two phases; from
    /// step `total` on the last rate stays. Momentum stays as it is. [`LearningRateSchedule::one_cycle`] has the usual
    /// numbers.
    OneCycle {
        /// The step at which the cycle ends.
        total: u64,
        /// Which part of the steps is the rise, 0 to 1.
        rise: f64,
        /// The first rate as a fraction of the full one.
        start: f64,
        /// The last.
        end: f64,
        /// How the rate gets from one to the other.
        anneal: Anneal,
    },
    /// From `start` times the rate to `end` times it in `total` steps in a straight line, as PyTorch's `LinearLR`:
    /// step 1 has `start`, step `total` + 1 and all later ones `end`.
    Linear {
        /// Steps of the line, at least 1.
        total: u64,
        /// The first rate as a fraction of the full one.
        start: f64,
        /// The last.
        end: f64,
    },
    /// (1 − done / `total`)^`power`, done being the steps before this one: PyTorch's `PolynomialLR`. From step
    /// `total` + 1 on the rate is 0.
    Polynomial {
        /// Steps until nothing is left, at least 1.
        total: u64,
        /// The exponent; 1 is a straight line.
        power: f64,
    },
    /// Multiplied by `factor` after every step: PyTorch's `ExponentialLR`.
    Exponential {
        /// What it is multiplied by; with more than 1 the rate grows, to [`Recipe::MAX_RATE`](crate::Recipe::MAX_RATE)
        /// at the most.
        factor: f64,
    },
}

/// The curve between two rates of [`LearningRateSchedule::OneCycle`].
///
/// ```
/// use recurrent::LearningRateSchedule;
/// use recurrent::recipe::Anneal;
/// let (total, rise, anneal) = (100, 0.5, Anneal::Linear);
/// let schedule = LearningRateSchedule::OneCycle { total, rise, start: 0.1, end: 0.0, anneal };
/// assert!((schedule.factor(50) - 1.0).abs() < 1e-12 && schedule.factor(100) == 0.0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(rename_all = "snake_case")]
pub enum Anneal {
    /// Half a cosine.
    #[default]
    Cosine,
    /// A straight line.
    Linear,
}

impl Anneal {
    /// What lies between two values, `at` being 0 to 1.
    fn between(self, from: f64, to: f64, at: f64) -> f64 {
        match self {
            Anneal::Cosine => to + (from - to) / 2.0 * (1.0 + (PI * at).cos()),
            Anneal::Linear => from + (to - from) * at,
        }
    }
}

impl LearningRateSchedule {
    /// One cycle of so many steps with PyTorch's numbers: three tenths of it the rise, from a 25th of the rate, and
    /// down to a 250,000th, both in half a cosine.
    ///
    /// ```
    /// use recurrent::LearningRateSchedule;
    /// let schedule = LearningRateSchedule::one_cycle(1000);
    /// assert!((schedule.factor(1) - 0.04).abs() < 1e-12 && schedule.factor(300) == 1.0);
    /// ```
    pub fn one_cycle(total: u64) -> Self {
        let (start, end) = (1.0 / 25.0, 1.0 / 25.0 / 1e4);
        LearningRateSchedule::OneCycle { total, rise: 0.3, start, end, anneal: Anneal::Cosine }
    }

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
                floor + (1.0 - floor) * 0.5 * (1.0 + (PI * at).cos())
            }
            LearningRateSchedule::CosineRestarts { first, growth, floor } => {
                let (at, length) = cycle(done, first.max(1), growth);
                Anneal::Cosine.between(1.0, floor, at as f64 / length as f64)
            }
            LearningRateSchedule::OneCycle { total, rise, start, end, anneal } => {
                // Where the rise ends and where the fall does, in steps done.
                let (top, last) = (rise * total as f64 - 1.0, total.saturating_sub(1) as f64);
                let done = done as f64;
                if done <= top {
                    anneal.between(start, 1.0, if top > 0.0 { done / top } else { 1.0 })
                } else {
                    let at = (done - top) / (last - top);
                    anneal.between(1.0, end, if at < 1.0 { at } else { 1.0 })
                }
            }
            LearningRateSchedule::Linear { total, start, end } => {
                Anneal::Linear.between(start, end, done.min(total) as f64 / total.max(1) as f64)
            }
            LearningRateSchedule::Polynomial { total, power } => {
                (1.0 - done.min(total) as f64 / total.max(1) as f64).powf(power)
            }
            LearningRateSchedule::Exponential { factor } => factor.powi(i32::try_from(done).unwrap_or(i32::MAX)),
        }
    }

    pub(super) fn check(self) -> Result<()> {
        match self {
            LearningRateSchedule::Constant => Ok(()),
            LearningRateSchedule::StepDecay { every, factor, .. } => {
                positive("the decay of the learning rate", factor)?;
                if every == 0 {
                    return Err(Error::Config("the learning rate decays every 0 steps, expected at least 1".into()));
                }
                Ok(())
            }
            LearningRateSchedule::Cosine { floor, .. } => part("the cosine's floor", floor),
            LearningRateSchedule::CosineRestarts { first, growth, floor } => {
                steps("the first cosine", first)?;
                if growth == 0 {
                    return Err(Error::Config(
                        "each cosine is 0 times as long as the one before it, expected at least 1".into(),
                    ));
                }
                part("the cosines' floor", floor)
            }
            LearningRateSchedule::OneCycle { total, rise, start, end, .. } => {
                steps("the cycle of the learning rate", total)?;
                part("the rise of the cycle", rise)?;
                part("the first rate of the cycle", start)?;
                part("the last rate of the cycle", end)
            }
            LearningRateSchedule::Linear { total, start, end } => {
                steps("the line of the learning rate", total)?;
                part("the first rate of the line", start)?;
                part("the last rate of the line", end)
            }
            LearningRateSchedule::Polynomial { total, power } => {
                steps("the polynomial of the learning rate", total)?;
                positive("the power of the polynomial", power)
            }
            LearningRateSchedule::Exponential { factor } => positive("the decay of the learning rate", factor),
        }
    }
}

/// How many steps of its cycle are done, and how many it has; each is `growth` times as long as the one before it.
fn cycle(done: u64, first: u64, growth: u64) -> (u64, u64) {
    if growth <= 1 {
        return (done % first, first);
    }
    let (mut at, mut length) = (done, first);
    // At most 64 times, as the length doubles at least.
    while at >= length {
        at -= length;
        length = length.saturating_mul(growth);
    }
    (at, length)
}

/// Checks that a fraction of the full rate, or of the steps, is one.
fn part(what: &str, v: f64) -> Result<()> {
    if (0.0..=1.0).contains(&v) { Ok(()) } else { Err(Error::Config(format!("{what} is {v}, expected 0 to 1"))) }
}

fn steps(what: &str, count: u64) -> Result<()> {
    if count > 0 { Ok(()) } else { Err(Error::Config(format!("{what} has 0 steps, expected at least 1"))) }
}
