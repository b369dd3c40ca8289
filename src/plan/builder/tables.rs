//! Tables that tokens have rows of: what a training is told of the tokens, and the gradient of all rows or of those
//! that occur.
//!
//! The contract: where a step updates the rows that occur alone, no tensor and no operation of the plan grows with a
//! table, but for parameters, moments, flags and, where it is asked for, the mean of the parameters.

use super::layer::{Segment, Site};
use super::{Builder, TokenTensors, UpdatedTable};
use crate::error::Result;
use crate::model::{Embedding, Layer, modules};
use crate::plan::{
    DType, GatherGradient, Lifetime, MatMul, Op, ProductTile, TableGradient, TableRows, TensorId, Transpose, View,
    WeightGradient,
};

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
        self.config.embedding_of_inputs()?;
        let module = modules(self.config).into_iter().next()?;
        Some(self.table(&format!("{}weight", module.prefix)))
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

    /// Whether the layer above an embedding of tokens makes what it makes of a row once for each token, and not for
    /// each of so many rows: that saves work, and nobody else wants the rows.
    pub(super) fn reads_by_token(&self, embedding: &Embedding, rows: usize) -> bool {
        let (config, tokens) = (self.config, self.config.input.size() as u64);
        let above = config.layers[..self.depth].get(1);
        let is_linear = above.is_some_and(|above| matches!(above, Layer::Recurrent(_) | Layer::Dense(_)));
        let is_read = above.is_some_and(Layer::is_residual)
            || !config.columns.is_empty()
            || config.heads.iter().any(|head| head.reads == 1);
        // The gradient of a table is one product then, of which a part is hard to leave out or to add to.
        let is_whole = embedding.padding.is_none() && !config.tied && self.updated_rows.is_none();
        if !is_linear || is_read || self.draw(Site::Inputs).is_some() || (self.is_training && !is_whole) {
            return false;
        }
        // Multiplications and additions of each number of an output: forwards, and backwards those of both gradients
        // and the sum by token.
        let (width, rows) = (embedding.width as u64, rows as u64);
        let products = if self.is_training { 6 * width } else { 2 * width };
        let by_row = rows.saturating_mul(products);
        let by_token = tokens.saturating_mul(products).saturating_add(if self.is_training { rows } else { 0 });
        2 * by_token <= by_row
    }

    /// `[V, N]`: what a layer of this weight `[N, ·]` makes of each row of a table, made once in a window.
    pub(super) fn product_of_table(&mut self, table: View, (weight, bias): (View, Option<View>)) -> Result<View> {
        let name = "product_of_table";
        let shape = [table.rows, weight.rows];
        if let Some(known) = self.plan.find(name) {
            return Ok(View::new(known, 0, shape[0], shape[1]));
        }
        let out = self.scratch(name, &shape, self.storage_dtype)?;
        let out = View::new(out, 0, shape[0], shape[1]);
        let tile = ProductTile::of(self.target, shape);
        self.product(MatMul { a: table, transpose_a: false, b: weight, transpose_b: true, bias, out, tile })?;
        Ok(out)
    }

    /// The gradients of a layer's weight and bias, which lie so, and of the table whose rows it reads, by way of the
    /// sum of `d` over the rows of each token.
    pub(super) fn gradient_by_token(
        &mut self,
        d: View,
        table: View,
        (weight, bias): (usize, Option<usize>),
        segment: Segment,
    ) -> Result<()> {
        let (tokens, outputs, width) = (table.rows, d.cols, table.cols);
        let sums = self.scratch("sums_by_token", &[1, tokens * outputs], DType::F32)?;
        let op = self.gather_gradient(None, d, (0, None), Segment { slices: sums, ..segment })?;
        let all = Some(TableGradient { adds: false, padding: None, rows: None });
        self.push(Op::GatherGradient(GatherGradient { table: all, ..op }));
        let sums = View::new(sums, 0, tokens, outputs);
        let slices = segment.slices;
        let tile = ProductTile::of(self.target, [outputs, width]);
        self.push(Op::WeightGradient(WeightGradient { d: sums, x: table, slices, weight, bias, tile }));
        let transposed = self.scratch("sums_by_token.transposed", &[outputs, tokens], DType::F32)?;
        let transposed = View::new(transposed, 0, outputs, tokens);
        self.push(Op::Transpose(Transpose { input: sums, out: transposed }));
        let x = View::new(self.rounded, weight, outputs, width);
        let tile = ProductTile::of(self.target, [tokens, width]);
        let gradient = WeightGradient { d: transposed, x, slices, weight: table.offset, bias: None, tile };
        self.push(Op::WeightGradient(gradient));
        Ok(())
    }
}
