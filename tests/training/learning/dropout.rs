//! With dropout between layers and variational dropout a task is learned all the same.
//!
//! Evaluation drops nothing: it repeats bit for bit, and is that of the same network trained without dropout.

use rand::rngs::ChaCha12Rng;
use recurrent::{
    Batch, BatchShape, Cell, Config, Device, Dropout, InputKind, Loss, Model, Optimizer, Recipe, Reset, Trainer,
};

use super::training::{HELD, accuracy, train};
use crate::common::whole::{ids, rng};

const TOKENS: usize = 4;
/// T.
const STEPS: usize = 8;
/// How many steps before the token was that has to be said.
const LAG: usize = 2;
const HIDDEN: usize = 32;
const LIMIT: usize = 600;
/// Nats, without dropout.
const ENOUGH: f64 = 0.05;
/// The part of right answers.
const LEARNT: f64 = 0.95;

/// At every step the token of LAG steps before.
fn echo(random: &mut ChaCha12Rng, size: usize) -> Batch {
    let tokens = ids(random, STEPS * size, TOKENS);
    let mut targets = vec![0; LAG * size];
    targets.extend(&tokens[..(STEPS - LAG) * size]);
    let mask = (0..STEPS * size).map(|row| row / size >= LAG).collect();
    Batch::tokens(BatchShape { steps: STEPS, batch_size: size }, tokens, targets).with_loss_mask(mask)
}

fn is_learned(cell: Cell, dropout: Dropout) {
    let config = Config::of_cell(cell, InputKind::Tokens(TOKENS), HIDDEN, TOKENS).with_layers(2).with_seed(1);
    let plain = Recipe::new(Loss::CrossEntropy).with_optimizer(Optimizer::adam(), 1e-2);
    let mut trainer = train(&Model::new(config).unwrap(), plain.clone().with_dropout(dropout), echo, LIMIT, ENOUGH);
    let (model, held) = (trainer.model().unwrap(), echo(&mut rng(2001), HELD));
    let right = accuracy(&model, &held);
    println!("{cell:?}, {dropout:?}: {:.1} % right", 100.0 * right);
    assert!(right > LEARNT, "{cell:?}: {right} of the answers are right");

    let loss = trainer.evaluate([held.clone()]).unwrap();
    let again = trainer.evaluate([held.clone()]).unwrap();
    let without = Trainer::new(&Device::cpu(), &model, plain).unwrap().evaluate([held]).unwrap();
    assert_eq!(loss.to_bits(), again.to_bits(), "{cell:?}: the same evaluation again: {loss}, {again}");
    assert_eq!(loss.to_bits(), without.to_bits(), "{cell:?}: without dropout in the recipe: {loss}, {without}");

    // While a training step on the same network does drop.
    let dropped = trainer.metrics().unwrap().last().unwrap().loss;
    assert!(dropped > 2.0 * loss, "{cell:?}: {dropped} nats in training, {loss} in evaluation");
}

const CELLS: [Cell; 3] = [Cell::Lstm, Cell::Gru(Reset::AfterProduct), Cell::Gru(Reset::BeforeProduct)];

#[test]
fn an_echo_is_learned_with_dropout_between_layers() {
    for cell in CELLS {
        is_learned(cell, Dropout::between_layers(0.3).with_seed(5));
    }
}

#[test]
fn an_echo_is_learned_with_variational_dropout() {
    for cell in CELLS {
        is_learned(cell, Dropout::variational(0.1, 0.2).with_seed(5));
    }
}
