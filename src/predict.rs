//! Inference over whole sequences, of any length each and of models that read both ways.
//!
//! The contract: what a sequence yields does not depend on the others of its batch, nor on padding behind it.

use std::collections::HashMap;

use crate::checkpoint::State;
use crate::data::{Sequences, Start};
use crate::device::{Device, Executor};
use crate::error::{Error, Result};
use crate::gpu::Wait;
use crate::model::{Config, Model, ReadOut};
use crate::plan::{Outputs, Plan, PlanId, Purpose, TensorId};

/// Runs a model over sequences.
///
/// Of a model that reads one way, memory on the device does not grow with T but for inputs and outputs (and a few hundred
/// bytes for every 128 steps, on the CPU for every 8 of large batches). Of one that reads both ways the gates of one layer and the outputs of two are kept for all T.
#[derive(Debug)]
pub struct Predictor {
    device: Device,
    config: Config,
    executor: Executor,
    /// By T and B.
    plans: HashMap<(usize, usize), (PlanId, Outputs)>,
    /// Where the parameters are.
    parameters: (PlanId, TensorId),
}

/// What a model made of some sequences.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// `[T, B, O]`, zeros behind the end of a sequence; `[B, O]` where the model is read out once. Before any softmax.
    pub outputs: Vec<f32>,
    /// Each sequence's state at its own end; of the reverse direction, after step 0.
    pub state: State,
}

impl Predictor {
    /// A predictor with a model's parameters.
    ///
    /// # Errors
    /// [`Error::Limit`] for a model larger than the device's limits, and what a failing GPU returns.
    pub async fn new_async(device: &Device, model: &Model) -> Result<Self> {
        let config = model.config().clone();
        let (plan, tensors) = Plan::shared(&config, None, &device.target())?;
        let mut executor = device.executor();
        let id = executor.prepare(plan).await?;
        executor.write_f32(id, tensors.parameters, model.flat())?;
        let parameters = (id, tensors.parameters);
        Ok(Predictor { device: device.clone(), config, executor, plans: HashMap::new(), parameters })
    }

    /// Runs the model. What a size (T, B) needs on the device is kept for the next time.
    ///
    /// # Errors
    /// As [`Sequences::check`]; [`Error::Data`] for sequences that carry on from a window before, of which there is none;
    /// [`Error::Limit`], [`Error::OutOfMemory`], [`Error::DeviceLost`].
    pub async fn run_async(&mut self, sequences: &Sequences) -> Result<Prediction> {
        self.run_waiting(sequences, Wait::Yield).await
    }

    async fn run_waiting(&mut self, sequences: &Sequences, wait: Wait) -> Result<Prediction> {
        sequences.check(&self.config)?;
        let (steps, size) = (sequences.steps, sequences.size);
        let (id, tensors) = self.prepared(steps, size).await?;
        let executor = &mut self.executor;
        match &sequences.start {
            Start::Zero => executor.zero(id, tensors.state)?,
            Start::Given(state) => executor.write_f32(id, tensors.state, state)?,
            Start::Carry => {
                return Err(Error::Data(
                    "the sequences carry on from a window before, but a predictor keeps none: give it the state"
                        .to_owned(),
                ));
            }
        }
        executor.write_sequences(id, &tensors, sequences)?;
        executor.run(id)?;
        let mut outputs = executor.read(id, tensors.outputs, wait).await?;
        if self.config.read_out == ReadOut::EveryStep {
            for (row, out) in outputs.chunks_exact_mut(self.config.outputs).enumerate() {
                if row / size >= sequences.length(row % size) {
                    out.fill(0.0);
                }
            }
        }
        let values = executor.read(id, tensors.state, wait).await?;
        Ok(Prediction { outputs, state: State { batch: size, values } })
    }

    async fn prepared(&mut self, steps: usize, size: usize) -> Result<(PlanId, Outputs)> {
        if let Some(known) = self.plans.get(&(steps, size)) {
            return Ok(*known);
        }
        let (plan, tensors) = Plan::new(&self.config, Purpose::Infer, steps, size, &self.device.target())?;
        let made = (self.executor.prepare(plan).await?, tensors);
        self.plans.insert((steps, size), made);
        Ok(made)
    }

    /// Runs another model of the same structure from now on, however it was initialised.
    ///
    /// # Errors
    /// [`Error::Config`] for another structure, [`Error::DeviceLost`].
    pub fn set_model(&mut self, model: &Model) -> Result<()> {
        let Config { init, forget_bias, seed, .. } = self.config;
        let given = Config { init, forget_bias, seed, ..model.config().clone() };
        if given != self.config {
            return Err(Error::Config(format!("the model is {given:?}, the predictor runs {:?}", self.config)));
        }
        let (id, tensor) = self.parameters;
        self.executor.write_f32(id, tensor, model.flat())
    }

    /// What it runs.
    pub fn config(&self) -> &Config {
        &self.config
    }
}

/// The forms that keep the thread while they wait.
#[cfg(not(target_arch = "wasm32"))]
impl Predictor {
    /// [`Predictor::new_async`], waiting.
    ///
    /// # Errors
    /// As there.
    pub fn new(device: &Device, model: &Model) -> Result<Self> {
        crate::blocking::block_on(Self::new_async(device, model))
    }

    /// [`Predictor::run_async`], waiting.
    ///
    /// # Errors
    /// As there.
    pub fn run(&mut self, sequences: &Sequences) -> Result<Prediction> {
        crate::blocking::block_on(self.run_waiting(sequences, Wait::Block))
    }
}
