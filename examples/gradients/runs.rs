//! The trainings behind the page.
//!
//! The contract: all networks read the same sequences; a run that is to explode ends where it diverges, and says at
//! which step; one that a signal ends has no result, as its curve would be that of a shorter training.

use anyhow::{Context, Result};
use rand::{RngExt, SeedableRng, rngs::ChaCha12Rng};
use recurrent::{
    Activation, BatchShape, Cell, Clip, Config, Device, Error, InputKind, LayerTrace, Loss, Model, Optimizer, Pool,
    Recipe, Trace, Trainer,
};
use recurrent_examples::{report::Report, signals};

use crate::task::Adding;

const BATCH: usize = 32;
/// Steps of a run whose gradient explodes.
pub const EXPLODING: u64 = 300;
/// Steps between two readings of the metrics.
const INTERVAL: u64 = 20;

/// What all runs share.
pub struct Sizes {
    pub steps: usize,
    pub hidden: usize,
    pub updates: u64,
    pub seed: u64,
}

/// A network whose gradient is traced.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// U with a spectral radius of 0.6.
    ElmanSmall,
    /// Of 1.8.
    ElmanLarge,
    Lstm,
    Gru,
}

/// The gradient of one network before and after it learned.
pub struct Traced {
    pub before: LayerTrace,
    pub after: LayerTrace,
    pub traces: [Trace; 2],
}

impl Network {
    pub const ALL: [Network; 4] = [Network::ElmanSmall, Network::ElmanLarge, Network::Lstm, Network::Gru];

    pub fn name(self) -> &'static str {
        match self {
            Network::ElmanSmall => "Elman, ρ(U) = 0.6",
            Network::ElmanLarge => "Elman, ρ(U) = 1.8",
            Network::Lstm => "LSTM",
            Network::Gru => "GRU",
        }
    }

    /// Its training; none where a signal ended it.
    pub fn run(self, device: &Device, sizes: &Sizes, before: u64, report: &Report) -> Result<Option<Traced>> {
        let (cell, radius) = match self {
            Network::ElmanSmall => (Cell::Elman(Activation::Tanh), Some(0.6)),
            Network::ElmanLarge => (Cell::Elman(Activation::Tanh), Some(1.8)),
            Network::Lstm => (Cell::Lstm, None),
            Network::Gru => (Cell::Gru(recurrent::Reset::AfterProduct), None),
        };
        let config = Config::of_cell(cell, InputKind::Dense(2), sizes.hidden, 1).pool(Pool::Last);
        let mut model = Model::new(config.with_seed(sizes.seed))?;
        if let Some(radius) = radius {
            model = with_recurrent(&model, &gaussian(sizes, radius))?;
        }
        let recipe = Recipe::new(Loss::MeanSquared)
            .with_optimizer(Optimizer::adam(), 3e-3)
            .with_clip(Clip::Norm(1.0))
            .with_trace();
        let mut trainer = Trainer::new(device, &model, recipe)?;
        // What is too large for the device is said before it is made.
        trainer.prepare(BatchShape { steps: sizes.steps, batch_size: BATCH })?;
        let mut task = Adding::new(sizes.seed, sizes.steps, BATCH);
        trainer.step(&task.next())?;
        let first = trainer.trace()?;
        for update in 1..=sizes.updates {
            trainer.step(&task.next())?;
            if signals::stopped().is_some() {
                return Ok(None);
            }
            if update % INTERVAL == 0 || update == sizes.updates {
                let loss = trainer.metrics()?.last().map_or(f64::NAN, |metrics| metrics.loss);
                report.at(before + update, format!("{}  loss {loss:.4}", self.name()));
            }
        }
        let last = trainer.trace()?;
        let layer = |trace: &Trace| trace.layers.first().cloned().context("the network has no layer");
        Ok(Some(Traced { before: layer(&first)?, after: layer(&last)?, traces: [first, last] }))
    }
}

/// What is done to a gradient that explodes.
#[derive(Clone, Copy)]
pub enum Exploding {
    Nothing,
    Value,
    Norm,
    Normalize,
}

/// How a run went, step by step.
pub struct History {
    pub losses: Vec<f64>,
    pub norms: Vec<f64>,
    /// The step whose loss or gradient was not finite.
    pub diverged: Option<u64>,
}

impl History {
    pub fn largest(&self) -> f64 {
        self.norms.iter().fold(0.0, |largest: f64, norm| largest.max(*norm))
    }
}

impl Exploding {
    pub const ALL: [Exploding; 4] = [Exploding::Nothing, Exploding::Value, Exploding::Norm, Exploding::Normalize];

    pub fn name(self) -> &'static str {
        match self {
            Exploding::Nothing => "no clipping",
            Exploding::Value => "each element within ± 0.01",
            Exploding::Norm => "norm at most 1",
            Exploding::Normalize => "norm always 0.3",
        }
    }

    fn clip(self) -> Clip {
        match self {
            Exploding::Nothing => Clip::None,
            Exploding::Value => Clip::Value(0.01),
            Exploding::Norm => Clip::Norm(1.0),
            Exploding::Normalize => Clip::Normalize(0.3),
        }
    }

    /// A network of rectified units that starts near an integrator, U = 0.9·I (after Le, Jaitly & Hinton 2015, who take
    /// I), under plain gradient descent: one step too long, and U's powers grow without bound. None where a signal
    /// ended it.
    pub fn run(self, device: &Device, sizes: &Sizes, before: u64, report: &Report) -> Result<Option<History>> {
        let cell = Cell::Elman(Activation::Relu);
        let config = Config::of_cell(cell, InputKind::Dense(2), sizes.hidden, 1).pool(Pool::Last);
        let unit = (0..sizes.hidden * sizes.hidden).map(|at| if at % (sizes.hidden + 1) == 0 { 0.9 } else { 0.0 });
        let model = with_recurrent(&Model::new(config.with_seed(sizes.seed))?, &unit.collect::<Vec<f32>>())?;
        let recipe = Recipe::new(Loss::MeanSquared).with_optimizer(Optimizer::sgd(0.0), 0.01).with_clip(self.clip());
        let mut trainer = Trainer::new(device, &model, recipe)?;
        trainer.prepare(BatchShape { steps: sizes.steps, batch_size: BATCH })?;
        let mut task = Adding::new(sizes.seed, sizes.steps, BATCH);
        let mut history = History { losses: Vec::new(), norms: Vec::new(), diverged: None };
        for update in 1..=EXPLODING {
            trainer.step(&task.next())?;
            if signals::stopped().is_some() {
                return Ok(None);
            }
            // Every step by itself: what is read with a step that diverged is lost with it.
            match trainer.metrics() {
                Ok(metrics) => {
                    history.losses.extend(metrics.iter().map(|metrics| metrics.loss));
                    history.norms.extend(metrics.iter().map(|metrics| metrics.grad_norm));
                }
                Err(Error::Diverged { step, .. }) => {
                    history.diverged = Some(step);
                    break;
                }
                Err(other) => return Err(other.into()),
            }
            report.at(before + update, self.name().to_owned());
        }
        Ok(Some(history))
    }
}

/// A matrix of normal numbers, whose eigenvalues fill a disk of that radius (Girko's circular law).
fn gaussian(sizes: &Sizes, radius: f64) -> Vec<f32> {
    let mut rng = ChaCha12Rng::seed_from_u64(sizes.seed);
    let mut normal = || {
        // Box & Muller 1958.
        let [first, second]: [f64; 2] = rng.random();
        (-2.0 * (1.0 - first).ln()).sqrt() * (std::f64::consts::TAU * second).cos()
    };
    let deviation = radius / (sizes.hidden as f64).sqrt();
    (0..sizes.hidden * sizes.hidden).map(|_| (normal() * deviation) as f32).collect()
}

/// The same network with another U.
fn with_recurrent(model: &Model, recurrent: &[f32]) -> Result<Model> {
    let tensors = model
        .tensors()
        .map(|(name, shape, values)| (name, shape, if name == "weight_hh_l0" { recurrent } else { values }));
    Ok(Model::from_tensors(model.config().clone(), tensors)?)
}
