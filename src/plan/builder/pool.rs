//! A pool: one row for each sequence.
//!
//! The contract: it is filled part by part, and full after the last.

use super::Builder;
use super::layer::{Done, Part, Segment};
use crate::error::Result;
use crate::model::Pool;
use crate::plan::{DType, Lifetime, Op, Pool as PoolRows, PoolGradient, PoolKind, TensorId, View, ZeroTensor};

/// A pool of a window.
#[derive(Clone, Copy)]
pub(super) struct PoolLayer {
    /// `[B, D·H]` and how they are made, unless they are rows of the history as they stand.
    pooled: Option<(PoolKind, View)>,
}

impl PoolLayer {
    pub(super) fn open(builder: &mut Builder<'_>, pool: Pool, width: usize) -> Result<Self> {
        let kind = match pool {
            Pool::Mean => PoolKind::Mean,
            Pool::Last if builder.config.is_causal() => return Ok(PoolLayer { pooled: None }),
            Pool::Last => PoolKind::Last,
        };
        let pooled = builder.real("pooled", &[builder.batch, width], Lifetime::Transient)?;
        Ok(PoolLayer { pooled: Some((kind, View::new(pooled, 0, builder.batch, width))) })
    }

    /// Takes in a part.
    pub(super) fn forward(&self, builder: &mut Builder<'_>, part: &Part, top: &Done, lengths: TensorId) -> Result<()> {
        let Some((kind, out)) = self.pooled else { return Ok(()) };
        let (steps, skipped) = (part.steps, part.first);
        let op = top.tape.recurrence();
        let (directions, history) = (op.directions, op.history);
        let excess = builder.scratch("pooled_excess", &[out.rows, out.cols], DType::F32)?;
        builder.push(Op::Pool(PoolRows { kind, directions, steps, skipped, history, lengths, out, excess }));
        Ok(())
    }

    /// `[B, D·H]`, after the last part.
    pub(super) fn rows(&self, builder: &Builder<'_>, top: &Done) -> View {
        match self.pooled {
            Some((_, pooled)) => pooled,
            None => {
                let (batch, width) = (builder.batch, top.rows.cols);
                View { offset: top.rows.offset + top.rows.len() - batch * width, rows: batch, ..top.rows }
            }
        }
    }

    /// Where whoever reads the rows puts their gradient, once nobody reads them any more.
    pub(super) fn gradient(&self, builder: &mut Builder<'_>, top: &Done) -> Result<View> {
        match self.pooled {
            // What was read gives way to its gradient.
            Some((_, pooled)) => Ok(pooled),
            None => {
                let all = self.zeros(builder, top)?;
                let (batch, width) = (builder.batch, all.cols);
                Ok(View { offset: all.offset + all.len() - batch * width, rows: batch, ..all })
            }
        }
    }

    /// The gradient of the steps that no row is made of, where rows are taken as they stand.
    fn zeros(&self, builder: &mut Builder<'_>, top: &Done) -> Result<View> {
        let all = top.tape.gradient(builder)?;
        builder.push(Op::Zero(ZeroTensor { tensor: all.tensor }));
        Ok(all)
    }

    /// From the gradient of the rows, which was `made` before or now, to that of a segment's steps.
    pub(super) fn backward(&self, builder: &mut Builder<'_>, segment: Segment, top: &Done, made: bool) -> Result<()> {
        let Some((kind, d)) = self.pooled else {
            return if made { Ok(()) } else { self.zeros(builder, top).map(|_| ()) };
        };
        let upstream = top.tape.gradient(builder)?.tensor;
        let (directions, steps) = (top.tape.recurrence().directions, top.tape.recurrence().steps);
        let (skipped, lengths) = (segment.first, builder.lengths);
        builder.push(Op::PoolGradient(PoolGradient { kind, directions, steps, skipped, d, lengths, upstream }));
        Ok(())
    }
}
