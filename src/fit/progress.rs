//! What is shown of a training that runs: a trait, and indicatif's bar as one that has it.
//!
//! The contract: showing decides nothing and cannot fail; what is told was known anyway, and nothing is read from the
//! device for it.

use super::outcome::{Ended, Epoch};

/// Where a training stands as it begins, or goes on.
///
/// ```
/// use recurrent::fit::{Begin, Progress};
/// struct Lines;
/// impl Progress for Lines {
///     fn begin(&mut self, begin: &Begin<'_>) {
///         println!("{} of {} epochs to do", begin.epochs - begin.epochs_done, begin.epochs);
///         begin.changes.iter().for_each(|change| println!("{change}"));
///     }
/// }
/// # let _ = Lines;
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Begin<'a> {
    /// Epochs at most, those that are done included.
    pub epochs: u64,
    /// Whole epochs that are done: 0 unless the training is resumed.
    pub epochs_done: u64,
    /// Steps that are done.
    pub steps_done: u64,
    /// What is asked otherwise than of the training that is resumed, a line each.
    pub changes: &'a [String],
}

/// A step that was taken.
///
/// ```
/// use recurrent::fit::{Progress, Step};
/// struct Losses(Vec<f64>);
/// impl Progress for Losses {
///     fn step(&mut self, step: &Step) {
///         self.0.extend(step.loss); // at every twentieth step
///     }
/// }
/// # let _ = Losses(Vec::new());
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Step {
    /// The epoch, counted from 1.
    pub epoch: u64,
    /// Epochs at most.
    pub epochs: u64,
    /// The step of the epoch, counted from 1.
    pub step: u64,
    /// How many steps the epoch has, where its iterator says it beforehand.
    pub steps: Option<u64>,
    /// The steps of the whole training up to this one.
    pub steps_done: u64,
    /// The mean loss of the epoch's steps so far: at every twentieth step and the last, as reading it waits for the
    /// device.
    pub loss: Option<f64>,
}

/// What is told of a training as it goes. Every method does nothing unless it is written.
///
/// ```
/// use recurrent::fit::{Epoch, Progress};
/// struct Lines;
/// impl Progress for Lines {
///     fn epoch(&mut self, epoch: &Epoch) {
///         println!("epoch {}: {:.4}", epoch.number, epoch.train_loss);
///     }
/// }
/// # let _ = Lines;
/// ```
///
/// With the feature `progress` the bar of `indicatif` is one, in whatever style it has.
pub trait Progress {
    /// Hears once, before the first step, what is to be done.
    fn begin(&mut self, begin: &Begin<'_>) {
        let _ = begin;
    }

    /// Hears of every step.
    fn step(&mut self, step: &Step) {
        let _ = step;
    }

    /// Hears of every whole epoch, evaluated.
    fn epoch(&mut self, epoch: &Epoch) {
        let _ = epoch;
    }

    /// Hears how the training ended, unless by an error.
    fn end(&mut self, ended: &Ended) {
        let _ = ended;
    }
}

/// Nothing is shown.
impl Progress for () {}

impl<P: Progress + ?Sized> Progress for &mut P {
    fn begin(&mut self, begin: &Begin<'_>) {
        (**self).begin(begin);
    }

    fn step(&mut self, step: &Step) {
        (**self).step(step);
    }

    fn epoch(&mut self, epoch: &Epoch) {
        (**self).epoch(epoch);
    }

    fn end(&mut self, ended: &Ended) {
        (**self).end(ended);
    }
}

/// The steps of all epochs, as soon as an iterator says how many there are, and the epoch's mean loss as the message;
/// it is taken away at the end.
#[cfg(feature = "progress")]
impl Progress for indicatif::ProgressBar {
    fn begin(&mut self, begin: &Begin<'_>) {
        self.set_position(begin.steps_done);
        self.reset_eta();
    }

    fn step(&mut self, step: &Step) {
        if let Some(steps) = step.steps {
            self.set_length(steps.saturating_mul(step.epochs));
        }
        self.set_position(step.steps_done);
        if let Some(loss) = step.loss {
            self.set_message(format!("epoch {}  loss {loss:.4}", step.epoch));
        }
    }

    fn end(&mut self, _: &Ended) {
        self.finish_and_clear();
    }
}
