//! Classes of sequences of unequal length, behind whose ends lies what would mislead.
//!
//! A network that is read out once learns them, from its last valid state or from the mean over the valid steps, and
//! fails once the lengths are taken from it.

use rand::RngExt;
use rand::rngs::ChaCha12Rng;
use rand::seq::SliceRandom;
use recurrent::{
    Batch, BatchShape, Cell, Config, Device, InputKind, Inputs, Loss, Model, Optimizer, Pool, Predictor, Recipe, Reset,
};

use super::training::{HELD, accuracy, train};
use crate::common::whole::{assert_same, ids, rng};

/// Tokens that can be a class; as many others distract.
const KEYS: usize = 4;
/// T; sequences have a quarter to half of it, the rest is padding.
const STEPS: usize = 16;
const SHORTEST: usize = 4;
const LONGEST: usize = 8;
const HIDDEN: usize = 24;
const LIMIT: usize = 500;
/// Nats.
const ENOUGH: f64 = 0.02;
/// The part of right answers.
const LEARNT: f64 = 0.98;
/// The same where padding is read as if it was valid: it says another class three times of four.
const MISLED: f64 = 0.5;

/// Makes the tokens and the class of a sequence of that length.
type Draw = fn(&mut ChaCha12Rng, usize) -> (Vec<u32>, u32);

/// The class is the last key of the sequence, with distractors alone behind it and anything before it.
fn last_key(random: &mut ChaCha12Rng, length: usize) -> (Vec<u32>, u32) {
    let mut tokens = ids(random, length, 2 * KEYS);
    let (at, class) = (random.random_range(0..length), random.random_range(0..KEYS as u32));
    tokens[at] = class;
    tokens[at + 1..].iter_mut().for_each(|token| *token = KEYS as u32 + *token % KEYS as u32);
    (tokens, class)
}

/// The class is the key that more than half of the steps show, wherever they are.
fn commonest_key(random: &mut ChaCha12Rng, length: usize) -> (Vec<u32>, u32) {
    let (mut tokens, class) = (ids(random, length, KEYS), random.random_range(0..KEYS as u32));
    tokens[..length / 2 + 1].fill(class);
    tokens.shuffle(random);
    (tokens, class)
}

/// Sequences that `sequence` makes, of any length, and behind each one key over and over.
fn batch(random: &mut ChaCha12Rng, size: usize, sequence: Draw) -> Batch {
    let lengths: Vec<usize> = (0..size).map(|_| random.random_range(SHORTEST..=LONGEST)).collect();
    let padding = ids(random, size, KEYS);
    let mut tokens: Vec<u32> = (0..STEPS).flat_map(|_| padding.iter().copied()).collect();
    let mut classes = Vec::with_capacity(size);
    for (at, length) in lengths.iter().enumerate() {
        let (valid, class) = sequence(random, *length);
        valid.iter().enumerate().for_each(|(step, token)| tokens[step * size + at] = *token);
        classes.push(class);
    }
    Batch::tokens(BatchShape { steps: STEPS, batch_size: size }, tokens, classes).with_lengths(lengths)
}

/// The same valid steps with other padding.
fn padded_otherwise(batch: &Batch) -> Batch {
    let mut other = batch.clone();
    let size = batch.sequences.batch_size;
    let (Inputs::Tokens(tokens), Some(lengths)) = (&mut other.sequences.inputs, &batch.sequences.lengths) else {
        panic!("tokens of unequal length")
    };
    for (row, token) in tokens.iter_mut().enumerate().filter(|(row, _)| row / size >= lengths[row % size]) {
        *token = (*token + 1 + row as u32) % (2 * KEYS as u32);
    }
    other
}

fn is_learned(pool: Option<Pool>, sequence: Draw) {
    let draw = |random: &mut ChaCha12Rng, size| batch(random, size, sequence);
    for cell in [Cell::Lstm, Cell::Gru(Reset::AfterProduct), Cell::Gru(Reset::BeforeProduct)] {
        let config = Config::of_cell(cell, InputKind::Tokens(2 * KEYS), HIDDEN, KEYS).with_pool(pool).with_seed(1);
        let recipe = Recipe::new(Loss::CrossEntropy).with_optimizer(Optimizer::adam(), 1e-2);
        let mut trainer = train(&Model::new(config).unwrap(), recipe, draw, LIMIT, ENOUGH);
        let (model, held) = (trainer.model().unwrap(), draw(&mut rng(2001), HELD));
        let right = accuracy(&model, &held);

        let mut whole = held.clone();
        whole.sequences.lengths = None;
        let misled = accuracy(&model, &whole);
        println!("{cell:?}, {pool:?}: {:.1} % right, {:.1} % without lengths", 100.0 * right, 100.0 * misled);
        assert!(right > LEARNT, "{cell:?}: {right} of the answers are right");
        assert!(misled < MISLED, "{cell:?}: {misled} of the answers are right without lengths");

        let mut predictor = Predictor::new(&Device::cpu(), &model).unwrap();
        let mut outputs = |batch: &Batch| predictor.run(&batch.sequences).unwrap().outputs;
        assert_same("outputs with other padding", &outputs(&padded_otherwise(&held)), &outputs(&held));
    }
}

#[test]
fn a_class_is_read_from_the_last_valid_state() {
    is_learned(Some(Pool::Last), last_key);
}

#[test]
fn a_class_is_read_from_the_mean_over_valid_steps() {
    is_learned(Some(Pool::Mean), commonest_key);
}
