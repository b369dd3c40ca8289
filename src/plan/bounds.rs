//! How much one dispatch and one submission may do, and into how many dispatches an operation is cut to stay below
//! that.
//!
//! The contract: no dispatch makes an invocation iterate, and none does more work, than [`Bounds`] says, whatever T, B,
//! V and I are. A dispatch that takes up where another ended reads what that one wrote, and sums in the same order: the
//! results are those of one dispatch, bit for bit; but long sums, which carry what rounding takes from them, are
//! rounded once a part.

use super::{Loss, Op, Plan, Recurrence, RecurrenceMode, ReduceGradients, Sum, TensorId, Tile, Way};
use crate::error::{Error, Result};

/// How much a target may be asked to do at once.
///
/// A driver may end a loop without a word: Mesa's software adapter does so after 65,535 iterations, all loops of an
/// invocation counted together. A system may take a device away that is busy for too long: Windows after 2 s, browsers
/// and macOS after less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The most iterations that one invocation makes in a dispatch, all its loops counted together. Loops of a few
    /// rounds that pipeline constants fix, which compilers unroll, do not count.
    pub iterations: u64,
    /// The most work of a dispatch.
    pub dispatch: Work,
    /// The most work of a submission, unless that is a single dispatch.
    pub submission: Work,
}

/// An amount of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    /// Floating-point operations.
    pub flops: u64,
    /// Bytes read and written.
    pub bytes: u64,
}

impl Bounds {
    /// No bounds: of the CPU executor.
    pub const NONE: Bounds = {
        let all = Work { flops: u64::MAX, bytes: u64::MAX };
        Bounds { iterations: u64::MAX, dispatch: all, submission: all }
    };

    /// What nothing is known of: half the iterations of Mesa's software adapter, and work that an integrated GPU of
    /// 2015, at a tenth of its peak, does in a fraction of a second.
    pub const HARDWARE: Bounds = Bounds {
        iterations: 32_768,
        dispatch: Work { flops: 1 << 31, bytes: 1 << 30 },
        submission: Work { flops: 1 << 33, bytes: 1 << 32 },
    };

    /// Of a GPU that a CPU computes, to which a dispatch costs little beside its work.
    pub const SOFTWARE: Bounds = Bounds {
        iterations: 32_768,
        dispatch: Work { flops: 1 << 28, bytes: 1 << 28 },
        submission: Work { flops: 1 << 32, bytes: 1 << 32 },
    };
}

impl Work {
    const NONE: Work = Work { flops: 0, bytes: 0 };

    /// Both together.
    pub fn and(self, other: Work) -> Work {
        Work { flops: self.flops.saturating_add(other.flops), bytes: self.bytes.saturating_add(other.bytes) }
    }

    /// Whether it is no more than another amount.
    pub fn fits(self, most: Work) -> bool {
        self.flops <= most.flops && self.bytes <= most.bytes
    }

    /// One of so many equal shares, rounded up.
    pub fn share(self, shares: usize) -> Work {
        let shares = shares.max(1) as u64;
        Work { flops: self.flops.div_ceil(shares), bytes: self.bytes.div_ceil(shares) }
    }

    /// Into how many shares it is cut so that each fits.
    fn shares(self, most: Work) -> u64 {
        self.flops.div_ceil(most.flops.max(1)).max(self.bytes.div_ceil(most.bytes.max(1))).max(1)
    }
}

/// How an operation is cut into dispatches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// How much of what an invocation goes through in order (steps, rows of a sum) a dispatch takes.
    pub length: usize,
    /// How many dispatches that makes, one after another; 0 where the operation is none.
    pub parts: usize,
    /// How many dispatches share the workgroups of each part.
    pub shares: usize,
}

impl Cut {
    /// All of its dispatches.
    pub fn dispatches(self) -> usize {
        self.parts * self.shares
    }
}

/// What an invocation goes through in order: its loop over steps, or over what it sums.
struct Walk {
    /// How much there is.
    length: usize,
    /// How much of it one turn of the loop takes.
    stride: usize,
    /// The iterations of one round: its own, and those of the loops inside.
    per_round: u64,
    /// Those of the loops before and after.
    around: u64,
    /// Whether a dispatch may take up where another ended.
    is_cut: bool,
}

impl Walk {
    /// No loops.
    const NONE: Walk = Walk::once(0);

    /// Loops that are not cut.
    const fn once(iterations: u64) -> Walk {
        Walk { length: 1, stride: 1, per_round: iterations, around: 0, is_cut: false }
    }

    /// A sum over `length`, of which a workgroup takes `stride` at a time.
    fn sum(length: usize, stride: usize, around: u64) -> Walk {
        Walk { length, stride, per_round: 1, around, is_cut: true }
    }

    fn iterations(&self, length: usize) -> u64 {
        (length.div_ceil(self.stride) as u64).saturating_mul(self.per_round).saturating_add(self.around)
    }

    /// The most that fits, at least one turn.
    fn most(&self, iterations: u64) -> usize {
        let rounds = (iterations.saturating_sub(self.around) / self.per_round.max(1)).max(1);
        if self.is_cut {
            usize::try_from(rounds).unwrap_or(usize::MAX).saturating_mul(self.stride).min(self.length)
        } else {
            self.length
        }
    }
}

/// Elements of K that a workgroup of `matmul.wgsl` takes at a time.
const CHUNK: usize = 16;
/// Elements of a sum that the drivers of a recurrence load at once.
const DEPTH: u64 = 4;
/// Iterations of a sum or maximum over 256 threads, with the one that only ends the loop.
const REDUCE: u64 = 9;

impl Op {
    /// How it is cut into dispatches on the plan's target.
    pub fn cut(&self, plan: &Plan) -> Cut {
        let bounds = plan.bounds();
        let once = Cut { length: 0, parts: 1, shares: 1 };
        match self {
            Op::Copy { from, to } if plan.copies_bytes(from, to) => return Cut { parts: 0, ..once },
            Op::Zero { .. } => return Cut { parts: 0, ..once },
            _ => {}
        }
        let work = self.cost(plan).work();
        match self {
            Op::Forward(r) | Op::Backward { recurrence: r, .. } if r.schedule == RecurrenceMode::PerStep => {
                let start = usize::from(matches!(self, Op::Backward { to_start: true, .. }));
                let parts = r.steps * r.cell.products() + start;
                let shares = work.share(parts).shares(bounds.dispatch);
                Cut { length: 1, parts, shares: count(shares) }
            }
            _ => {
                let walk = self.walk(plan);
                let mut length = walk.most(bounds.iterations).max(1);
                if matches!(self, Op::Forward(_) | Op::Backward { .. }) {
                    // Fewer steps a dispatch rather than fewer workgroups: these are what works side by side.
                    length = length.min(walk.length / count(work.shares(bounds.dispatch))).max(1);
                }
                let parts = walk.length.div_ceil(length).max(1);
                // Of a whole number of such parts; the last may be less.
                let shares = work.share(walk.length / length).shares(bounds.dispatch);
                Cut { length, parts, shares: count(shares) }
            }
        }
    }

    /// The most iterations that an invocation makes in any of its dispatches.
    pub fn iterations(&self, plan: &Plan) -> u64 {
        let cut = self.cut(plan);
        if cut.parts == 0 { 0 } else { self.walk(plan).iterations(cut.length.max(1)) }
    }

    fn walk(&self, plan: &Plan) -> Walk {
        let len = |tensor| plan.get(tensor).len();
        match self {
            Op::MatMul(o) => product(if o.transpose_a { o.a.rows } else { o.a.cols }),
            Op::WeightGradient(o) => product(slice(plan, o.slices, o.d.rows)),
            // Of one token all rows may be; 8 groups of threads take 4 rows each.
            Op::GatherGradient(o) => Walk::sum(slice(plan, o.slices, o.d.rows), 32, 5),
            Op::Forward(r) => r.walk(Way::Forward),
            Op::Backward { recurrence: r, .. } => r.walk(Way::Backward),
            Op::InitialStateGradient(o) => {
                let batch = plan.get(o.from).shape.get(1).copied().unwrap_or(1);
                Walk::sum(batch, 1, 0)
            }
            Op::Pool(o) => Walk::sum(o.steps, 1, 0),
            Op::GradientNorms(o) => {
                let slot = len(o.lengths) * plan.get(o.upstream).shape.last().copied().unwrap_or(1);
                Walk { per_round: 2, ..Walk::sum(slot.div_ceil(o.directions.max(1)), 256, 5 * REDUCE) }
            }
            Op::LossGradient(o) => {
                let loops = if o.loss == Loss::CrossEntropy { 3 } else { 1 };
                let rounds = o.outputs.cols.div_ceil(o.threads()) as u64;
                Walk::once(loops * rounds + 2 * REDUCE)
            }
            Op::Sum(_) => Walk::once((Sum::BLOCK / 256) as u64 + REDUCE),
            Op::StepMetrics(o) => {
                let blocks = o.partials.map_or(0, |partials| plan.get(partials).shape[0]);
                Walk::once((len(o.row_loss).div_ceil(256) + 2 * blocks.div_ceil(256)) as u64 + 4 * REDUCE)
            }
            Op::ReduceGradients(o) => {
                let slices = plan.get(o.slices).shape[0] as u64;
                Walk::once((ReduceGradients::BLOCK / 256) as u64 * (3 + slices) + 3 * REDUCE)
            }
            Op::Transpose(_) => Walk::once(8),
            Op::Copy { .. }
            | Op::Zero { .. }
            | Op::InitialState(_)
            | Op::RemainingLengths(_)
            | Op::Dropout(_)
            | Op::Gather(_)
            | Op::PoolGradient(_)
            | Op::Update(_)
            | Op::UpdateLossScale(_) => Walk::NONE,
        }
    }

    /// Checks that every dispatch keeps to the bounds.
    pub(super) fn check_bounds(&self, plan: &Plan) -> Result<()> {
        let (asked, allowed) = (self.iterations(plan), plan.bounds().iterations);
        if asked <= allowed {
            return Ok(());
        }
        let what = format!("{} (iterations of an invocation)", self.describe(plan));
        Err(Error::Limit { what, limit: "the target's bounds", asked, allowed })
    }
}

/// A sum over K in chunks.
fn product(k: usize) -> Walk {
    Walk { length: k, stride: CHUNK, per_round: 2 + CHUNK as u64, around: 8, is_cut: true }
}

/// The longest of the slices that rows are cut into.
fn slice(plan: &Plan, slices: TensorId, rows: usize) -> usize {
    rows.div_ceil(plan.get(slices).shape[0].max(1))
}

fn count(shares: u64) -> usize {
    usize::try_from(shares).unwrap_or(usize::MAX)
}

impl Plan {
    /// Where each submission ends, counted in commands: the dispatches of every operation, and one where it is none. It
    /// ends before what would make it more than [`Bounds::submission`].
    pub(crate) fn submissions(&self) -> Vec<usize> {
        let most = self.bounds().submission;
        let (mut ends, mut at, mut done) = (Vec::new(), 0, Work::NONE);
        for stage in self.stages() {
            let commands = stage.op.dispatches(self).max(1);
            let each = stage.op.cost(self).work().share(commands);
            for _ in 0..commands {
                if done != Work::NONE && !done.and(each).fits(most) {
                    ends.push(at);
                    done = Work::NONE;
                }
                done = done.and(each);
                at += 1;
            }
        }
        ends.push(at);
        ends
    }
}

impl Recurrence {
    fn walk(&self, way: Way) -> Walk {
        let (per_round, around) = self.tile.iterations(self.schedule, way, self);
        let is_cut = self.schedule == RecurrenceMode::WholeSequence;
        Walk { length: if is_cut { self.steps } else { 1 }, stride: 1, per_round, around, is_cut }
    }
}

impl Tile {
    /// The iterations that an invocation makes a step, and before and after all of them.
    fn iterations(&self, schedule: RecurrenceMode, way: Way, r: &Recurrence) -> (u64, u64) {
        let [threads, sequences, units, split] =
            [self.threads, self.sequences, self.units, self.split].map(|n| u64::from(n.max(1)));
        let [hidden, gates, first] = [r.hidden, r.cell.gates(), r.cell.first_gates()].map(|n| n as u64);
        // A thread's part of a sum: four elements a round, each an iteration of a loop inside, and what is left by
        // ones. Loops over the gates of several units are not unrolled everywhere.
        let inside = match (units, way) {
            (1, _) => 0,
            (_, Way::Forward) => units * gates,
            (_, Way::Backward) => units,
        };
        let part = |length: u64| {
            let part = length.div_ceil(split);
            part * (1 + inside) + part / DEPTH + DEPTH
        };
        let products = |pass: &dyn Fn(u64) -> u64| match way {
            Way::Forward => r.cell.products() as u64 * pass(hidden),
            Way::Backward => pass(first * hidden) + if first < gates { pass((gates - first) * hidden) } else { 0 },
        };
        // What a unit is made of its sums: its gates are loaded, and each sum is added up.
        let unit = r.cell.products() as u64 * (1 + gates + gates * (1 + split));
        match schedule {
            RecurrenceMode::PerStep => {
                let units = (sequences * (threads / split) * units).div_ceil(threads);
                // A dispatch is of one product: the longer one.
                let longest = match way {
                    Way::Forward => part(hidden),
                    Way::Backward => part(first.max(gates - first) * hidden),
                };
                (longest + units * unit, 0)
            }
            RecurrenceMode::WholeSequence => {
                let passes = hidden.div_ceil((threads / split * units).max(1));
                let sums = products(&|length| passes * (1 + part(length)));
                let finished = (sequences * hidden).div_ceil(threads);
                let start = match way {
                    Way::Forward => finished,
                    Way::Backward => {
                        finished * (1 + gates) + passes * (1 + part(first * hidden)) + finished * (1 + split)
                    }
                };
                (1 + sums + finished * unit, start)
            }
        }
    }
}
