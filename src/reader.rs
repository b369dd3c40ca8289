//! A network that reads sequences of any length: what [`Predictor`](crate::Predictor) and
//! [`StreamingPredictor`](crate::StreamingPredictor) share.
//!
//! The contract: a network that reads one way does so a chunk of steps after the other, with the state carried between
//! them on the device, so that neither plans nor memory grow with T; what comes of it is bit for bit what one plan over
//! all T steps gives. A network that has to know all steps, as it reads both ways or is read out from the mean, has one
//! plan for each T.

use std::sync::Arc;

use crate::cache::{CachedPlan, Kind, PlanCache, PlanKey};
use crate::data::{Span, Start};
use crate::device::{Device, Executor, Readback};
use crate::error::Result;
use crate::gpu::Wait;
use crate::model::{Config, Directions, Model, ReadOut};
use crate::plan::{Plan, PlanId, Purpose, TensorId};

/// How many chunks a device is given before it is waited for: each is held in the driver's memory until it is done.
const MAX_AHEAD: usize = 64;

/// A model on a device, read by plans of inference.
#[derive(Debug)]
pub(crate) struct Reader {
    device: Device,
    config: Config,
    executor: Executor,
    plans: PlanCache,
    /// Where the parameters are.
    parameters: (PlanId, TensorId),
    /// The plan whose tensor holds the state that was left last.
    current: Option<Arc<CachedPlan>>,
}

impl Reader {
    /// A model of this configuration with these parameters.
    pub async fn new(device: &Device, config: Config, parameters: &[f32]) -> Result<Self> {
        let (plan, tensors) = Plan::shared(&config, None, &device.target())?;
        let mut executor = device.executor();
        let id = executor.prepare(plan).await?;
        executor.write_f32(id, tensors.parameters, parameters)?;
        let (parameters, plans) = ((id, tensors.parameters), PlanCache::new(device.plan_cache_bytes()));
        Ok(Reader { device: device.clone(), config, executor, plans, parameters, current: None })
    }

    /// Reads another model's parameters from now on.
    pub fn set_parameters(&mut self, model: &Model) -> Result<()> {
        let (id, tensor) = self.parameters;
        self.executor.write_f32(id, tensor, model.flat())
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    pub fn plans(&self) -> &PlanCache {
        &self.plans
    }

    /// Makes the plan of a number of steps ready, so that it need not be made later.
    pub async fn prepare(&mut self, steps: usize, batch: usize, wait: Wait) -> Result<()> {
        let steps = steps.min(self.chunk(batch).unwrap_or(steps));
        let made = self.prepared(steps, batch, wait).await?;
        self.current.get_or_insert(made);
        Ok(())
    }

    /// Reads sequences that were checked, from the state that `start` names, and puts what is read out in the place of
    /// `out`: `[T, B, O]`, or `[B, O]` of a network that is read out once.
    pub async fn run(&mut self, sequences: Span<'_>, start: &Start, wait: Wait, out: &mut Vec<f32>) -> Result<()> {
        let Span { steps, batch_size, .. } = sequences;
        let chunk = self.chunk(batch_size).unwrap_or(steps);
        let every_step = self.config.read_out == ReadOut::EveryStep;
        let mut readback =
            Readback::new(if every_step { steps * batch_size } else { batch_size } * self.config.outputs);
        if *start != Start::Carry {
            // Nobody will want it again.
            self.current = None;
        }
        // Both before anything is run, so that a plan which cannot be made leaves the state as it was.
        let whole = if steps >= chunk { Some(self.prepared(chunk, batch_size, wait).await?) } else { None };
        let rest = if steps % chunk > 0 { Some(self.prepared(steps % chunk, batch_size, wait).await?) } else { None };
        out.clear();
        for (number, first) in (0..steps).step_by(chunk).enumerate() {
            let part = sequences.part(first, chunk.min(steps - first));
            let Some(plan) = (if part.steps == chunk { &whole } else { &rest }) else { continue };
            let (id, tensors) = (plan.id, plan.tensors);
            match (start, &self.current) {
                (Start::Initial, _) if first == 0 => self.executor.zero(id, tensors.state)?,
                (Start::Given(state), _) if first == 0 => self.executor.write_f32(id, tensors.state, state)?,
                (_, Some(current)) if current.id != id => {
                    self.executor.copy((current.id, current.tensors.state), (id, tensors.state))?;
                }
                _ => {}
            }
            self.executor.write_span(id, &tensors, &part, first == 0 && *start == Start::Initial)?;
            if every_step || first + chunk >= steps {
                self.executor.run_and_read((id, tensors.outputs), &mut readback, wait, out).await?;
            } else {
                self.executor.run(id)?;
            }
            self.current = Some(Arc::clone(plan));
            if number % MAX_AHEAD == MAX_AHEAD - 1 {
                self.executor.idle(wait).await?;
            }
        }
        self.executor.finish(&mut readback, wait, out).await
    }

    /// The state `[S, L, B, D·H]` that was left last; empty where there is none.
    pub async fn state(&mut self, wait: Wait) -> Result<Vec<f32>> {
        match &self.current {
            Some(current) => self.executor.read(current.id, current.tensors.state, wait).await,
            None => Ok(Vec::new()),
        }
    }

    /// Goes on from another state.
    pub fn set_state(&mut self, state: &[f32]) -> Result<()> {
        match &self.current {
            Some(current) => self.executor.write_f32(current.id, current.tensors.state, state),
            None => Ok(()),
        }
    }

    /// How many steps one plan reads at most; `None` where it has to read all.
    fn chunk(&self, batch: usize) -> Option<usize> {
        let is_causal = self.config.directions == Directions::Forward && self.config.read_out != ReadOut::Mean;
        is_causal.then(|| self.device.target().chunk(&self.config, batch))
    }

    async fn prepared(&mut self, steps: usize, batch: usize, wait: Wait) -> Result<Arc<CachedPlan>> {
        let (config, target) = (&self.config, self.device.target());
        let make = || Plan::new(config, Purpose::Infer, steps, batch, &target);
        self.plans.get(&mut self.executor, PlanKey { kind: Kind::Infer, steps, batch }, wait, make).await
    }
}
