//! Early stopping: the weights of the best evaluation are kept, and training ends where no better one comes (Prechelt
//! 1998).
//!
//! The contract: weights are read from the device only where the loss is the best so far, and the model that is kept is
//! the one that loss belongs to.

use super::Trainer;
use crate::error::{Error, Result};
use crate::model::Model;

/// Watches a loss that the training does not see, and keeps the model for which it was least.
///
/// ```
/// use recurrent::data::Windows;
/// use recurrent::{BatchShape, Config, Device, EarlyStopping, InputKind, Loss, Model, Recipe, Trainer};
///
/// let text: Vec<u32> = (0..400).map(|i| i * i % 5).collect();
/// let shape = BatchShape { steps: 10, batch_size: 2 };
/// let windows = Windows::new(text[..300].to_vec(), shape)?;
/// let held = Windows::new(text[300..].to_vec(), shape)?; // not trained on
/// let model = Model::new(Config::lstm(InputKind::Tokens(5), 8, 5))?;
/// let mut trainer = Trainer::new(&Device::cpu(), &model, Recipe::new(Loss::CrossEntropy))?;
///
/// let mut stopping = EarlyStopping::new(3);
/// for epoch in 0..20 {
///     for window in windows.iter() {
///         trainer.step(&window)?;
///     }
///     trainer.metrics()?;
///     let loss = trainer.evaluate(held.iter())?;
///     if !stopping.observe(loss, &mut trainer)? {
///         break; // three evaluations in a row were no better
///     }
/// }
/// let (loss, best) = stopping.into_best().expect("a finite loss");
/// # let _ = (loss, best);
/// # Ok::<(), recurrent::Error>(())
/// ```
///
/// To go on after an interruption, keep three things beside the training's [`crate::Checkpoint`]: the best model in a
/// file of its own ([`Model::save`]), its loss and [`EarlyStopping::since_best`], perhaps in the checkpoint's notes;
/// [`EarlyStopping::resume`] takes them back.
#[derive(Clone, Debug, PartialEq)]
pub struct EarlyStopping {
    patience: usize,
    best: Option<(f64, Model)>,
    since_best: usize,
}

impl EarlyStopping {
    /// No evaluation yet. Training ends with the `patience`-th in a row that is no better than the best; 0 is as 1.
    pub fn new(patience: usize) -> Self {
        EarlyStopping { patience, best: None, since_best: 0 }
    }

    /// As it was after an earlier evaluation: the best loss with its model, and how many evaluations there were since.
    ///
    /// # Errors
    /// [`Error::Data`] for a best loss that is not finite.
    pub fn resume(patience: usize, best: Option<(f64, Model)>, since_best: usize) -> Result<Self> {
        match &best {
            Some((loss, _)) if !loss.is_finite() => {
                Err(Error::Data(format!("the best loss is {loss}, expected a finite number")))
            }
            _ => Ok(EarlyStopping { patience, best, since_best }),
        }
    }

    /// Takes note of an evaluation, and of the trainer's weights where it is the best so far. Returns whether training
    /// should go on.
    ///
    /// A loss that is not finite is no improvement, nor is one that is equal to the best.
    ///
    /// # Errors
    /// Same as [`Trainer::model_async`]; the evaluation is not taken note of then.
    pub async fn observe_async(&mut self, loss: f64, trainer: &mut Trainer) -> Result<bool> {
        let model = if self.improves(loss) { Some(trainer.model_async().await?) } else { None };
        self.note(loss, model);
        Ok(self.should_continue())
    }

    /// Takes note of an evaluation, and of the model that it was of where it [improves](EarlyStopping::improves).
    pub(crate) fn note(&mut self, loss: f64, model: Option<Model>) {
        match model {
            Some(model) => (self.best, self.since_best) = (Some((loss, model)), 0),
            None => self.since_best += 1,
        }
    }

    /// Blocks until [`EarlyStopping::observe_async`] is done.
    ///
    /// # Errors
    /// Same as [`EarlyStopping::observe_async`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn observe(&mut self, loss: f64, trainer: &mut Trainer) -> Result<bool> {
        crate::wait::block_on(self.observe_async(loss, trainer))
    }

    /// The least loss so far and the model it belongs to; none before the first that was finite.
    pub fn best(&self) -> Option<(f64, &Model)> {
        self.best.as_ref().map(|(loss, model)| (*loss, model))
    }

    /// The same, when the training is over.
    pub fn into_best(self) -> Option<(f64, Model)> {
        self.best
    }

    /// How many evaluations there were since the best.
    pub fn since_best(&self) -> usize {
        self.since_best
    }

    /// Whether training is to go on, as the last evaluation said.
    pub fn should_continue(&self) -> bool {
        self.since_best < self.patience.max(1)
    }

    /// Whether a loss is the best so far.
    pub(crate) fn improves(&self, loss: f64) -> bool {
        loss.is_finite() && self.best.as_ref().is_none_or(|(best, _)| loss < *best)
    }
}
