//! Where sequences begin and end: copies, learned initial states and pooled outputs, as cases of any size.

use recurrent::Join;
use recurrent::internals::plan::{
    Accumulate, CopyView, DType, GradientNorms, InitialState, InitialStateGradient, JoinDirections, JoinGradient,
    Lifetime, LossScale, Op, Phase, Plan, Pool, PoolGradient, PoolKind, RemainingLengths, StepParams, View, ZeroTensor,
};

use crate::case::Case;
use crate::common::compare::{EXACT, F32_ROUNDING, F32_SUM};
use crate::common::executor::Execute;
use crate::common::random::Random;

/// `[m, n]` copied.
pub fn copy(random: &mut Random, m: usize, n: usize) -> Case {
    let mut case = Case::new(format!("copy {m}×{n}"));
    let from = case.matrix("from", m, n, random.reals(m * n, 1.0));
    let to = case.out_matrix("to", m, n, EXACT);
    case.with(Op::Copy(CopyView { from, to }))
}

/// `[m, n]` copied from one place of `[m, before + n]` to another of `[m, n + after]`.
pub fn copy_columns(random: &mut Random, [m, n]: [usize; 2], before: usize, after: usize) -> Case {
    let mut case = Case::new(format!("copy {m}×{n}, {before} columns before and {after} after"));
    let mut from = vec![f64::NAN; m * (before + n)];
    from.chunks_exact_mut(before + n).for_each(|row| row[before..].copy_from_slice(&random.reals(n, 1.0)));
    let from = case.matrix("from", m, before + n, from).columns(before, n);
    // What lies between the rows stays.
    let rows: Vec<_> = (0..m).map(|row| 2 + row * (n + after)..2 + row * (n + after) + n).collect();
    let to = case.out("to", &[2 + m * (n + after)], rows, EXACT);
    let to = recurrent::internals::plan::View::new(to, 2, m, n + after).columns(0, n);
    case.with(Op::Copy(CopyView { from, to }))
}

/// `[m, n]` added to another.
pub fn accumulate(random: &mut Random, m: usize, n: usize) -> Case {
    let mut case = Case::new(format!("accumulation of {m}×{n}"));
    let y = case.matrix("y", m, n, random.reals(m * n, 1.0));
    let held = [vec![f64::NAN; 3], random.reals(m * n, 1.0), vec![f64::NAN; 2]].concat();
    let x = case.in_out("x", &[held.len()], held, vec![(3..3 + m * n, F32_SUM)]);
    case.with(Op::Accumulate(Accumulate { x: View::new(x, 3, m, n), y }))
}

/// Both halves of `[m, 2·n]` made one.
pub fn join(random: &mut Random, join: Join, m: usize, n: usize) -> Case {
    let mut case = Case::new(format!("{join:?} of {m}×2·{n}"));
    let rows = case.matrix("rows", m, 2 * n, random.reals(2 * m * n, 1.0));
    let out = case.out_matrix("out", m, n, F32_SUM);
    case.with(Op::Join(JoinDirections { join, rows, out }))
}

/// The gradient of both.
pub fn join_gradient(random: &mut Random, join: Join, m: usize, n: usize) -> Case {
    let mut case = Case::new(format!("gradient of {join:?} of {m}×2·{n}"));
    let d = case.matrix("d", m, n, random.reals(m * n, 1.0));
    let rows = (join == Join::Product).then(|| case.matrix("rows", m, 2 * n, random.reals(2 * m * n, 1.0)));
    let out = case.out_matrix("out", m, 2 * n, F32_SUM);
    case.with(Op::JoinGradient(JoinGradient { join, d, rows, out }))
}

/// A tensor zeroed.
pub fn zero(len: usize) -> Case {
    let mut case = Case::new(format!("zero {len}"));
    let tensor = case.out("tensor", &[len], std::iter::once(0..len), EXACT);
    case.with(Op::Zero(ZeroTensor { tensor }))
}

/// The learned states `[states, width]` for `batch` sequences, or the state as it is.
pub fn start(random: &mut Random, [states, batch, width]: [usize; 3], fresh: bool) -> Case {
    let mut case = Case::new(format!("start of {states} states, B {batch}, {width} wide, fresh {fresh}"));
    let len = states * batch * width;
    // What is not read is NaN: the state of a fresh start, and what was learned of any other.
    let nan = |count: usize| vec![f64::NAN; count];
    let learned = if fresh { random.reals(states * width, 1.0) } else { nan(states * width) };
    let held = if fresh { nan(len) } else { random.reals(len, 1.0) };
    let learned = case.matrix("learned", states, width, learned);
    let fresh = case.real("fresh", &[1], vec![f64::from(u8::from(fresh))]);
    // Other layers' lie before it and behind it, and stay.
    let held = [random.reals(width, 1.0), held, random.reals(3, 1.0)].concat();
    let state = case.in_out("state", &[held.len()], held, vec![(0..len + width + 3, EXACT)]);
    let state = View::new(state, width, states * batch, width);
    case.with(Op::InitialState(InitialState { learned, fresh, state }))
}

/// The sums over the batch of each direction's slot, nothing unless fresh, and of that of resets, where there are any.
pub fn start_gradient(
    random: &mut Random,
    [slots, batch, hidden]: [usize; 3],
    at: &[usize],
    (fresh, resets): (bool, Option<usize>),
) -> Case {
    let mut case = Case::new(format!(
        "start gradient, slots {at:?} and {resets:?} of {slots}, B {batch}, H {hidden}, fresh {fresh}"
    ));
    let width = at.len() * hidden;
    let mut from = vec![f64::NAN; slots * batch * width];
    if let Some(slot) = resets {
        from[slot * batch * width..][..batch * width].copy_from_slice(&random.reals(batch * width, 1.0));
    }
    for (direction, slot) in at.iter().enumerate().filter(|_| fresh) {
        for b in 0..batch {
            let start = (slot * batch + b) * width + direction * hidden;
            from[start..start + hidden].copy_from_slice(&random.reals(hidden, 1.0));
        }
    }
    let from = case.real("from", &[slots, batch, width], from);
    let fresh = case.real("fresh", &[1], vec![f64::from(u8::from(fresh))]);
    // Of two slices the first alone.
    let slices = case.out("slices", &[2, 5 + width + 3], std::iter::once(5..5 + width), F32_SUM);
    let slots = at.to_vec();
    case.with(Op::InitialStateGradient(InitialStateGradient { from, slots, resets, fresh, slices, weight: 5 }))
}

/// What a pooling is of.
#[derive(Clone, Copy, Debug)]
pub struct Pooling {
    pub kind: PoolKind,
    pub directions: usize,
    pub steps: usize,
    pub batch: usize,
    pub hidden: usize,
    /// Steps that were done before.
    pub skipped: usize,
    /// Slots that the history has beyond the window.
    pub spare: usize,
}

impl Pooling {
    fn lengths(&self, random: &mut Random) -> Vec<u32> {
        let end = self.skipped + self.steps;
        let drawn = random.ids(self.batch, end).into_iter().map(|length| length + 1);
        drawn.enumerate().map(|(b, drawn)| [end as u32, 1].get(b).copied().unwrap_or(drawn)).collect()
    }

    /// Whether slot t + 1 is part of what is made of column j of a sequence of that length.
    fn takes(&self, t: usize, j: usize, length: u32) -> bool {
        match self.kind {
            PoolKind::Mean | PoolKind::Max => t < (length as usize).saturating_sub(self.skipped),
            PoolKind::LastRow => self.skipped + t + 1 == length as usize,
            PoolKind::FirstRow => self.skipped + t == 0,
            PoolKind::Last => t == if j / self.hidden == 0 { self.steps - 1 } else { 0 },
        }
    }
}

/// One vector for each sequence.
pub fn pool(random: &mut Random, sizes: Pooling) -> Case {
    let Pooling { kind, directions, steps, batch, hidden, skipped, spare } = sizes;
    let mut case = Case::new(format!("{sizes:?}"));
    let (width, slots) = (directions * hidden, steps + directions + spare);
    let lengths = sizes.lengths(random);
    let mut history = random.reals(slots * batch * width, 1.0);
    for (at, value) in history.iter_mut().enumerate() {
        let (slot, b, j) = (at / (batch * width), at / width % batch, at % width);
        if slot == 0 || !sizes.takes(slot - 1, j, lengths[b]) {
            *value = f64::NAN;
        }
    }
    let history = case.real("history", &[slots, batch, width], history);
    let rows = View::new(history, batch * width, steps * batch, width);
    let lengths = case.ids("lengths", lengths);
    let len = batch * width;
    // What was made of the steps before these.
    let adds = kind != PoolKind::Last && skipped > 0;
    let before = if adds { random.reals(len, 1.0) } else { vec![f64::NAN; len] };
    let tensor = case.in_out("out", &[len], before, vec![(0..len, F32_SUM)]);
    let out = recurrent::internals::plan::View::new(tensor, 0, batch, width);
    let excess = if adds { random.reals(len, 1e-3) } else { vec![f64::NAN; len] };
    // Of a maximum the step is kept exactly; what a mean lost is each executor's own.
    let steps = if kind == PoolKind::Max { vec![(0..len, EXACT)] } else { Vec::new() };
    let excess = case.in_out("excess", &[batch, width], excess, steps);
    if kind != PoolKind::Max {
        case.leave_free(excess, 0..len);
    }
    case.with(Op::Pool(Pool { kind, directions, skipped, rows, lengths, out, excess }))
}

/// Back to all steps.
pub fn pool_gradient(random: &mut Random, sizes: Pooling) -> Case {
    let Pooling { kind, directions, steps, batch, hidden, skipped, spare } = sizes;
    let mut case = Case::new(format!("gradient of {sizes:?}"));
    let (width, slots) = (directions * hidden, steps + directions + spare);
    let d = case.matrix("d", batch, width, random.reals(batch * width, 1.0));
    let lengths = sizes.lengths(random);
    let lengths = case.ids("lengths", lengths);
    let inner = batch * width..(steps + 1) * batch * width;
    // A quotient, which a driver may get wrong by a few roundings, but zeros are zeros.
    let tolerance = crate::common::compare::Tolerance { relative: 4.0 * F32_ROUNDING.relative, ..F32_ROUNDING };
    let upstream = case.out("upstream", &[slots, batch, width], [inner], tolerance);
    let rows = View::new(upstream, batch * width, steps * batch, width);
    let of_steps = random.ids(batch * width, skipped + steps).into_iter().map(f64::from).collect();
    let at = (kind == PoolKind::Max).then(|| case.real("at", &[batch, width], of_steps));
    case.with(Op::PoolGradient(PoolGradient { kind, directions, skipped, d, lengths, at, rows }))
}

/// The norm of the gradient at each of `steps` steps from the second on of a window with two more; the first sequence
/// has them all and the last a single one.
pub fn trace(random: &mut Random, [steps, batch, hidden]: [usize; 3], directions: usize, magnitude: f64) -> Case {
    let mut case = Case::new(format!("trace of T {steps}, B {batch}, H {hidden}, D {directions}, about {magnitude}"));
    let (width, all) = (directions * hidden, steps + 2);
    let drawn = random.ids(batch, steps).into_iter().map(|length| length + 1);
    let lengths: Vec<u32> =
        drawn.enumerate().map(|(b, drawn)| [steps as u32, 1].get(b).copied().unwrap_or(drawn)).collect();
    let mut upstream = vec![f64::NAN; (steps + directions) * batch * width];
    for (at, value) in upstream.iter_mut().enumerate() {
        let (slot, b) = (at / (batch * width), at / width % batch);
        if slot > 0 && slot <= lengths[b] as usize {
            *value = random.reals(1, magnitude)[0];
        }
    }
    let upstream = case.real("upstream", &[steps + directions, batch, width], upstream);
    let lengths = case.ids("lengths", lengths);
    let scale = LossScale { factor: f64::NAN, inverse: 0.25, finite_steps: f64::NAN };
    let loss_scale = case.real("loss_scale", &[LossScale::LEN], scale.elements().to_vec());
    let step_params = case.real("step_params", &[StepParams::LEN], vec![f64::NAN; StepParams::LEN]);
    // A layer before it and one after.
    let rows = (directions..2 * directions).map(|row| row * all + 1..row * all + 1 + steps);
    let out = case.out("trace", &[3 * directions, all], rows, F32_SUM);
    let (row, loss_scale) = (directions, Some(loss_scale));
    let first = 1;
    case.with(Op::GradientNorms(GradientNorms {
        upstream,
        directions,
        steps,
        lengths,
        loss_scale,
        step_params,
        row,
        first,
        out,
    }))
}

/// What is left of sequences of `batch` lengths once steps are skipped, read as the divisors of means; of nothing there
/// is no mean.
pub fn remaining<E: Execute>(mut executor: E, random: &mut Random, batch: usize, skipped: usize) -> Vec<f64> {
    const STEPS: usize = 5;
    let mut plan = Plan::empty();
    let mut real = |name: &str, shape: &[usize]| plan.tensor(name, shape, DType::F32, Lifetime::Scratch).unwrap();
    let (history, out) = (real("history", &[STEPS + 1, batch, 1]), real("out", &[batch, 1]));
    let excess = real("excess", &[batch, 1]);
    let lengths = plan.tensor("lengths", &[batch], DType::U32, Lifetime::Input).unwrap();
    let left = plan.tensor("left", &[batch], DType::U32, Lifetime::Scratch).unwrap();
    plan.push(Phase::Forward, Op::RemainingLengths(RemainingLengths { lengths, skipped, out: left }));
    let (kind, out_view) = (PoolKind::Mean, View::new(out, 0, batch, 1));
    let rows = View::new(history, batch, STEPS * batch, 1);
    let pool = Pool { kind, directions: 1, skipped: 0, rows, lengths: left, out: out_view, excess };
    plan.push(Phase::Forward, Op::Pool(pool));
    let id = executor.prepare(plan);
    // The first step alone, so that the mean is one over what is left.
    let first = |at: usize| f64::from(u8::from(at / batch == 1));
    executor.write(id, history, &(0..(STEPS + 1) * batch).map(first).collect::<Vec<_>>());
    executor.write_ids(id, lengths, &random.ids(batch, STEPS + skipped + 1));
    executor.run(id);
    executor.read(id, out)
}
