//! Training with an evaluation after every epoch: the best weights are kept, and it ends where none better come.
//!
//! The contract: what is returned and saved are the weights of the least held-out loss; the data that is held out never
//! trains. After a signal it ends with the step, and what the epoch has learned so far is measured and kept like a
//! whole one.

use std::{process::ExitCode, time::Instant};

use anyhow::{Context, Result, ensure};
use recurrent::{
    Batch, Clip, Device, Dropout, EarlyStopping, Error, LearningRateSchedule, Loss, Model, Optimizer, Recipe, Trainer,
};
use serde_json::json;

use crate::{options::Options, program, report::Report, signals};

/// Steps between two looks at the training loss.
const INTERVAL: u64 = 20;

/// How a training went.
#[derive(Clone, Default)]
pub struct History {
    /// What each epoch came to, in order.
    pub epochs: Vec<Epoch>,
    /// The epoch, from 0, whose weights were kept.
    pub best: usize,
    /// What it took.
    pub seconds: f64,
    /// The exit code, where a signal ended it.
    pub stopped: Option<u8>,
}

/// One reading of the training data.
#[derive(Clone, Copy)]
pub struct Epoch {
    /// The mean loss of its steps.
    pub train: f64,
    /// The loss on the data that is held out, after it.
    pub held: f64,
}

/// Trains `model`; `epoch` gives the batches of each epoch, `save` keeps a model that is the best so far.
pub fn fit(
    (device, model, loss): (&Device, &Model, Loss),
    epoch: impl Fn(u64) -> Result<Vec<Batch>>,
    held: &[Batch],
    options: &Options,
    report: &mut Report,
    save: impl Fn(&Model) -> Result<()>,
) -> Result<(Model, History)> {
    let since = Instant::now();
    let first = epoch(0)?;
    let steps = first.len() as u64;
    ensure!(steps > 0, "nothing is left to learn from after what is held out: there is too little data");
    let total = steps.saturating_mul(options.epochs);
    let schedule = LearningRateSchedule::Cosine { warm_up: steps, total, floor: 0.0 };
    let recipe = Recipe::new(loss)
        .with_optimizer(Optimizer::adam_w(0.01), options.learning_rate)
        .with_clip(Clip::Norm(1.0))
        .with_schedule(schedule)
        .with_dropout(Dropout::between_layers(options.dropout).with_seed(options.seed));
    let mut trainer = Trainer::new(device, model, recipe)?;
    let mut stopping = EarlyStopping::new(options.patience);
    let mut history = History::default();
    report.begin(0, total)?;
    signals::watch()?;
    for number in 1..=options.epochs {
        let batches = if number == 1 { first.clone() } else { epoch(number - 1)? };
        let measured =
            read(&mut trainer, &batches, number, report).and_then(|train| Ok((train, trainer.evaluate(held)?)));
        let (train, loss) = match measured {
            // What was best before it is no worse for it.
            Err(error @ (Error::Diverged { .. } | Error::LossNotFinite { .. })) if stopping.best().is_some() => {
                report.event(&json!({ "event": "diverged", "epoch": number, "message": error.to_string() }))?;
                report.line(&format!("epoch {number}: {error}\ntraining ends with the best weights before"))?;
                break;
            }
            measured => measured?,
        };
        history.epochs.push(Epoch { train, held: loss });
        let should_continue = stopping.observe(loss, &mut trainer)?;
        let is_best = stopping.since_best() == 0;
        if let Some((_, best)) = stopping.best().filter(|_| is_best) {
            save(best)?;
            history.best = history.epochs.len() - 1;
        }
        history.stopped = signals::stopped();
        if history.stopped.is_some() {
            // Nothing is printed: the terminal may be closed, and a failing write would end the program before it has
            // saved.
            break;
        }
        report.event(&json!({ "event": "validation", "epoch": number, "train_loss": train, "loss": loss }))?;
        let mark = if is_best { ", the best so far" } else { "" };
        let of = options.epochs;
        report.line(&format!("epoch {number}/{of}: training loss {train:.4}, validation loss {loss:.4}{mark}"))?;
        if !should_continue {
            report.line(&format!("{} evaluations were no better than the best: training ends", options.patience))?;
            break;
        }
    }
    report.end();
    history.seconds = since.elapsed().as_secs_f64();
    let (_, best) = stopping.into_best().context("no evaluation gave a finite loss")?;
    Ok((best, history))
}

/// Says that a signal ended the training, with the best network saved but neither tested nor drawn; returns the exit
/// code.
pub fn interrupted(code: u8, options: &Options) -> ExitCode {
    let file = options.checkpoint.display();
    program::aside(format_args!("interrupted; the best network so far is saved in {file}, not tested and not drawn"));
    ExitCode::from(code)
}

/// Reads the training data once, or until a signal, and returns the mean loss.
fn read(trainer: &mut Trainer, batches: &[Batch], epoch: u64, report: &Report) -> recurrent::Result<f64> {
    let (mut sum, mut count) = (0.0, 0);
    for (at, batch) in (1..).zip(batches) {
        trainer.step(batch)?;
        let is_stopped = signals::stopped().is_some();
        if at % INTERVAL == 0 || at as usize == batches.len() || is_stopped {
            for metrics in trainer.metrics()? {
                sum += metrics.loss;
                count += 1;
            }
            report.at(trainer.steps_done(), format!("epoch {epoch}  loss {:.4}", sum / f64::from(count)));
        }
        if is_stopped {
            break;
        }
    }
    Ok(sum / f64::from(count))
}
