//! The command `eval`: the loss of a trained network on one part of a text.
//!
//! The contract: every character or word of the part but its first is predicted once, from a state of zeros at the
//! beginning of each of the batch's tracks, as validation does while training.

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use recurrent::{Batch, BatchShape, Device, Loss, Model, Recipe, Trainer, data::HeldOutWindows};
use recurrent_examples::{device, report::Report};

use crate::{
    args::{Common, EvalArgs},
    events::{self, Event, finite},
    notes,
    text::{self, Text},
};

pub fn run(args: &EvalArgs, common: &Common) -> Result<()> {
    let (checkpoint, notes) = notes::load(&args.checkpoint)?;
    let data = args.data.as_deref().or(notes.settings.data.as_deref());
    let text = Text::load_with(data, &notes.tokenizer)?;
    // The parts of another text are others: what was learned may be in its test part.
    ensure!(
        args.data.is_some() || text.fingerprint == notes.fingerprint,
        "{} is no longer the text that was learned; name one with --data",
        text::name(data)
    );
    let split = args.split.to_possible_value().map_or_else(String::new, |v| v.get_name().to_owned());
    let part = text.part(args.split, &notes.settings)?;
    let held = HeldOutWindows::new(
        part.to_vec(),
        BatchShape { steps: notes.settings.seq_length, batch_size: notes.settings.batch_size },
    )
    .with_context(|| format!("the {split} part of {} is too short", text::name(data)))?;
    let report = Report::new(common.json);
    let device = device::open(&common.device, &report)?;
    let nats = measure(&device, &checkpoint.model, held.iter())?;
    let unit = text.tokenizer.unit();
    report.event(&Event::Evaluation { split: &split, nats, measured: events::measured(unit, part, nats) })?;
    let name = text::name(data);
    report.line(&format!("{split} part of {name}: {} over {}", unit.loss(nats), events::extent(unit, part)))
}

/// The mean loss of a network over what is held out.
pub fn measure(device: &Device, model: &Model, held: impl IntoIterator<Item = Batch>) -> Result<f64> {
    let mut trainer = Trainer::new(device, model, Recipe::new(Loss::CrossEntropy))?;
    finite(trainer.evaluate(held)?, "loss")
}
