//! A pool: one row for each sequence.
//!
//! The contract: it is filled part by part, and full after the last.

use std::cell::Cell;

use super::Builder;
use super::join;
use super::layer::{Done, Link, Part, Segment, Tape};
use crate::error::{Error, Result};
use crate::model::{Directions, Join, Layer, Pool};
use crate::plan::{DType, Lifetime, Op, Pool as PoolRows, PoolGradient, PoolKind, TensorId, View, ZeroTensor};

/// Numbers of steps are kept as f32, which holds all of them up to here.
const MAX_STEPS: usize = 1 << 24;

/// A pool of a window.
#[derive(Clone, Copy)]
pub(super) struct PoolLayer {
    /// `[B, N]` and how it is made, unless the rows are those of the last step as they stand.
    pooled: Option<(PoolKind, View)>,
    /// How both directions' last states are joined, if they are, and to what, `[B, H]`.
    joined: Option<(Join, View)>,
}

impl PoolLayer {
    /// A pool of the rows, so many wide, of the layer below it.
    pub(super) fn open(builder: &mut Builder<'_>, pool: Pool, below: &Layer, width: usize) -> Result<Self> {
        let kind = match (pool, below) {
            // A recurrence's rows hold the last state of a sequence that has ended.
            (Pool::Last, Layer::Recurrent(layer)) if below.holds_state() => match layer.directions {
                Directions::Forward => return Ok(PoolLayer { pooled: None, joined: None }),
                Directions::Bidirectional => PoolKind::Last,
                // Where it ends.
                Directions::Reverse => PoolKind::FirstRow,
            },
            (Pool::Last, _) => PoolKind::LastRow,
            (Pool::First, _) => PoolKind::FirstRow,
            (Pool::Mean, _) => PoolKind::Mean,
            (Pool::Max, _) if builder.steps > MAX_STEPS => {
                return Err(Error::Limit {
                    what: "the steps of a window with Pool::Max".to_owned(),
                    limit: "the steps that are told apart",
                    asked: builder.steps as u64,
                    allowed: MAX_STEPS as u64,
                });
            }
            (Pool::Max, _) => PoolKind::Max,
        };
        let (batch, join) = (builder.batch, join::of_pool(below, Some(&Layer::Pool(pool))));
        let sides = if join.is_some() { 2 * width } else { width };
        let pooled = builder.real("pooled", &[batch, sides], Lifetime::Transient)?;
        let joined = match join {
            None => None,
            Some(join) => {
                let joined = builder.real("pooled_joined", &[batch, width], Lifetime::Transient)?;
                Some((join, View::new(joined, 0, batch, width)))
            }
        };
        Ok(PoolLayer { pooled: Some((kind, View::new(pooled, 0, batch, sides))), joined })
    }

    /// `[B, N]`: what a mean lost to rounding so far, or which step a maximum is of.
    fn excess(builder: &mut Builder<'_>, pooled: View) -> Result<TensorId> {
        builder.scratch("pooled_excess", &[pooled.rows, pooled.cols], DType::F32)
    }

    /// Takes in a part.
    pub(super) fn forward(&self, builder: &mut Builder<'_>, part: &Part, top: &Done, lengths: TensorId) -> Result<()> {
        let Some((kind, out)) = self.pooled else { return Ok(()) };
        let (skipped, rows, directions) = (part.first, top.rows, top.tape.directions());
        let excess = Self::excess(builder, out)?;
        builder.push(Op::Pool(PoolRows { kind, directions, skipped, rows, lengths, out, excess }));
        if let Some((join, joined)) = self.joined {
            builder.join(join, out, joined);
        }
        Ok(())
    }

    /// `[B, N]`, after the last part.
    pub(super) fn rows(&self, builder: &Builder<'_>, top: &Done) -> View {
        match (self.joined, self.pooled) {
            (Some((_, joined)), _) => joined,
            (None, Some((_, pooled))) => pooled,
            (None, None) => last(builder, top.rows),
        }
    }

    /// The pool as what goes back to the layer below it.
    pub(super) fn tape<'a>(&'a self, top: &'a Done) -> PoolTape<'a> {
        PoolTape { pool: self, top, is_open: Cell::new(false) }
    }

    /// From the gradient of the rows, which was `made` before or now, to that of a segment's steps.
    pub(super) fn backward(&self, builder: &mut Builder<'_>, segment: Segment, top: &Done, made: bool) -> Result<()> {
        let Some((kind, mut d)) = self.pooled else {
            return if made { Ok(()) } else { zeros(builder, top).map(|_| ()) };
        };
        if let Some((join, joined)) = self.joined {
            // Beside what was pooled, which a product reads again.
            let out = builder.scratch("pooled_gradient", &[d.rows, d.cols], DType::F32)?;
            let out = View::new(out, 0, d.rows, d.cols);
            builder.join_gradient(join, joined, d, out);
            d = out;
        }
        let (rows, directions) = (top.tape.gradient(builder)?, top.tape.directions());
        let (skipped, lengths) = (segment.first, builder.lengths);
        let at = if kind == PoolKind::Max { Some(Self::excess(builder, d)?) } else { None };
        builder.push(Op::PoolGradient(PoolGradient { kind, directions, skipped, d, lengths, at, rows }));
        Ok(())
    }
}

/// A pool after the last part, for the layer above it.
pub(super) struct PoolTape<'a> {
    pool: &'a PoolLayer,
    top: &'a Done,
    /// Whether the steps' gradient was set to zero: once, as more than one may put theirs in.
    is_open: Cell<bool>,
}

impl Tape for PoolTape<'_> {
    fn gradient(&self, builder: &mut Builder<'_>) -> Result<View> {
        match self.pool.pooled {
            // What was read gives way to its gradient.
            Some(_) => Ok(self.pool.rows(builder, self.top)),
            None if self.is_open.replace(true) => self.top.tape.gradient(builder).map(|all| last(builder, all)),
            None => zeros(builder, self.top).map(|all| last(builder, all)),
        }
    }

    fn backward(&self, builder: &mut Builder<'_>, segment: Segment, _: Option<Link<'_>>) -> Result<()> {
        self.pool.backward(builder, segment, self.top, true)
    }
}

/// The rows of the last step.
fn last(builder: &Builder<'_>, all: View) -> View {
    View { offset: all.offset + all.len() - builder.batch * all.cols, rows: builder.batch, ..all }
}

/// The gradient of all steps, none of which has any yet.
fn zeros(builder: &mut Builder<'_>, top: &Done) -> Result<View> {
    let all = top.tape.gradient(builder)?;
    builder.push(Op::Zero(ZeroTensor { tensor: all.tensor }));
    Ok(all)
}
