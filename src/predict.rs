//! Inference over whole sequences, of any length each and of models that read both ways.
//!
//! The contract: what a sequence yields does not depend on the others of its batch, nor on padding behind it.

use crate::data::{Sequences, Start};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::model::{Config, Model, State};
use crate::session::{PlanCacheStats, Session};

/// Runs a model over sequences.
///
/// A model that reads one way and is read out at every step or from the last reads a sequence of any length in chunks
/// of the same few sizes, so that memory on the device does not grow with T. Of one that reads both ways the gates of
/// one layer and the outputs of two are kept for all T, and for every T that was asked for there is a plan, up to the
/// bound that [`Device::with_plan_cache_bytes`] sets.
///
/// ```
/// use recurrent::{BatchShape, Config, Device, Directions, InputKind, Model, Pool, Predictor, Sequences};
/// let config = Config::gru(InputKind::Tokens(4), 8, 2).with_directions(Directions::Bidirectional);
/// let model = Model::new(config.pool(Pool::Last))?; // or Model::load(path)
/// let mut predictor = Predictor::new(&Device::cpu(), &model)?;
/// let answer = predictor.run(&Sequences::tokens(BatchShape { steps: 5, batch_size: 1 }, vec![0, 1, 2, 3, 0]))?;
/// assert_eq!(answer.outputs.len(), 2); // logits of two classes
/// # Ok::<(), recurrent::Error>(())
/// ```
#[derive(Debug)]
pub struct Predictor {
    session: Session,
}

/// What a model made of some sequences.
///
/// ```
/// use recurrent::{BatchShape, Config, Device, InputKind, Model, Predictor, Sequences, Start};
/// let model = Model::new(Config::lstm(InputKind::Dense(1), 4, 1))?;
/// let mut predictor = Predictor::new(&Device::cpu(), &model)?;
/// let part = |x: f32| Sequences::dense(BatchShape { steps: 1, batch_size: 1 }, vec![x]);
/// let first = predictor.run(&part(0.5))?;
/// let second = predictor.run(&part(0.7).with_start(Start::Given(first.state)))?; // where the first ended
/// # assert_eq!(second.outputs.len(), 1);
/// # Ok::<(), recurrent::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
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
        let session = Session::new(device, model.config().clone(), model, None).await?;
        Ok(Predictor { session })
    }

    /// Runs the model; of a [`Batch`](crate::Batch), its `sequences`. What a size (T, B) needs on the device is kept
    /// for the next time, as [`Device::with_plan_cache_bytes`] says.
    ///
    /// # Errors
    /// Same as [`Sequences::check`]; [`Error::Data`] for sequences that carry on from a window before, of which there
    /// is none; [`Error::Limit`], [`Error::OutOfMemory`], [`Error::DeviceLost`].
    pub async fn run_async(&mut self, sequences: &Sequences) -> Result<Prediction> {
        sequences.check(self.config())?;
        if sequences.start == Start::Carry {
            return Err(Error::Data(
                "the sequences carry on from a window before, but a predictor keeps none: give it the state".to_owned(),
            ));
        }
        let (size, mut outputs) = (sequences.batch_size, Vec::new());
        self.session.read(sequences.span(), &sequences.start, &mut outputs).await?;
        let config = self.session.config();
        if config.pooling().is_none() {
            for (row, out) in outputs.chunks_exact_mut(config.outputs).enumerate() {
                if row / size >= sequences.length(row % size) {
                    out.fill(0.0);
                }
            }
        }
        let Some(state) = self.session.state().await? else { unreachable!("a run leaves a state") };
        Ok(Prediction { outputs, state })
    }

    /// Runs another model of the same structure from now on, whatever its `init` and its seed.
    ///
    /// # Errors
    /// [`Error::Config`] for another structure, [`Error::DeviceLost`].
    pub fn set_model(&mut self, model: &Model) -> Result<()> {
        let config = self.config();
        if model.config().structure() != config.structure() {
            let given = model.config();
            return Err(Error::Config(format!("the model is {given:?}, the predictor runs {config:?}")));
        }
        self.session.set_parameters(model)
    }

    /// Returns the configuration of the network that it runs.
    pub fn config(&self) -> &Config {
        self.session.config()
    }

    /// How many plans it keeps, and what they take.
    pub fn plan_cache(&self) -> PlanCacheStats {
        self.session.plan_cache()
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
        crate::wait::block_on(Self::new_async(device, model))
    }

    /// Blocks until [`Predictor::run_async`] is done.
    ///
    /// # Errors
    /// Same as [`Predictor::run_async`].
    pub fn run(&mut self, sequences: &Sequences) -> Result<Prediction> {
        crate::wait::block_on(self.run_async(sequences))
    }
}
