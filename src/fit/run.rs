//! The loop: epochs of steps, an evaluation after each, and what is kept of them.
//!
//! The contract: the same batches give the same bits, whether one run takes all steps or several resume each other; the
//! files are written before a caller is told what they hold, and only after a step that was finite.

use std::borrow::Borrow;
use std::io::ErrorKind;
use std::path::Path;

use super::Fit;
use super::outcome::{Ended, Epoch, Fitted};
use super::progress::{Begin, Step};
use super::standing::{Asked, NOTE, Standing};
use crate::checkpoint::{Checkpoint, Lock, named};
use crate::data::Batch;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::train::Trainer;

/// Steps between two looks at the losses, which wait for the device.
const INTERVAL: u64 = 20;

/// What went wrong, here or in what the caller gave.
pub(super) enum Failure<E> {
    Crate(Error),
    Caller(E),
}

impl<E> From<Error> for Failure<E> {
    fn from(error: Error) -> Self {
        Failure::Crate(error)
    }
}

impl<E: From<Error>> Failure<E> {
    fn into_caller(self) -> E {
        match self {
            Failure::Crate(error) => error.into(),
            Failure::Caller(error) => error,
        }
    }
}

impl<E: From<Error>> Fit<'_, E> {
    /// Trains: `batches` gives those of each epoch, counted from 0 as [`Buckets::epoch`](crate::data::Buckets::epoch)
    /// counts, always the same for the same epoch; `held` are those of the evaluation after each.
    ///
    /// The batches of an epoch are taken one by one, so an iterator that makes them needs room for one. The future is
    /// not `Send`, as what callbacks hold need not be.
    ///
    /// # Errors
    /// [`Error::Config`] for settings that make no sense; [`Error::Data`] for an epoch without a batch, for no held-out
    /// batch where there is no evaluation instead, and where no evaluation gave a finite number; of the files as
    /// [`Checkpoint::load`] and [`Checkpoint::save`], and [`Error::Checkpoint`] for one of another training; as
    /// [`Trainer::step_async`]; and what a callback fails with. A divergence is an error only before there is a best
    /// network.
    pub async fn run_async<I, H>(mut self, mut batches: impl FnMut(u64) -> Result<I, E>, held: H) -> Result<Fitted, E>
    where
        I: IntoIterator<Item: Borrow<Batch>>,
        H: IntoIterator<Item: Borrow<Batch>> + Clone,
    {
        self.check()?;
        let has_held = held.clone().into_iter().next().is_some();
        if !has_held && self.evaluation.is_none() {
            return Err(Error::Data(
                "no held-out batch is given to choose the best network by, expected at least one, or \
                 Fit::with_evaluation"
                    .to_owned(),
            )
            .into());
        }
        let _lock: Option<Lock> = self.checkpoint.as_ref().map(Checkpoint::lock).transpose()?;
        self.best.as_ref().map(Checkpoint::probe).transpose()?;
        let asked = self.asked();
        let (mut trainer, mut standing, changes) = self.open(&asked).await?;
        self.save_best(&standing)?;
        self.progress.begin(&Begin {
            epochs: asked.epochs,
            epochs_done: standing.epochs.len() as u64,
            steps_done: trainer.steps_done(),
            changes: &changes,
        });
        let held = has_held.then_some(held);
        let ended = match self.train(&asked, (&mut trainer, &mut standing), &mut batches, held).await {
            Ok(ended) => ended,
            Err(Failure::Crate(error @ (Error::Diverged { .. } | Error::LossNotFinite { .. })))
                if standing.stopping.best().is_some() =>
            {
                Ended::Diverged(error)
            }
            Err(failure) => return Err(failure.into_caller()),
        };
        self.progress.end(&ended);
        let count = standing.epochs.len();
        let best_epoch = standing.best_epoch().map(|at| standing.epochs[at].number);
        match (best_epoch, standing.stopping.into_best()) {
            (Some(best_epoch), Some((_, best))) => {
                Ok(Fitted { best, best_epoch, epochs: standing.epochs, ended, trainer, changes })
            }
            _ => Err(Error::Data(format!(
                "none of {count} evaluations gave a finite number, expected at least one to choose the best network by"
            ))
            .into()),
        }
    }

    /// The trainer as it begins or goes on, where it stands, and what is asked otherwise than before.
    async fn open(&self, asked: &Asked) -> Result<(Trainer, Standing, Vec<String>)> {
        let found = match self.checkpoint.as_ref().filter(|_| self.resume) {
            None => None,
            Some(path) => match Checkpoint::load(path) {
                Ok(checkpoint) => Some((path, checkpoint)),
                Err(Error::File { source, .. }) if source.kind() == ErrorKind::NotFound => None,
                Err(error) => return Err(error),
            },
        };
        let Some((path, mut checkpoint)) = found else {
            let trainer = Trainer::new_async(self.device, self.model, self.recipe.clone()).await?;
            return Ok((trainer, Standing::new(asked), Vec::new()));
        };
        let resumed = Standing::resume(asked, (self.model.config(), &self.recipe), &mut checkpoint);
        let (standing, changes) = resumed.map_err(named(path))?;
        let trainer = Trainer::resume_async(self.device, &checkpoint).await?;
        for change in &changes {
            log::info!("resuming {}: {change}", path.display());
        }
        Ok((trainer, standing, changes))
    }

    /// Epoch by epoch to the end.
    async fn train<I, H>(
        &mut self,
        asked: &Asked,
        (trainer, standing): (&mut Trainer, &mut Standing),
        batches: &mut impl FnMut(u64) -> Result<I, E>,
        held: Option<H>,
    ) -> Result<Ended, Failure<E>>
    where
        I: IntoIterator<Item: Borrow<Batch>>,
        H: IntoIterator<Item: Borrow<Batch>> + Clone,
    {
        loop {
            if !standing.stopping.should_continue() {
                return Ok(Ended::NoImprovement);
            }
            let done = standing.epochs.len() as u64;
            if done >= asked.epochs {
                return Ok(Ended::Epochs);
            }
            let of_epoch = batches(done).map_err(Failure::Caller)?;
            let is_stopped = self.walk(trainer, standing, of_epoch).await?;
            if is_stopped {
                // As it stands at the step: what is evaluated below is not part of an epoch that goes on.
                self.save(asked, trainer, standing).await?;
            }
            let epoch = self.evaluate(asked, trainer, standing, held.clone()).await?;
            if epoch.is_best {
                self.save_best(standing)?;
            }
            if is_stopped {
                return Ok(Ended::Stopped);
            }
            if let (Some(plateau), Some(measure)) = (&mut standing.plateau, epoch.measure(asked.by_metric)) {
                trainer.set_learning_rate(plateau.observe(measure, trainer.learning_rate())?)?;
            }
            self.progress.epoch(&epoch);
            let told = self.on_epoch.as_mut().map(|call| call(&epoch, trainer)).transpose();
            // After the callback, which may have changed the trainer; before its error, which takes nothing with it.
            self.save(asked, trainer, standing).await?;
            if told.map_err(Failure::Caller)?.is_some_and(|flow| flow.is_break()) {
                return Ok(Ended::Stopped);
            }
        }
    }

    /// Takes the steps of an epoch that are not done yet; whether a callback stopped it.
    async fn walk<I: IntoIterator<Item: Borrow<Batch>>>(
        &mut self,
        trainer: &mut Trainer,
        standing: &mut Standing,
        batches: I,
    ) -> Result<bool, Failure<E>> {
        let (epoch, epochs) = (standing.epochs.len() as u64 + 1, self.epochs);
        let mut batches = batches.into_iter();
        let (least, most) = batches.size_hint();
        let steps = most.filter(|most| *most == least).map(|most| most as u64);
        for done in 0..standing.steps {
            if batches.next().is_none() {
                let what = format!(
                    "has done {} steps of epoch {epoch}, which has {done} batches: expected those that it had before",
                    standing.steps
                );
                // Only a file can have brought the training here.
                return Err(named(self.checkpoint.clone().unwrap_or_default())(what).into());
            }
        }
        for batch in batches {
            trainer.step_async(batch.borrow()).await?;
            standing.steps += 1;
            let step = standing.steps;
            let loss = match step.is_multiple_of(INTERVAL) || steps == Some(step) {
                true => Some(read(trainer, standing).await?),
                false => None,
            };
            let step = Step { epoch, epochs, step, steps, steps_done: trainer.steps_done(), loss };
            self.progress.step(&step);
            let told = self.on_step.as_mut().map(|call| call(&step, trainer)).transpose();
            if told.map_err(Failure::Caller)?.is_some_and(|flow| flow.is_break()) {
                read(trainer, standing).await?;
                return Ok(true);
            }
        }
        if standing.steps == 0 {
            return Err(Error::Data(format!("epoch {epoch} has no batch, expected at least one")).into());
        }
        read(trainer, standing).await?;
        Ok(false)
    }

    /// Measures what an epoch came to, and notes it.
    async fn evaluate<H: IntoIterator<Item: Borrow<Batch>>>(
        &mut self,
        asked: &Asked,
        trainer: &mut Trainer,
        standing: &mut Standing,
        held: Option<H>,
    ) -> Result<Epoch, Failure<E>> {
        let is_averaged = trainer.recipe().average.is_some();
        let held_loss = match held {
            None => None,
            Some(held) if is_averaged => Some(trainer.evaluate_averaged_async(held).await?),
            Some(held) => Some(trainer.evaluate_async(held).await?),
        };
        let metric = self.evaluation.as_mut().map(|evaluate| evaluate(trainer)).transpose().map_err(Failure::Caller)?;
        let mut epoch = Epoch {
            number: standing.epochs.len() as u64 + 1,
            steps: standing.steps,
            train_loss: standing.sum / standing.steps as f64,
            held_loss,
            metric: metric.filter(|metric| metric.is_finite()),
            learning_rate: trainer.recipe().rate(trainer.steps_done()),
            is_best: false,
        };
        let score = epoch.measure(asked.by_metric).map_or(f64::NAN, |measure| asked.score(measure));
        epoch.is_best = standing.stopping.improves(score);
        let model = match epoch.is_best {
            true if is_averaged => Some(trainer.averaged_model_async().await?),
            true => Some(trainer.model_async().await?),
            false => None,
        };
        standing.stopping.note(score, model);
        standing.epochs.push(epoch);
        (standing.steps, standing.sum) = (0, 0.0);
        Ok(epoch)
    }

    /// Writes the best network, where it has a file.
    fn save_best(&self, standing: &Standing) -> Result<()> {
        let (Some(path), Some((_, best))) = (&self.best, standing.stopping.best()) else { return Ok(()) };
        let mut checkpoint = Checkpoint::from(best.clone());
        checkpoint.notes.clone_from(&self.notes);
        checkpoint.save(path)
    }

    /// Writes all that it takes to go on, where it has a file.
    async fn save(&self, asked: &Asked, trainer: &mut Trainer, standing: &Standing) -> Result<()> {
        let Some(path) = &self.checkpoint else { return Ok(()) };
        let mut checkpoint = trainer.checkpoint_async().await?;
        if let Some(training) = &mut checkpoint.training {
            training.best = standing.stopping.best().map(|(_, best): (_, &Model)| best.values().to_vec());
        }
        checkpoint.notes.clone_from(&self.notes);
        checkpoint.notes.insert(NOTE.to_owned(), standing.note(asked).map_err(named(Path::new(path)))?);
        checkpoint.save(path)
    }
}

/// Adds up the losses of the steps that were not read yet, and returns the mean of the epoch's so far.
async fn read(trainer: &mut Trainer, standing: &mut Standing) -> Result<f64> {
    for metrics in trainer.metrics_async().await? {
        standing.sum += metrics.loss;
    }
    Ok(standing.sum / standing.steps as f64)
}
