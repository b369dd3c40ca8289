//! Strings of digits: recordings of one voice joined with gaps, of which a network is told the letters and not where
//! they are.
//!
//! The contract: strings to test are made of recordings to test alone; every recording is in one string of a pass.

use std::{collections::BTreeMap, path::Path, process::ExitCode};

use anyhow::{Context, Result, ensure};
use rand::{RngExt, rngs::ChaCha12Rng, seq::SliceRandom};
use recurrent::{
    Batch, BatchShape, Config, Device, Directions, InputKind, Inputs, Loss, Model, Predictor, Sequences, Targets, ctc,
    data::{Buckets, Example, StandardScaler},
    metrics::ErrorRate,
};
use recurrent_examples::{
    device, fit,
    options::{self, Options},
    readers::sound::{self, Parts, RATE, Recording},
    report::Report,
    shuffle, svg,
};
use serde_json::json;

use crate::{
    HELD, cover, drawing,
    frames::{BANDS, Frames},
    letters, tell_changes,
};

/// Digits of a string.
const DIGITS: std::ops::RangeInclusive<usize> = 2..=6;
/// Milliseconds of a gap, and how loud it is at most.
const GAP: std::ops::Range<u32> = 20..250;
const HISS: f32 = 0.002;
/// Frames that a step reads side by side.
const STACKED: usize = 2;
const FEATURES: usize = STACKED * BANDS;
/// How often the recordings to test are joined to strings.
const PASSES: u64 = 2;
/// Prefixes that a beam follows, and sequences that are heard side by side.
const BEAM: usize = 16;
const BATCH: usize = 64;
/// Strings that are printed.
const PRINTED: usize = 8;

/// A string of digits.
struct Spoken {
    samples: Vec<f32>,
    digits: Vec<usize>,
}

/// Joins recordings of one voice to strings of two to six.
fn joined(recordings: &[&Recording], rng: &mut ChaCha12Rng) -> Vec<Spoken> {
    let mut voices: BTreeMap<&str, Vec<&Recording>> = BTreeMap::new();
    for recording in recordings {
        let voice = recording.name.split('_').nth(1).unwrap_or_default();
        voices.entry(voice).or_default().push(recording);
    }
    let mut strings = Vec::new();
    for mut words in voices.into_values() {
        words.shuffle(rng);
        let mut rest = &words[..];
        while !rest.is_empty() {
            let count = rng.random_range(DIGITS).min(rest.len());
            // None is left alone, unless it is.
            let count = if rest.len() - count != 1 {
                count
            } else if count > 2 {
                count - 1
            } else {
                count + 1
            };
            let (string, after) = rest.split_at(count);
            strings.push(spoken(string, rng));
            rest = after;
        }
    }
    strings
}

fn spoken(words: &[&Recording], rng: &mut ChaCha12Rng) -> Spoken {
    let mut samples = Vec::new();
    let gap = |samples: &mut Vec<f32>, rng: &mut ChaCha12Rng| {
        let (count, loud) = (rng.random_range(GAP) * RATE / 1000, rng.random_range(0.0..HISS));
        samples.extend((0..count).map(|_| loud * rng.random_range(-1.0..1.0f32)));
    };
    for word in words {
        gap(&mut samples, rng);
        samples.extend_from_slice(&word.samples);
    }
    gap(&mut samples, rng);
    Spoken { samples, digits: words.iter().map(|word| word.digit).collect() }
}

/// Scaled frames as a network reads them, several a step.
fn stacked(mut frames: Vec<f32>) -> Vec<f32> {
    if frames.len() < FEATURES {
        frames.resize(FEATURES, 0.0);
    }
    frames.truncate(frames.len() / FEATURES * FEATURES);
    frames
}

/// What is heard in a string, beside what it says.
pub struct Heard {
    /// The letters that are said.
    pub truth: String,
    /// Those of the likeliest output of every step.
    pub greedy: String,
    /// Those of all paths together.
    pub beam: String,
    /// `[T, 40]` scaled frames.
    pub frames: Vec<f32>,
    /// Which frames are each letter of the truth.
    pub spans: Vec<std::ops::Range<usize>>,
}

impl Heard {
    pub fn is_right(&self) -> bool {
        letters::words(&self.truth) == letters::words(&self.beam)
    }
}

pub fn train(options: &Options, mut report: Report) -> Result<ExitCode> {
    let (Parts { train, test }, changed) = crate::read(options)?;
    options.prepare(&[])?;
    let device = device::open(&options.device, &report)?;
    let config = options.config(InputKind::Dense(FEATURES), letters::OUTPUTS);
    let config = config.with_directions(Directions::Bidirectional);
    let model = Model::new(config.clone())?;
    let name = options.name("words of a machine");
    report.line(&format!("{name}: {} recordings to learn, {} to test, joined", train.len(), test.len()))?;
    tell_changes(&changed, &report)?;

    let frames = Frames::new();
    let hear = |strings: Vec<Spoken>| -> Result<Vec<(Vec<f32>, String)>> {
        let of_one = |string: &Spoken| Ok((frames.of(&string.samples, usize::MAX)?, letters::written(&string.digits)));
        strings.iter().map(of_one).collect()
    };
    let order = shuffle::shuffled(&(0..train.len()).collect::<Vec<_>>(), shuffle::rng(options.seed, u64::MAX));
    let order: Vec<&Recording> = order.into_iter().map(|at| &train[at]).collect();
    let (held, kept) = order.split_at(train.len().div_ceil(HELD));
    let held = hear(joined(held, &mut shuffle::rng(options.seed, u64::MAX - 1)))?;
    let first = hear(joined(kept, &mut shuffle::rng(options.seed, 0)))?;
    let scaler = StandardScaler::fit(&first.into_iter().flat_map(|(frames, _)| frames).collect::<Vec<_>>(), BANDS)?;
    let example = |frames: Vec<f32>, text: &str| {
        Example::new(Inputs::Dense(stacked(frames)), Targets::Sequences(vec![letters::labels(text)]))
    };
    let held: Vec<Example> =
        held.iter().map(|(frames, text)| Ok(example(scaler.apply(frames)?, text))).collect::<Result<_>>()?;
    let held: Vec<Batch> = held.chunks(BATCH).map(|chunk| Batch::pad(chunk, &config)).collect::<Result<_, _>>()?;
    let epoch = |number| {
        let mut rng = shuffle::rng(options.seed, number);
        let strings = hear(joined(kept, &mut rng))?;
        let covered = strings.iter().map(|(frames, text)| Ok(example(cover(&scaler.apply(frames)?, &mut rng), text)));
        let covered = covered.collect::<Result<_>>()?;
        Ok(Buckets::new(covered, options.batch_size, &config, options.seed)?.epoch(number).collect())
    };
    let notes = Some(options::notes("speech --ctc", &scaler)?);
    // A string that is too fast for its letters is one of few.
    let loss = Loss::Ctc { blank: letters::BLANK, zero_infeasible: true };
    let (best, history) = fit::fit((&device, &model, loss), epoch, &held, options, &mut report, notes)?;
    if let Some(code) = history.stopped {
        return Ok(fit::interrupted(code, options));
    }

    let mut tested = Vec::new();
    for pass in 0..PASSES {
        let strings = joined(&test.iter().collect::<Vec<_>>(), &mut shuffle::rng(options.seed, u64::MAX - 2 - pass));
        tested.extend(hear(strings)?);
    }
    for (frames, _) in &mut tested {
        *frames = scaler.apply(frames)?;
    }
    let heard = listen(&device, &best, tested)?;
    let mut wrong = [ErrorRate::new(), ErrorRate::new()];
    for one in &heard {
        let truth = letters::words(&one.truth);
        wrong[0].add(&truth, &letters::words(&one.greedy))?;
        wrong[1].add(&truth, &letters::words(&one.beam))?;
    }
    let [greedy, beam] = wrong.map(|rate| rate.value().unwrap_or(f64::NAN));
    let words: usize = heard.iter().map(|one| letters::words(&one.truth).len()).sum();
    svg::write(&options.plot, (1180, 900), &format!("speech: strings of {name}"), |area| {
        drawing::draw_strings(area, &history, &heard)
    })?;
    for one in heard.iter().take(PRINTED) {
        let mark = if one.is_right() { ' ' } else { '!' };
        report.line(&format!("{mark} {:<36} {}", one.truth, one.beam))?;
    }
    report.line(&format!(
        "test: {:.2} % of {words} words in {} strings are wrong (greedily {:.2} %), after {:.0} s of training; saved \
         in {}, drawn in {}",
        beam * 100.0,
        heard.len(),
        greedy * 100.0,
        history.seconds,
        options.checkpoint.display(),
        options.plot.display()
    ))?;
    report.event(&json!({
        "event": "test", "word_error_rate": beam, "greedy_word_error_rate": greedy, "words": words,
        "strings": heard.len(), "seconds": history.seconds
    }))?;
    Ok(ExitCode::SUCCESS)
}

/// What a network hears in strings, of each its scaled frames and what it says.
fn listen(device: &Device, model: &Model, strings: Vec<(Vec<f32>, String)>) -> Result<Vec<Heard>> {
    let mut predictor = Predictor::new(device, model)?;
    let mut heard = Vec::with_capacity(strings.len());
    for chunk in strings.chunks(BATCH) {
        let inputs: Vec<Inputs> = chunk.iter().map(|(frames, _)| Inputs::Dense(stacked(frames.clone()))).collect();
        let sequences = Sequences::pad(&inputs, model.config())?;
        let outputs = predictor.run(&sequences)?.outputs;
        for (b, (frames, truth)) in chunk.iter().enumerate() {
            let rows = rows(&outputs, sequences.shape(), (b, frames.len()), model.config())?;
            let (greedy, beam) = read(&rows)?;
            // Of a string that is too fast for its letters there are none.
            let spans = ctc::align(&rows, letters::OUTPUTS, letters::BLANK, &letters::labels(truth));
            let spans = spans.map(|alignment| alignment.spans()).unwrap_or_default();
            let spans = spans.into_iter().map(|span| span.start * STACKED..span.end * STACKED).collect();
            heard.push(Heard { truth: truth.clone(), greedy, beam, frames: frames.clone(), spans });
        }
    }
    Ok(heard)
}

/// The outputs of sequence `b`, which has so many numbers of frames.
fn rows(outputs: &[f32], shape: BatchShape, (b, frames): (usize, usize), config: &Config) -> Result<Vec<f32>> {
    Ok(ctc::rows_of(outputs, shape, config.outputs, (b, (frames / FEATURES).max(1)))?)
}

/// The letters that outputs say, greedily and by a beam.
fn read(rows: &[f32]) -> Result<(String, String)> {
    let greedy = ctc::greedy(rows, letters::OUTPUTS, letters::BLANK)?;
    let beam = ctc::prefix_beam(rows, letters::OUTPUTS, letters::BLANK, BEAM)?;
    let beam = beam.first().map(|(labels, _)| letters::text(labels)).unwrap_or_default();
    Ok((letters::text(&greedy), beam))
}

/// What a trained network hears in one file.
pub fn predict(file: &Path, options: &Options, report: &Report) -> Result<()> {
    let (model, scaler): (_, StandardScaler) = options.load("speech --ctc")?;
    ensure!(scaler.features() == BANDS, "the checkpoint's note scales {} bands, expected {BANDS}", scaler.features());
    let outputs = model.config().outputs;
    ensure!(outputs == letters::OUTPUTS, "the checkpoint has {outputs} outputs, expected {}", letters::OUTPUTS);
    let (samples, changes) = sound::read(file)?;
    let frames = Frames::new().of(&samples, usize::MAX)?;
    let frames = scaler.apply(&frames).context("the checkpoint's note cannot be right")?;
    let device = device::open(&options.device, report)?;
    for change in &changes {
        report.event(&json!({ "event": "converted", "recordings": 1, "change": change }))?;
        report.line(&format!("{} was {change}", file.display()))?;
    }
    let heard = listen(&device, &model, vec![(frames, String::new())])?;
    let heard = heard.first().context("no answer")?;
    report.event(&json!({ "event": "prediction", "text": heard.beam, "greedy": heard.greedy }))?;
    report.line(&format!("{}: {}", file.display(), heard.beam))
}
