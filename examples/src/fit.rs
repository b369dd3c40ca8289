//! What the examples' trainings have in common: a recipe, what is said of every epoch, and signals.
//!
//! The contract: after a signal a training ends with the step, and what the epoch has learned so far is measured and
//! kept like a whole one; then nothing is printed.

use std::{collections::BTreeMap, ops::ControlFlow, process::ExitCode, time::Instant};

use anyhow::{Result, ensure};
use recurrent::{
    Batch, Clip, Device, Dropout, Fit, LearningRateSchedule, Loss, Model, Optimizer, Recipe,
    fit::{Ended, Epoch, Fitted},
};
use serde_json::json;

use crate::{options::Options, program, report::Report, signals};

/// How a training went.
#[derive(Clone, Default)]
pub struct History {
    /// What each epoch came to, in order.
    pub epochs: Vec<Epoch>,
    /// The number of the epoch, from 1, whose weights were kept.
    pub best: u64,
    /// What it took.
    pub seconds: f64,
    /// The exit code, where a signal ended it.
    pub stopped: Option<u8>,
}

/// Trains `model`; `epoch` gives the batches of each epoch. The best network so far is kept in the options' checkpoint,
/// with these notes, where there are some.
pub fn fit(
    (device, model, loss): (&Device, &Model, Loss),
    epoch: impl Fn(u64) -> Result<Vec<Batch>>,
    held: &[Batch],
    options: &Options,
    report: &mut Report,
    notes: Option<BTreeMap<String, String>>,
) -> Result<(Model, History)> {
    let since = Instant::now();
    let mut first = Some(epoch(0)?);
    let steps = first.iter().flatten().count() as u64;
    ensure!(steps > 0, "nothing is left to learn from after what is held out: there is too little data");
    let total = steps.saturating_mul(options.epochs);
    let recipe = Recipe::new(loss)
        .with_optimizer(Optimizer::adam_w(0.01), options.learning_rate)
        .with_clip(Clip::Norm(1.0))
        .with_schedule(LearningRateSchedule::Cosine { warm_up: steps, total, floor: 0.0 })
        .with_dropout(Dropout::between_layers(options.dropout).with_seed(options.seed));
    report.begin(0, total)?;
    signals::watch()?;
    let mut fit = Fit::with_errors(device, model, recipe)
        .with_epochs(options.epochs)
        .with_patience(options.patience)
        .with_progress(report.bar())
        .on_step(|_, _| Ok(flow()))
        .on_epoch(|epoch, _| {
            // After a signal nothing is printed: the terminal may be closed.
            if signals::stopped().is_none() {
                tell(epoch, options, report)?;
            }
            Ok(flow())
        });
    if let Some(notes) = notes {
        fit = fit.with_best(&options.checkpoint).with_notes(notes);
    }
    let batches = |number| first.take().filter(|_| number == 0).map_or_else(|| epoch(number), Ok);
    let Fitted { best, best_epoch, epochs, ended, .. } = fit.run(batches, held)?;
    match ended {
        Ended::Diverged(error) => {
            let number = epochs.len() + 1;
            report.event(&json!({ "event": "diverged", "epoch": number, "message": error.to_string() }))?;
            report.line(&format!("epoch {number}: {error}\ntraining ends with the best weights before"))?;
        }
        Ended::NoImprovement => {
            report.line(&format!("{} evaluations were no better than the best: training ends", options.patience))?;
        }
        _ => {}
    }
    report.end();
    let stopped = signals::stopped();
    Ok((best, History { epochs, best: best_epoch, seconds: since.elapsed().as_secs_f64(), stopped }))
}

/// Says what an epoch came to.
fn tell(epoch: &Epoch, options: &Options, report: &Report) -> Result<()> {
    let Epoch { number, train_loss: train, held_loss, is_best, .. } = *epoch;
    let loss = held_loss.unwrap_or(f64::NAN);
    report.event(&json!({ "event": "validation", "epoch": number, "train_loss": train, "loss": loss }))?;
    let mark = if is_best { ", the best so far" } else { "" };
    let of = options.epochs;
    report.line(&format!("epoch {number}/{of}: training loss {train:.4}, validation loss {loss:.4}{mark}"))
}

/// Whether a training goes on.
fn flow() -> ControlFlow<()> {
    signals::stopped().map_or(ControlFlow::Continue(()), |_| ControlFlow::Break(()))
}

/// Says that a signal ended the training, with the best network saved but neither tested nor drawn; returns the exit
/// code.
pub fn interrupted(code: u8, options: &Options) -> ExitCode {
    program::interrupted(&options.checkpoint);
    ExitCode::from(code)
}
