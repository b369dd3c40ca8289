//! Tables that tokens have rows of: what a training is told of the tokens, and the gradient of all rows or of those
//! that occur.
//!
//! The contract: where a step updates the rows that occur alone, no tensor and no operation of the plan grows with a
//! table, but for parameters, moments and flags.

use super::layer::Segment;
use super::{Builder, TokenTensors, UpdatedTable};
use crate::error::Result;
use crate::model::{Layer, modules};
use crate::plan::{DType, GatherGradient, Lifetime, Op, TableGradient, TableRows, TensorId, View};

impl Builder<'_> {
    /// What a training is told of the network's tokens, inputs that a segment before may have made already.
    pub(super) fn rows_by_token(&mut self) -> Result<TokenTensors> {
        if let Some(known) = self.rows_by_token {
            return Ok(known);
        }
        let made = self.token_tensors("", self.config.input.size(), self.table_of_inputs())?;
        self.rows_by_token = Some(made);
        Ok(made)
    }

    /// What a training is told of tokens of V, whose tensors' names end so, and of which a table has rows.
    fn token_tensors(&mut self, suffix: &str, vocabulary: usize, table: Option<View>) -> Result<TokenTensors> {
        let order = self.id(&format!("order{suffix}"), &[self.rows])?;
        let updated = match (self.updated_rows, table) {
            (Some(most), Some(View { offset, cols: width, .. })) => {
                let len = most.min(vocabulary);
                let ids = self.id(&format!("table_rows{suffix}"), &[len])?;
                // Windows of other sizes than these have others.
                let name = format!("gradients_of_rows{suffix}_{len}");
                let gradients = self.real(&name, &[len, width], Lifetime::Shared)?;
                Some(UpdatedTable { rows: TableRows { ids, vocabulary, offset, width }, gradients })
            }
            _ => None,
        };
        let groups = updated.map_or(vocabulary, |table| self.plan.get(table.rows.ids).len());
        let parts = self.steps.div_ceil(self.segment);
        let starts = self.id(&format!("starts{suffix}"), &[parts, groups + 1])?;
        Ok(TokenTensors { order, starts, updated })
    }

    /// What a training is told of the tokens of a column, inputs that a segment before may have made already.
    pub(super) fn rows_by_token_of(&mut self, at: usize) -> Result<TokenTensors> {
        if let Some(known) = self.columns[at].tensors.rows_by_token {
            return Ok(known);
        }
        let column = &self.config.columns[at];
        let table = self.table(&format!("{}weight", column.prefix()));
        let made = self.token_tensors(&format!(".{}", column.name), column.input.size(), Some(table))?;
        self.columns[at].tensors.rows_by_token = Some(made);
        Ok(made)
    }

    /// A table, which is read by rows.
    pub(super) fn table(&self, name: &str) -> View {
        let table = self.weight(name);
        // As a whole it is not rounded where a step changes some rows alone.
        if self.updated_rows.is_some() { View { tensor: self.parameters, ..table } } else { table }
    }

    /// The table that the network's tokens have rows of, if they have.
    fn table_of_inputs(&self) -> Option<View> {
        let module = modules(self.config).into_iter().next()?;
        matches!(module.layer, Layer::Embedding(_)).then(|| self.table(&format!("{}weight", module.prefix)))
    }

    /// The gradient of a table, of the inputs or of a column, which starts there, from that of the rows that were read.
    pub(super) fn table_gradient(
        &mut self,
        column: Option<usize>,
        d: View,
        (weight, padding, adds): (usize, Option<usize>, bool),
        segment: Segment,
    ) -> Result<()> {
        let tokens = match column {
            None => self.rows_by_token()?,
            Some(at) => self.rows_by_token_of(at)?,
        };
        let (segment, weight, rows) = match tokens.updated {
            None => (segment, weight, None),
            Some(table) => (Segment { slices: self.slices_of_rows(&table)?, ..segment }, 0, Some(table.rows)),
        };
        let op = self.gather_gradient(column, d, (weight, None), segment)?;
        let table = Some(TableGradient { adds, padding: padding.filter(|_| rows.is_none()), rows });
        self.push(Op::GatherGradient(GatherGradient { table, ..op }));
        Ok(())
    }

    /// `[1, U·width]`: the gradient of rows of a table, of one segment.
    pub(super) fn slices_of_rows(&mut self, table: &UpdatedTable) -> Result<TensorId> {
        let name = format!("slices_of_{}", self.plan.get(table.rows.ids).name);
        let len = self.plan.get(table.gradients).len();
        self.scratch(&name, &[1, len], DType::F32)
    }

    /// The tables of which only some rows are updated.
    pub(super) fn updated_tables(&mut self) -> Result<Vec<UpdatedTable>> {
        let mut tables = Vec::new();
        if self.updated_rows.is_some() {
            if self.table_of_inputs().is_some() {
                tables.extend(self.rows_by_token()?.updated);
            }
            for at in 0..self.config.columns.len() {
                if self.config.columns[at].embedding.is_some() {
                    tables.extend(self.rows_by_token_of(at)?.updated);
                }
            }
        }
        Ok(tables)
    }
}
