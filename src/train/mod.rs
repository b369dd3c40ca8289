//! Training: one plan for each window size, made when it first comes and replayed for every batch.
//!
//! [`Trainer::step`] uploads, submits and returns; nothing is read back until [`Trainer::metrics`].

mod average;
mod divergence;
mod early_stopping;
mod evaluate;
mod external;
mod feed;
mod frozen;
mod gradients;
mod metrics;
mod plateau;
mod profile;
mod rate;
mod trace;
#[cfg(not(target_arch = "wasm32"))]
mod waiting;

pub use crate::clock::TimingSource;
pub use crate::plan::Phase;
pub use early_stopping::EarlyStopping;
pub use external::{OutputGradients, Outputs};
pub use gradients::{Gradients, InputGradients};
pub use metrics::{HeadMetrics, Metrics};
pub use plateau::Plateau;
pub use profile::{Profile, ProfileRow};
pub use trace::{LayerTrace, ParameterTrace, TensorStats, Trace};

use std::collections::VecDeque;
use std::sync::Arc;

use crate::checkpoint::{Checkpoint, LossScaling, Training};
use crate::clock::Timed;
use crate::data::{Batch, room_of};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::model::{BatchShape, Config, Layout, Model, State};
use crate::plan::{LossScale, METRICS_SLOTS, MetricsRow, Purpose, StepParams, UpdateLossScale, WindowForm, random};
use crate::recipe::{Precision, Recipe};
use crate::session::{CachedPlan, Carried, PlanCacheStats, Session, check_start};
use external::InParts;
use feed::{TokenRows, divisors, form_of, nothing_counts, upload};
use metrics::ClipCount;

/// Trains a model on a device.
///
/// ```
/// use recurrent::{Batch, BatchShape, Config, Device, InputKind, Loss, Model, Recipe, Trainer};
/// let model = Model::new(Config::lstm(InputKind::Tokens(3), 8, 3))?;
/// let mut trainer = Trainer::new(&Device::cpu(), &model, Recipe::new(Loss::CrossEntropy).with_learning_rate(0.05))?;
/// let window = Batch::tokens(BatchShape { steps: 3, batch_size: 1 }, vec![0, 1, 2], vec![1, 2, 0]);
/// for _ in 0..50 {
///     trainer.step(&window)?; // does not wait for the device
/// }
/// let metrics = trainer.metrics()?; // does
/// assert!(metrics[49].loss < metrics[0].loss);
/// let trained = trainer.model()?; // to save, to run, to train on
/// # assert_eq!(trained.config(), model.config());
/// # Ok::<(), recurrent::Error>(())
/// ```
#[derive(Debug)]
pub struct Trainer {
    session: Session,
    layout: Layout,
    recipe: Recipe,
    /// The plans of the windows of the step that is being taken. Kept for its memory.
    windows: Vec<Arc<CachedPlan>>,
    /// Steps done.
    steps: u64,
    /// Steps whose metrics were read from the device.
    read: u64,
    /// Metrics read from the device but not yet by the caller.
    metrics: Vec<MetricsRow>,
    /// The losses of the network's own read-out and of each head of the same steps, where it has heads.
    head_losses: Vec<f32>,
    /// What the losses of a step are divided by, for each read-out. Kept for its memory.
    divisors: Vec<f64>,
    /// The last metrics that the caller read, oldest first.
    recent: VecDeque<Metrics>,
    /// Number of consecutive steps, up to the last whose metrics the caller read, that changed no weight.
    skipped: usize,
    /// The plan of the last window that trained.
    last: Option<Arc<CachedPlan>>,
    clipped: ClipCount,
    /// The names of the parameters that are not trained, in the layout's order.
    frozen: Vec<String>,
    /// What the last step was told of tokens.
    token_rows: TokenRows,
    /// How far a step is whose loss is the caller's.
    in_parts: InParts,
    /// What evaluates the mean of the parameters, once it has.
    of_average: Option<Box<Trainer>>,
}

impl Trainer {
    /// A trainer that starts from `model`'s parameters.
    ///
    /// # Errors
    /// [`Error::Config`] for a rate or a bound out of its range, [`Error::Limit`] for a model larger than the device's
    /// limits, and what a failing GPU returns.
    pub async fn new_async(device: &Device, model: &Model, recipe: Recipe) -> Result<Self> {
        if recipe.input_gradients && device.precision() == Precision::F16 {
            return Err(Error::Config(
                "the recipe asks for the gradients of inputs, which are not scaled back in half precision; expected \
                 Precision::F32"
                    .to_owned(),
            ));
        }
        let session = Session::new(device, model.config().clone(), model, Some(&recipe)).await?;
        let mut trainer = Trainer {
            session,
            layout: model.layout().clone(),
            recipe,
            windows: Vec::new(),
            steps: 0,
            read: 0,
            metrics: Vec::new(),
            head_losses: Vec::new(),
            divisors: Vec::new(),
            recent: VecDeque::new(),
            skipped: 0,
            last: None,
            clipped: ClipCount::default(),
            frozen: Vec::new(),
            token_rows: TokenRows::default(),
            in_parts: InParts::default(),
            of_average: None,
        };
        trainer.freeze_groups()?;
        trainer.write_loss_scale(UpdateLossScale::FIRST)?;
        Ok(trainer)
    }

    /// A trainer that goes on exactly where the checkpoint was made.
    ///
    /// # Errors
    /// [`Error::Data`] where the checkpoint holds a model alone or counts more steps than there can be,
    /// [`Error::Shape`] where its moments are not the model's, as [`Trainer::freeze`] and as [`Trainer::new_async`].
    pub async fn resume_async(device: &Device, checkpoint: &Checkpoint) -> Result<Self> {
        let Some(training) = &checkpoint.training else {
            return Err(Error::Data("the checkpoint holds a model but no training to resume".to_owned()));
        };
        // No training counts that far, but a file can hold any number, and steps are added to it.
        if training.steps > u64::MAX / 2 {
            return Err(Error::Data(format!("the checkpoint counts {} steps, too many to go on", training.steps)));
        }
        let mut trainer = Self::new_async(device, &checkpoint.model, training.recipe.clone()).await?;
        let tensors = trainer.session.shared();
        let moments = training.recipe.optimizer.moment_count();
        if training.moments.len() != moments {
            return Err(Error::shape("the optimiser's moments", &[moments], &[training.moments.len()]));
        }
        let mut rest = training.moments.as_slice();
        for (tensor, count) in tensors.moments.iter().flatten().zip(training.recipe.optimizer.record().moments) {
            let (own, others) = rest.split_at(*count);
            // Of moments that lie in one tensor each has to be whole, not both together.
            if let Some(short) = own.iter().find(|moment| moment.len() != trainer.layout.buffer_len()) {
                let expected = [trainer.layout.buffer_len()];
                return Err(Error::shape("a moment of the optimiser", &expected, &[short.len()]));
            }
            match own {
                [one] => trainer.session.write_shared(*tensor, one)?,
                several => trainer.session.write_shared(*tensor, &several.concat())?,
            }
            rest = others;
        }
        trainer.write_average(training.average.as_deref())?;
        // Of a group's parameters some may have been unfrozen.
        trainer.freeze_named(&training.frozen)?;
        if let Some(LossScaling { factor, finite_steps }) = training.loss_scale {
            trainer.write_loss_scale(LossScale { factor, inverse: factor.recip(), finite_steps })?;
        }
        trainer.steps = training.steps;
        trainer.read = training.steps;
        if let Some(state) = &training.state {
            state.check("the carried state", trainer.config(), state.batch_size())?;
            trainer.session.carried = Carried::Host(state.clone());
        }
        Ok(trainer)
    }

    /// Makes the plan of windows of this shape ready, so that the first of them does not wait
    /// for kernels to compile. Where targets are sequences of labels it is that of windows of which none has more than
    /// 32; the next is one of up to 64, and so on.
    ///
    /// # Errors
    /// [`Error::Limit`], [`Error::OutOfMemory`] and what else a failing GPU returns.
    pub async fn prepare_async(&mut self, shape: BatchShape) -> Result<()> {
        let BatchShape { steps, batch_size } = shape;
        let labels = room_of(&self.recipe, self.session.config());
        let form = WindowForm { labels, ..WindowForm::new(steps, batch_size) };
        self.session.prepared(&Purpose::Train(&self.recipe), form).await.map(drop)
    }

    /// One step of training on one window. It does not wait for the device, except for the first window of each size,
    /// whose kernels are compiled; and if nobody asks for metrics, it waits every [`METRICS_SLOTS`] steps to read them.
    ///
    /// What a size of window needs on the device is kept for the next one of that size, as
    /// [`Device::with_plan_cache_bytes`] says; pad windows to a few lengths.
    ///
    /// A step is taken as a whole: where its future is dropped before it is done, no weight, moment, carried state or
    /// count has changed. What may have moved on are the plans that were made, and metrics of earlier steps that were
    /// read from the device: the next [`Trainer::metrics`] returns these.
    ///
    /// # Errors
    /// [`Error::Shape`] and [`Error::Data`] for a batch that does not fit the model, [`Error::Limit`],
    /// [`Error::OutOfMemory`], [`Error::DeviceLost`]. A loss that is not finite shows in [`Trainer::metrics`].
    pub async fn step_async(&mut self, batch: &Batch) -> Result<()> {
        self.step_windows(std::slice::from_ref(batch), None).await
    }

    /// One step of training on several windows, as if they were one: the loss is the mean over all positions of all of
    /// them that count, and the gradient is that loss's, up to the rounding of its sums. So a batch that the device has
    /// no room for is cut into parts, and sequences of very different lengths go into windows of their own.
    ///
    /// Windows run one after the other, each from its own [`Start`](crate::data::Start): `Carry` carries on from the
    /// one before it. Nothing is read back between them and windows of one size share what they need on the device; the
    /// plans of all sizes in a step are in use until it is done. A window may have no position that counts, as one does
    /// that only brings the state up for the window after it. It waits where [`Trainer::step_async`] does, and a
    /// dropped future leaves what that says.
    ///
    /// # Errors
    /// [`Error::Data`] without any batch, and where no position of any batch counts; else as [`Trainer::step_async`].
    /// All are checked before any is run.
    pub async fn step_accumulated_async(&mut self, batches: &[Batch]) -> Result<()> {
        self.step_windows(batches, None).await
    }

    /// Where its runs are to be timed, that of the last window is left in `timed`.
    async fn step_windows(&mut self, batches: &[Batch], mut timed: Option<&mut Option<Timed>>) -> Result<()> {
        if self.recipe.is_external() {
            return Err(Error::Config(
                "a loss of the recipe is the caller's (Loss::External); expected Trainer::step_with, or forward and \
                 backward"
                    .to_owned(),
            ));
        }
        let mut held = self.session.carried.batch_size();
        // As many plans as there are powers of two, whatever windows a step is made of.
        let rows = batches.iter().map(|batch| batch.sequences.steps.saturating_mul(batch.sequences.batch_size));
        let rows = rows.fold(0, usize::saturating_add).checked_next_power_of_two().unwrap_or(usize::MAX);
        // All are in use until the step is done. What a dropped future left is not.
        self.windows.clear();
        for (at, batch) in batches.iter().enumerate() {
            let (start, size) = (&batch.sequences.start, batch.sequences.batch_size);
            let checked = feed::check(&mut self.session, batch, &self.recipe);
            checked
                .and_then(|()| check_start(start, size, held))
                .map_err(|error| if batches.len() == 1 { error } else { error.inside(&format!("batches[{at}]")) })?;
            let purpose = match batches {
                [_, _, ..] if self.recipe.is_lazy() => Purpose::TrainPart(&self.recipe, rows),
                _ => Purpose::Train(&self.recipe),
            };
            let form = form_of(batch, self.session.config());
            let prepared = self.session.prepared(&purpose, form).await?;
            self.windows.push(prepared);
            held = Some(size);
        }
        if batches.is_empty() {
            return Err(Error::Data("there is no batch to learn from".to_owned()));
        }
        self.find_divisors(batches);
        if self.divisors.iter().all(|divisor| *divisor == 0.0) {
            return Err(nothing_counts(batches.iter().map(|batch| batch.valid(self.session.config())).sum()));
        }
        if self.steps - self.read == METRICS_SLOTS as u64 {
            self.drain().await?;
        }
        if self.recipe.is_lazy() {
            self.token_rows.find_occurring(self.session.config(), batches);
        }
        let windows = std::mem::take(&mut self.windows);
        for (at, (batch, prepared)) in batches.iter().zip(&windows).enumerate() {
            let step_params = self.step_params(at, at + 1 == batches.len());
            self.load(at, batch, prepared, step_params)?;
            match &mut timed {
                None => self.session.executor.run(prepared.id)?,
                Some(timed) => **timed = Some(self.session.executor.run_timed(prepared.id).await?),
            }
            self.session.carried = Carried::Device(Arc::clone(prepared));
            self.last = Some(Arc::clone(prepared));
        }
        self.token_rows.end_step();
        self.windows = windows;
        self.windows.clear();
        self.steps += 1;
        Ok(())
    }

    /// What the device is told of window `at` of the next step.
    fn step_params(&self, at: usize, is_last: bool) -> StepParams<f64> {
        let step = self.steps + 1;
        let [first_correction, second_correction] = self.recipe.optimizer.corrections(step);
        let average_weight = self.recipe.average.filter(|_| is_last).map_or(0.0, |average| average.weight(step));
        let flag = |is_set: bool| f64::from(u8::from(is_set));
        StepParams {
            learning_rate: self.recipe.rate(step),
            first_correction,
            second_correction,
            average_weight,
            metrics_row: (self.steps % METRICS_SLOTS as u64) as f64,
            accumulate: flag(at > 0),
            more_windows: flag(!is_last),
            ..StepParams::default()
        }
    }

    /// Writes everything that a run on window `at` of the next step reads.
    fn load(&mut self, at: usize, batch: &Batch, prepared: &CachedPlan, step_params: StepParams<f64>) -> Result<()> {
        let carried = self.session.carried.clone();
        let step_params = (&carried, step_params, &self.divisors[..]);
        upload(&mut self.session, prepared, batch, &self.recipe, step_params, &mut self.token_rows)?;
        if let Some(keys) = prepared.tensors.training.and_then(|training| training.keys) {
            let sites = self.session.executor.plan(prepared.id).get(keys).shape[0];
            let drawn = random::keys(self.recipe.dropout.seed, self.steps + 1, at, sites);
            self.session.executor.write_each_id(prepared.id, keys, drawn)?;
        }
        Ok(())
    }

    /// Finds what the losses of a step are divided by, for each read-out: by its weight, too.
    fn find_divisors(&mut self, batches: &[Batch]) {
        let (config, recipe) = (self.session.config(), &self.recipe);
        self.divisors.clear();
        self.divisors.resize(config.read_outs().count(), 0.0);
        for batch in batches {
            let of_batch = divisors(batch, config, recipe);
            self.divisors.iter_mut().zip(of_batch).for_each(|(divisor, of_batch)| *divisor += of_batch);
        }
        let weights = config.read_outs().map(|read_out| recipe.weight(read_out.name));
        self.divisors.iter_mut().zip(weights).for_each(|(divisor, weight)| *divisor /= weight);
    }

    /// The model as it is now.
    ///
    /// # Errors
    /// [`Error::DeviceLost`] and what else a failing GPU returns.
    pub async fn model_async(&mut self) -> Result<Model> {
        self.session.model(&self.layout).await
    }

    /// Returns the state that the last window left, or `None` before the first.
    ///
    /// # Errors
    /// Same as [`Trainer::model_async`].
    pub async fn state_async(&mut self) -> Result<Option<State>> {
        self.session.state().await
    }

    /// All that an exact resumption needs: parameters, moments, their mean where one is kept, the carried state (unless
    /// a diverged step left it not finite), the recipe, the step and what is frozen. What the application must
    /// remember, a position in its data say, goes into the notes. Metrics that were not read yet are not part of it:
    /// read them first.
    ///
    /// # Errors
    /// Same as [`Trainer::model_async`].
    pub async fn checkpoint_async(&mut self) -> Result<Checkpoint> {
        let model = self.model_async().await?;
        let mut moments = Vec::new();
        for tensor in self.session.shared().moments.into_iter().flatten() {
            let values = self.session.read_shared(tensor).await?;
            if values.len() == self.layout.buffer_len() {
                moments.push(values);
            } else {
                moments.extend(values.chunks(self.layout.buffer_len()).map(<[f32]>::to_vec));
            }
        }
        let average = self.read_average().await?;
        // What a diverged step left is nothing to go on from.
        let state = self.state_async().await?.filter(State::is_finite);
        let loss_scale = self.read_loss_scale().await?;
        let loss_scale = loss_scale.map(|LossScale { factor, finite_steps, .. }| LossScaling { factor, finite_steps });
        let (recipe, steps, frozen) = (self.recipe.clone(), self.steps, self.frozen.clone());
        let training = Training { recipe, steps, frozen, moments, average, state, loss_scale, best: None };
        Ok(Checkpoint { model, training: Some(training), notes: Default::default() })
    }

    /// Returns the number of steps done.
    pub fn steps_done(&self) -> u64 {
        self.steps
    }

    /// How many plans it keeps, and what they take.
    pub fn plan_cache(&self) -> PlanCacheStats {
        self.session.plan_cache()
    }

    /// Returns the recipe that it trains by.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// Returns the configuration of the network that it trains.
    pub fn config(&self) -> &Config {
        self.session.config()
    }

    /// Returns the device that it trains on.
    pub fn device(&self) -> &Device {
        self.session.device()
    }
}
