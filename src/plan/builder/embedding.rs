//! An embedding: a row of a table for each token.

use super::Builder;
use super::layer::{Below, Link, OpenLayer, Part, Segment, Site, Tape};
use crate::error::Result;
use crate::model::Embedding;
use crate::plan::{Gather, GatherGradient, Op, TableGradient, TensorId, View};

/// An embedding of a window.
pub(super) struct EmbeddingLayer {
    layer: usize,
    prefix: String,
    spec: Embedding,
    /// `[R, N]`: the rows.
    rows: TensorId,
}

/// An embedding after a part.
struct EmbeddingTape {
    layer: usize,
    prefix: String,
    spec: Embedding,
    rows: View,
    /// R, of the longest part.
    longest: usize,
}

impl EmbeddingLayer {
    /// The tensors of a layer of at most so many rows at a time.
    pub(super) fn open(
        builder: &mut Builder<'_>,
        (layer, prefix): (usize, &str),
        spec: &Embedding,
        rows: usize,
    ) -> Result<Self> {
        let rows = builder.scratch(&format!("embedding_l{layer}"), &[rows, spec.width], builder.storage_dtype)?;
        Ok(EmbeddingLayer { layer, prefix: prefix.to_owned(), spec: *spec, rows })
    }
}

impl OpenLayer for EmbeddingLayer {
    fn forward(&self, builder: &mut Builder<'_>, part: &Part, below: Below) -> Result<(View, Box<dyn Tape>)> {
        let (batch, layer, spec) = (builder.batch, self.layer, self.spec);
        let longest = builder.plan.get(self.rows).shape[0];
        let out = View::new(self.rows, 0, part.steps * batch, spec.width);
        let Below::Tokens { ids: tokens, first } = below else { unreachable!("an embedding that reads no tokens") };
        let (weight, draw) = (builder.weight(&format!("{}weight", self.prefix)), builder.draw(Site::Inputs));
        builder.push(Op::Gather(Gather { tokens, first, weight, by_rows: true, bias: None, draw, batch, out }));
        Ok((out, Box::new(EmbeddingTape { layer, prefix: self.prefix.clone(), spec, rows: out, longest })))
    }
}

impl Tape for EmbeddingTape {
    fn gradient(&self, builder: &mut Builder<'_>) -> Result<View> {
        builder.upstream(&format!("upstream_l{}", self.layer), self.rows, self.longest)
    }

    fn backward(&self, builder: &mut Builder<'_>, segment: Segment, _: Option<Link<'_>>) -> Result<()> {
        let (d, weight) = (self.gradient(builder)?, builder.weight(&format!("{}weight", self.prefix)).offset);
        let op = builder.gather_gradient(d, (weight, None), segment)?;
        // Of a table that the read-out shares its gradient is there already.
        let table = Some(TableGradient { adds: builder.config.tied, padding: self.spec.padding });
        builder.push(Op::GatherGradient(GatherGradient { table, ..op }));
        Ok(())
    }
}
