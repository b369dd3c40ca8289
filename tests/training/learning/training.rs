//! What the tasks share: drawing gates' biases for a span of time, training until a task is learned, counting answers.
//!
//! Training, validation and the held-out set are drawn from different seeds, so nothing is asserted on data that a
//! network was trained on or stopped by.

use rand::RngExt;
use rand::rngs::ChaCha12Rng;
use recurrent::{Batch, Cell, Config, Device, Model, Predictor, Recipe, Targets, Trainer};

use crate::common::whole::rng;

/// Sequences in a batch.
const BATCH: usize = 32;
/// Sequences that say whether to stop, and how many steps there are between two looks at them.
const VALIDATION: usize = 256;
const STEPS_BETWEEN: usize = 50;
/// Sequences in a held-out set.
pub const HELD: usize = 512;

/// A fresh network whose gates forget after 1 to `span` steps, some units sooner and some later: the forget gate's bias
/// is ln u with u uniform in that range, the input gate's its negative, and a GRU's update gate, which keeps where it
/// is open, has the forget gate's (Tallec & Ollivier 2018). A cell without gates is as drawn.
pub fn with_memory(config: Config, span: f32) -> Model {
    let (hidden, cell, mut random) = (
        config.recurrent_layers().next().unwrap().hidden,
        config.recurrent_layers().next().unwrap().cell,
        rng(config.seed),
    );
    let drawn = Model::new(config.clone()).unwrap();
    let tensors: Vec<_> = drawn.tensors().map(|(name, shape, values)| (name, shape, values.to_vec())).collect();
    let tensors = tensors.into_iter().map(|(name, shape, mut values)| {
        if name.starts_with("bias_ih") && cell.gates() > 1 {
            for unit in 0..hidden {
                let bias = random.random_range(1.0..span).ln();
                // The second gate is the LSTM's forget gate and the GRU's update gate.
                values[hidden + unit] = bias;
                if cell == Cell::Lstm {
                    values[unit] = -bias;
                }
            }
        }
        (name, shape, values)
    });
    let tensors: Vec<_> = tensors.collect();
    Model::from_tensors(config, tensors.iter().map(|(name, shape, values)| (*name, *shape, values.as_slice()))).unwrap()
}

/// Trains on fresh batches of `draw` until the loss on a validation set is below `enough`, for `limit` steps at the
/// most.
pub fn train(
    model: &Model,
    recipe: Recipe,
    draw: impl Fn(&mut ChaCha12Rng, usize) -> Batch,
    limit: usize,
    enough: f64,
) -> Trainer {
    let (cell, seed) = (model.config().recurrent_layers().next().unwrap().cell.name(), model.config().seed);
    let mut trainer = Trainer::new(&Device::cpu(), model, recipe).unwrap();
    let (mut random, validation) = (rng(1000 + seed), draw(&mut rng(3000 + seed), VALIDATION));
    for step in 1..=limit {
        trainer.step(&draw(&mut random, BATCH)).unwrap();
        if step % STEPS_BETWEEN == 0 && trainer.evaluate([validation.clone()]).unwrap() < enough {
            break;
        }
    }
    println!("{cell}, seed {seed}: {} steps", trainer.steps_done());
    trainer
}

/// The part of the positions that count whose likeliest class is the target.
pub fn accuracy(model: &Model, batch: &Batch) -> f64 {
    let Targets::Classes(targets) = &batch.targets else { panic!("classes") };
    let (size, lengths, config) = (batch.sequences.batch_size, &batch.sequences.lengths, model.config());
    let outputs = Predictor::new(&Device::cpu(), model).unwrap().run(&batch.sequences).unwrap().outputs;
    let padding =
        |row: usize| config.pooling().is_none() && lengths.as_ref().is_some_and(|l| row / size >= l[row % size]);
    let (mut right, mut count) = (0, 0);
    for (row, (y, target)) in outputs.chunks_exact(config.outputs).zip(targets).enumerate() {
        if !padding(row) && batch.loss_mask.as_ref().is_none_or(|mask| mask[row]) {
            count += 1;
            right += usize::from(recurrent::sample(y, 0.0, 0.0).unwrap() == *target);
        }
    }
    assert_eq!(count, batch.count(config), "positions that count");
    right as f64 / count as f64
}
