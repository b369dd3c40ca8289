//! The copy memory task with 50 blank steps between tokens and answers (Hochreiter & Schmidhuber 1997; Arjovsky, Shah
//! & Bengio 2016).
//!
//! LSTM and GRU learn it, and a tanh network of the same size, recipe and number of steps does not.

use rand::rngs::ChaCha12Rng;
use recurrent::{Activation, Batch, BatchShape, Cell, Clip, Config, InputKind, Loss, Optimizer, Recipe, Reset};

use super::training::{HELD, accuracy, train, with_memory};
use crate::common::whole::{ids, rng};

/// How many tokens are to be remembered, in order, and how many there are.
const LENGTH: usize = 3;
const TOKENS: usize = 8;
/// Blank steps between the last token and the signal to answer.
const DELAY: usize = 50;
const STEPS: usize = LENGTH + DELAY + LENGTH;
/// H, the same for all cells.
const HIDDEN: usize = 32;
/// The gates' biases are drawn for memories up to this long: shorter than the delay, as units that are quick are needed
/// too, to tell the order of the tokens.
const SPAN: f32 = 20.0;
/// A network that learns the task needs 700 to 1900 batches.
const LIMIT: usize = 3000;
/// The cross-entropy in nats below which training stops. Without a memory it is ln 8 = 2.08; who remembers which tokens
/// there were but not their order has 0.93.
const ENOUGH: f64 = 0.08;
/// The part of the held-out answers that is right; without a memory 1 in 8.
const LEARNT: f64 = 0.95;
const NOT_LEARNT: f64 = 0.5;

/// LENGTH tokens, blanks, a signal and blanks again; from the signal on the tokens have to be said, and only there an
/// output counts.
fn copying(random: &mut ChaCha12Rng, size: usize) -> Batch {
    let tokens = ids(random, LENGTH * size, TOKENS);
    let [blank, signal] = [TOKENS as u32, TOKENS as u32 + 1];
    let answers = (LENGTH + DELAY) * size;
    let mut inputs = vec![blank; STEPS * size];
    inputs[..tokens.len()].copy_from_slice(&tokens);
    inputs[answers..answers + size].fill(signal);
    let mut targets = vec![0; STEPS * size];
    targets[answers..].copy_from_slice(&tokens);
    let mask = (0..STEPS * size).map(|row| row >= answers).collect();
    Batch::tokens(BatchShape { steps: STEPS, batch_size: size }, inputs, targets).with_loss_mask(mask)
}

/// The part of right answers on sequences that were not trained on.
fn accuracy_after_training(cell: Cell, seed: u64) -> f64 {
    let config = Config::of_cell(cell, InputKind::Tokens(TOKENS + 2), HIDDEN, TOKENS).with_seed(seed);
    let recipe = Recipe::new(Loss::CrossEntropy).with_clip(Clip::Norm(1.0)).with_optimizer(Optimizer::adam(), 1.5e-2);
    let mut trainer = train(&with_memory(config, SPAN), recipe, copying, LIMIT, ENOUGH);
    let held = copying(&mut rng(2000 + seed), HELD);
    let right = accuracy(&trainer.model().unwrap(), &held);
    let loss = trainer.evaluate([held]).unwrap();
    println!("{}, seed {seed}: held-out cross-entropy {loss:.3}, {:.1} % right", cell.name(), 100.0 * right);
    right
}

fn is_learned(cell: Cell) {
    for seed in [1, 2] {
        let right = accuracy_after_training(cell, seed);
        assert!(right > LEARNT, "{}, seed {seed}: {right} of the answers are right", cell.name());
    }
}

#[test]
fn an_lstm_copies_across_50_steps() {
    is_learned(Cell::Lstm);
}

#[test]
fn a_gru_copies_across_50_steps() {
    is_learned(Cell::Gru(Reset::AfterProduct));
}

#[test]
fn an_elman_network_does_not_copy() {
    for seed in [1, 2] {
        let right = accuracy_after_training(Cell::Elman(Activation::Tanh), seed);
        assert!(right < NOT_LEARNT, "seed {seed}: {right} of the answers are right");
    }
}
