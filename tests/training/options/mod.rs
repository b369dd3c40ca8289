//! What a training can be told beside its recipe: steps over several windows, frozen parameters, groups of them, what
//! decays, rates, means of the parameters, when to stop.
//!
//! Where a step in parts is compared with a whole one a named tolerance holds; what must not change is held to the bit.

mod accumulating;
mod averages;
mod freezing;
mod groups;
mod rates;
mod stopping;

use recurrent::{
    Batch, BatchShape, Clip, Config, Device, InputKind, Loss, Model, Optimizer, Recipe, Sequences, Targets, Trainer,
};

use crate::common::random::Random;

fn elman() -> Config {
    Config::elman(InputKind::Tokens(7), 20, 7).with_seed(3)
}

fn lstm() -> Config {
    Config::lstm(InputKind::Dense(3), 18, 4).with_layers(2).with_seed(4)
}

fn plain(loss: Loss, rate: f64) -> Recipe {
    Recipe::new(loss).with_clip(Clip::None).with_optimizer(Optimizer::sgd(0.0), rate)
}

fn trainer(device: &Device, config: &Config, recipe: Recipe) -> Trainer {
    Trainer::new(device, &Model::new(config.clone()).unwrap(), recipe).unwrap()
}

fn singles(values: Vec<f64>) -> Vec<f32> {
    values.into_iter().map(|v| v as f32).collect()
}

fn doubles(values: &[f32]) -> Vec<f64> {
    values.iter().copied().map(f64::from).collect()
}

/// Random sequences for a network that reads out every step, some of whose positions do not count.
fn batch(random: &mut Random, config: &Config, steps: usize, size: usize) -> Batch {
    let rows = steps * size;
    let sequences = match config.input {
        InputKind::Tokens(tokens) => {
            Sequences::tokens(BatchShape { steps, batch_size: size }, random.ids(rows, tokens))
        }
        _ => Sequences::dense(
            BatchShape { steps, batch_size: size },
            singles(random.reals(rows * config.input.size(), 1.0)),
        ),
    };
    let targets = match config.input {
        InputKind::Tokens(_) => Targets::Classes(random.ids(rows, config.outputs)),
        _ => Targets::Values(singles(random.reals(rows * config.outputs, 1.0))),
    };
    let mask = Some(random.mask(rows).into_iter().map(|counts| counts == 1.0).collect());
    let mut batch = Batch::new(sequences, targets);
    batch.loss_mask = mask;
    batch
}

/// All that a training is, as bytes.
fn bytes(trainer: &mut Trainer) -> Vec<u8> {
    trainer.checkpoint().unwrap().to_bytes().unwrap()
}

fn values(model: &Model, name: &str) -> Vec<f64> {
    doubles(model.parameter(name).expect("a parameter of that name"))
}
