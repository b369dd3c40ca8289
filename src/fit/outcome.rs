//! What comes of a training: its epochs, how it ended, and the best network.
//!
//! The contract: of one recipe, one network and the same batches it is the same to the last bit, however often the
//! training was interrupted and resumed.

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::model::Model;
use crate::train::Trainer;

/// One reading of the training data, and the evaluation after it.
///
/// ```
/// use recurrent::fit::Epoch;
/// fn line(epoch: &Epoch) -> String {
///     let mark = if epoch.is_best { ", the best so far" } else { "" };
///     format!("{}: {:.3}{mark}", epoch.number, epoch.train_loss)
/// }
/// # let _ = line;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(deny_unknown_fields)]
pub struct Epoch {
    /// Counted from 1.
    pub number: u64,
    /// Steps taken in it: fewer than there are batches where it was stopped within.
    pub steps: u64,
    /// The mean loss of its steps, each as it was when it was taken.
    pub train_loss: f64,
    /// The loss of the held-out batches after it; none where there are no such batches.
    pub held_loss: Option<f64>,
    /// What [`Fit::with_evaluation`](crate::Fit::with_evaluation) gave; none without one, and of a number that is not
    /// finite.
    pub metric: Option<f64>,
    /// The learning rate of its last step, as the schedule has it.
    pub learning_rate: f64,
    /// Whether it was the best so far.
    pub is_best: bool,
}

impl Epoch {
    /// By what the best is chosen.
    pub(super) fn measure(&self, by_metric: bool) -> Option<f64> {
        if by_metric { self.metric } else { self.held_loss }
    }
}

/// How a training ended.
///
/// ```
/// use recurrent::fit::Ended;
/// fn say(ended: &Ended) {
///     match ended {
///         Ended::Diverged(error) => println!("{error}"),
///         other => println!("{other:?}"),
///     }
/// }
/// # let _ = say;
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Ended {
    /// With the last of its epochs.
    Epochs,
    /// As many evaluations in a row as its patience were no better than the best.
    NoImprovement,
    /// A callback stopped it.
    Stopped,
    /// A loss or a gradient was no longer finite: [`Error::Diverged`] or [`Error::LossNotFinite`]. What was best before
    /// is no worse for it.
    Diverged(Error),
}

/// What came of a training.
///
/// ```
/// use recurrent::fit::Fitted;
/// fn keep(fitted: &Fitted) -> recurrent::Result<()> {
///     println!("the best of {} epochs is the {}th", fitted.epochs.len(), fitted.best_epoch);
///     fitted.best.save("network.safetensors")
/// }
/// # let _ = keep;
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Fitted {
    /// The network of the best evaluation: of the mean of its parameters where the recipe keeps one.
    pub best: Model,
    /// The number of the epoch that it is of.
    pub best_epoch: u64,
    /// All epochs in order, those before a resumption too.
    pub epochs: Vec<Epoch>,
    /// How it ended.
    pub ended: Ended,
    /// The trainer as it stands at the end, to read or to go on with.
    pub trainer: Trainer,
    /// What was asked otherwise than of the training that was resumed, a line each.
    pub changes: Vec<String>,
}
