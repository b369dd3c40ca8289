//! Holds the tensors of any number of plans and replays them.
//!
//! Shared tensors are one buffer for all plans. A plan's tensors, and room for its sums, are allocated in
//! [`Executor::prepare`], all of them or none, and freed in [`Executor::free`]; the first [`Executor::run`] makes room
//! beside them for packed copies of the weights (as large as these, once more for training), and later ones allocate
//! nothing but the lists by which threads share a tensor.
//!
//! This is the level below [`crate::Trainer`] and [`crate::StreamingPredictor`], which check what they are given: here
//! an id of another executor or of a plan that was freed, an id out of range or a plan whose operations do not fit its
//! tensors is a panic.

use super::{
    activation, bands, ctc, dropout, gather, gradient, gradient_norms, group, join, loss, matmul, normalize, optimizer,
    pool,
    real::Real,
    recurrence, resets, state,
    tensors::{Buffer, Pack, Tensors},
    threads, update,
};
use crate::allocate::zeros;
use crate::clock::{Stopwatch, Timed, TimingSource};
use crate::error::{Error, Result};
use crate::plan::{BackwardRecurrence, DType, Lifetime, Op, Part, Plan, PlanId, PlanTable, Tensor, TensorId};

/// What is being done where memory runs out.
const DOING: &str = "allocating a plan's tensors";

/// Runs plans on the CPU in f32 or f64.
#[derive(Debug, Default)]
pub struct Executor<T: Real> {
    plans: PlanTable<Prepared>,
    buffers: Vec<Buffer<T>>,
    /// Places among the buffers that no tensor has.
    vacant: Vec<usize>,
    /// Buffers that all plans know by name.
    shared: Vec<(String, usize)>,
    scratch: Vec<T>,
    totals: Vec<f64>,
    packs: Vec<Pack<T>>,
}

#[derive(Debug)]
struct Prepared {
    plan: Plan,
    /// Which buffer each tensor is.
    slots: Vec<usize>,
    /// How many intermediate results its operations have at a time.
    scratch: usize,
    /// Whether there is enough that threads can share.
    is_shared: bool,
}

impl<T: Real> Executor<T> {
    /// An executor with no plans.
    pub fn new() -> Self {
        Executor::default()
    }

    /// Allocates a plan's tensors, zeroed; those it shares with earlier plans keep their values. A plan that cannot be
    /// prepared leaves nothing behind.
    ///
    /// # Errors
    /// [`Error::Shape`] where a shared tensor has another length in an earlier plan, [`Error::OutOfMemory`].
    pub fn prepare(&mut self, plan: Plan) -> Result<PlanId> {
        let known = self.shared.len();
        let mut slots = Vec::with_capacity(plan.tensors().len());
        let mut made = Vec::new();
        let allocated = plan.tensors().iter().try_for_each(|tensor| {
            slots.push(self.slot(tensor, &mut made)?);
            Ok(())
        });
        let scratch = scratch(&plan);
        if let Err(error) = allocated.and_then(|()| self.reserve(scratch)) {
            self.shared.truncate(known);
            self.release(&made);
            return Err(error);
        }
        let is_shared = sharable(&plan) >= WORTH_SHARING;
        Ok(self.plans.insert(Prepared { plan, slots, scratch, is_shared }))
    }

    /// Which buffer a tensor is; one that is made for it is named in `made`.
    fn slot(&mut self, tensor: &Tensor, made: &mut Vec<usize>) -> Result<usize> {
        let is_shared = tensor.lifetime == Lifetime::Shared;
        if let Some((_, slot)) = self.shared.iter().find(|(name, _)| is_shared && *name == tensor.name) {
            let held = self.buffers[*slot].len();
            return if held == tensor.len() {
                Ok(*slot)
            } else {
                Err(Error::shape(&tensor.name, &[held], &tensor.shape))
            };
        }
        let buffer = match tensor.dtype {
            DType::F32 | DType::F16 => Buffer::Real(zeros(tensor.len(), DOING)?, 0),
            DType::U32 => Buffer::Id(zeros(tensor.len(), DOING)?),
        };
        let slot = self.vacant.pop().unwrap_or(self.buffers.len());
        if slot == self.buffers.len() {
            self.buffers.push(buffer);
        } else {
            self.buffers[slot] = buffer;
        }
        made.push(slot);
        if is_shared {
            self.shared.push((tensor.name.clone(), slot));
        }
        Ok(slot)
    }

    /// Makes room for so many intermediate results.
    fn reserve(&mut self, len: usize) -> Result<()> {
        let out = |_| Error::OutOfMemory(format!("making room for a plan's sums ({len} elements)"));
        self.scratch.try_reserve_exact(len.saturating_sub(self.scratch.len())).map_err(out)
    }

    /// Gives buffers back, and what was packed of them.
    fn release(&mut self, slots: &[usize]) {
        for slot in slots {
            self.buffers[*slot] = Buffer::Id(Vec::new());
        }
        self.vacant.extend_from_slice(slots);
        self.packs.retain(|pack| !slots.contains(&pack.buffer()));
    }

    /// Frees a plan and all tensors that are its own; those it shares stay, be it with no plan at all.
    pub fn free(&mut self, id: PlanId) {
        let Some(Prepared { plan, slots, .. }) = self.plans.remove(id) else { return };
        let own = plan.tensors().iter().zip(slots).filter(|(tensor, _)| tensor.lifetime != Lifetime::Shared);
        let own: Vec<usize> = own.map(|(_, slot)| slot).collect();
        self.release(&own);
        let most = self.plans.iter().map(|prepared| prepared.scratch).max().unwrap_or(0);
        self.scratch.truncate(most);
        self.scratch.shrink_to(most);
    }

    /// Bytes that are allocated for a plan, but for tensors that it shares.
    pub(crate) fn needs(plan: &Plan) -> u64 {
        let own = plan.tensors().iter().filter(|tensor| tensor.lifetime != Lifetime::Shared);
        let bytes = own.map(|tensor| match tensor.dtype {
            DType::F32 | DType::F16 => tensor.len() as u64 * size_of::<T>() as u64,
            DType::U32 => tensor.len() as u64 * size_of::<u32>() as u64,
        });
        bytes.sum::<u64>() + plan.host_bytes()
    }

    /// The plan behind an id.
    pub fn plan(&self, id: PlanId) -> &Plan {
        &self.plans[id].plan
    }

    /// Writes a tensor of real numbers.
    ///
    /// # Errors
    /// [`Error::Shape`] where the length is another one.
    pub fn write(&mut self, plan: PlanId, tensor: TensorId, values: impl ExactSizeIterator<Item = f64>) -> Result<()> {
        let declared = self.plans[plan].plan.get(tensor);
        match self.buffers[self.plans[plan].slots[tensor.0]].real_mut() {
            Some(held) if held.len() == values.len() => {
                held.iter_mut().zip(values).for_each(|(held, value)| *held = T::from_f64(value));
                Ok(())
            }
            _ => Err(Error::shape(&declared.name, &declared.shape, &[values.len()])),
        }
    }

    /// Writes a tensor of ids.
    ///
    /// # Errors
    /// [`Error::Shape`] where the length is another one.
    pub fn write_ids(&mut self, plan: PlanId, tensor: TensorId, ids: &[u32]) -> Result<()> {
        self.write_each_id(plan, tensor, ids.iter().copied())
    }

    pub(crate) fn write_each_id(
        &mut self,
        plan: PlanId,
        tensor: TensorId,
        ids: impl ExactSizeIterator<Item = u32>,
    ) -> Result<()> {
        let declared = self.plans[plan].plan.get(tensor);
        match &mut self.buffers[self.plans[plan].slots[tensor.0]] {
            Buffer::Id(held) if held.len() == ids.len() => {
                held.iter_mut().zip(ids).for_each(|(held, id)| *held = id);
                Ok(())
            }
            _ => Err(Error::shape(&declared.name, &declared.shape, &[ids.len()])),
        }
    }

    /// The values of a tensor of real numbers; empty for one of ids.
    pub fn read(&self, plan: PlanId, tensor: TensorId) -> &[T] {
        match &self.buffers[self.plans[plan].slots[tensor.0]] {
            Buffer::Real(values, _) => values,
            Buffer::Id(_) => &[],
        }
    }

    /// Copies one plan's tensor over another's of the same size.
    pub(crate) fn copy(&mut self, from: (PlanId, TensorId), to: (PlanId, TensorId)) {
        let slots = [from, to].map(|(plan, tensor)| self.plans[plan].slots[tensor.0]);
        if let Ok([Buffer::Real(from, _), to]) = self.buffers.get_disjoint_mut(slots)
            && let Some(to) = to.real_mut()
        {
            to.copy_from_slice(from);
        }
    }

    /// Sets a tensor to zero.
    pub(crate) fn zero(&mut self, plan: PlanId, tensor: TensorId) {
        if let Some(held) = self.buffers[self.plans[plan].slots[tensor.0]].real_mut() {
            held.fill(T::zero());
        }
    }

    /// Runs all operations of a plan once.
    pub fn run(&mut self, id: PlanId) {
        self.run_part(id, Part::All);
    }

    /// Runs a part of a plan.
    pub(crate) fn run_part(&mut self, id: PlanId, part: Part) {
        let Executor { plans, buffers, scratch, totals, packs, .. } = self;
        let Prepared { plan, slots, is_shared, .. } = &plans[id];
        let mut memory = Tensors { plan, buffers, slots, scratch, totals, packs };
        let mut all = || plan.part(part).iter().for_each(|stage| run(&stage.op, &mut memory));
        if *is_shared { threads::on_the_pool(all) } else { all() }
    }

    /// [`Executor::run`], each operation timed.
    pub(crate) fn run_timed(&mut self, id: PlanId) -> Result<Timed> {
        let Executor { plans, buffers, scratch, totals, packs, .. } = self;
        let Prepared { plan, slots, is_shared, .. } = &plans[id];
        let mut memory = Tensors { plan, buffers, slots, scratch, totals, packs };
        let mut each = Vec::with_capacity(plan.stages().len());
        let mut result: Result<()> = Ok(());
        let mut timed = || {
            for stage in plan.stages() {
                let stopwatch = Stopwatch::start()?;
                run(&stage.op, &mut memory);
                each.push(stopwatch.elapsed());
            }
            Ok(())
        };
        let all = Stopwatch::start()?;
        if *is_shared {
            threads::on_the_pool(|| result = timed())
        } else {
            result = timed()
        }
        result?;
        Ok(Timed { clock: TimingSource::Host, each, total: all.elapsed() })
    }
}

/// Floating-point operations and bytes of a plan that are worth waking threads for: as many as one does in a tenth of a
/// millisecond or two.
const WORTH_SHARING: u64 = 1 << 24;

/// Returns the floating-point operations and bytes of a plan that threads can share: the steps of one sequence and the
/// products of one row they cannot.
fn sharable(plan: &Plan) -> u64 {
    let is_sharable = |op: &Op| match op {
        Op::Forward(op) | Op::Backward(BackwardRecurrence { recurrence: op, .. }) => op.batch > 1,
        Op::MatMul(op) => op.out.rows > 1,
        _ => true,
    };
    let costs = plan.stages().iter().filter(|stage| is_sharable(&stage.op)).map(|stage| stage.op.cost(plan));
    costs.map(|cost| cost.flops + cost.bytes).sum()
}

/// How many intermediate results a plan's operations have at a time, where that grows with the batch; for what grows
/// with the weights alone, the first run makes room.
fn scratch(plan: &Plan) -> usize {
    let of = |op: &Op| match op {
        Op::Forward(op) | Op::Backward(BackwardRecurrence { recurrence: op, .. }) => bands::scratch(op),
        Op::Dropout(op) => dropout::scratch(op),
        Op::GatherGradient(op) => op.d.cols,
        Op::CtcStates(op) => ctc::states_scratch(op, plan),
        Op::CtcGradient(op) => ctc::gradient_scratch(op, plan),
        _ => 0,
    };
    plan.stages().iter().map(|stage| of(&stage.op)).max().unwrap_or(0)
}

fn run<T: Real>(op: &Op, memory: &mut Tensors<'_, T>) {
    match op {
        Op::Copy(op) => state::copy(op, memory),
        Op::Zero(op) => state::zero(op, memory),
        Op::Accumulate(op) => state::accumulate(op, memory),
        Op::MaskSlices(op) => dropout::mask_slices(op, memory),
        Op::Join(op) => join::join(op, memory),
        Op::JoinGradient(op) => join::join_gradient(op, memory),
        Op::InitialState(op) => state::initial_state(op, memory),
        Op::RemainingLengths(op) => state::remaining_lengths(op, memory),
        Op::Dropout(op) => dropout::dropout(op, memory),
        Op::Gather(op) => gather::gather(op, memory),
        Op::Activate(op) => activation::activate(op, memory),
        Op::ActivateGradient(op) => activation::activate_gradient(op, memory),
        Op::Normalize(op) => normalize::normalize(op, memory),
        Op::NormalizeGradient(op) => normalize::normalize_gradient(op, memory),
        Op::NormalizeWeightGradient(op) => normalize::normalize_weight_gradient(op, memory),
        Op::Transpose(op) => matmul::transpose(op, memory),
        Op::MatMul(op) => matmul::matmul(op, memory),
        Op::Forward(op) => recurrence::forward(op, memory),
        Op::Backward(op) => recurrence::backward(op, memory),
        Op::GradientNorms(op) => gradient_norms::gradient_norms(op, memory),
        Op::Pool(op) => pool::pool(op, memory),
        Op::PoolGradient(op) => pool::pool_gradient(op, memory),
        Op::LossGradient(op) => loss::loss_gradient(op, memory),
        Op::LogSums(op) => ctc::log_sums(op, memory),
        Op::CtcStates(op) => ctc::ctc_states(op, memory),
        Op::CtcGradient(op) => ctc::ctc_gradient(op, memory),
        Op::WeightGradient(op) => gradient::weight_gradient(op, memory),
        Op::GatherGradient(op) => gather::gather_gradient(op, memory),
        Op::InitialStateGradient(op) => state::initial_state_gradient(op, memory),
        Op::StartState(op) => resets::start_state(op, memory),
        Op::StatesBefore(op) => resets::states_before(op, memory),
        Op::Sum(op) => update::sum(op, memory),
        Op::ReduceGradients(op) => update::reduce_gradients(op, memory),
        Op::GroupNorm(op) => group::group_norm(op, memory),
        Op::ScaleGroup(op) => group::scale_group(op, memory),
        Op::StepMetrics(op) => update::step_metrics(op, memory),
        Op::Update(op) => optimizer::update(op, memory),
        Op::AverageParameters(op) => optimizer::average_parameters(op, memory),
        Op::UpdateLossScale(op) => update::update_loss_scale(op, memory),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Config, InputKind};
    use crate::plan::{MatMul, Phase, ProductTile, Purpose, Target, View};

    #[test]
    fn a_stream_of_one_sequence_wakes_no_thread_however_large_it_is() {
        let config = Config::lstm(InputKind::Dense(1500), 1500, 1500);
        for (batch, is_shared) in [(1, false), (64, true)] {
            let (plan, _) = Plan::new(&config, Purpose::Infer, 1, batch, &Target::cpu()).expect("a network");
            assert_eq!(sharable(&plan) >= WORTH_SHARING, is_shared, "{batch} sequences");
        }
    }

    #[test]
    fn a_matrix_that_was_written_again_is_packed_again() {
        let mut plan = Plan::empty();
        let [a, b, out] = ["a", "b", "out"]
            .map(|name| plan.tensor(name, &[8, 8], DType::F32, Lifetime::Scratch).expect("a small tensor"));
        let [of_a, of_b, of_out] = [a, b, out].map(|tensor| View::new(tensor, 0, 8, 8));
        let (bias, tile) = (None, ProductTile::Small);
        let op = MatMul { a: of_a, transpose_a: false, b: of_b, transpose_b: true, bias, out: of_out, tile };
        plan.push(Phase::Forward, Op::MatMul(op));
        let mut executor = Executor::<f32>::new();
        let id = executor.prepare(plan).expect("a small plan");
        let unit = || (0..64).map(|i| f64::from(u8::from(i % 9 == 0)));
        executor.write(id, a, unit()).expect("its size");
        for first in [1.0, 2.0] {
            executor.write(id, b, (0..64).map(|i| first + f64::from(i))).expect("its size");
            executor.run(id);
            // The unit matrix times bᵀ.
            assert_eq!(executor.read(id, out)[..3], [0.0, 8.0, 16.0].map(|row| (first + row) as f32));
        }
        assert_eq!(executor.packs.len(), 1);
    }
}
