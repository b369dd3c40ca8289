//! Training: one plan for each window size, made when it first comes and replayed for every batch.
//!
//! [`Trainer::step`] uploads, submits and returns; nothing is read back until [`Trainer::metrics`].

mod divergence;
mod early_stopping;
mod feed;
mod frozen;
mod profile;
mod trace;
#[cfg(not(target_arch = "wasm32"))]
mod waiting;

pub use crate::clock::TimingSource;
pub use early_stopping::EarlyStopping;
pub use profile::{Profile, ProfileRow};
pub use trace::{LayerTrace, ParameterTrace, TensorStats, Trace};

use std::borrow::Borrow;
use std::collections::VecDeque;
use std::sync::Arc;

use serde::Serialize;

use crate::cache::{CachedPlan, Kind, PlanCache, PlanCacheStats, PlanKey};
use crate::checkpoint::{Checkpoint, LossScaling, State, Training};
use crate::clock::Timed;
use crate::data::Batch;
use crate::device::{Device, Executor};
use crate::error::{Error, Largest, Result};
use crate::gpu::Wait;
use crate::model::{Config, Layout, Model};
use crate::plan::{
    LossScale, METRICS_SLOTS, MetricsRow, Plan, PlanId, Precision, Purpose, Recipe, SharedTensors, StepParams,
    UpdateLossScale, random,
};
use feed::{Carried, RowsByToken, begin, check_start, upload};

/// Maximum number of consecutive skipped updates in half precision: after as many halvings the loss scale is at the
/// least.
const MAX_SKIPPED: usize = 24;

/// Number of recent steps included in a divergence report.
const RECENT: usize = 8;

/// What a step was like.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Metrics {
    /// The step, counted from 1.
    pub step: u64,
    /// The mean loss over the positions that count: nats for cross-entropy.
    pub loss: f64,
    /// The global norm of the gradient before clipping.
    pub grad_norm: f64,
    /// The factor that clipping put on the gradient: below 1 where its norm was clipped. With
    /// [`Clip::Value`](crate::Clip::Value), the factor on the largest element.
    pub clip_scale: f64,
    /// Whether the step changed the weights. In half precision it does not where the scaled gradient overflowed
    /// f16; the norm is then that of the rest, and the loss scale is halved. See [`Trainer::loss_scale_async`].
    pub updated: bool,
}

/// How many steps there were whose metrics were read, and how many of them were clipped.
#[derive(Clone, Copy, Debug, Default)]
struct ClipCount {
    clipped: u64,
    steps: u64,
}

/// Trains a model on a device.
#[derive(Debug)]
pub struct Trainer {
    device: Device,
    config: Config,
    layout: Layout,
    recipe: Recipe,
    executor: Executor,
    /// The tensors that outlive every window.
    shared: (PlanId, SharedTensors),
    plans: PlanCache,
    /// The plans of the windows of the step that is being taken. Kept for its memory.
    windows: Vec<Arc<CachedPlan>>,
    /// Steps done.
    steps: u64,
    /// Steps whose metrics were read from the device.
    read: u64,
    /// Metrics read from the device but not yet by the caller.
    metrics: Vec<MetricsRow>,
    /// The last metrics that the caller read, oldest first.
    recent: VecDeque<Metrics>,
    /// Number of consecutive steps, up to the last whose metrics the caller read, that changed no weight.
    skipped: usize,
    carried: Carried,
    /// The plan of the last window that trained.
    last: Option<Arc<CachedPlan>>,
    clipped: ClipCount,
    /// The names of the parameters that are not trained, in the layout's order.
    frozen: Vec<String>,
    /// Kept from step to step for its memory.
    rows_by_token: RowsByToken,
}

/// The error of a step or an evaluation none of whose labels counts.
fn nothing_counts(labels: usize) -> Error {
    Error::Data(format!("the mask leaves none of the {labels} positions to learn from"))
}

impl Trainer {
    /// A trainer that starts from `model`'s parameters.
    ///
    /// # Errors
    /// [`Error::Config`] for a rate or a bound out of its range, [`Error::Limit`] for a model larger than the device's
    /// limits, and what a failing GPU returns.
    pub async fn new_async(device: &Device, model: &Model, recipe: Recipe) -> Result<Self> {
        let (config, layout) = (model.config().clone(), model.layout().clone());
        let (plan, tensors) = Plan::shared(&config, Some(&recipe), &device.target())?;
        let mut executor = device.executor();
        let id = executor.prepare(plan).await?;
        executor.write_f32(id, tensors.parameters, model.flat())?;
        let mut trainer = Trainer {
            device: device.clone(),
            config,
            layout,
            recipe,
            executor,
            shared: (id, tensors),
            plans: PlanCache::new(device.plan_cache_bytes()),
            windows: Vec::new(),
            steps: 0,
            read: 0,
            metrics: Vec::new(),
            recent: VecDeque::new(),
            skipped: 0,
            carried: Carried::Nowhere,
            last: None,
            clipped: ClipCount::default(),
            frozen: Vec::new(),
            rows_by_token: RowsByToken::default(),
        };
        trainer.write_parameter_flags()?;
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
        let mut trainer = Self::new_async(device, &checkpoint.model, training.recipe).await?;
        let (id, tensors) = trainer.shared;
        let moments = training.recipe.optimizer.moment_count();
        if training.moments.len() != moments {
            return Err(Error::shape("the optimiser's moments", &[moments], &[training.moments.len()]));
        }
        for (tensor, values) in tensors.moments.iter().flatten().zip(&training.moments) {
            trainer.executor.write_f32(id, *tensor, values)?;
        }
        trainer.freeze(&training.frozen)?;
        if let Some(LossScaling { factor, finite_steps }) = training.loss_scale {
            trainer.write_loss_scale(LossScale { factor, inverse: factor.recip(), finite_steps })?;
        }
        trainer.steps = training.steps;
        trainer.read = training.steps;
        if let Some(state) = &training.state {
            trainer.carried = Carried::Host(state.clone());
        }
        Ok(trainer)
    }

    /// Makes the plan of windows of `steps` steps and `batch` sequences ready, so that the first of them does not wait
    /// for kernels to compile.
    ///
    /// # Errors
    /// [`Error::Limit`], [`Error::OutOfMemory`] and what else a failing GPU returns.
    pub async fn prepare_async(&mut self, steps: usize, batch: usize) -> Result<()> {
        self.prepare_waiting(steps, batch, Wait::Yield).await
    }

    async fn prepare_waiting(&mut self, steps: usize, batch: usize, wait: Wait) -> Result<()> {
        self.prepared(Kind::Train, steps, batch, wait).await.map(drop)
    }

    async fn prepared(&mut self, kind: Kind, steps: usize, batch: usize, wait: Wait) -> Result<Arc<CachedPlan>> {
        let (config, target) = (&self.config, self.device.target());
        let purpose =
            if kind == Kind::Train { Purpose::Train(self.recipe) } else { Purpose::Evaluate(self.recipe.loss) };
        let make = || Plan::new(config, purpose, steps, batch, &target);
        self.plans.get(&mut self.executor, PlanKey { kind, steps, batch }, wait, make).await
    }

    /// One step of training on one window. It does not wait for the device, except for the first window of each size,
    /// whose kernels are compiled, and where the metrics of [`METRICS_SLOTS`] steps were not read: it reads them then.
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
        self.step_waiting(std::slice::from_ref(batch), Wait::Yield, None).await
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
        self.step_waiting(batches, Wait::Yield, None).await
    }

    /// Where its runs are to be timed, that of the last window is left in `timed`.
    async fn step_waiting(
        &mut self,
        batches: &[Batch],
        wait: Wait,
        mut timed: Option<&mut Option<Timed>>,
    ) -> Result<()> {
        let mut count = 0;
        let mut held = self.carried.batch();
        // All are in use until the step is done. What a dropped future left is not.
        self.windows.clear();
        for (at, batch) in batches.iter().enumerate() {
            let (start, steps, size) = (&batch.sequences.start, batch.sequences.steps, batch.sequences.batch_size);
            let checked = batch.check(&self.config, self.recipe.loss);
            checked
                .and_then(|()| check_start(start, size, held))
                .map_err(|error| if batches.len() == 1 { error } else { error.inside(&format!("batches[{at}]")) })?;
            let prepared = self.prepared(Kind::Train, steps, size, wait).await?;
            self.windows.push(prepared);
            held = Some(size);
            count += batch.count(&self.config);
        }
        if batches.is_empty() {
            return Err(Error::Data("there is no batch to learn from".to_owned()));
        }
        if count == 0 {
            return Err(nothing_counts(batches.iter().map(|batch| batch.valid(&self.config)).sum()));
        }
        if self.steps - self.read == METRICS_SLOTS as u64 {
            self.drain(wait).await?;
        }
        let step = self.steps + 1;
        let [first_correction, second_correction] = self.recipe.optimizer.corrections(step);
        let whole_step = StepParams {
            learning_rate: self.recipe.rate(step),
            first_correction,
            second_correction,
            metrics_row: (self.steps % METRICS_SLOTS as u64) as f64,
            positions: count as f64,
            ..StepParams::default()
        };
        let windows = std::mem::take(&mut self.windows);
        for (at, (batch, prepared)) in batches.iter().zip(&windows).enumerate() {
            let [accumulate, more_windows] = [at > 0, at + 1 < batches.len()].map(|flag| f64::from(u8::from(flag)));
            begin(&mut self.executor, prepared, &batch.sequences.start, &self.carried)?;
            let step_params = StepParams { accumulate, more_windows, ..whole_step };
            upload(&mut self.executor, &self.config, prepared, batch, step_params, &mut self.rows_by_token)?;
            if let Some(keys) = prepared.tensors.training.and_then(|training| training.keys) {
                let sites = self.executor.plan(prepared.id).get(keys).shape[0];
                let drawn = random::keys(self.recipe.dropout.seed, step, at, sites);
                self.executor.write_each_id(prepared.id, keys, drawn)?;
            }
            match &mut timed {
                None => self.executor.run(prepared.id)?,
                Some(timed) => **timed = Some(self.executor.run_timed(prepared.id, wait).await?),
            }
            self.carried = Carried::Device(Arc::clone(prepared));
            self.last = Some(Arc::clone(prepared));
        }
        self.windows = windows;
        self.windows.clear();
        self.steps = step;
        Ok(())
    }

    /// Reads the metrics of all steps that were not read yet from the device.
    async fn drain(&mut self, wait: Wait) -> Result<()> {
        let unread = self.steps - self.read;
        let (id, SharedTensors { metrics: Some(tensor), .. }) = self.shared else {
            unreachable!("a training has metrics");
        };
        if unread > 0 {
            let rows = self.executor.read(id, tensor, wait).await?;
            for step in self.read..self.steps {
                let first = (step % METRICS_SLOTS as u64) as usize * MetricsRow::LEN;
                let row = MetricsRow::of(&rows[first..first + MetricsRow::LEN]);
                self.metrics.push(row);
                self.clipped.clipped += u64::from(row.clip_scale < 1.0);
                self.clipped.steps += 1;
            }
            self.read = self.steps;
        }
        Ok(())
    }

    /// The metrics of every step since the last call, oldest first. This is the call that waits for the device.
    ///
    /// In half precision a step whose gradient is not finite, though its loss is, is not yet a divergence: it changed
    /// no weight, and the gradient is scaled down. More than 24 consecutive ones are a divergence.
    ///
    /// # Errors
    /// [`Error::Diverged`] with the first step whose loss or gradient was not finite, as said; such a step changed no
    /// weight, and the metrics of this call's other steps are dropped with it. [`Error::DeviceLost`].
    pub async fn metrics_async(&mut self) -> Result<Vec<Metrics>> {
        self.metrics_waiting(Wait::Yield).await
    }

    async fn metrics_waiting(&mut self, wait: Wait) -> Result<Vec<Metrics>> {
        self.drain(wait).await?;
        let first = self.steps - self.metrics.len() as u64 + 1;
        let rows = std::mem::take(&mut self.metrics);
        let last = rows.last().copied().unwrap_or_default();
        let may_skip = if self.device.precision() == Precision::F16 { MAX_SKIPPED } else { 0 };
        let mut read = Vec::with_capacity(rows.len());
        for (step, MetricsRow { loss, grad_norm, clip_scale, updates }) in (first..).zip(rows) {
            let updated = updates == 1.0;
            self.skipped = if updated { 0 } else { self.skipped + 1 };
            if !loss.is_finite() || self.skipped > may_skip {
                self.skipped = 0;
                let what = if loss.is_finite() { "the gradient" } else { "the loss" };
                let seen = Box::new(self.divergence(last, wait).await?);
                // The steps after it are dropped: what comes next does not follow these.
                self.recent.clear();
                return Err(Error::Diverged { step, what, seen });
            }
            let [loss, grad_norm, clip_scale] = [loss, grad_norm, clip_scale].map(f64::from);
            let metrics = Metrics { step, loss, grad_norm, clip_scale, updated };
            if self.recent.len() == RECENT {
                self.recent.pop_front();
            }
            self.recent.push_back(metrics);
            read.push(metrics);
        }
        Ok(read)
    }

    /// Returns the loss scale: the factor on the gradient of the next step's loss on its way through f16 tensors; 1 in
    /// [`Precision::F32`](crate::Precision).
    ///
    /// It starts at 65536, is halved by a step whose scaled gradient is not finite, down to 1/256, and doubled after
    /// 2000 consecutive steps whose gradient is, up to 2²⁴. It is divided out before the gradient is measured and
    /// clipped.
    ///
    /// # Errors
    /// Same as [`Trainer::model_async`].
    pub async fn loss_scale_async(&mut self) -> Result<f64> {
        self.loss_scale_waiting(Wait::Yield).await
    }

    async fn loss_scale_waiting(&mut self, wait: Wait) -> Result<f64> {
        Ok(self.read_loss_scale(wait).await?.map_or(1.0, |scale| scale.factor.into()))
    }

    /// Sets the loss scale, where there is one.
    fn write_loss_scale(&mut self, scale: LossScale) -> Result<()> {
        let (id, tensors) = self.shared;
        tensors.loss_scale.map_or(Ok(()), |tensor| self.executor.write_f32(id, tensor, &scale.elements()))
    }

    /// Reads the loss scale, where there is one.
    async fn read_loss_scale(&mut self, wait: Wait) -> Result<Option<LossScale>> {
        let (id, tensors) = self.shared;
        match tensors.loss_scale {
            Some(tensor) => Ok(Some(LossScale::of(&self.executor.read(id, tensor, wait).await?))),
            None => Ok(None),
        }
    }

    /// The mean loss over all positions of `batches` that count. Neither the weights nor the carried state of the
    /// training change.
    ///
    /// # Errors
    /// Same as [`Trainer::step_async`]; [`Error::Data`] without any batch and where no position of any batch counts;
    /// [`Error::LossNotFinite`].
    pub async fn evaluate_async<I: IntoIterator<Item: Borrow<Batch>>>(&mut self, batches: I) -> Result<f64> {
        self.evaluate_waiting(batches, Wait::Yield).await
    }

    async fn evaluate_waiting<I: IntoIterator<Item: Borrow<Batch>>>(&mut self, batches: I, wait: Wait) -> Result<f64> {
        let (mut sum, mut count) = (0.0, 0.0);
        let mut carried = Carried::Nowhere;
        // Windows of one plan whose losses are still on the device: how many positions of each count.
        let mut waiting: Vec<f64> = Vec::new();
        let mut last: Option<Arc<CachedPlan>> = None;
        let (mut largest, mut labels) = (None, 0);
        for batch in batches {
            let batch = batch.borrow();
            batch.check(&self.config, self.recipe.loss)?;
            let (steps, size) = (batch.sequences.steps, batch.sequences.batch_size);
            let prepared = self.prepared(Kind::Evaluate, steps, size, wait).await?;
            if let Some(last) = last.filter(|last| last.id != prepared.id || waiting.len() == METRICS_SLOTS) {
                sum += self.collect(&last, &waiting, wait).await?;
                waiting.clear();
            }
            begin(&mut self.executor, &prepared, &batch.sequences.start, &carried)?;
            let counting = batch.count(&self.config);
            let (metrics_row, positions) = (waiting.len() as f64, counting as f64);
            let step_params = StepParams { metrics_row, positions, ..StepParams::default() };
            upload(&mut self.executor, &self.config, &prepared, batch, step_params, &mut self.rows_by_token)?;
            self.executor.run(prepared.id)?;
            carried = Carried::Device(Arc::clone(&prepared));
            waiting.push(counting as f64);
            count += counting as f64;
            labels += batch.valid(&self.config);
            largest = Largest::or(largest, batch.largest(&self.config));
            last = Some(prepared);
        }
        let Some(last) = last else {
            return Err(Error::Data("there is no batch to evaluate".to_owned()));
        };
        if count == 0.0 {
            return Err(nothing_counts(labels));
        }
        sum += self.collect(&last, &waiting, wait).await?;
        let loss = sum / count;
        if loss.is_finite() {
            Ok(loss)
        } else {
            let seen = Box::new(self.broken_evaluation(largest, wait).await?);
            Err(Error::LossNotFinite { steps: self.steps, seen })
        }
    }

    /// Σ loss · count over the windows of an evaluation's plan; a window without a label has no loss.
    async fn collect(&mut self, prepared: &CachedPlan, counts: &[f64], wait: Wait) -> Result<f64> {
        let rows = self.executor.read(prepared.id, prepared.loss().metrics, wait).await?;
        let losses = rows.chunks_exact(MetricsRow::LEN).map(|row| f64::from(MetricsRow::of(row).loss));
        Ok(losses.zip(counts).filter(|(_, count)| **count > 0.0).map(|(loss, count)| loss * count).sum())
    }

    /// The model as it is now.
    ///
    /// # Errors
    /// [`Error::DeviceLost`] and what else a failing GPU returns.
    pub async fn model_async(&mut self) -> Result<Model> {
        self.model_waiting(Wait::Yield).await
    }

    async fn model_waiting(&mut self, wait: Wait) -> Result<Model> {
        let (id, tensors) = self.shared;
        let values = self.executor.read(id, tensors.parameters, wait).await?;
        Ok(Model::from_flat(self.config.clone(), self.layout.clone(), values))
    }

    /// The state `[S, L, B, D·H]` that the last window left, with its B; none before the first.
    ///
    /// # Errors
    /// Same as [`Trainer::model_async`].
    pub async fn state_async(&mut self) -> Result<Option<State>> {
        self.state_waiting(Wait::Yield).await
    }

    async fn state_waiting(&mut self, wait: Wait) -> Result<Option<State>> {
        match self.carried.clone() {
            Carried::Nowhere => Ok(None),
            Carried::Host(state) => Ok(Some(state)),
            Carried::Device(plan) => {
                let values = self.executor.read(plan.id, plan.tensors.state, wait).await?;
                Ok(Some(State { batch_size: plan.batch, values }))
            }
        }
    }

    /// All that an exact resumption needs: parameters, moments, the carried state (unless a diverged step left it not
    /// finite), the recipe, the step and what is frozen. What the application must remember, a position in its data
    /// say, goes into the notes. Metrics that were not read yet are not part of it: read them first.
    ///
    /// # Errors
    /// Same as [`Trainer::model_async`].
    pub async fn checkpoint_async(&mut self) -> Result<Checkpoint> {
        self.checkpoint_waiting(Wait::Yield).await
    }

    async fn checkpoint_waiting(&mut self, wait: Wait) -> Result<Checkpoint> {
        let model = self.model_waiting(wait).await?;
        let (id, tensors) = self.shared;
        let mut moments = Vec::new();
        for tensor in tensors.moments.into_iter().flatten() {
            moments.push(self.executor.read(id, tensor, wait).await?);
        }
        // What a diverged step left is nothing to go on from.
        let state = self.state_waiting(wait).await?.filter(|state| state.values.iter().all(|v| v.is_finite()));
        let loss_scale = self.read_loss_scale(wait).await?;
        let loss_scale = loss_scale.map(|LossScale { factor, finite_steps, .. }| LossScaling { factor, finite_steps });
        let (recipe, steps, frozen) = (self.recipe, self.steps, self.frozen.clone());
        let training = Training { recipe, steps, frozen, moments, state, loss_scale };
        Ok(Checkpoint { model, training: Some(training), notes: Default::default() })
    }

    /// Steps done.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// How many plans it keeps, and what they take.
    pub fn plan_cache(&self) -> PlanCacheStats {
        self.plans.stats()
    }

    /// Returns the recipe that it trains by.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// What it trains.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Returns the device that it trains on.
    pub fn device(&self) -> &Device {
        &self.device
    }
}
