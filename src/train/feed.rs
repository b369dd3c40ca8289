//! What a run of a plan is fed: the state it starts from, and everything that the host writes before it.
//!
//! The contract: nothing here waits for the device, and a state that one window carries to the next stays there.

use std::sync::Arc;

use crate::cache::CachedPlan;
use crate::checkpoint::State;
use crate::data::{Batch, Inputs, Start, Targets};
use crate::device::Executor;
use crate::error::{Error, Result};
use crate::model::Config;
use crate::plan::StepParams;

/// Where the state that the last window left is.
#[derive(Clone, Debug, Default)]
pub(super) enum Carried {
    /// There was no window yet.
    #[default]
    Nowhere,
    /// On the device, in a plan's tensor.
    Device(Arc<CachedPlan>),
    /// On the host, from a checkpoint.
    Host(State),
}

impl Carried {
    /// Its B, where there is one.
    pub fn batch(&self) -> Option<usize> {
        match self {
            Carried::Nowhere => None,
            Carried::Device(plan) => Some(plan.batch),
            Carried::Host(state) => Some(state.batch_size),
        }
    }
}

/// Whether a window of `size` sequences can start so where the window before it left the state of `held` sequences.
pub(super) fn check_start(start: &Start, size: usize, held: Option<usize>) -> Result<()> {
    match (start, held) {
        (Start::Initial | Start::Given(_), _) => Ok(()),
        (Start::Carry, None) => {
            Err(Error::Data("the batch carries on from the window before, but there was none".to_owned()))
        }
        (Start::Carry, Some(held)) if held == size => Ok(()),
        (Start::Carry, Some(held)) => Err(Error::shape("the carried state's batch", &[size], &[held])),
    }
}

/// Puts the state that a window starts from in its place.
pub(super) fn begin(executor: &mut Executor, plan: &CachedPlan, start: &Start, carried: &Carried) -> Result<()> {
    check_start(start, plan.batch, carried.batch())?;
    let state = plan.tensors.state;
    match (start, carried) {
        (Start::Initial, _) => executor.zero(plan.id, state),
        (Start::Given(values), _) => executor.write_f32(plan.id, state, values),
        (Start::Carry, Carried::Nowhere) => Ok(()),
        (Start::Carry, Carried::Device(from)) if from.id == plan.id => Ok(()),
        (Start::Carry, Carried::Device(from)) => executor.copy((from.id, from.tensors.state), (plan.id, state)),
        (Start::Carry, Carried::Host(held)) => executor.write_f32(plan.id, state, &held.values),
    }
}

/// Writes everything a run reads from the host.
pub(super) fn upload(
    executor: &mut Executor,
    config: &Config,
    plan: &CachedPlan,
    batch: &Batch,
    step_params: StepParams<f64>,
    rows: &mut RowsByToken,
) -> Result<()> {
    let (id, loss) = (plan.id, plan.loss());
    executor.write_span(id, &plan.tensors, &batch.sequences.span(), batch.sequences.start == Start::Initial)?;
    let rows_by_token = plan.tensors.training.and_then(|training| Some((training.rows_by_token?, training.segment)));
    if let (Some(((order, starts), segment)), Inputs::Tokens(tokens)) = (rows_by_token, &batch.sequences.inputs) {
        rows.sort(tokens, segment * batch.sequences.batch_size, config.input.size());
        executor.write_ids(id, order, &rows.order)?;
        executor.write_ids(id, starts, &rows.starts)?;
    }
    match &batch.targets {
        Targets::Classes(classes) => executor.write_ids(id, loss.targets, classes)?,
        Targets::Values(values) => executor.write_f32(id, loss.targets, values)?,
    }
    executor.write(id, loss.loss_mask, batch.counting(config).map(|counts| f64::from(u8::from(counts))))?;
    executor.write(id, loss.step_params, step_params.elements().into_iter())
}

/// The rows of each token in every part of a window: `order[starts[p, v]..starts[p, v + 1]]` are those of v in part p,
/// counted from the first of the part.
#[derive(Debug, Default)]
pub(super) struct RowsByToken {
    order: Vec<u32>,
    starts: Vec<u32>,
    next: Vec<u32>,
}

impl RowsByToken {
    /// By counting, in parts of `part` rows.
    fn sort(&mut self, tokens: &[u32], part: usize, vocabulary: usize) {
        let RowsByToken { order, starts, next } = self;
        order.clear();
        order.resize(tokens.len(), 0);
        starts.clear();
        let mut before = 0;
        for tokens in tokens.chunks(part) {
            let first = starts.len();
            starts.resize(first + vocabulary + 1, 0);
            let starts = &mut starts[first..];
            starts[0] = before;
            for &token in tokens {
                starts[token as usize + 1] += 1;
            }
            for v in 0..vocabulary {
                starts[v + 1] += starts[v];
            }
            before = starts[vocabulary];
            next.clear();
            next.extend_from_slice(starts);
            for (row, &token) in (0..).zip(tokens) {
                let place = &mut next[token as usize];
                order[*place as usize] = row;
                *place += 1;
            }
        }
    }
}
