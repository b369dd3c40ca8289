//! What a run of a plan is fed: the state it starts from, and everything that the host writes before it.
//!
//! The contract: nothing here waits for the device, and a state that one window carries to the next stays there.

use crate::checkpoint::State;
use crate::data::{Batch, Inputs, Start, Targets};
use crate::device::Executor;
use crate::error::{Error, Result};
use crate::model::Config;
use crate::plan::{HYPER, LossInputs, Outputs, PlanId, TensorId, TrainingTensors};

/// A plan that is ready on the device, and where its tensors are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Prepared {
    pub id: PlanId,
    pub tensors: Outputs,
    pub loss: LossInputs,
    pub training: Option<TrainingTensors>,
    /// B.
    pub batch: usize,
}

/// Where the state that the last window left is.
#[derive(Clone, Debug, Default)]
pub(super) enum Carried {
    /// There was no window yet.
    #[default]
    Nowhere,
    /// On the device, in a plan's tensor, for that many sequences.
    Device(PlanId, TensorId, usize),
    /// On the host, from a checkpoint.
    Host(State),
}

impl Carried {
    /// Whether a window of `size` sequences can start so where this is what the window before it left.
    pub fn precedes(&self, start: &Start, size: usize) -> Result<()> {
        let held = match (start, self) {
            (Start::Zero | Start::Given(_), _) => return Ok(()),
            (Start::Carry, Carried::Nowhere) => {
                return Err(Error::Data("the batch carries on from the window before, but there was none".to_owned()));
            }
            (Start::Carry, Carried::Device(_, _, batch) | Carried::Host(State { batch, .. })) => *batch,
        };
        if held == size { Ok(()) } else { Err(Error::shape("the carried state's batch", &[size], &[held])) }
    }
}

/// Puts the state that a window starts from in its place.
pub(super) fn begin(executor: &mut Executor, plan: &Prepared, start: &Start, carried: &Carried) -> Result<()> {
    carried.precedes(start, plan.batch)?;
    let state = plan.tensors.state;
    match (start, carried) {
        (Start::Zero, _) => executor.zero(plan.id, state),
        (Start::Given(values), _) => executor.write_f32(plan.id, state, values),
        (Start::Carry, Carried::Nowhere) => Ok(()),
        (Start::Carry, Carried::Device(id, ..)) if *id == plan.id => Ok(()),
        (Start::Carry, Carried::Device(id, tensor, _)) => executor.copy((*id, *tensor), (plan.id, state)),
        (Start::Carry, Carried::Host(held)) => executor.write_f32(plan.id, state, &held.values),
    }
}

/// Writes everything a run reads from the host; `count` positions count in all windows of the step together.
pub(super) fn upload(
    executor: &mut Executor,
    config: &Config,
    plan: &Prepared,
    batch: &Batch,
    count: usize,
    hyper: [f64; HYPER],
    rows: &mut ByToken,
) -> Result<()> {
    let (id, loss) = (plan.id, plan.loss);
    executor.write_sequences(id, &plan.tensors, &batch.sequences)?;
    let by_token = plan.training.and_then(|training| Some((training.by_token?, training.segment)));
    if let (Some(((order, starts), segment)), Inputs::Tokens(tokens)) = (by_token, &batch.sequences.inputs) {
        rows.sort(tokens, segment * batch.sequences.size, config.input.size());
        executor.write_ids(id, order, &rows.order)?;
        executor.write_ids(id, starts, &rows.starts)?;
    }
    match &batch.targets {
        Targets::Classes(classes) => executor.write_ids(id, loss.targets, classes)?,
        Targets::Values(values) => executor.write_f32(id, loss.targets, values)?,
    }
    executor.write(id, loss.mask, batch.counting(config).map(|counts| f64::from(u8::from(counts))))?;
    executor.write(id, loss.count, std::iter::once(count as f64))?;
    executor.write(id, loss.hyper, hyper.into_iter())
}

/// The rows of each token in every part of a window: `order[starts[p, v]..starts[p, v + 1]]` are those of v in part p,
/// counted from the first of the part.
#[derive(Debug, Default)]
pub(super) struct ByToken {
    order: Vec<u32>,
    starts: Vec<u32>,
    next: Vec<u32>,
}

impl ByToken {
    /// By counting, in parts of `part` rows.
    fn sort(&mut self, tokens: &[u32], part: usize, symbols: usize) {
        let ByToken { order, starts, next } = self;
        order.clear();
        order.resize(tokens.len(), 0);
        starts.clear();
        let mut before = 0;
        for tokens in tokens.chunks(part) {
            let first = starts.len();
            starts.resize(first + symbols + 1, 0);
            let starts = &mut starts[first..];
            starts[0] = before;
            for &token in tokens {
                starts[token as usize + 1] += 1;
            }
            for v in 0..symbols {
                starts[v + 1] += starts[v];
            }
            before = starts[symbols];
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
