//! Inference step by step with carried state: for sampling, and for use inside an application's loop.
//!
//! No tensor, buffer or pipeline is made in a step after the first. On the CPU a step of one sequence allocates nothing
//! at all and starts no thread; with many sequences, sharing the work among threads allocates.

use crate::data::{InputColumn, Inputs, InputsRef, Span, SpanColumns, Start, check_columns};
use crate::device::{Device, DeviceSlice};
use crate::error::{Error, Result};
use crate::model::{Config, Directions, Layer, Model, Pool, State, check_size};
use crate::plan::Purpose;
use crate::session::{Outputs, PlanCacheStats, Session};

/// B sequences that a model reads side by side, one step at a time or many at once.
///
/// ```
/// use recurrent::{Config, Device, InputKind, Model, StreamingPredictor};
/// // In an audio callback or a game's frame: one step at a time, without allocation.
/// let model = Model::new(Config::gru(InputKind::Dense(2), 16, 1))?; // or Model::load(path)
/// let mut stream = StreamingPredictor::new(&Device::cpu(), &model, 1)?;
/// for sample in [[0.1, 0.0], [0.2, 0.1]] {
///     let y = stream.step(&sample)?[0];
///     assert!(y.is_finite());
/// }
/// stream.reset()?; // the next sequence
/// # Ok::<(), recurrent::Error>(())
/// ```
#[derive(Debug)]
pub struct StreamingPredictor {
    config: Config,
    /// Of a model that is read out from the mean, one that is read out at every step.
    session: Session,
    batch_size: usize,
    /// The state before the first step.
    start: State,
    /// Of a model that is read out from the mean.
    mean: Option<Mean>,
    outputs: Outputs,
}

/// The outputs of all steps since the initial state was set.
#[derive(Debug, Default)]
struct Mean {
    /// `[B, O]`; empty before the first step.
    sums: Vec<f64>,
    /// `[B]`: how many these are of each sequence; empty before the first.
    steps: Vec<usize>,
}

impl Mean {
    /// From the outputs `[T, B, O]` of more steps to the mean of all, `[B, O]`.
    fn take_in(&mut self, outputs: &mut Vec<f32>, steps: usize, batch_size: usize) {
        let row = outputs.len() / steps;
        self.sums.resize(row, 0.0);
        self.steps.resize(batch_size, 0);
        for step in outputs.chunks_exact(row) {
            self.sums.iter_mut().zip(step).for_each(|(sum, y)| *sum += f64::from(*y));
        }
        self.steps.iter_mut().for_each(|count| *count += steps);
        outputs.truncate(row);
        let width = row / batch_size;
        let rows = outputs.chunks_exact_mut(width).zip(self.sums.chunks_exact(width)).zip(&self.steps);
        for ((y, sums), count) in rows {
            y.iter_mut().zip(sums).for_each(|(y, sum)| *y = (sum / *count as f64) as f32);
        }
    }

    /// Forgets the steps of a sequence.
    fn forget(&mut self, sequence: usize) {
        let width = self.sums.len() / self.steps.len().max(1);
        self.sums.iter_mut().skip(sequence * width).take(width).for_each(|sum| *sum = 0.0);
        self.steps.iter_mut().skip(sequence).take(1).for_each(|count| *count = 0);
    }
}

impl StreamingPredictor {
    /// A stream of `batch_size` sequences, in the initial state: zero, or the learned one.
    ///
    /// # Errors
    /// [`Error::Config`] for a batch of 0 and for a model with a layer that needs the end of a sequence before its
    /// first output, as it reads from the end or pools ([`crate::Predictor`] runs it), [`Error::Limit`] for a model
    /// larger than the device's limits, and what a failing GPU returns.
    pub async fn new_async(device: &Device, model: &Model, batch_size: usize) -> Result<Self> {
        let config = model.config().clone();
        check_streamable(&config)?;
        // The read-out is linear: from the mean over the steps it is the mean of those at every step.
        let mean = (config.pooling() == Some(Pool::Mean)).then(Mean::default);
        let runs = if mean.is_some() { config.clone().with_pool(None) } else { config.clone() };
        let mut session = Session::new(device, runs, model, None).await?;
        session.prepare_reading(1, batch_size).await?;
        let start = model.initial_state(batch_size)?;
        session.set_state(&start)?;
        Ok(StreamingPredictor { config, session, batch_size, start, mean, outputs: Outputs::default() })
    }

    /// Reads one token of each sequence, `[B]`, and returns the outputs `[B, O]` (before any softmax).
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of tokens, [`Error::Data`] for an id out of range or a model that reads
    /// dense inputs, [`Error::DeviceLost`].
    pub async fn step_tokens_async(&mut self, ids: &[u32]) -> Result<&[f32]> {
        self.run(1, InputsRef::Tokens(ids), &[]).await
    }

    /// Reads one vector of each sequence, `[B, I]`, and returns the outputs `[B, O]`.
    ///
    /// # Errors
    /// [`Error::Shape`] for another length, [`Error::Data`] for a number that is not finite or a model that reads
    /// tokens, [`Error::DeviceLost`].
    pub async fn step_async(&mut self, x: &[f32]) -> Result<&[f32]> {
        self.run(1, InputsRef::Dense(x), &[]).await
    }

    /// Reads `steps` steps at once, `[T, B]` tokens or `[T, B, I]` numbers, and returns the outputs `[T, B, O]`, or
    /// `[B, O]` where the model is read out once. It leaves the same state as so many single steps. What a
    /// number of steps needs on the device is kept for the next time.
    ///
    /// # Errors
    /// Same as [`StreamingPredictor::step_tokens_async`] and [`StreamingPredictor::step_async`]; [`Error::Config`] for
    /// no steps at all.
    pub async fn sequence_async(&mut self, steps: usize, inputs: &Inputs) -> Result<&[f32]> {
        self.run(steps, inputs.borrowed(), &[]).await
    }

    /// [`StreamingPredictor::sequence_async`] of a network that reads columns beside its inputs; in each, as in these,
    /// are so many steps.
    ///
    /// ```
    /// use recurrent::{Config, Device, InputColumn, InputKind, Inputs, Model, Recurrent, StreamingPredictor};
    /// let config = Config::new(InputKind::Dense(2)).token_column("key", 5, 3).layer(Recurrent::gru(8)).outputs(1);
    /// let mut stream = StreamingPredictor::new(&Device::cpu(), &Model::new(config)?, 1)?;
    /// let key = InputColumn::new("key", Inputs::Tokens(vec![4]));
    /// assert_eq!(stream.sequence_with_columns(1, &Inputs::Dense(vec![0.1, 0.2]), &[key])?.len(), 1);
    /// # Ok::<(), recurrent::Error>(())
    /// ```
    ///
    /// # Errors
    /// Same as [`StreamingPredictor::sequence_async`]; [`Error::Data`] for columns that are not the network's.
    pub async fn sequence_with_columns_async(
        &mut self,
        steps: usize,
        inputs: &Inputs,
        columns: &[InputColumn],
    ) -> Result<&[f32]> {
        self.run(steps, inputs.borrowed(), columns).await
    }

    /// Reads `steps` steps at once and leaves the outputs in numbers on the device, `[T, B, O]`, or `[B, O]` where the
    /// model is read out once; the inputs may lie there, too ([`Inputs::OnDevice`]). It does not wait for the device.
    ///
    /// # Errors
    /// Same as [`StreamingPredictor::sequence_async`]; [`Error::Shape`] for another number of numbers, [`Error::Data`]
    /// for a buffer that cannot be written to or a network on the CPU, [`Error::Config`] for a model that is read out
    /// from the mean, which the host takes.
    pub async fn sequence_into_async(&mut self, steps: usize, inputs: &Inputs, outputs: &DeviceSlice) -> Result<()> {
        if self.mean.is_some() {
            return Err(Error::Config(
                "the outputs are those of a mean, which the host takes; expected a model without a pool, or with one \
                 of the last step"
                    .to_owned(),
            ));
        }
        let inputs = inputs.borrowed();
        check(&self.config, steps, self.batch_size, (inputs, &[]))?;
        self.session.check_lent(inputs, &[])?;
        let span = span(steps, self.batch_size, (inputs, &[]));
        self.session.read_into(span, &Start::Carry, outputs).await
    }

    /// Leaves the state after the last step in numbers on the device, laid out as [`State::values`]. It does not wait.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of numbers, [`Error::Data`] for a buffer that cannot be written to or a
    /// network on the CPU, [`Error::DeviceLost`].
    pub fn state_into(&mut self, state: &DeviceSlice) -> Result<()> {
        self.session.state_into(state)
    }

    async fn run(&mut self, steps: usize, inputs: InputsRef<'_>, columns: &[InputColumn]) -> Result<&[f32]> {
        check(&self.config, steps, self.batch_size, (inputs, columns))?;
        self.session.check_lent(inputs, columns)?;
        let span = span(steps, self.batch_size, (inputs, columns));
        self.session.read(Purpose::Infer, span, &Start::Carry, &mut self.outputs).await?;
        if let Some(mean) = &mut self.mean {
            mean.take_in(&mut self.outputs.own, steps, self.batch_size);
        }
        Ok(&self.outputs.own)
    }

    /// Returns what the head of that name made of the last steps that were read: `[T, B, O]`, or `[B, O]` of a head
    /// above a pool; empty before the first, and `None` where the model has no head of that name.
    ///
    /// ```
    /// use recurrent::{Config, Device, InputKind, Model, Recurrent, StreamingPredictor};
    /// let config = Config::new(InputKind::Dense(2)).layer(Recurrent::gru(8)).head("value", 1).outputs(4);
    /// let mut stream = StreamingPredictor::new(&Device::cpu(), &Model::new(config)?, 1)?;
    /// assert_eq!(stream.step(&[0.1, 0.2])?.len(), 4);
    /// assert_eq!(stream.head("value").map(<[f32]>::len), Some(1));
    /// # Ok::<(), recurrent::Error>(())
    /// ```
    pub fn head(&self, name: &str) -> Option<&[f32]> {
        let at = self.config.heads.iter().position(|head| head.name == name)?;
        Some(self.outputs.heads.get(at).map_or(&[], Vec::as_slice))
    }

    /// Back to the initial state.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub fn reset(&mut self) -> Result<()> {
        self.mean = self.mean.take().map(|_| Mean::default());
        self.session.set_state(&self.start)
    }

    /// Takes one sequence back to the initial state, and leaves all others where they are: a service's next client, or
    /// the next episode in an environment. It waits for the device.
    ///
    /// ```
    /// use recurrent::{Config, Device, InputKind, Model, StreamingPredictor};
    /// let model = Model::new(Config::gru(InputKind::Dense(1), 4, 1))?;
    /// let mut stream = StreamingPredictor::new(&Device::cpu(), &model, 2)?;
    /// let first = stream.step(&[0.5, 0.5])?.to_vec();
    /// stream.reset_sequence(1)?;
    /// assert_eq!(stream.step(&[0.7, 0.5])?[1], first[1]);
    /// # Ok::<(), recurrent::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Data`] for a sequence that is not there, [`Error::DeviceLost`].
    pub async fn reset_sequence_async(&mut self, sequence: usize) -> Result<()> {
        let Some(start) = self.start.sequence(sequence) else {
            return Err(Error::Data(format!(
                "sequence {sequence} is to be reset, but the stream has {}, counted from 0",
                self.batch_size
            )));
        };
        self.set_sequence_async(sequence, &start).await
    }

    /// Goes on with one sequence from another state, of one sequence; what is read out from the mean is so from here
    /// on. It waits for the device.
    ///
    /// # Errors
    /// [`Error::Shape`] for a state of another network or of several sequences, [`Error::Data`] for a sequence that is
    /// not there, [`Error::DeviceLost`].
    pub async fn set_sequence_async(&mut self, sequence: usize, state: &State) -> Result<()> {
        state.check("state", &self.config, 1)?;
        let mut all = self.state_async().await?;
        all.set_sequence(sequence, state)?;
        self.session.set_state(&all)?;
        self.mean.iter_mut().for_each(|mean| mean.forget(sequence));
        Ok(())
    }

    /// Returns the state after the last step: h of every layer, and c where the cell has one.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub async fn state_async(&mut self) -> Result<State> {
        match self.session.state().await? {
            Some(state) => Ok(state),
            None => Ok(self.start.clone()),
        }
    }

    /// Goes on from another state; what is read out from the mean is so from here on.
    ///
    /// # Errors
    /// [`Error::Shape`] for a state of another network or of another number of sequences, [`Error::Data`] for a number
    /// that is not finite, [`Error::DeviceLost`].
    pub fn set_state(&mut self, state: &State) -> Result<()> {
        state.check("state", &self.config, self.batch_size)?;
        self.session.set_state(state)?;
        self.mean = self.mean.take().map(|_| Mean::default());
        Ok(())
    }

    /// Returns the configuration of the network that it runs.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// How many plans it keeps, and what they take.
    pub fn plan_cache(&self) -> PlanCacheStats {
        self.session.plan_cache()
    }
}

/// Checks that a network can read so many steps.
fn check(
    config: &Config,
    steps: usize,
    batch_size: usize,
    (inputs, columns): (InputsRef<'_>, &[InputColumn]),
) -> Result<()> {
    check_size("steps (T)", steps)?;
    inputs.check(config, steps, batch_size)?;
    check_columns(columns, config, steps, batch_size)
}

/// All of them.
fn span<'a>(steps: usize, batch_size: usize, (inputs, columns): (InputsRef<'a>, &'a [InputColumn])) -> Span<'a> {
    let columns = SpanColumns { columns, first: 0, all: steps };
    Span { steps, batch_size, inputs, columns, lengths: None, resets: &[], before: 0 }
}

/// Checks that a network knows its outputs step by step.
fn check_streamable(config: &Config) -> Result<()> {
    for (at, layer) in config.layers.iter().enumerate() {
        let why = match layer {
            Layer::Recurrent(layer) if layer.directions != Directions::Forward => format!(
                "reads sequences {}, so no output is known before the end of a sequence: a stream needs layers that \
                 read forwards",
                layer.directions.describe()
            ),
            Layer::Pool(Pool::First | Pool::Max) => {
                "pools a whole sequence: a stream needs a model without a pool, or with one of the last step".to_owned()
            }
            Layer::Pool(Pool::Mean) if at + 1 < config.layers.len() => {
                "is a mean over a whole sequence that other layers read: a stream needs a model without a pool, or \
                 with a mean below the read-out"
                    .to_owned()
            }
            _ => continue,
        };
        let kind = layer.kind();
        return Err(Error::Config(format!(
            "layer {at} ({kind}) {why}; a Predictor runs this one over whole sequences"
        )));
    }
    let pool = config.pool_at().filter(|_| config.pooling() == Some(Pool::Mean));
    if let Some((pool, head)) = pool.and_then(|pool| Some((pool, config.heads.iter().find(|head| head.reads > pool)?)))
    {
        return Err(Error::Config(format!(
            "layer {pool} (pool) is a mean over a whole sequence that head `{}` reads: a stream needs heads below it; \
             a Predictor runs this one over whole sequences",
            head.name
        )));
    }
    Ok(())
}

/// The forms that keep the thread while they wait.
#[cfg(not(target_arch = "wasm32"))]
impl StreamingPredictor {
    /// Blocks until [`StreamingPredictor::new_async`] is done.
    ///
    /// # Errors
    /// Same as [`StreamingPredictor::new_async`].
    pub fn new(device: &Device, model: &Model, batch_size: usize) -> Result<Self> {
        crate::wait::block_on(Self::new_async(device, model, batch_size))
    }

    /// Blocks until [`StreamingPredictor::step_tokens_async`] is done.
    ///
    /// # Errors
    /// Same as [`StreamingPredictor::step_tokens_async`].
    pub fn step_tokens(&mut self, ids: &[u32]) -> Result<&[f32]> {
        crate::wait::block_on(self.step_tokens_async(ids))
    }

    /// Blocks until [`StreamingPredictor::step_async`] is done.
    ///
    /// # Errors
    /// Same as [`StreamingPredictor::step_async`].
    pub fn step(&mut self, x: &[f32]) -> Result<&[f32]> {
        crate::wait::block_on(self.step_async(x))
    }

    /// Blocks until [`StreamingPredictor::sequence_async`] is done.
    ///
    /// # Errors
    /// Same as [`StreamingPredictor::sequence_async`].
    pub fn sequence(&mut self, steps: usize, inputs: &Inputs) -> Result<&[f32]> {
        crate::wait::block_on(self.sequence_async(steps, inputs))
    }

    /// [`StreamingPredictor::sequence_into_async`], which does not wait.
    ///
    /// # Errors
    /// Same as [`StreamingPredictor::sequence_into_async`].
    pub fn sequence_into(&mut self, steps: usize, inputs: &Inputs, outputs: &DeviceSlice) -> Result<()> {
        crate::wait::block_on(self.sequence_into_async(steps, inputs, outputs))
    }

    /// Blocks until [`StreamingPredictor::sequence_with_columns_async`] is done.
    ///
    /// # Errors
    /// Same as [`StreamingPredictor::sequence_with_columns_async`].
    pub fn sequence_with_columns(&mut self, steps: usize, inputs: &Inputs, columns: &[InputColumn]) -> Result<&[f32]> {
        crate::wait::block_on(self.sequence_with_columns_async(steps, inputs, columns))
    }

    /// Blocks until [`StreamingPredictor::reset_sequence_async`] is done.
    ///
    /// # Errors
    /// Same as [`StreamingPredictor::reset_sequence_async`].
    pub fn reset_sequence(&mut self, sequence: usize) -> Result<()> {
        crate::wait::block_on(self.reset_sequence_async(sequence))
    }

    /// Blocks until [`StreamingPredictor::set_sequence_async`] is done.
    ///
    /// # Errors
    /// Same as [`StreamingPredictor::set_sequence_async`].
    pub fn set_sequence(&mut self, sequence: usize, state: &State) -> Result<()> {
        crate::wait::block_on(self.set_sequence_async(sequence, state))
    }

    /// Blocks until [`StreamingPredictor::state_async`] is done.
    ///
    /// # Errors
    /// Same as [`StreamingPredictor::state_async`].
    pub fn state(&mut self) -> Result<State> {
        crate::wait::block_on(self.state_async())
    }
}

/// Draws a token from softmax(outputs / temperature) by a uniform number in \[0, 1); at temperature 0 returns the
/// likeliest.
///
/// ```
/// use recurrent::sample;
/// let logits = [0.1, 2.0, -1.0];
/// assert_eq!(sample(&logits, 0.0, 0.5)?, 1); // temperature 0: the likeliest
/// let drawn = sample(&logits, 1.0, 0.999)?; // by a number in [0, 1) that the caller draws
/// # assert_eq!(drawn, 2);
/// # Ok::<(), recurrent::Error>(())
/// ```
///
/// # Errors
/// [`Error::Config`] for a temperature that is negative or not finite, [`Error::Data`] for outputs that are empty or
/// not finite.
pub fn sample(outputs: &[f32], temperature: f64, uniform: f64) -> Result<u32> {
    if !(temperature.is_finite() && temperature >= 0.0) {
        return Err(Error::Config(format!("the temperature is {temperature}, expected a number of at least 0")));
    }
    if let Some(at) = outputs.iter().position(|y| !y.is_finite()) {
        return Err(Error::Data(format!("output {at} is {}, so nothing can be drawn", outputs[at])));
    }
    let tokens = || (0u32..).zip(outputs);
    let Some((likeliest, max)) = tokens().max_by(|(a, x), (b, y)| x.total_cmp(y).then(b.cmp(a))) else {
        return Err(Error::Data("there are no outputs to draw from".to_owned()));
    };
    let max = f64::from(*max);
    let weight = |y: &f32| ((f64::from(*y) - max) / temperature).exp();
    let mut left = uniform * outputs.iter().map(weight).sum::<f64>();
    if temperature == 0.0 || !left.is_finite() {
        return Ok(likeliest);
    }
    for (token, y) in tokens() {
        left -= weight(y);
        if left < 0.0 {
            return Ok(token);
        }
    }
    // Rounding may leave a remainder after the last; it belongs to the likeliest.
    Ok(likeliest)
}
