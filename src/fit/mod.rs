//! Training from the first epoch to the last: evaluations, early stopping, the best network kept, and resumption.
//!
//! The contract: a training that is interrupted and resumed is, to the last bit, the one that was not; what is kept are
//! the weights of the best evaluation, and the data that is held out never trains.

mod outcome;
mod progress;
mod run;
mod standing;

pub use outcome::{Ended, Epoch, Fitted};
pub use progress::{Begin, Progress, Step};

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use crate::device::Device;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::recipe::Recipe;
use crate::train::{Plateau, Trainer};
use standing::{Asked, NOTE};

/// What is called in the middle of a training and may stop it.
type Callback<'a, T, E> = Box<dyn FnMut(&T, &mut Trainer) -> Result<ControlFlow<()>, E> + 'a>;
/// What measures a trainer.
type Evaluation<'a, E> = Box<dyn FnMut(&mut Trainer) -> Result<f64, E> + 'a>;

/// A training of whole epochs, with an evaluation after each; it returns the network of the best.
///
/// ```
/// use recurrent::data::{HeldOutWindows, Windows};
/// use recurrent::{BatchShape, Config, Device, Fit, InputKind, Loss, Model, Recipe};
///
/// let text: Vec<u32> = (0..400).map(|i| i * i % 5).collect();
/// let shape = BatchShape { steps: 10, batch_size: 2 };
/// let windows = Windows::new(text[..300].to_vec(), shape)?;
/// let held = HeldOutWindows::new(text[300..].to_vec(), shape)?; // not trained on
/// let model = Model::new(Config::gru(InputKind::Tokens(5), 8, 5))?;
/// let fitted = Fit::new(&Device::cpu(), &model, Recipe::new(Loss::CrossEntropy).with_learning_rate(0.01))
///     .with_epochs(20)
///     .with_patience(3) // three evaluations in a row that are no better end it
///     .run(|_epoch| Ok(windows.iter()), held.iter())?;
/// let best = &fitted.epochs[fitted.best_epoch as usize - 1];
/// assert!(best.held_loss < fitted.epochs[0].held_loss);
/// let trained = fitted.best; // to save, to run
/// # let _ = trained;
/// # Ok::<(), recurrent::Error>(())
/// ```
///
/// An epoch is evaluated by the loss of held-out batches, of the mean of the weights where the recipe
/// [keeps one](Recipe::with_averaged_weights), or by [`Fit::with_evaluation`]. Losses are read from the device every
/// twentieth step and with an epoch's last. A step or an evaluation that is not finite ends the training with what was
/// best before: [`Ended::Diverged`].
///
/// Callbacks may fail by an error of the caller's own, E, which [`Fit::run_async`] then returns:
/// [`Fit::with_errors`] makes such a `Fit`.
#[must_use = "nothing is trained before `run`"]
pub struct Fit<'a, E = Error> {
    device: &'a Device,
    model: &'a Model,
    recipe: Recipe,
    epochs: u64,
    patience: Option<usize>,
    best: Option<PathBuf>,
    checkpoint: Option<PathBuf>,
    resume: bool,
    notes: BTreeMap<String, String>,
    plateau: Option<Plateau>,
    evaluation: Option<Evaluation<'a, E>>,
    is_maximum: bool,
    on_step: Option<Callback<'a, Step, E>>,
    on_epoch: Option<Callback<'a, Epoch, E>>,
    progress: Box<dyn Progress + 'a>,
}

impl<'a> Fit<'a> {
    /// Trains `model` by a recipe for 10 epochs, without early stopping, files and callbacks.
    pub fn new(device: &'a Device, model: &'a Model, recipe: Recipe) -> Self {
        Self::with_errors(device, model, recipe)
    }
}

impl<'a, E: From<Error>> Fit<'a, E> {
    /// [`Fit::new`] with callbacks that fail by errors of this type, `anyhow::Error` say.
    ///
    /// ```
    /// use std::ops::ControlFlow;
    /// use recurrent::{Config, Device, Fit, InputKind, Loss, Model, Recipe};
    /// type Failure = Box<dyn std::error::Error>;
    /// let (device, model) = (Device::cpu(), Model::new(Config::gru(InputKind::Tokens(5), 8, 5))?);
    /// let fit: Fit<'_, Failure> = Fit::with_errors(&device, &model, Recipe::new(Loss::CrossEntropy));
    /// let fit = fit.on_epoch(|epoch, _| {
    ///     std::fs::write("epoch.txt", epoch.number.to_string())?; // an io::Error
    ///     Ok(ControlFlow::Continue(()))
    /// });
    /// # drop(fit);
    /// # Ok::<(), recurrent::Error>(())
    /// ```
    pub fn with_errors(device: &'a Device, model: &'a Model, recipe: Recipe) -> Self {
        Fit {
            device,
            model,
            recipe,
            epochs: 10,
            patience: None,
            best: None,
            checkpoint: None,
            resume: false,
            notes: BTreeMap::new(),
            plateau: None,
            evaluation: None,
            is_maximum: false,
            on_step: None,
            on_epoch: None,
            progress: Box::new(()),
        }
    }

    /// The same with so many epochs at most, at least 1; those before a resumption count.
    pub fn with_epochs(self, epochs: u64) -> Self {
        Fit { epochs, ..self }
    }

    /// The same, ended by so many evaluations in a row that are no better than the best, at least 1; see
    /// [`EarlyStopping`](crate::EarlyStopping).
    pub fn with_patience(self, evaluations: usize) -> Self {
        Fit { patience: Some(evaluations), ..self }
    }

    /// The same with the best network so far in a file, written as soon as there is a better one, and when a training
    /// is resumed.
    pub fn with_best(self, path: impl AsRef<Path>) -> Self {
        Fit { best: Some(path.as_ref().to_owned()), ..self }
    }

    /// The same with all that it takes to go on in a file, written after every epoch and where a callback stops it: a
    /// [`Checkpoint`](crate::Checkpoint) with the best network so far and a note `fit` of all epochs. The file is
    /// [locked](crate::Checkpoint::lock) while the training lasts.
    ///
    /// It is one file, complete in itself, so that a process that is killed leaves nothing that does not fit together.
    pub fn with_checkpoint(self, path: impl AsRef<Path>) -> Self {
        Fit { checkpoint: Some(path.as_ref().to_owned()), ..self }
    }

    /// The same, going on from the checkpoint bit for bit, where there is one; it begins where there is none.
    ///
    /// A training that was stopped within an epoch goes on with the next step of it, as weights and carried state are
    /// those of that step: batches that are done are taken from the epoch's iterator and passed over. Epochs, patience,
    /// learning rate, schedule and plateau may be others than before: [`Fitted::changes`] says so, and
    /// [`Begin::changes`] beforehand. Another network, another recipe and another way to choose the best are errors. A
    /// training that was over is over at once, with the same outcome. After a divergence the file holds the epoch
    /// before.
    pub fn with_resume(self, resume: bool) -> Self {
        Fit { resume, ..self }
    }

    /// The same with notes of the application's in both files; the note `fit` is this type's own.
    pub fn with_notes(self, notes: BTreeMap<String, String>) -> Self {
        Fit { notes, ..self }
    }

    /// The same with a learning rate that falls where what the best is chosen by gets no better. A number that is not
    /// finite is passed over.
    pub fn with_plateau(self, plateau: Plateau) -> Self {
        Fit { plateau: Some(plateau), ..self }
    }

    /// The same with the best chosen by a number of the caller's, the least, in place of the held-out loss; that is
    /// measured too where there are held-out batches. It is called after every epoch; a number that is not finite is no
    /// better than the best.
    ///
    /// Where the recipe keeps a mean of the weights the best network is that mean: measure
    /// [`Trainer::averaged_model`](Trainer::averaged_model_async) then.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn with_evaluation(self, evaluate: impl FnMut(&mut Trainer) -> Result<f64, E> + 'a) -> Self {
        Fit { evaluation: Some(Box::new(evaluate)), ..self }
    }

    /// The same with the most as the best: of an accuracy, say.
    pub fn with_maximum(self) -> Self {
        Fit { is_maximum: true, ..self }
    }

    /// The same, calling this after every step; [`ControlFlow::Break`] ends the training with that step. What the
    /// epoch has learned by then is evaluated, and is the best network if it is better. Losses that it reads by
    /// [`Trainer::metrics`](Trainer::metrics_async) are missing from the epoch's mean: [`Step::loss`] has it so far.
    pub fn on_step(self, call: impl FnMut(&Step, &mut Trainer) -> Result<ControlFlow<()>, E> + 'a) -> Self {
        Fit { on_step: Some(Box::new(call)), ..self }
    }

    /// The same, calling this after the evaluation of every whole epoch, before the checkpoint is written;
    /// [`ControlFlow::Break`] ends the training.
    pub fn on_epoch(self, call: impl FnMut(&Epoch, &mut Trainer) -> Result<ControlFlow<()>, E> + 'a) -> Self {
        Fit { on_epoch: Some(Box::new(call)), ..self }
    }

    /// The same, shown by this as it goes.
    pub fn with_progress(self, progress: impl Progress + 'a) -> Self {
        Fit { progress: Box::new(progress), ..self }
    }

    fn asked(&self) -> Asked {
        Asked {
            epochs: self.epochs,
            patience: self.patience,
            learning_rate: self.recipe.learning_rate,
            schedule: self.recipe.schedule,
            plateau: self.plateau.clone(),
            by_metric: self.evaluation.is_some(),
            is_maximum: self.is_maximum,
        }
    }

    fn check(&self) -> Result<()> {
        let wrong = |what: &str| Err(Error::Config(what.to_owned()));
        if self.epochs == 0 {
            return wrong("the number of epochs is 0, expected at least 1");
        }
        if self.patience == Some(0) {
            return wrong("the patience is 0 evaluations, expected at least 1");
        }
        if self.resume && self.checkpoint.is_none() {
            return wrong("a training is to be resumed from no file, expected Fit::with_checkpoint");
        }
        if let (Some(best), Some(checkpoint)) = (&self.best, &self.checkpoint)
            && best == checkpoint
        {
            let path = best.display();
            return wrong(&format!("{path} is to hold the best network and the checkpoint, expected a file for each"));
        }
        if self.is_maximum && self.evaluation.is_none() {
            return wrong("of losses the least is the best, expected Fit::with_evaluation beside Fit::with_maximum");
        }
        if self.notes.contains_key(NOTE) {
            return wrong("a note is called `fit`, which is the training's own; expected another name");
        }
        if let Some(plateau) = &self.plateau {
            plateau.check()?;
            if plateau.is_maximum() != self.is_maximum {
                let [plateau, best] =
                    [plateau.is_maximum(), self.is_maximum].map(|is| if is { "most" } else { "least" });
                return wrong(&format!(
                    "the plateau takes the {plateau} for better, expected the {best}, as the best is"
                ));
            }
        }
        Ok(())
    }

    /// Blocks until [`Fit::run_async`] is done.
    ///
    /// # Errors
    /// Same as [`Fit::run_async`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn run<I, H>(self, batches: impl FnMut(u64) -> Result<I, E>, held: H) -> Result<Fitted, E>
    where
        I: IntoIterator<Item: std::borrow::Borrow<crate::data::Batch>>,
        H: IntoIterator<Item: std::borrow::Borrow<crate::data::Batch>> + Clone,
    {
        crate::wait::block_on(self.run_async(batches, held))
    }
}
