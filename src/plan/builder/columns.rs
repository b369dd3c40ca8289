//! Columns: what a network reads beside its inputs, a row of a table or numbers, behind the first numbers of a row.
//!
//! The contract: a row is filled where it lies, and its gradient is read there.

use super::layer::{Below, Link, OpenLayer, Part, Segment, Site, Tape};
use super::{Builder, ColumnTensors};
use crate::error::Result;
use crate::model::{Column, Embedding, InputKind};
use crate::plan::{CopyView, DropoutMask, Gather, GatherGradient, Lifetime, Op, TableGradient, TensorId, View};

/// A column of a window.
pub(super) struct ColumnPlan<'a> {
    column: &'a Column,
    pub tensors: ColumnTensors,
    /// `[T·B, ·]`: the numbers as they are read.
    dense: Option<View>,
}

impl<'a> Builder<'a> {
    /// The inputs of all columns.
    pub(super) fn open_columns(&mut self) -> Result<()> {
        for (at, column) in self.config.columns.iter().enumerate() {
            let (steps, batch, name) = (self.steps, self.batch, &column.name);
            let (input, dense) = match column.input {
                InputKind::Tokens(_) => (self.id(&format!("tokens.{name}"), &[steps, batch])?, None),
                InputKind::Dense(size) => {
                    let x = self.real(&format!("x.{name}"), &[steps, batch, size], Lifetime::Input)?;
                    let dense = self.drop_numbers(View::new(x, 0, self.rows, size), Site::Column(at))?;
                    (x, Some(dense))
                }
            };
            self.columns.push(ColumnPlan { column, tensors: ColumnTensors { input, rows_by_token: None }, dense });
        }
        Ok(())
    }

    /// How many numbers of a row are the columns'.
    pub(super) fn columns_width(&self) -> usize {
        self.config.columns.iter().map(Column::width).sum()
    }

    /// Puts what the columns say of a part behind the first `begin` numbers of its rows.
    fn fill_columns(&mut self, part: &Part, rows: View, mut begin: usize) {
        let (batch, first) = (self.batch, part.first * self.batch);
        for at in 0..self.columns.len() {
            let ColumnPlan { column, tensors, dense } = &self.columns[at];
            let (column, tokens, dense) = (*column, tensors.input, *dense);
            let out = rows.columns(begin, column.width());
            match dense {
                Some(x) => {
                    let from = View { offset: x.offset + first * x.cols, rows: rows.rows, ..x };
                    self.push(Op::Copy(CopyView { from, to: out }));
                }
                None => {
                    let (weight, draw) =
                        (self.weight(&format!("{}weight", column.prefix())), self.draw(Site::Column(at)));
                    self.push(Op::Gather(Gather {
                        tokens,
                        first,
                        weight,
                        by_rows: true,
                        bias: None,
                        draw,
                        batch,
                        out,
                    }));
                }
            }
            begin += column.width();
        }
    }

    /// The gradients of the columns' tables, from that of rows of which they are behind the first `begin` numbers.
    fn column_gradients(&mut self, d: View, mut begin: usize, segment: Segment) -> Result<()> {
        for at in 0..self.columns.len() {
            let column = self.columns[at].column;
            if let Some(Embedding { padding, .. }) = column.embedding {
                let weight = self.weight(&format!("{}weight", column.prefix())).offset;
                let d = d.columns(begin, column.width());
                let op = self.gather_gradient(Some(at), d, (weight, None), segment)?;
                let table = Some(TableGradient { adds: false, padding });
                self.push(Op::GatherGradient(GatherGradient { table, ..op }));
            }
            begin += column.width();
        }
        Ok(())
    }

    /// The rows of each token of a column, an input that a segment before may have made already.
    pub(super) fn rows_by_token_of(&mut self, at: usize) -> Result<(TensorId, TensorId)> {
        let ColumnPlan { column, tensors, .. } = &self.columns[at];
        if let Some(known) = tensors.rows_by_token {
            return Ok(known);
        }
        let (parts, name, size) = (self.steps.div_ceil(self.segment), &column.name, column.input.size());
        let order = self.id(&format!("order.{name}"), &[self.rows])?;
        let made = (order, self.id(&format!("starts.{name}"), &[parts, size + 1])?);
        self.columns[at].tensors.rows_by_token = Some(made);
        Ok(made)
    }

    /// Numbers as they are read: one mask for all steps.
    pub(super) fn drop_numbers(&mut self, x: View, site: Site) -> Result<View> {
        let Some(draw) = self.draw(site) else { return Ok(x) };
        let name = format!("{}.dropped", self.plan.get(x.tensor).name);
        let out = self.real(&name, &[self.steps, self.batch, x.cols], Lifetime::Transient)?;
        let out = View::new(out, 0, x.rows, x.cols);
        self.push(Op::Dropout(DropoutMask { input: Some(x), out, draw, first: 0, period: self.batch }));
        Ok(out)
    }
}

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

impl OpenLayer for InputRows {
    fn forward(&self, builder: &mut Builder<'_>, part: &Part, below: Below) -> Result<(View, Box<dyn Tape>)> {
        let batch = builder.batch;
        let [longest, width] = [0, 1].map(|axis| builder.plan.get(self.rows).shape[axis]);
        let rows = View::new(self.rows, 0, part.steps * batch, width);
        let own = match (&self.table, below) {
            (Some((_, prefix, spec)), Below::Tokens { ids: tokens, first }) => {
                let (weight, draw) = (builder.weight(&format!("{prefix}weight")), builder.draw(Site::Inputs));
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
            let op = builder.gather_gradient(None, d.columns(0, own), (weight, None), segment)?;
            // Of a table that the read-out shares its gradient is there already.
            let table = Some(TableGradient { adds: builder.config.tied, padding: spec.padding });
            builder.push(Op::GatherGradient(GatherGradient { table, ..op }));
        }
        builder.column_gradients(d, own, segment)
    }
}
