//! A model on a device: the one run loop under [`Trainer`](crate::Trainer), [`Predictor`](crate::Predictor) and
//! [`StreamingPredictor`](crate::StreamingPredictor).
//!
//! The contract: plans come from one bounded cache, and whatever a run reads is written by [`Session::feed`], from data
//! that was checked before. Nothing waits for the device but what reads from it, and a state that one run leaves for
//! the next stays there.

mod cache;
mod read;

use std::sync::Arc;

pub use cache::PlanCacheStats;
pub(crate) use cache::{CachedPlan, Kind};
pub(crate) use read::Outputs;

use crate::data::{InputColumn, InputsRef, Span, Start, of_network};
use crate::device::{Device, DeviceSlice};
use crate::error::{Error, Result};
use crate::executor::Executor;
use crate::model::{Config, Layout, Model, State};
use crate::plan::{Plan, PlanId, Purpose, SharedTensors, TensorId, WindowForm};
use crate::recipe::Recipe;
use cache::{PlanCache, PlanKey};

/// A model on a device.
#[derive(Debug)]
pub(crate) struct Session {
    device: Device,
    config: Config,
    pub executor: Executor,
    /// The tensors that outlive every plan.
    shared: (PlanId, SharedTensors),
    plans: PlanCache,
    /// Of one sequence: the learned initial state, where only the host knows when sequences start from it.
    learned: Option<State>,
    /// The state that the last run left.
    pub carried: Carried,
}

/// Where the state that the last run left is.
#[derive(Clone, Debug, Default)]
pub(crate) enum Carried {
    /// There was no run yet.
    #[default]
    Nowhere,
    /// On the device, in a plan's tensor.
    Device(Arc<CachedPlan>),
    /// On the host, from a checkpoint.
    Host(State),
}

impl Carried {
    /// Its B, where there is one.
    pub fn batch_size(&self) -> Option<usize> {
        match self {
            Carried::Nowhere => None,
            Carried::Device(plan) => Some(plan.batch),
            Carried::Host(state) => Some(state.batch_size()),
        }
    }
}

/// Checks that a run of `size` sequences can start so where the run before it left the state of `held` sequences.
pub(crate) fn check_start(start: &Start, size: usize, held: Option<usize>) -> Result<()> {
    match (start, held) {
        (Start::Initial | Start::Given(_), _) => Ok(()),
        (Start::Carry, None) => {
            Err(Error::Data("the batch carries on from the window before, but there was none".to_owned()))
        }
        (Start::Carry, Some(held)) if held == size => Ok(()),
        (Start::Carry, Some(held)) => Err(Error::shape("the carried state's batch", &[size], &[held])),
    }
}

impl Session {
    /// A session that runs a network of this configuration with a model's parameters: of a training by a recipe, or of
    /// an inference without one.
    pub async fn new(device: &Device, config: Config, model: &Model, recipe: Option<&Recipe>) -> Result<Self> {
        let (plan, tensors) = Plan::shared(&config, recipe, &device.target())?;
        let mut executor = device.executor();
        let id = executor.prepare(plan).await?;
        let plans = PlanCache::new(device.plan_cache_bytes());
        let (shared, learned, carried) = ((id, tensors), None, Carried::Nowhere);
        let mut session = Session { device: device.clone(), config, executor, shared, plans, learned, carried };
        session.write_shared(tensors.parameters, model.values())?;
        if recipe.is_none() {
            session.keep_learned(model)?;
        }
        Ok(session)
    }

    pub fn device(&self) -> &Device {
        &self.device
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Both at once: what is written depends on the network.
    pub fn config_and_executor(&mut self) -> (&Config, &mut Executor) {
        (&self.config, &mut self.executor)
    }

    pub fn plan_cache(&self) -> PlanCacheStats {
        self.plans.stats()
    }

    /// The tensors that outlive every plan.
    pub fn shared(&self) -> SharedTensors {
        self.shared.1
    }

    /// Reads another model's parameters from now on, of an inference.
    pub fn set_parameters(&mut self, model: &Model) -> Result<()> {
        self.write_shared(self.shared.1.parameters, model.values())?;
        self.keep_learned(model)
    }

    fn keep_learned(&mut self, model: &Model) -> Result<()> {
        let is_learned = self.config.recurrent_layers().any(|layer| layer.learned_initial_state);
        self.learned = if is_learned { Some(model.initial_state(1)?) } else { None };
        Ok(())
    }

    /// The model as it is now.
    pub async fn model(&mut self, layout: &Layout) -> Result<Model> {
        let values = self.read_shared(self.shared.1.parameters).await?;
        Ok(Model::from_flat(self.config.clone(), layout.clone(), values))
    }

    /// Writes one of the tensors that outlive every plan.
    pub fn write_shared(&mut self, tensor: TensorId, values: &[f32]) -> Result<()> {
        self.executor.write_f32(self.shared.0, tensor, values)
    }

    /// Writes one of these tensors that holds ids.
    pub fn write_shared_ids(&mut self, tensor: TensorId, ids: &[u32]) -> Result<()> {
        self.executor.write_ids(self.shared.0, tensor, ids)
    }

    /// Reads one of these tensors.
    pub async fn read_shared(&mut self, tensor: TensorId) -> Result<Vec<f32>> {
        self.executor.read(self.shared.0, tensor).await
    }

    /// The plan of a purpose and a form of windows, made if it is not in the cache.
    pub async fn prepared(&mut self, purpose: &Purpose<'_>, form: WindowForm) -> Result<Arc<CachedPlan>> {
        let (config, target) = (&self.config, self.device.target());
        let make = || Plan::of_form(config, *purpose, form, &target);
        let key = PlanKey { kind: Kind::of(purpose), form };
        self.plans.get(&mut self.executor, key, make).await
    }

    /// Checks that what of sequences that were checked lies on the device can be read there.
    pub fn check_lent(&mut self, inputs: InputsRef<'_>, columns: &[InputColumn]) -> Result<()> {
        let columns = columns.iter().map(|column| column.inputs.borrowed());
        for inputs in std::iter::once(inputs).chain(columns) {
            if let InputsRef::OnDevice(slice, ..) = inputs {
                self.executor.check_slice(slice)?;
            }
        }
        Ok(())
    }

    /// Writes all that a network is to read in the next run of a plan: the state it starts from, inputs and lengths.
    pub fn feed(&mut self, plan: &CachedPlan, span: &Span<'_>, start: &Start, carried: &Carried) -> Result<()> {
        check_start(start, plan.batch, carried.batch_size())?;
        let (id, to, executor) = (plan.id, &plan.tensors, &mut self.executor);
        match (start, carried) {
            (Start::Initial, _) => match &self.learned {
                Some(learned) => {
                    executor.write_f32(id, to.state, learned.repeat(plan.batch).values())?;
                }
                None => executor.zero(id, to.state)?,
            },
            (Start::Given(state), _) => executor.write_f32(id, to.state, state.values())?,
            (Start::Carry, Carried::Nowhere) => {}
            (Start::Carry, Carried::Device(from)) if from.id == id => {}
            (Start::Carry, Carried::Device(from)) => executor.copy((from.id, from.tensors.state), (id, to.state))?,
            (Start::Carry, Carried::Host(held)) => executor.write_f32(id, to.state, held.values())?,
        }
        // A row of lengths and, of each step and of the one after the last, one of resets.
        let rows = if plan.has_resets { span.steps + 2 } else { 1 };
        let rows = (0..rows * span.batch_size).map(|at| (at / span.batch_size, at % span.batch_size));
        let lengths = rows.map(|(row, b)| match row.checked_sub(1) {
            None => span.length(b) as u32,
            Some(step) => u32::from(span.is_reset(step, b)),
        });
        executor.write_each_id(id, to.lengths, lengths)?;
        if let Some(fresh) = to.fresh {
            executor.write(id, fresh, std::iter::once(f64::from(u8::from(*start == Start::Initial))))?;
        }
        write_inputs(executor, (id, to.inputs), span, span.inputs)?;
        let columns = of_network(span.columns.columns, &self.config);
        for ((_, inputs), to) in columns.zip(&plan.tensors.columns) {
            write_inputs(executor, (id, to.input), span, span.of_column(inputs))?;
        }
        Ok(())
    }

    /// The state that the last run left, or `None` before the first.
    pub async fn state(&mut self) -> Result<Option<State>> {
        match self.carried.clone() {
            Carried::Nowhere => Ok(None),
            Carried::Host(state) => Ok(Some(state)),
            Carried::Device(plan) => {
                let values = self.executor.read(plan.id, plan.tensors.state).await?;
                Ok(Some(State::of(&self.config, plan.batch, values)))
            }
        }
    }

    /// Leaves the state of the last run in numbers of the application's, as [`State::values`] are in.
    pub fn state_into(&mut self, to: &DeviceSlice) -> Result<()> {
        match self.carried.clone() {
            Carried::Device(plan) => {
                let len = self.executor.plan(plan.id).get(plan.tensors.state).len();
                to.check_writable("state", len)?;
                self.executor.read_slice(plan.id, plan.tensors.state, 0..len, to)
            }
            Carried::Nowhere | Carried::Host(_) => Err(Error::Data(
                "there is no state on the device yet, expected a run before it is asked for".to_owned(),
            )),
        }
    }

    /// Goes on from another state of as many sequences as the last run left.
    pub fn set_state(&mut self, state: &State) -> Result<()> {
        match &self.carried {
            Carried::Device(plan) => self.executor.write_f32(plan.id, plan.tensors.state, state.values()),
            Carried::Nowhere | Carried::Host(_) => {
                self.carried = Carried::Host(state.clone());
                Ok(())
            }
        }
    }
}

/// Writes inputs, or those of a column, of the steps of a span.
fn write_inputs(
    executor: &mut Executor,
    (id, to): (PlanId, TensorId),
    span: &Span<'_>,
    inputs: InputsRef<'_>,
) -> Result<()> {
    match inputs {
        InputsRef::Tokens(tokens) => executor.write_ids(id, to, tokens),
        InputsRef::OnDevice(x, start, len) => executor.write_slice(id, to, &x.part(start..start + len)),
        InputsRef::Dense(x) if span.lengths.is_none() => executor.write_f32(id, to, x),
        // Padding is multiplied with W before it is left out, and finite numbers may be too large for that.
        InputsRef::Dense(x) => {
            let row = (x.len() / (span.steps * span.batch_size)).max(1);
            let valid = |at: usize| span.length(at / row % span.batch_size) > at / row / span.batch_size;
            let values = x.iter().enumerate().map(|(at, v)| if valid(at) { f64::from(*v) } else { 0.0 });
            executor.write(id, to, values)
        }
    }
}
