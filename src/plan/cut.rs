//! Into how many dispatches an operation is cut to stay within what one dispatch and one submission may do.
//!
//! The contract: no dispatch makes an invocation iterate, and none does more work, than [`Bounds`](super::Bounds) says,
//! whatever T, B, V and I are. A dispatch that takes up where another ended reads what that one wrote, and sums in the
//! same order: the results are those of one dispatch, bit for bit; but long sums, which carry what rounding takes from
//! them, are rounded once a part.

use super::walk::Walk;
use super::{BackwardRecurrence, LossKind, Op, Part, Phase, Plan, Recurrence, RecurrenceMode, Stage};
use crate::error::{Error, Result};

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

impl Op {
    /// How it is cut into dispatches on the plan's target.
    pub fn cut(&self, plan: &Plan) -> Cut {
        let bounds = plan.bounds();
        let once = Cut { length: 0, parts: 1, shares: 1 };
        if !self.operation().is_dispatch(plan) {
            return Cut { parts: 0, ..once };
        }
        let work = self.cost(plan).work();
        let recurrence = match self {
            Op::Forward(recurrence) => Some((recurrence, false)),
            Op::Backward(BackwardRecurrence { recurrence, to_start, .. }) => Some((recurrence, *to_start)),
            _ => None,
        };
        if let Some((op @ Recurrence { steps, schedule: RecurrenceMode::PerStep, .. }, to_start)) = recurrence {
            let parts = steps * op.dispatches() + usize::from(to_start);
            let shares = work.share(parts).shares(bounds.dispatch);
            return Cut { length: 1, parts, shares: count(shares) };
        }
        let walk = self.walk(plan);
        let mut length = walk.most(bounds.iterations).max(1);
        if recurrence.is_some() {
            // Fewer steps a dispatch rather than fewer workgroups: these are what works side by side.
            length = length.min(walk.length / count(work.shares(bounds.dispatch))).max(1);
        }
        let parts = walk.length.div_ceil(length).max(1);
        // Of a whole number of such parts; the last may be less.
        let shares = work.share(walk.length / length).shares(bounds.dispatch);
        Cut { length, parts, shares: count(shares) }
    }

    /// How many dispatches a GPU needs for it.
    pub fn dispatches(&self, plan: &Plan) -> usize {
        self.cut(plan).dispatches()
    }

    fn walk(&self, plan: &Plan) -> Walk {
        self.operation().walk(plan)
    }

    /// The most iterations that an invocation makes in any of its dispatches.
    pub fn iterations(&self, plan: &Plan) -> u64 {
        let cut = self.cut(plan);
        if cut.parts == 0 { 0 } else { self.walk(plan).iterations(cut.length.max(1)) }
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

fn count(shares: u64) -> usize {
    usize::try_from(shares).unwrap_or(usize::MAX)
}

impl Plan {
    /// Where each submission ends, counted in commands: the dispatches of every operation, and one where it is none. It
    /// ends before what would make it more than [`Bounds::submission`](super::Bounds), and where the caller's part
    /// begins.
    #[cfg(feature = "gpu")]
    pub(crate) fn submissions(&self) -> Vec<usize> {
        let most = self.bounds().submission;
        let begins = self.caller_begins();
        let (mut ends, mut at, mut done) = (Vec::new(), 0, super::Work::NONE);
        for (number, stage) in self.stages().iter().enumerate() {
            if begins == Some(number) {
                ends.push(at);
                done = super::Work::NONE;
            }
            let commands = stage.op.dispatches(self).max(1);
            let each = stage.op.cost(self).work().share(commands);
            for _ in 0..commands {
                if done != super::Work::NONE && !done.and(each).fits(most) {
                    ends.push(at);
                    done = super::Work::NONE;
                }
                done = done.and(each);
                at += 1;
            }
        }
        ends.push(at);
        ends
    }

    /// The first operation that needs what the caller makes of the outputs, where the plan has a loss of his.
    fn caller_begins(&self) -> Option<usize> {
        let is_his = |op: &Op| matches!(op, Op::LossGradient(op) if op.loss == LossKind::External);
        if !self.stages().iter().any(|stage| is_his(&stage.op)) {
            return None;
        }
        self.stages().iter().position(|stage| stage.phase == Phase::Loss)
    }

    /// The operations of a part.
    pub(crate) fn part(&self, part: Part) -> &[Stage] {
        match part {
            Part::All => self.stages(),
            Part::Forward => &self.stages()[..self.caller_begins().unwrap_or_default()],
            Part::Rest => &self.stages()[self.caller_begins().unwrap_or_default()..],
        }
    }

    /// Which of the submissions a part is.
    #[cfg(feature = "gpu")]
    pub(crate) fn submissions_of(&self, part: Part, submissions: &[usize]) -> std::ops::Range<usize> {
        let before = || {
            let stages = self.part(Part::Forward).iter();
            let commands = stages.map(|stage| stage.op.dispatches(self).max(1)).sum();
            submissions.partition_point(|end| *end <= commands)
        };
        match part {
            Part::All => 0..submissions.len(),
            Part::Forward => 0..before(),
            Part::Rest => before()..submissions.len(),
        }
    }
}
