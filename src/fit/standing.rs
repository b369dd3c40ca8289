//! Where a training stands beside its trainer: its epochs, the best so far, and how far it is into an epoch.
//!
//! The contract: what is written into a checkpoint's notes comes back bit for bit; notes that do not fit the rest of
//! the checkpoint, and a training of another network or recipe, are refused in words that name what is there and what
//! was expected.

use std::fmt::Debug;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::outcome::Epoch;
use crate::checkpoint::{Checked, Checkpoint};
use crate::model::{Config, Model};
use crate::recipe::{LearningRateSchedule, Recipe};
use crate::train::{EarlyStopping, Plateau};

/// The name of the note.
pub(super) const NOTE: &str = "fit";

/// What a caller asks for.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    pub epochs: u64,
    pub patience: Option<usize>,
    pub learning_rate: f64,
    pub schedule: LearningRateSchedule,
    pub plateau: Option<Plateau>,
    /// Whether the best is chosen by an evaluation of the caller's, and whether more is better.
    pub by_metric: bool,
    pub is_maximum: bool,
}

/// The note.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Noted {
    asked: Asked,
    epochs: Vec<Epoch>,
    /// As it is by now.
    plateau: Option<Plateau>,
    steps: u64,
    sum: f64,
}

/// How far a training has come.
pub(super) struct Standing {
    /// Those that are done.
    pub epochs: Vec<Epoch>,
    /// Keeps the best, by a number that is less where it is better.
    pub stopping: EarlyStopping,
    pub plateau: Option<Plateau>,
    /// Steps of the epoch that is under way.
    pub steps: u64,
    /// The sum of their losses.
    pub sum: f64,
}

impl Standing {
    /// Before the first step.
    pub(super) fn new(asked: &Asked) -> Self {
        let stopping = EarlyStopping::new(asked.patience());
        Standing { epochs: Vec::new(), stopping, plateau: asked.plateau.clone(), steps: 0, sum: 0.0 }
    }

    /// The note that [`Standing::resume`] takes up.
    pub(super) fn note(&self, asked: &Asked) -> Checked<String> {
        let noted = Noted {
            asked: asked.clone(),
            epochs: self.epochs.clone(),
            plateau: self.plateau.clone(),
            steps: self.steps,
            sum: self.sum,
        };
        serde_json::to_string(&noted).map_err(|error| error.to_string())
    }

    /// Where the training of a checkpoint stands, and what is asked otherwise by now, which the checkpoint's recipe is
    /// given.
    pub(super) fn resume(
        asked: &Asked,
        (config, recipe): (&Config, &Recipe),
        checkpoint: &mut Checkpoint,
    ) -> Checked<(Self, Vec<String>)> {
        let Checkpoint { model, training, notes } = checkpoint;
        let note = notes.get(NOTE).ok_or("was not written by a `Fit`: it has no note `fit`")?;
        let noted: Noted =
            serde_json::from_str(note).map_err(|error| format!("has a note `{NOTE}` that cannot be read: {error}"))?;
        let training = training.as_mut().ok_or("holds a network, expected a training to resume")?;
        same("network", model.config(), config)?;
        let Noted { asked: before, epochs, plateau, steps, sum } = noted;
        // The rates that it stands at may be others by now than those that were asked for.
        let mut own = recipe.clone();
        (own.learning_rate, own.schedule) = (training.recipe.learning_rate, training.recipe.schedule);
        same("recipe", &training.recipe, &own)?;
        if (before.by_metric, before.is_maximum) != (asked.by_metric, asked.is_maximum) {
            let [before, now] = [&before, asked].map(Asked::measure);
            return Err(format!("holds a training whose best is chosen by {before}, expected by {now}"));
        }
        let mut changes = Vec::new();
        let mut standing = Standing { epochs, stopping: EarlyStopping::new(asked.patience()), plateau, steps, sum };
        changes.extend(change("epochs", &before.epochs, &asked.epochs));
        changes.extend(change("patience", &before.patience, &asked.patience));
        if let Some(change) = change("learning rate", &before.learning_rate, &asked.learning_rate) {
            training.recipe.learning_rate = asked.learning_rate;
            changes.push(change);
        }
        if let Some(change) = change("schedule", &before.schedule, &asked.schedule) {
            training.recipe.schedule = asked.schedule;
            changes.push(change);
        }
        if let Some(change) = change("plateau", &before.plateau, &asked.plateau) {
            standing.plateau.clone_from(&asked.plateau);
            changes.push(change);
        }
        let best = training.best.take().map(|values| {
            let (config, layout) = (model.config().clone(), model.layout().clone());
            Model::from_flat(config, layout, values)
        });
        standing.check(training.steps)?;
        standing.take_best(asked, best)?;
        Ok((standing, changes))
    }

    /// Whether the epochs are in order, and no more than the trainer's steps can be.
    fn check(&self, steps: u64) -> Checked<()> {
        if let Some((at, epoch)) = (1..).zip(&self.epochs).find(|(at, epoch)| *at != epoch.number) {
            return Err(format!("has a note `{NOTE}` with epoch {} in the place of {at}", epoch.number));
        }
        let told = self.epochs.iter().fold(self.steps, |sum, epoch| sum.saturating_add(epoch.steps));
        if told > steps {
            return Err(format!("has a note `{NOTE}` that tells of {told} steps, its training of {steps}"));
        }
        Ok(())
    }

    /// Puts the best network beside the epoch that it is of.
    fn take_best(&mut self, asked: &Asked, best: Option<Model>) -> Checked<()> {
        let epoch = self.best_epoch();
        let measure = epoch.and_then(|at| self.epochs[at].measure(asked.by_metric));
        let since = self.epochs.len() - epoch.map_or(0, |at| at + 1);
        let best = match (epoch, measure, best) {
            (Some(_), Some(measure), Some(best)) => Some((asked.score(measure), best)),
            (None, None, None) => None,
            (epoch, measure, best) => {
                let [epoch, measure, best] =
                    [epoch.is_some(), measure.is_some(), best.is_some()].map(|is| if is { "a" } else { "no" });
                return Err(format!(
                    "has a note `{NOTE}` with {epoch} best epoch and {measure} measure of it, beside {best} best \
                     network"
                ));
            }
        };
        let stopping = EarlyStopping::resume(asked.patience(), best, since);
        self.stopping = stopping.map_err(|error| error.to_string())?;
        Ok(())
    }

    /// The place of the best epoch.
    pub(super) fn best_epoch(&self) -> Option<usize> {
        self.epochs.iter().rposition(|epoch| epoch.is_best)
    }
}

impl Asked {
    /// Evaluations in a row that may be no better.
    fn patience(&self) -> usize {
        self.patience.unwrap_or(usize::MAX)
    }

    /// Less where it is better.
    pub(super) fn score(&self, measure: f64) -> f64 {
        if self.is_maximum { -measure } else { measure }
    }

    fn measure(&self) -> String {
        let what = if self.by_metric { "an evaluation of the caller's" } else { "the held-out loss" };
        format!("the {} of {what}", if self.is_maximum { "most" } else { "least" })
    }
}

/// What is asked otherwise.
fn change<T: PartialEq + Debug>(what: &str, before: &T, now: &T) -> Option<String> {
    (before != now).then(|| format!("{what}: {before:?} before, {now:?} now"))
}

/// Whether two settings are one; the settings within, that are not, are named.
fn same<T: PartialEq + Serialize>(what: &str, found: &T, expected: &T) -> Checked<()> {
    if found == expected {
        return Ok(());
    }
    let value = |of: &T| serde_json::to_value(of).map_err(|error| error.to_string());
    let (found, expected) = (value(found)?, value(expected)?);
    let empty = serde_json::Map::new();
    let members = |value: &'_ Value| value.as_object().cloned().unwrap_or_else(|| empty.clone());
    let (found, expected) = (members(&found), members(&expected));
    let mut keys: Vec<&String> = found.keys().chain(expected.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    let word = |value: Option<&Value>| value.map_or_else(|| "unset".to_owned(), Value::to_string);
    let differ = keys.into_iter().filter(|key| found.get(*key) != expected.get(*key));
    let differ = differ.map(|key| format!("{key} {}, expected {}", word(found.get(key)), word(expected.get(key))));
    Err(format!("holds the training of another {what}: {}", differ.collect::<Vec<_>>().join("; ")))
}
