//! The learning rate by a measured number: lowered where that gets no better.
//!
//! The contract: it knows neither trainer nor device; what it remembers is plain data, which an application keeps where
//! it keeps its own.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// By how much a rate is changed at least: PyTorch's `eps`.
const LEAST_CHANGE: f64 = 1e-8;

/// Lowers the learning rate where a measured number, a validation loss say, stops getting better: PyTorch's
/// `ReduceLROnPlateau`.
///
/// ```
/// use recurrent::{Config, Device, InputKind, Loss, Model, Plateau, Recipe, Trainer};
/// let model = Model::new(Config::lstm(InputKind::Tokens(5), 8, 5))?;
/// let mut trainer = Trainer::new(&Device::cpu(), &model, Recipe::new(Loss::CrossEntropy).with_learning_rate(0.01))?;
/// let mut plateau = Plateau::new(0.5, 1);
/// for loss in [1.0, 1.0, 1.0] { // one that is no better is let pass, the second is not
///     let rate = plateau.observe(loss, trainer.learning_rate())?;
///     trainer.set_learning_rate(rate)?;
/// }
/// assert_eq!(trainer.learning_rate(), 0.005);
/// # Ok::<(), recurrent::Error>(())
/// ```
///
/// It is serialisable: kept in a checkpoint's notes, as JSON say, it goes on where it was; the rate is in the
/// checkpoint itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plateau {
    factor: f64,
    patience: u64,
    threshold: f64,
    cooldown: u64,
    least: f64,
    maximum: bool,
    /// The best so far.
    best: Option<f64>,
    /// How many in a row were no better.
    waited: u64,
    /// How many more are let pass after a change.
    cooling: u64,
}

impl Plateau {
    /// Multiplies the rate by `factor`, above 0 and below 1, where more than `patience` numbers in a row are no better
    /// than the best. Better is less, by a ten-thousandth of the best's magnitude. A change of no more than 10⁻⁸ is
    /// not made.
    pub fn new(factor: f64, patience: u64) -> Self {
        Plateau {
            factor,
            patience,
            threshold: 1e-4,
            cooldown: 0,
            least: 0.0,
            maximum: false,
            best: None,
            waited: 0,
            cooling: 0,
        }
    }

    /// The same, where better is less by this part of the best's magnitude, 0 to 1: PyTorch's `threshold` in its mode
    /// `rel`, but for numbers below 0, of which PyTorch's asks nothing.
    pub fn with_threshold(self, threshold: f64) -> Self {
        Plateau { threshold, ..self }
    }

    /// The same, with so many numbers after a change that are not counted as no better.
    pub fn with_cooldown(self, cooldown: u64) -> Self {
        Plateau { cooldown, ..self }
    }

    /// The same with a rate below which it is not lowered.
    pub fn with_min_rate(self, rate: f64) -> Self {
        Plateau { least: rate, ..self }
    }

    /// The same, where better is more: of an accuracy, say.
    pub fn with_maximum(self) -> Self {
        Plateau { maximum: true, ..self }
    }

    /// Takes note of a number, and returns the rate to go on with, `rate` being the one so far. A number that is not
    /// finite is no better.
    ///
    /// # Errors
    /// [`Error::Config`] for a factor, a threshold or a least rate out of its range.
    pub fn observe(&mut self, metric: f64, rate: f64) -> Result<f64> {
        self.check()?;
        let is_better = match self.best {
            _ if !metric.is_finite() => false,
            None => true,
            Some(best) if self.maximum => metric > best + best.abs() * self.threshold,
            Some(best) => metric < best - best.abs() * self.threshold,
        };
        if is_better {
            (self.best, self.waited) = (Some(metric), 0);
        } else {
            self.waited = self.waited.saturating_add(1);
        }
        if self.cooling > 0 {
            self.cooling -= 1;
            self.waited = 0;
        }
        if self.waited <= self.patience {
            return Ok(rate);
        }
        (self.cooling, self.waited) = (self.cooldown, 0);
        let lowered = (rate * self.factor).max(self.least).min(rate);
        Ok(if rate - lowered > LEAST_CHANGE { lowered } else { rate })
    }

    /// The best number so far; none before the first that was finite.
    pub fn best(&self) -> Option<f64> {
        self.best
    }

    /// Whether better is more.
    pub(crate) fn is_maximum(&self) -> bool {
        self.maximum
    }

    pub(crate) fn check(&self) -> Result<()> {
        let Plateau { factor, threshold, least, .. } = *self;
        if !(factor > 0.0 && factor < 1.0) {
            return Err(Error::Config(format!("the plateau's factor is {factor}, expected above 0 and below 1")));
        }
        if !(0.0..=1.0).contains(&threshold) {
            return Err(Error::Config(format!("the plateau's threshold is {threshold}, expected 0 to 1")));
        }
        if !(least >= 0.0 && least.is_finite()) {
            return Err(Error::Config(format!("the plateau's least rate is {least}, expected a number from 0 on")));
        }
        Ok(())
    }
}
