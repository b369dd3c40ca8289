//! The learning rate of a training that runs.
//!
//! The contract: a rate or a schedule that is set is the recipe's from the next step on, so that the next checkpoint
//! has it; one that is refused changes nothing.

use super::Trainer;
use crate::error::Result;
use crate::recipe::LearningRateSchedule;

impl Trainer {
    /// η, the full learning rate, which the schedule and a group's factor are of. That of a step is
    /// [`Recipe::rate`](crate::Recipe::rate).
    pub fn learning_rate(&self) -> f64 {
        self.recipe.learning_rate
    }

    /// Trains at another full learning rate from the next step on. The schedule goes on where it is, and the next
    /// checkpoint stores the rate.
    ///
    /// ```
    /// use recurrent::{Config, Device, InputKind, Loss, Model, Recipe, Trainer};
    /// let model = Model::new(Config::elman(InputKind::Tokens(3), 8, 3))?;
    /// let mut trainer = Trainer::new(&Device::cpu(), &model, Recipe::new(Loss::CrossEntropy))?;
    /// trainer.set_learning_rate(trainer.learning_rate() / 10.0)?;
    /// assert_eq!(trainer.checkpoint()?.training.unwrap().recipe.learning_rate, 2e-4);
    /// # Ok::<(), recurrent::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for a rate that no recipe may have: not above 0, or so high that a
    /// weight decay would carry weights past zero.
    pub fn set_learning_rate(&mut self, rate: f64) -> Result<()> {
        let before = std::mem::replace(&mut self.recipe.learning_rate, rate);
        self.recipe.check().inspect_err(|_| self.recipe.learning_rate = before)
    }

    /// Trains by another schedule from the next step on, which counts steps from the beginning of the training.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for a schedule that no recipe may have.
    pub fn set_schedule(&mut self, schedule: LearningRateSchedule) -> Result<()> {
        let before = std::mem::replace(&mut self.recipe.schedule, schedule);
        self.recipe.check().inspect_err(|_| self.recipe.schedule = before)
    }
}
