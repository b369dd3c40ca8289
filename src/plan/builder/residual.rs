//! A layer whose rows have what it read added to them, as it is or through a linear map to their width.
//!
//! The contract: the layer inside is planned as it is without; its gradient and that of the way past it add up.

use super::Builder;
use super::layer::{Below, Link, OpenLayer, Part, Segment, Tape};
use crate::error::Result;
use crate::plan::{Accumulate, CopyView, DropoutMask, MatMul, Op, ProductTile, TensorId, View};

/// A layer of a window and the way past it.
pub(super) struct ResidualLayer {
    layer: usize,
    /// What the map is called, where there is one.
    weight: Option<String>,
    inner: Box<dyn OpenLayer>,
    /// `[R, N]`: both added up.
    rows: TensorId,
}

/// The same after a part.
struct ResidualTape {
    layer: usize,
    weight: Option<String>,
    inner: Box<dyn Tape>,
    below: Below,
    rows: View,
    /// R, of the longest part.
    longest: usize,
}

impl ResidualLayer {
    /// The tensors of a way past a layer of at most so many rows at a time, its map being called so if it has one.
    pub(super) fn open(
        builder: &mut Builder<'_>,
        (layer, weight): (usize, String),
        inner: Box<dyn OpenLayer>,
        shape: [usize; 2],
    ) -> Result<Self> {
        let rows = builder.scratch(&format!("residual_l{layer}"), &shape, builder.storage_dtype)?;
        let weight = builder.parameter(&weight).map(|_| weight);
        Ok(ResidualLayer { layer, weight, inner, rows })
    }
}

impl OpenLayer for ResidualLayer {
    fn forward(&self, builder: &mut Builder<'_>, part: &Part, below: Below) -> Result<(View, Box<dyn Tape>)> {
        let (own, inner) = self.inner.forward(builder, part, below)?;
        let (longest, out) = (builder.plan.get(self.rows).shape[0], View::new(self.rows, 0, own.rows, own.cols));
        match &self.weight {
            None => {
                builder.push(Op::Copy(CopyView { from: own, to: out }));
                builder.push(Op::Accumulate(Accumulate { x: out, y: below.rows() }));
            }
            Some(weight) => {
                let (a, b) = (below.rows(), builder.weight(weight));
                let tile = ProductTile::of(builder.target, [out.rows, out.cols]);
                builder.product(MatMul { a, transpose_a: false, b, transpose_b: true, bias: None, out, tile })?;
                builder.push(Op::Accumulate(Accumulate { x: out, y: own }));
            }
        }
        let ResidualLayer { layer, ref weight, .. } = *self;
        Ok((out, Box::new(ResidualTape { layer, weight: weight.clone(), inner, below, rows: out, longest })))
    }
}

impl Tape for ResidualTape {
    fn gradient(&self, builder: &mut Builder<'_>) -> Result<View> {
        builder.upstream(&format!("upstream_residual_l{}", self.layer), self.rows, self.longest)
    }

    fn backward(&self, builder: &mut Builder<'_>, segment: Segment, below: Option<Link<'_>>) -> Result<()> {
        let (d, own) = (self.gradient(builder)?, self.inner.gradient(builder)?);
        builder.push(Op::Copy(CopyView { from: d, to: own }));
        if let Some(weight) = &self.weight {
            // Before the layer inside, which may write over what was read.
            let offset = builder.weight(weight).offset;
            builder.weight_gradient(d, self.below, (offset, None), segment)?;
        }
        self.inner.backward(builder, segment, below)?;
        let Some(below) = below else { return Ok(()) };
        let d = match &self.weight {
            None => d,
            Some(weight) => {
                let through = builder.upstream("through_residual", below.rows, self.longest)?;
                builder.input_gradient(d, weight, through)?;
                through
            }
        };
        let x = below.tape.gradient(builder)?;
        let Some(draw) = below.draw else {
            builder.push(Op::Accumulate(Accumulate { x, y: d }));
            return Ok(());
        };
        // What was read gives way to its gradient: the layer inside is done with it.
        let (period, y) = (below.period, below.rows);
        let first = segment.first * builder.batch % period;
        builder.push(Op::Dropout(DropoutMask { input: Some(d), out: y, draw, first, period }));
        builder.push(Op::Accumulate(Accumulate { x, y }));
        Ok(())
    }
}
