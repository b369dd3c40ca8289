//! Pen strokes as a sequence: a bidirectional network reads eight points of a digit and says which it is.
//!
//! The contract: the writers of the test part are none of the training part's; what is wrong with a file is said with
//! its name and line.
//!
//! ```text
//! cargo run --release --example handwriting
//! cargo run --release --example handwriting -- --data FOLDER      # pendigits.tra and pendigits.tes of the UCI
//! cargo run --release --example handwriting -- --predict FILE     # strokes in the same format
//! ```

mod drawing;
mod synthetic;

use std::{path::Path, process::ExitCode};

use anyhow::Result;
use clap::Parser;
use recurrent::{Directions, InputKind, Inputs, Loss, Model, Pool, data::Example};
use recurrent_examples::{
    batches, classes, device, fit,
    options::{self, Options},
    program,
    readers::strokes::{self, FEATURES, Parts, Stroke},
    report::Report,
    shuffle, svg,
};
use serde_json::json;

const DEFAULTS: &[(&str, &str)] = &[
    ("checkpoint", "out/handwriting.safetensors"),
    ("plot", "out/handwriting.svg"),
    ("cell", "lstm"),
    ("layers", "2"),
    ("hidden", "96"),
    ("epochs", "30"),
    ("patience", "12"),
    ("batch_size", "64"),
    ("learning_rate", "0.004"),
    ("dropout", "0.2"),
];

/// Of this many strokes to learn one is held out to tell when to stop.
const HELD: usize = 10;

/// Reads handwritten digits, stroke by stroke: 8 points (x, y) each, one of ten classes.
///
/// Without --data it learns digits that it draws itself.
#[derive(Parser)]
#[command(name = "handwriting", max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    options: Options,
}

fn main() -> ExitCode {
    program::main(|| {
        let Cli { options } = options::parse(DEFAULTS);
        let report = Report::new(options.json);
        match &options.predict {
            Some(file) => predict(file, &options, &report).map(|()| ExitCode::SUCCESS),
            None => train(&options, report),
        }
    })
}

fn train(options: &Options, mut report: Report) -> Result<ExitCode> {
    let Parts { train, test } = match &options.data {
        Some(folder) => strokes::read_folder(folder)?,
        None => synthetic::parts(options.seed),
    };
    options.prepare(&[])?;
    let device = device::open(&options.device, &report)?;
    let config = options.config(InputKind::Dense(FEATURES), 10).with_directions(Directions::Bidirectional);
    let config = config.pool(Pool::Mean);
    let model = Model::new(config.clone())?;
    let name = options.name("drawn digits");
    report.line(&format!("{name}: {} strokes to learn, {} of other writers to test", train.len(), test.len()))?;

    let examples: Vec<Example> = train.iter().map(Stroke::example).collect();
    // The last in order and not any: strokes that lie together are of one writer, and the test's are of others.
    let places: Vec<usize> = (0..examples.len()).collect();
    let (kept, held) = places.split_at(examples.len() - examples.len().div_ceil(HELD));
    let held = batches::batches(&examples, held, 256, &config)?;
    let epoch = |number| {
        // Every epoch in other hands: the writers of the test part have theirs.
        let mut rng = shuffle::rng(options.seed, number);
        let bent: Vec<Example> = train.iter().map(|stroke| stroke.bent(&mut rng).example()).collect();
        let order = shuffle::shuffled(kept, shuffle::rng(options.seed, number));
        batches::batches(&bent, &order, options.batch_size, &config)
    };
    let notes = Some(options::notes("handwriting", &())?);
    let (best, history) = fit::fit((&device, &model, Loss::CrossEntropy), epoch, &held, options, &mut report, notes)?;
    if let Some(code) = history.stopped {
        return Ok(fit::interrupted(code, options));
    }

    let inputs: Vec<Inputs> = test.iter().map(Stroke::inputs).collect();
    let said = classes::judged(&device, &best, &inputs)?;
    let confusion = classes::confusion(0..10, test.iter().map(|stroke| stroke.digit).zip(said.iter().copied()))?;
    svg::write(&options.plot, (1180, 760), &format!("handwriting: {name}"), |area| {
        drawing::draw(area, &history, &confusion, &test, &said)
    })?;
    classes::tell(&confusion, "strokes", &history, options, &report)?;
    Ok(ExitCode::SUCCESS)
}

/// What a trained network says of each stroke of a file.
fn predict(file: &Path, options: &Options, report: &Report) -> Result<()> {
    let (model, ()) = options.load("handwriting")?;
    let strokes = strokes::read(file)?;
    let device = device::open(&options.device, report)?;
    let inputs: Vec<Inputs> = strokes.iter().map(Stroke::inputs).collect();
    for (at, (stroke, said)) in strokes.iter().zip(classes::probabilities(&device, &model, &inputs)?).enumerate() {
        let digit = classes::likeliest(&said);
        let probability = said[digit];
        report.event(&json!({
            "event": "prediction", "stroke": at + 1, "digit": digit, "probability": probability, "is": stroke.digit,
        }))?;
        let is = if digit == stroke.digit { String::new() } else { format!(", but it is a {}", stroke.digit) };
        report.line(&format!("stroke {}: a {digit} ({:.1} %){is}", at + 1, probability * 100.0))?;
    }
    Ok(())
}
