//! One network on one task at one lag.
//!
//! The contract: it is trained until it has solved the task or its updates are spent; what it is judged by it never
//! trained on. A network that diverges has not solved it; one that a signal ends has no outcome.

use anyhow::Result;
use rand::{RngExt, SeedableRng, rngs::ChaCha12Rng};
use recurrent::{BatchShape, Cell, Clip, Config, Device, Error, Init, Model, Optimizer, Recipe, Recurrent, Trainer};
use recurrent_examples::{cell::CellName, signals};

use crate::tasks::Task;

const BATCH: usize = 32;
/// Sequences that say whether it is solved.
const HELD: usize = 256;
/// Updates between two looks at them.
const INTERVAL: u64 = 50;
/// Of the loss without memory.
const SOLVED: f64 = 0.1;

/// What all networks share.
pub struct Sizes {
    pub hidden: usize,
    pub updates: u64,
    pub seed: u64,
}

/// How it went.
pub struct Outcome {
    pub task: Task,
    pub cell: CellName,
    pub lag: usize,
    pub solved: bool,
    /// Updates until it was solved or diverged, or all.
    pub updates: u64,
    /// The loss on held-out sequences at the end; not a number where it diverged.
    pub loss: f64,
}

/// Trains one; none where a signal ended it.
pub fn train(
    device: &Device,
    task: Task,
    cell: CellName,
    lag: usize,
    sizes: &Sizes,
    at: impl Fn(u64),
) -> Result<Option<Outcome>> {
    let config = task.config(|input, outputs| cell.config(input, sizes.hidden, outputs));
    let model = with_memory(config.with_init(Init::Orthogonal).with_seed(sizes.seed), task.span(lag))?;
    let recipe =
        Recipe::new(task.loss()).with_clip(Clip::Norm(1.0)).with_optimizer(Optimizer::adam(), task.learning_rate());
    let mut trainer = Trainer::new(device, &model, recipe)?;
    // What is too large for the device is said before it is made.
    trainer.prepare(BatchShape { steps: task.steps(lag), batch_size: BATCH })?;
    let rng = |stream| {
        let mut rng = ChaCha12Rng::seed_from_u64(sizes.seed);
        rng.set_stream(stream);
        rng
    };
    let (mut random, held) = (rng(1), task.draw(&mut rng(2), lag, HELD));
    let enough = SOLVED * task.without_memory();
    let mut outcome = Outcome { task, cell, lag, solved: false, updates: sizes.updates, loss: f64::NAN };
    for update in 1..=sizes.updates {
        trainer.step(&task.draw(&mut random, lag, BATCH))?;
        if signals::stopped().is_some() {
            return Ok(None);
        }
        if update % INTERVAL == 0 || update == sizes.updates {
            match trainer.metrics().and_then(|_| trainer.evaluate([&held])) {
                Ok(loss) => outcome.loss = loss,
                Err(Error::Diverged { .. } | Error::LossNotFinite { .. }) => {
                    (outcome.loss, outcome.updates) = (f64::NAN, update);
                    break;
                }
                Err(other) => return Err(other.into()),
            }
            at(update);
            if outcome.loss < enough {
                (outcome.solved, outcome.updates) = (true, update);
                break;
            }
        }
    }
    Ok(Some(outcome))
}

/// A fresh network whose gates forget after 1 to `span` steps, some units sooner and some later: the bias of a forget
/// gate is ln u with u uniform in that range, an input gate's its negative (Tallec & Ollivier 2018). A cell without
/// gates is as drawn.
fn with_memory(config: Config, span: usize) -> Result<Model> {
    let (drawn, mut random) = (Model::new(config.clone())?, ChaCha12Rng::seed_from_u64(config.seed));
    // There is one layer.
    let Some(&Recurrent { hidden, cell, .. }) = config.recurrent_layers().next() else { return Ok(drawn) };
    let mut tensors: Vec<_> = drawn.tensors().map(|(name, shape, values)| (name, shape, values.to_vec())).collect();
    for (_, _, values) in tensors.iter_mut().filter(|(name, ..)| name.starts_with("bias_ih") && cell.gates() > 1) {
        for unit in 0..hidden {
            let bias = random.random_range(1.0..span as f32).ln();
            // The second gate is the LSTM's forget gate and the GRU's update gate.
            values[hidden + unit] = bias;
            if cell == Cell::Lstm {
                values[unit] = -bias;
            }
        }
    }
    Ok(Model::from_tensors(config, tensors.iter().map(|(name, shape, values)| (*name, *shape, values.as_slice())))?)
}
