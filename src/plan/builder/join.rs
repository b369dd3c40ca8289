//! A layer whose two directions are made one.
//!
//! The contract: the layer inside is planned as it is where they stay side by side.

use super::Builder;
use super::layer::{Below, Link, OpenLayer, Part, Segment, Tape};
use crate::error::Result;
use crate::model::{Config, Join, Layer, Pool, Recurrent};
use crate::plan::{JoinDirections, JoinGradient, Op, TensorId, View};

/// A layer of a window and what its directions are made.
pub(super) struct JoinLayer {
    layer: usize,
    join: Join,
    inner: Box<dyn OpenLayer>,
    /// `[R, H]`.
    rows: TensorId,
}

/// The same after a part.
struct JoinTape {
    layer: usize,
    join: Join,
    inner: Box<dyn Tape>,
    /// `[R, 2·H]`: what was joined.
    sides: View,
    rows: View,
    /// R, of the longest part.
    longest: usize,
}

/// How the rows of a recurrent layer are joined, if they are, where so many layers are run: a pool right above that
/// takes each direction's last state takes the two apart.
pub(super) fn of_rows(config: &Config, layer: usize, spec: &Recurrent, depth: usize) -> Option<Join> {
    let is_pooled = of_pool(&config.layers[layer], config.layers[..depth].get(layer + 1)).is_some();
    Some(spec.join).filter(|join| *join != Join::Concat && !is_pooled)
}

/// How a pool of the last states right above a layer joins them, if it does.
pub(super) fn of_pool(layer: &Layer, above: Option<&Layer>) -> Option<Join> {
    match (layer, above) {
        (Layer::Recurrent(spec), Some(Layer::Pool(Pool::Last))) if layer.holds_state() => {
            Some(spec.join).filter(|join| *join != Join::Concat)
        }
        _ => None,
    }
}

impl JoinLayer {
    /// The tensors of what the directions of a layer are made, of at most so many rows at a time.
    pub(super) fn open(
        builder: &mut Builder<'_>,
        (layer, join): (usize, Join),
        inner: Box<dyn OpenLayer>,
        shape: [usize; 2],
    ) -> Result<Self> {
        let rows = builder.scratch(&format!("joined_l{layer}"), &shape, builder.storage_dtype)?;
        Ok(JoinLayer { layer, join, inner, rows })
    }
}

impl OpenLayer for JoinLayer {
    fn forward(&self, builder: &mut Builder<'_>, part: &Part, below: Below) -> Result<(View, Box<dyn Tape>)> {
        let (sides, inner) = self.inner.forward(builder, part, below)?;
        let longest = builder.plan.get(self.rows).shape[0];
        let rows = View::new(self.rows, 0, sides.rows, sides.cols / 2);
        builder.join(self.join, sides, rows);
        let JoinLayer { layer, join, .. } = *self;
        Ok((rows, Box::new(JoinTape { layer, join, inner, sides, rows, longest })))
    }
}

impl Tape for JoinTape {
    fn gradient(&self, builder: &mut Builder<'_>) -> Result<View> {
        builder.upstream(&format!("upstream_joined_l{}", self.layer), self.rows, self.longest)
    }

    fn backward(&self, builder: &mut Builder<'_>, segment: Segment, below: Option<Link<'_>>) -> Result<()> {
        let (d, out) = (self.gradient(builder)?, self.inner.gradient(builder)?);
        builder.join_gradient(self.join, d, self.sides, out);
        self.inner.backward(builder, segment, below)
    }
}

impl Builder<'_> {
    /// How heads read the rows of a layer that a pool has side by side.
    pub(super) fn join_of_heads(&self, layer: usize) -> Option<Join> {
        of_pool(&self.config.layers[layer], self.config.layers.get(layer + 1))
    }

    /// The rows of a layer as heads read them.
    pub(super) fn rows_of_heads(&mut self, layer: usize, rows: View) -> Result<View> {
        let Some(join) = self.join_of_heads(layer) else { return Ok(rows) };
        let joined = self.beside_pool("joined_head", rows.rows, rows.cols / 2)?;
        self.join(join, rows, joined);
        Ok(joined)
    }

    /// A tensor for what a head makes of rows that a pool has side by side.
    pub(super) fn beside_pool(&mut self, name: &str, rows: usize, cols: usize) -> Result<View> {
        let all = if self.is_training { self.segment } else { self.steps } * self.batch;
        let tensor = self.scratch(name, &[all, cols], self.storage_dtype)?;
        Ok(View::new(tensor, 0, rows, cols))
    }

    pub(super) fn join(&mut self, join: Join, rows: View, out: View) {
        self.push(Op::Join(JoinDirections { join, rows, out }));
    }

    /// From the gradient of what was joined to that of both sides, of which a product is read again.
    pub(super) fn join_gradient(&mut self, join: Join, d: View, sides: View, out: View) {
        let rows = Some(sides).filter(|_| join == Join::Product);
        self.push(Op::JoinGradient(JoinGradient { join, d, rows, out }));
    }
}
