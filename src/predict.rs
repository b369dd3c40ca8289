//! Inference over whole sequences, of any length each and of models that read both ways.
//!
//! The contract: what a sequence yields does not depend on the others of its batch, nor on padding behind it.

use crate::cache::PlanCacheStats;
use crate::checkpoint::State;
use crate::data::{Sequences, Start};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::gpu::Wait;
use crate::model::{Config, Model, ReadOut};
use crate::reader::Reader;

/// Runs a model over sequences.
///
/// A model that reads one way and is read out at every step or from the last reads a sequence of any length in chunks
/// of the same few sizes, so that memory on the device does not grow with T. Of one that reads both ways the gates of
/// one layer and the outputs of two are kept for all T, and for every T that was asked for there is a plan, up to the
/// bound that [`Device::with_plan_cache_bytes`] sets.
#[derive(Debug)]
pub struct Predictor {
    reader: Reader,
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
        let reader = Reader::new(device, model.config().clone(), model.flat()).await?;
        Ok(Predictor { reader })
    }

    /// Runs the model. What a size (T, B) needs on the device is kept for the next time, as
    /// [`Device::with_plan_cache_bytes`] says.
    ///
    /// # Errors
    /// Same as [`Sequences::check`]; [`Error::Data`] for sequences that carry on from a window before, of which there
    /// is none; [`Error::Limit`], [`Error::OutOfMemory`], [`Error::DeviceLost`].
    pub async fn run_async(&mut self, sequences: &Sequences) -> Result<Prediction> {
        self.run_waiting(sequences, Wait::Yield).await
    }

    async fn run_waiting(&mut self, sequences: &Sequences, wait: Wait) -> Result<Prediction> {
        sequences.check(self.config())?;
        if sequences.start == Start::Carry {
            return Err(Error::Data(
                "the sequences carry on from a window before, but a predictor keeps none: give it the state".to_owned(),
            ));
        }
        let (size, mut outputs) = (sequences.batch_size, Vec::new());
        self.reader.run(sequences.span(), &sequences.start, wait, &mut outputs).await?;
        let config = self.reader.config();
        if config.read_out == ReadOut::EveryStep {
            for (row, out) in outputs.chunks_exact_mut(config.outputs).enumerate() {
                if row / size >= sequences.length(row % size) {
                    out.fill(0.0);
                }
            }
        }
        let values = self.reader.state(wait).await?;
        Ok(Prediction { outputs, state: State { batch_size: size, values } })
    }

    /// Runs another model of the same structure from now on, however it was initialised.
    ///
    /// # Errors
    /// [`Error::Config`] for another structure, [`Error::DeviceLost`].
    pub fn set_model(&mut self, model: &Model) -> Result<()> {
        let config = self.config();
        let Config { init, forget_bias, seed, .. } = *config;
        let given = Config { init, forget_bias, seed, ..model.config().clone() };
        if given != *config {
            return Err(Error::Config(format!("the model is {given:?}, the predictor runs {config:?}")));
        }
        self.reader.set_parameters(model)
    }

    /// Returns the configuration of the network that it runs.
    pub fn config(&self) -> &Config {
        self.reader.config()
    }

    /// How many plans it keeps, and what they take.
    pub fn plan_cache(&self) -> PlanCacheStats {
        self.reader.plans().stats()
    }
}

/// The forms that keep the thread while they wait.
#[cfg(not(target_arch = "wasm32"))]
impl Predictor {
    /// Blocks until [`Predictor::new_async`] is done.
    ///
    /// # Errors
    /// Same as [`Predictor::new_async`].
    pub fn new(device: &Device, model: &Model) -> Result<Self> {
        crate::blocking::block_on(Self::new_async(device, model))
    }

    /// Blocks until [`Predictor::run_async`] is done.
    ///
    /// # Errors
    /// Same as [`Predictor::run_async`].
    pub fn run(&mut self, sequences: &Sequences) -> Result<Prediction> {
        crate::blocking::block_on(self.run_waiting(sequences, Wait::Block))
    }
}
