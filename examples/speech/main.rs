//! The spoken word: a network hears a digit as a sequence of spectra and says which it was, or a string of digits and
//! says their letters.
//!
//! The contract: the test part is the official one, of which nothing is learned, neither weights nor scale; what is
//! wrong with a recording is said with its file and the sample.
//!
//! ```text
//! cargo run --release --example speech
//! cargo run --release --example speech -- --data FOLDER          # {digit}_{speaker}_{index}.wav
//! cargo run --release --example speech -- --predict FILE.wav
//! cargo run --release --example speech -- --ctc                  # strings of digits as letters
//! ```

mod drawing;
mod frames;
mod letters;
mod strings;
mod synthetic;

use std::{collections::BTreeMap, path::Path, process::ExitCode};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use rand::{RngExt, rngs::ChaCha12Rng};
use recurrent::{
    Directions, InputKind, Inputs, Loss, Model, Pool, Targets,
    data::{Buckets, Example, StandardScaler},
};
use recurrent_examples::{
    batches, classes, device, fit,
    options::{self, Options},
    program,
    readers::sound::{self, Parts, Recording},
    report::Report,
    shuffle, svg,
};
use serde_json::json;

use frames::{BANDS, Frames, MOST};

const DEFAULTS: &[(&str, &str)] = &[
    ("checkpoint", "out/speech.safetensors"),
    ("plot", "out/speech.svg"),
    ("cell", "gru"),
    ("layers", "2"),
    ("hidden", "96"),
    ("epochs", "30"),
    ("patience", "10"),
    ("batch_size", "32"),
    ("learning_rate", "0.003"),
    ("dropout", "0.3"),
];

/// Of a training on strings.
const OF_STRINGS: &[(&str, &str)] = &[
    ("checkpoint", "out/speech_strings.safetensors"),
    ("plot", "out/speech_strings.svg"),
    ("cell", "gru"),
    ("layers", "2"),
    ("hidden", "96"),
    ("epochs", "60"),
    ("patience", "15"),
    ("batch_size", "16"),
    ("learning_rate", "0.004"),
    ("dropout", "0.2"),
];

/// Of this many recordings to learn one is held out to tell when to stop.
const HELD: usize = 10;
/// How many bands, and frames, are covered at a time while a word is learned, at most (Park et al. 2019).
const COVERED: usize = 8;

/// Hears spoken digits, one of ten words.
///
/// Without --data it learns words that it speaks itself. With --ctc it hears strings of two to six digits, and says
/// their letters without having been told where they are.
#[derive(Parser)]
#[command(name = "speech", max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    options: Options,
    /// Hear strings of digits, and say their letters
    #[arg(long)]
    ctc: bool,
}

fn main() -> ExitCode {
    program::main(|| {
        let hears_strings = std::env::args().any(|argument| argument == "--ctc");
        let Cli { options, ctc } = options::parse(if hears_strings { OF_STRINGS } else { DEFAULTS });
        let report = Report::new(options.json);
        match (&options.predict, ctc) {
            (Some(file), true) => strings::predict(file, &options, &report).map(|()| ExitCode::SUCCESS),
            (Some(file), false) => predict(file, &options, &report).map(|()| ExitCode::SUCCESS),
            (None, true) => strings::train(&options, report),
            (None, false) => train(&options, report),
        }
    })
}

/// The recordings, and what was done to how many of them.
fn read(options: &Options) -> Result<(Parts, BTreeMap<String, usize>)> {
    match &options.data {
        Some(folder) => sound::read_folder(folder),
        None => Ok((synthetic::parts(options.seed), BTreeMap::new())),
    }
}

/// Says what was done to recordings.
fn tell_changes(changed: &BTreeMap<String, usize>, report: &Report) -> Result<()> {
    for (change, count) in changed {
        report.event(&json!({ "event": "converted", "recordings": count, "change": change }))?;
        report.line(&format!("{count} of them were {change}"))?;
    }
    Ok(())
}

fn train(options: &Options, mut report: Report) -> Result<ExitCode> {
    let (Parts { train, test }, changed) = read(options)?;
    options.prepare(&[])?;
    let device = device::open(&options.device, &report)?;
    let config = options.config(InputKind::Dense(BANDS), 10).with_directions(Directions::Bidirectional);
    let config = config.pool(Pool::Mean);
    let model = Model::new(config.clone())?;
    let name = options.name("words of a machine");
    report.line(&format!("{name}: {} recordings to learn, {} to test", train.len(), test.len()))?;
    tell_changes(&changed, &report)?;

    let frames = Frames::new();
    let hear = |recordings: &[Recording]| -> Result<Vec<Vec<f32>>> {
        recordings.iter().map(|recording| frames.of(&recording.samples, MOST)).collect()
    };
    let (mut heard, mut tested) = (hear(&train)?, hear(&test)?);
    let order = shuffle::shuffled(&(0..train.len()).collect::<Vec<_>>(), shuffle::rng(options.seed, u64::MAX));
    let (held, kept) = order.split_at(train.len().div_ceil(HELD));
    let scaler =
        StandardScaler::fit(&kept.iter().flat_map(|&at| heard[at].iter().copied()).collect::<Vec<_>>(), BANDS)?;
    for frames in heard.iter_mut().chain(&mut tested) {
        *frames = scaler.apply(frames)?;
    }
    let example = |at: usize, frames: Vec<f32>| Example::dense(frames, Targets::Classes(vec![train[at].digit as u32]));
    let all: Vec<Example> = (0..train.len()).map(|at| example(at, heard[at].clone())).collect();
    let held = batches::batches(&all, held, 64, &config)?;
    let epoch = |number| {
        let mut rng = shuffle::rng(options.seed, number);
        let covered = kept.iter().map(|&at| example(at, cover(&heard[at], &mut rng))).collect();
        Ok(Buckets::new(covered, options.batch_size, &config, options.seed)?.epoch(number).collect())
    };
    let notes = Some(options::notes("speech", &scaler)?);
    let (best, history) = fit::fit((&device, &model, Loss::CrossEntropy), epoch, &held, options, &mut report, notes)?;
    if let Some(code) = history.stopped {
        return Ok(fit::interrupted(code, options));
    }

    let inputs: Vec<Inputs> = tested.iter().cloned().map(Inputs::Dense).collect();
    let said = classes::judged(&device, &best, &inputs)?;
    let confusion = classes::confusion(0..10, test.iter().map(|word| word.digit).zip(said.iter().copied()))?;
    let judged = test.iter().zip(&tested).zip(said);
    let judged = judged.map(|((word, frames), said)| ((word.name.as_str(), &frames[..]), word.digit, said)).collect();
    svg::write(&options.plot, (1180, 760), &format!("speech: {name}"), |area| {
        drawing::draw(area, &history, &confusion, judged)
    })?;
    classes::tell(&confusion, "recordings", &history, options, &report)?;
    Ok(ExitCode::SUCCESS)
}

/// The same word with some bands and some frames at the mean, so that no single one is leant on.
fn cover(frames: &[f32], rng: &mut ChaCha12Rng) -> Vec<f32> {
    let mut frames = frames.to_vec();
    let steps = frames.len() / BANDS;
    let bands = rng.random_range(0..=COVERED);
    let first = rng.random_range(0..=BANDS - bands);
    frames.chunks_exact_mut(BANDS).for_each(|frame| frame[first..first + bands].fill(0.0));
    let count = rng.random_range(0..=COVERED.min(steps / 4));
    let first = rng.random_range(0..=steps - count);
    frames[first * BANDS..(first + count) * BANDS].fill(0.0);
    frames
}

/// What a trained network hears in one file.
fn predict(file: &Path, options: &Options, report: &Report) -> Result<()> {
    let (model, scaler): (_, StandardScaler) = options.load("speech")?;
    ensure!(scaler.features() == BANDS, "the checkpoint's note scales {} bands, expected {BANDS}", scaler.features());
    let (samples, changes) = sound::read(file)?;
    let frames = Frames::new().of(&samples, MOST)?;
    let frames = scaler.apply(&frames).context("the checkpoint's note cannot be right")?;
    let device = device::open(&options.device, report)?;
    for change in &changes {
        report.event(&json!({ "event": "converted", "recordings": 1, "change": change }))?;
        report.line(&format!("{} was {change}", file.display()))?;
    }
    let said = classes::probabilities(&device, &model, &[Inputs::Dense(frames)])?;
    let said = said.first().context("no answer")?;
    let digit = classes::likeliest(said);
    report.event(&json!({ "event": "prediction", "digit": digit, "probability": said[digit], "all": said }))?;
    report.line(&format!("{}: a {digit} ({:.1} %)", file.display(), said[digit] * 100.0))
}
