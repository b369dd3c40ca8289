//! What the lowest layer above the inputs reads: an embedding's rows, or numbers, and the columns behind them.
//!
//! The contract: without columns an embedding is a gather, and numbers are read where they lie.

use super::Builder;
use super::layer::{Below, Link, OpenLayer, Part, Segment, Site, Tape};
use crate::error::Result;
use crate::model::Embedding;
use crate::plan::{CopyView, Gather, Op, TensorId, View};

/// What the lowest layer reads: a row of a table for each token of the network's inputs, or their numbers, and the
/// columns behind them.
pub(super) struct InputRows {
    /// The table, its parameters' names and which layer it is; `None` of numbers.
    table: Option<(usize, String, Embedding)>,
    /// `[R, ·]`: the rows.
    rows: TensorId,
}

/// The same after a part.
struct InputRowsTape {
    table: Option<(usize, String, Embedding)>,
    rows: View,
    /// R, of the longest part.
    longest: usize,
}

impl InputRows {
    /// The tensors of an embedding, of at most so many rows at a time.
    pub(super) fn embedding(
        builder: &mut Builder<'_>,
        (layer, prefix): (usize, &str),
        spec: &Embedding,
        rows: usize,
    ) -> Result<Self> {
        let width = spec.width + builder.columns_width();
        let rows = builder.scratch(&format!("embedding_l{layer}"), &[rows, width], builder.storage_dtype)?;
        Ok(InputRows { table: Some((layer, prefix.to_owned(), *spec)), rows })
    }

    /// The tensors of numbers with columns, of at most so many rows at a time.
    pub(super) fn dense(builder: &mut Builder<'_>, features: usize, rows: usize) -> Result<Self> {
        let width = features + builder.columns_width();
        let rows = builder.scratch("x.columns", &[rows, width], builder.storage_dtype)?;
        Ok(InputRows { table: None, rows })
    }
}

/// An embedding whose rows nobody wants: the layer above makes what it makes of a row once for each token.
pub(super) struct TableOfTokens {
    /// What its parameters' names begin with.
    pub prefix: String,
}

impl OpenLayer for TableOfTokens {
    fn forward(&self, builder: &mut Builder<'_>, _: &Part, below: Below) -> Result<(View, Box<dyn Tape>)> {
        let Below::Tokens { ids, first } = below else { unreachable!("an embedding over another layer") };
        let table = builder.table(&format!("{}weight", self.prefix));
        Ok((table, Box::new(Below::Table { ids, first, table })))
    }
}

impl Tape for Below {
    fn gradient(&self, _: &mut Builder<'_>) -> Result<View> {
        unreachable!("the gradient of rows that there are not")
    }

    fn backward(&self, _: &mut Builder<'_>, _: Segment, _: Option<Link<'_>>) -> Result<()> {
        Ok(())
    }

    fn hands_on(&self) -> Option<Below> {
        Some(*self)
    }
}

impl OpenLayer for InputRows {
    fn forward(&self, builder: &mut Builder<'_>, part: &Part, below: Below) -> Result<(View, Box<dyn Tape>)> {
        let batch = builder.batch;
        let [longest, width] = [0, 1].map(|axis| builder.plan.get(self.rows).shape[axis]);
        let rows = View::new(self.rows, 0, part.steps * batch, width);
        let own = match (&self.table, below) {
            (Some((_, prefix, spec)), Below::Tokens { ids: tokens, first }) => {
                let (weight, draw) = (builder.table(&format!("{prefix}weight")), builder.draw(Site::Inputs));
                let out = rows.columns(0, spec.width);
                builder.push(Op::Gather(Gather { tokens, first, weight, by_rows: true, bias: None, draw, batch, out }));
                spec.width
            }
            (None, Below::Rows(x)) => {
                builder.push(Op::Copy(CopyView { from: x, to: rows.columns(0, x.cols) }));
                x.cols
            }
            _ => unreachable!("inputs of another kind"),
        };
        builder.fill_columns(part, rows, own);
        Ok((rows, Box::new(InputRowsTape { table: self.table.clone(), rows, longest })))
    }
}

impl Tape for InputRowsTape {
    fn gradient(&self, builder: &mut Builder<'_>) -> Result<View> {
        let name = match self.table {
            Some((layer, ..)) => format!("upstream_l{layer}"),
            None => "upstream_columns".to_owned(),
        };
        builder.upstream(&name, self.rows, self.longest)
    }

    fn backward(&self, builder: &mut Builder<'_>, segment: Segment, _: Option<Link<'_>>) -> Result<()> {
        let d = self.gradient(builder)?;
        let own = d.cols - builder.columns_width();
        if let Some((_, prefix, spec)) = &self.table {
            let weight = builder.weight(&format!("{prefix}weight")).offset;
            // Of a table that the read-out shares its gradient is there already.
            let adds = builder.config.tied;
            builder.table_gradient(None, d.columns(0, own), (weight, spec.padding, adds), segment)?;
        }
        builder.column_gradients(d, own, segment)
    }
}
