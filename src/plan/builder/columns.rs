//! Columns: what a network reads beside its inputs, a row of a table or numbers, behind the first numbers of a row.
//!
//! The contract: a row is filled where it lies, and its gradient is read there.

use super::layer::{Part, Segment, Site};
use super::{Builder, ColumnTensors};
use crate::error::Result;
use crate::model::{Column, Embedding, InputKind};
use crate::plan::{CopyView, DropoutMask, Gather, Lifetime, Op, View};

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
    pub(super) fn fill_columns(&mut self, part: &Part, rows: View, mut begin: usize) {
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
                        (self.table(&format!("{}weight", column.prefix())), self.draw(Site::Column(at)));
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
    pub(super) fn column_gradients(&mut self, d: View, mut begin: usize, segment: Segment) -> Result<()> {
        for at in 0..self.columns.len() {
            let column = self.columns[at].column;
            if let Some(Embedding { padding, .. }) = column.embedding {
                let weight = self.weight(&format!("{}weight", column.prefix())).offset;
                let d = d.columns(begin, column.width());
                self.table_gradient(Some(at), d, (weight, padding, false), segment)?;
            }
            begin += column.width();
        }
        Ok(())
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
