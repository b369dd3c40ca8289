//! To say at every step how the sequence will end: sequences of unequal length, whose last token a network that reads
//! both ways knows from the start.
//!
//! To a network that reads forwards alone the last token is not to be known: its cross-entropy is at least ln 8.

use rand::RngExt;
use rand::rngs::ChaCha12Rng;
use recurrent::{
    Activation, Batch, BatchShape, Cell, Config, Directions, InputKind, Loss, Optimizer, Recipe, Reset, Trainer,
};

use super::training::{HELD, accuracy, train};
use crate::common::whole::{ids, rng};

const TOKENS: usize = 8;
/// T; sequences have a quarter to all of it.
const STEPS: usize = 12;
const SHORTEST: usize = 3;
const HIDDEN: usize = 24;
const LIMIT: usize = 500;
/// Nats.
const ENOUGH: f64 = 0.02;
/// The part of right answers.
const LEARNT: f64 = 0.98;
/// Some 3,300 answers, all those of a sequence the same, put a uniform guess well within this of ln 8.
const NATS_AROUND: f64 = 0.05;

/// Tokens, each drawn by itself, padding included; the target is the one at the last valid step, at all steps before.
fn endings(random: &mut ChaCha12Rng, size: usize) -> Batch {
    let tokens = ids(random, STEPS * size, TOKENS);
    let lengths: Vec<usize> = (0..size).map(|_| random.random_range(SHORTEST..=STEPS)).collect();
    let targets = (0..STEPS * size).map(|row| tokens[(lengths[row % size] - 1) * size + row % size]).collect();
    let mask = (0..STEPS * size).map(|row| row / size + 1 < lengths[row % size]).collect();
    Batch::tokens(BatchShape { steps: STEPS, batch_size: size }, tokens, targets)
        .with_lengths(lengths)
        .with_loss_mask(mask)
}

fn trained(cell: Cell, directions: Directions) -> Trainer {
    let config =
        Config::of_cell(cell, InputKind::Tokens(TOKENS), HIDDEN, TOKENS).with_directions(directions).with_seed(1);
    let recipe = Recipe::new(Loss::CrossEntropy).with_optimizer(Optimizer::adam(), 1e-2);
    train(&recurrent::Model::new(config).unwrap(), recipe, endings, LIMIT, ENOUGH)
}

const CELLS: [Cell; 4] =
    [Cell::Elman(Activation::Tanh), Cell::Lstm, Cell::Gru(Reset::AfterProduct), Cell::Gru(Reset::BeforeProduct)];

#[test]
fn both_directions_know_the_end() {
    for cell in CELLS {
        let right =
            accuracy(&trained(cell, Directions::Bidirectional).model().unwrap(), &endings(&mut rng(2001), HELD));
        println!("{cell:?}, both directions: {:.1} % right", 100.0 * right);
        assert!(right > LEARNT, "{cell:?}: {right} of the answers are right");
    }
}

#[test]
fn one_direction_cannot_know_it() {
    for cell in CELLS {
        let loss = trained(cell, Directions::Forward).evaluate([endings(&mut rng(2001), HELD)]).unwrap();
        println!("{cell:?}, one direction: {loss:.3} nats");
        assert!((loss - (TOKENS as f64).ln()).abs() < NATS_AROUND, "{cell:?}: {loss} nats, expected ln 8");
    }
}
