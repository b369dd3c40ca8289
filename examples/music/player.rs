//! What a network makes of music: how probable it finds a piece, and what it plays itself.
//!
//! The contract: a network reads the step before the one it is asked of, and silence before the first; a sample follows
//! from its seed.

use anyhow::{Context, Result};
use rand::{RngExt, rngs::ChaCha12Rng};
use recurrent::{Device, Inputs, Model, Predictor, Sequences, StreamingPredictor, Targets, data::Example};
use recurrent_examples::readers::midi::{KEYS, Piece};

/// Pieces that are heard side by side.
const BATCH: usize = 16;

/// Returns 1 for the keys that sound, 0 for the others.
pub fn numbers(step: u128) -> impl Iterator<Item = f32> {
    (0..KEYS).map(move |key| (step >> key & 1) as f32)
}

/// What is read: at every step the one before it.
fn inputs(before: u128, steps: &[u128]) -> Inputs {
    let read = std::iter::once(before).chain(steps.iter().copied()).take(steps.len());
    Inputs::Dense(read.flat_map(numbers).collect())
}

/// Steps to learn, `before` what sounded before them.
pub fn example(before: u128, steps: &[u128]) -> Example {
    Example::new(inputs(before, steps), Targets::Values(steps.iter().copied().flat_map(numbers).collect()))
}

/// Returns the probabilities of each key at every step of each piece, `[T, 88]`, each given all steps before it.
pub fn probabilities(device: &Device, model: &Model, pieces: &[&Piece]) -> Result<Vec<Vec<f64>>> {
    let (config, mut predictor) = (model.config(), Predictor::new(device, model)?);
    let mut all = Vec::with_capacity(pieces.len());
    for chunk in pieces.chunks(BATCH) {
        let read: Vec<Inputs> = chunk.iter().map(|piece| inputs(0, &piece.steps)).collect();
        let outputs = predictor.run(&Sequences::pad(&read, config)?)?.outputs;
        // [T, B, 88]
        for (at, piece) in chunk.iter().enumerate() {
            let rows = outputs.chunks_exact(KEYS).skip(at).step_by(chunk.len()).take(piece.steps.len());
            all.push(rows.flatten().map(|logit| logistic(f64::from(*logit))).collect());
        }
    }
    Ok(all)
}

/// Returns the negative logarithm of the probability of the pieces, a step.
pub fn nll(pieces: &[&Piece], probabilities: &[Vec<f64>]) -> f64 {
    let (mut sum, mut count) = (0.0, 0);
    for (piece, probabilities) in pieces.iter().zip(probabilities) {
        for (step, row) in piece.steps.iter().zip(probabilities.chunks_exact(KEYS)) {
            let of = |(key, p): (usize, &f64)| if step >> key & 1 == 1 { p.ln() } else { (-p).ln_1p() };
            // What f64 rounds to 0 or 1 costs no more than that.
            sum -= row.iter().enumerate().map(of).map(|log| log.max(f64::MIN_POSITIVE.ln())).sum::<f64>();
            count += 1;
        }
    }
    sum / f64::from(count)
}

/// Plays on after what was heard: every key by its probability, given all that sounded before, its logit divided by
/// the temperature.
pub fn play(
    device: &Device,
    model: &Model,
    heard: &[u128],
    (length, temperature): (usize, f64),
    rng: &mut ChaCha12Rng,
) -> Result<Vec<u128>> {
    let mut stream = StreamingPredictor::new(device, model, 1)?;
    let mut step = 0u128;
    for next in heard {
        stream.step(&numbers(step).collect::<Vec<f32>>())?;
        step = *next;
    }
    let mut played = Vec::with_capacity(length);
    for _ in 0..length {
        let logits = stream.step(&numbers(step).collect::<Vec<f32>>())?;
        let logits = logits.get(..KEYS).context("the network does not say something of 88 keys")?;
        let sounds = |logit: &f32| rng.random::<f64>() < logistic(f64::from(*logit) / temperature);
        let drawn: Vec<bool> = logits.iter().map(sounds).collect();
        step = drawn.iter().enumerate().fold(0, |step, (key, sounds)| step | u128::from(*sounds) << key);
        played.push(step);
    }
    Ok(played)
}

fn logistic(logit: f64) -> f64 {
    1.0 / (1.0 + (-logit).exp())
}
