//! The adding problem over 100 steps (Hochreiter & Schmidhuber 1997, in the form of Le, Jaitly & Hinton 2015).
//!
//! LSTM and GRU learn it, and a tanh network of the same size, recipe and number of steps does not.

use rand::RngExt;
use rand::rngs::ChaCha12Rng;
use recurrent::{
    Activation, Batch, BatchShape, Cell, Clip, Config, Init, InputKind, Loss, Optimizer, Pool, Recipe, Reset, Targets,
};

use super::training::{HELD, train, with_memory};
use crate::common::whole::rng;

/// T.
const STEPS: usize = 100;
/// H, the same for all cells.
const HIDDEN: usize = 32;
/// A network that learns the task needs 300 to 500 batches.
const LIMIT: usize = 1000;
/// The mean squared error below which training stops, and that of the held-out set.
const ENOUGH: f64 = 0.005;
const LEARNT: f64 = 0.01;
/// Whoever says 1 whatever he reads is wrong by the variance of two uniform numbers' sum, 1/6; 512 sequences put it
/// within 0.03 of that, four standard deviations.
const NOT_LEARNT: f64 = 0.13;

/// At every step a number in [0, 1] and a marker, which is 1 once in each half; the target is the sum of the two marked
/// numbers, read out at the last step.
fn adding(random: &mut ChaCha12Rng, size: usize) -> Batch {
    let mut inputs: Vec<f32> = (0..STEPS * size).flat_map(|_| [random.random_range(0.0..=1.0), 0.0]).collect();
    let mut sums = vec![0.0; size];
    for (sequence, sum) in sums.iter_mut().enumerate() {
        for half in [0..STEPS / 2, STEPS / 2..STEPS] {
            let at = 2 * (random.random_range(half) * size + sequence);
            *sum += inputs[at];
            inputs[at + 1] = 1.0;
        }
    }
    Batch::dense(BatchShape { steps: STEPS, batch_size: size }, inputs, Targets::Values(sums))
}

/// The mean squared error on sequences that were not trained on.
fn error_after_training(cell: Cell, seed: u64) -> f64 {
    let config = Config::of_cell(cell, InputKind::Dense(2), HIDDEN, 1)
        .pool(Pool::Last)
        .with_init(Init::Orthogonal)
        .with_seed(seed);
    let recipe = Recipe::new(Loss::MeanSquared).with_clip(Clip::Norm(1.0)).with_optimizer(Optimizer::adam(), 1e-2);
    let mut trainer = train(&with_memory(config, STEPS as f32), recipe, adding, LIMIT, ENOUGH);
    let error = trainer.evaluate([adding(&mut rng(2000 + seed), HELD)]).unwrap();
    println!("{}, seed {seed}: held-out error {error:.4}", cell.name());
    error
}

fn is_learned(cell: Cell) {
    for seed in [1, 2, 3] {
        let error = error_after_training(cell, seed);
        assert!(error < LEARNT, "{}, seed {seed}: a mean squared error of {error}", cell.name());
    }
}

#[test]
fn an_lstm_adds_over_100_steps() {
    is_learned(Cell::Lstm);
}

#[test]
fn a_gru_adds_over_100_steps() {
    is_learned(Cell::Gru(Reset::AfterProduct));
}

#[test]
fn a_gru_that_resets_before_the_product_adds_over_100_steps() {
    is_learned(Cell::Gru(Reset::BeforeProduct));
}

#[test]
fn an_elman_network_says_the_mean() {
    for seed in [1, 2, 3] {
        let error = error_after_training(Cell::Elman(Activation::Tanh), seed);
        assert!(error > NOT_LEARNT, "seed {seed}: a mean squared error of {error}");
    }
}
