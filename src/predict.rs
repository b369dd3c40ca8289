//! Inference over whole sequences, of any length each and of models that read from the end or both ways.
//!
//! The contract: what a sequence yields does not depend on the others of its batch, nor on padding behind it.

use crate::data::{Sequences, Start};
use crate::device::{Device, DeviceSlice};
use crate::error::{Error, Result};
use crate::model::{Config, Model, Rows, State};
use crate::plan::Purpose;
use crate::session::{Outputs, PlanCacheStats, Session};

/// Runs a model over sequences.
///
/// A model that reads forwards alone and is read out at every step or from the last reads a sequence of any length in
/// chunks of the same few sizes, so that memory on the device does not grow with T. Of any other the gates of one layer
/// and the outputs of two are kept for all T, and for every T that was asked for there is a plan, up to the bound that
/// [`Device::with_plan_cache_bytes`] sets.
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
    /// What each head of the model made of them, in their order.
    pub heads: Vec<HeadOutputs>,
}

/// What a head of a model made of some sequences.
///
/// ```
/// use recurrent::{BatchShape, Config, Device, InputKind, Model, Predictor, Recurrent, Sequences};
/// let config = Config::new(InputKind::Dense(1)).layer(Recurrent::gru(4)).head("value", 1).outputs(2);
/// let mut predictor = Predictor::new(&Device::cpu(), &Model::new(config)?)?;
/// let answer = predictor.run(&Sequences::dense(BatchShape { steps: 3, batch_size: 1 }, vec![0.1, 0.2, 0.3]))?;
/// for head in &answer.heads {
///     println!("{}: {:?}", head.name, head.outputs);
/// }
/// # assert_eq!((answer.heads[0].name.as_str(), answer.heads[0].outputs.len()), ("value", 3));
/// # Ok::<(), recurrent::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct HeadOutputs {
    /// The head's name.
    pub name: String,
    /// `[T, B, O]`, zeros behind the end of a sequence; `[B, O]` of a head above a pool. Before any softmax.
    pub outputs: Vec<f32>,
}

impl Prediction {
    /// Returns what the head of that name made of the sequences.
    ///
    /// ```
    /// use recurrent::{BatchShape, Config, Device, InputKind, Model, Pool, Predictor, Recurrent, Sequences};
    /// let config = Config::new(InputKind::Tokens(4)).layer(Recurrent::gru(8)).head("tags", 3);
    /// let model = Model::new(config.pool(Pool::Mean).outputs(2))?;
    /// let mut predictor = Predictor::new(&Device::cpu(), &model)?;
    /// let answer = predictor.run(&Sequences::tokens(BatchShape { steps: 5, batch_size: 1 }, vec![0, 1, 2, 3, 0]))?;
    /// assert_eq!((answer.outputs.len(), answer.head("tags").map(<[f32]>::len)), (2, Some(5 * 3)));
    /// # Ok::<(), recurrent::Error>(())
    /// ```
    pub fn head(&self, name: &str) -> Option<&[f32]> {
        self.heads.iter().find(|head| head.name == name).map(|head| head.outputs.as_slice())
    }
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
        self.check(sequences)?;
        let mut read = Outputs::default();
        self.session.read(Purpose::Infer, sequences.span(), &sequences.start, &mut read).await?;
        let mut all = std::iter::once(read.own).chain(read.heads);
        let (mut outputs, mut heads) = (all.next().unwrap_or_default(), Vec::new());
        for (read_out, own) in self.config().read_outs().zip(std::iter::once(None).chain(all.map(Some))) {
            match (own, read_out.name) {
                (Some(mut of_head), Some(name)) => {
                    clear_padding(&mut of_head, sequences, read_out.rows, read_out.outputs);
                    heads.push(HeadOutputs { name: name.to_owned(), outputs: of_head });
                }
                _ => clear_padding(&mut outputs, sequences, read_out.rows, read_out.outputs),
            }
        }
        let Some(state) = self.session.state().await? else { unreachable!("a run leaves a state") };
        Ok(Prediction { outputs, state, heads })
    }

    /// Runs the model and leaves the outputs of its own read-out, `[R, O]`, in numbers on the device; what is behind
    /// the end of a sequence may be anything. It does not wait for the device.
    ///
    /// # Errors
    /// Same as [`Predictor::run_async`]; [`Error::Shape`] for another number of numbers, [`Error::Data`] for a buffer
    /// that cannot be written to or a network on the CPU.
    pub async fn run_into_async(&mut self, sequences: &Sequences, outputs: &DeviceSlice) -> Result<()> {
        self.check(sequences)?;
        self.session.read_into(sequences.span(), &sequences.start, outputs).await
    }

    /// Runs the layers up to one, numbered from 0, and returns its rows: of a recurrent layer the hidden states of all
    /// steps `[T, B, D·H]`, zeros behind the end of a sequence; of a pool, or a layer above one, `[B, ·]`. So a network
    /// is an encoder, and what a layer knows can be probed.
    ///
    /// ```
    /// use recurrent::{BatchShape, Config, Device, InputKind, Model, Predictor, Recurrent, Sequences};
    /// let config = Config::new(InputKind::Dense(3)).layer(Recurrent::lstm(8)).layer(Recurrent::gru(4)).outputs(1);
    /// let mut predictor = Predictor::new(&Device::cpu(), &Model::new(config)?)?;
    /// let sequences = Sequences::dense(BatchShape { steps: 5, batch_size: 1 }, vec![0.5; 5 * 3]);
    /// assert_eq!(predictor.hidden(&sequences, 0)?.len(), 5 * 8);
    /// # Ok::<(), recurrent::Error>(())
    /// ```
    ///
    /// # Errors
    /// Same as [`Predictor::run_async`]; [`Error::Config`] for a layer that the network has not.
    pub async fn hidden_async(&mut self, sequences: &Sequences, layer: usize) -> Result<Vec<f32>> {
        self.config().check_layer(layer)?;
        self.check(sequences)?;
        let mut read = Outputs::default();
        self.session.read(Purpose::Observe(layer), sequences.span(), &sequences.start, &mut read).await?;
        let (rows, width) = (self.config().rows_of(layer + 1), self.config().widths()[layer + 1]);
        clear_padding(&mut read.own, sequences, rows, width);
        Ok(read.own)
    }

    /// Checks sequences that are to be read.
    fn check(&mut self, sequences: &Sequences) -> Result<()> {
        sequences.check(self.config())?;
        self.session.check_lent(sequences.inputs.borrowed(), &sequences.columns)?;
        if sequences.start == Start::Carry {
            return Err(Error::Data(
                "the sequences carry on from a window before, but a predictor keeps none: give it the state".to_owned(),
            ));
        }
        Ok(())
    }

    /// Runs another model of the same structure from now on, whatever its `init` and its seed.
    ///
    /// # Errors
    /// [`Error::Config`] for another structure, [`Error::DeviceLost`].
    pub fn set_model(&mut self, model: &Model) -> Result<()> {
        if let Some(differs) = model.config().structure().difference(&self.config().structure()) {
            return Err(Error::Config(format!("the model is another than the predictor runs: {differs}")));
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

    /// [`Predictor::run_into_async`], which does not wait.
    ///
    /// # Errors
    /// Same as [`Predictor::run_into_async`].
    pub fn run_into(&mut self, sequences: &Sequences, outputs: &DeviceSlice) -> Result<()> {
        crate::wait::block_on(self.run_into_async(sequences, outputs))
    }

    /// Blocks until [`Predictor::hidden_async`] is done.
    ///
    /// # Errors
    /// Same as [`Predictor::hidden_async`].
    pub fn hidden(&mut self, sequences: &Sequences, layer: usize) -> Result<Vec<f32>> {
        crate::wait::block_on(self.hidden_async(sequences, layer))
    }
}

/// Sets to zero what rows of each step say behind the end of a sequence.
fn clear_padding(rows: &mut [f32], sequences: &Sequences, kind: Rows, width: usize) {
    if kind == Rows::Sequences {
        return;
    }
    for (row, out) in rows.chunks_exact_mut(width).enumerate() {
        if row / sequences.batch_size >= sequences.length(row % sequences.batch_size) {
            out.fill(0.0);
        }
    }
}
