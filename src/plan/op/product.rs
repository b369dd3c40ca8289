//! Products of whole windows: with W and V, and the gradients of both.

use super::dropout::DropoutDraw;
use super::{Operand, Operation, columns, rows};
use crate::plan::walk::Walk;
use crate::plan::{Plan, ProductTile, TensorId, View};

/// `out[j, i] = input[i, j]`.
#[derive(Clone, Debug)]
pub struct Transpose {
    /// `[M, N]`.
    pub input: View,
    /// `[N, M]`, written.
    pub out: View,
}

impl Operation for Transpose {
    fn name(&self) -> String {
        "transpose".to_owned()
    }

    fn operands(&self, _: &Plan) -> Vec<Operand> {
        vec![Operand::write(&self.out), Operand::read(&self.input)]
    }

    fn walk(&self, _: &Plan) -> Walk {
        Walk::once(8)
    }
}

/// `out = op(a)·op(b) + bias`, op a transposition or nothing.
#[derive(Clone, Debug)]
pub struct MatMul {
    /// `[M, K]`, or `[K, M]` if transposed.
    pub a: View,
    /// Whether `a` is transposed.
    pub transpose_a: bool,
    /// `[K, N]`, or `[N, K]` if transposed.
    pub b: View,
    /// Whether `b` is transposed.
    pub transpose_b: bool,
    /// `[1, N]`, added to every row.
    pub bias: Option<View>,
    /// `[M, N]`, written.
    pub out: View,
    /// What a workgroup makes of it.
    pub tile: ProductTile,
}

impl MatMul {
    /// K.
    fn sum(&self) -> usize {
        if self.transpose_a { self.a.rows } else { self.a.cols }
    }

    /// Whether [`ProductTile::Lanes`] can make it.
    pub(crate) fn suits_lanes(&self) -> bool {
        let views = [self.a, self.b, self.out].into_iter().chain(self.bias);
        self.sum() <= ProductTile::LONG && views.into_iter().all(|view| is_of_fours(&view))
    }
}

impl Operation for MatMul {
    fn name(&self) -> String {
        "matmul".to_owned()
    }

    fn operands(&self, _: &Plan) -> Vec<Operand> {
        let operands = [Operand::write(&self.out), Operand::read(&self.a), Operand::read(&self.b)].into_iter();
        operands.chain(self.bias.iter().map(Operand::read)).collect()
    }

    fn flops(&self, _: &Plan) -> u64 {
        2 * self.out.len() as u64 * self.sum() as u64
    }

    fn walk(&self, _: &Plan) -> Walk {
        product(self.sum())
    }

    fn note(&self) -> String {
        match (self.transpose_a, self.transpose_b) {
            (false, false) => String::new(),
            (true, false) => ", the first transposed".to_owned(),
            (false, true) => ", the second transposed".to_owned(),
            (true, true) => ", both transposed".to_owned(),
        }
    }
}

/// `weight = dᵀ·x` and `bias = Σ_r d[r]`, the rows cut into slices, one result a slice.
#[derive(Clone, Debug)]
pub struct WeightGradient {
    /// `[R, M]`: the gradient of the layer's output.
    pub d: View,
    /// `[R, N]`: the layer's input.
    pub x: View,
    /// `[S, flat]`, written at `weight` and `bias` of every slice.
    pub slices: TensorId,
    /// Where `[M, N]` starts in a slice.
    pub weight: usize,
    /// Where `[M]` starts in a slice, if there is a bias.
    pub bias: Option<usize>,
    /// What a workgroup makes of a slice.
    pub tile: ProductTile,
}

impl WeightGradient {
    /// Whether [`ProductTile::Lanes`] can make it.
    pub(crate) fn suits_lanes(&self, plan: &Plan) -> bool {
        let places = [self.weight, self.bias.unwrap_or(0), plan.get(self.slices).shape[1..].iter().product()];
        let is_short = slice(plan, self.slices, self.d.rows) <= ProductTile::LONG;
        is_short && is_of_fours(&self.d) && is_of_fours(&self.x) && places.iter().all(|at| at % 4 == 0)
    }
}

/// Whether the rows of a matrix are vectors of four, each at its place among the vectors of the tensor.
fn is_of_fours(view: &View) -> bool {
    !view.is_empty() && [view.offset, view.cols, view.stride].iter().all(|n| n % 4 == 0)
}

impl Operation for WeightGradient {
    fn name(&self) -> String {
        "weight gradient".to_owned()
    }

    fn operands(&self, plan: &Plan) -> Vec<Operand> {
        let (m, n) = (self.d.cols as u64, self.x.cols as u64);
        let bias = if self.bias.is_some() { m } else { 0 };
        let written = Operand::write((self.slices, rows(plan, self.slices) * (m * n + bias)));
        vec![written, Operand::read(&self.d), Operand::read(&self.x)]
    }

    fn flops(&self, _: &Plan) -> u64 {
        let (m, n) = (self.d.cols as u64, self.x.cols as u64);
        self.d.rows as u64 * (2 * m * n + if self.bias.is_some() { m } else { 0 })
    }

    fn walk(&self, plan: &Plan) -> Walk {
        product(slice(plan, self.slices, self.d.rows))
    }

    fn note(&self) -> String {
        format!(" at {}", self.weight)
    }
}

/// `out[r, j] = weight[j, tokens[r]]·m(b, tokens[r]) + bias[j]`: W·x + b for one-hot x.
#[derive(Clone, Debug)]
pub struct Gather {
    /// `[R]` ids below I.
    pub tokens: TensorId,
    /// Of which row of the tokens the first is.
    pub first: usize,
    /// `[N, I]`, or `[I, N]`.
    pub weight: View,
    /// Whether a token's weights are a row of it.
    pub by_rows: bool,
    /// `[1, N]`.
    pub bias: Option<View>,
    /// m, by b·I + token; without it m is 1. A token that is dropped is so at every step of the sequence (Gal &
    /// Ghahramani 2016).
    pub draw: Option<DropoutDraw>,
    /// B; row r is of sequence b = r mod B.
    pub batch: usize,
    /// `[R, N]`, written.
    pub out: View,
}

impl Operation for Gather {
    fn name(&self) -> String {
        "gather".to_owned()
    }

    fn operands(&self, _: &Plan) -> Vec<Operand> {
        let (r, n) = (self.out.rows as u64, self.out.cols as u64);
        // Of W no more columns than there are rows to gather.
        let tokens = if self.by_rows { self.weight.rows } else { self.weight.cols };
        let weight = Operand::read(&self.weight).of((tokens as u64).min(r) * n);
        let operands = [Operand::write(&self.out), Operand::read((self.tokens, r)), weight].into_iter();
        operands.chain(self.bias.iter().map(Operand::read)).chain(self.draw.map(|draw| draw.operand())).collect()
    }

    fn flops(&self, _: &Plan) -> u64 {
        (u64::from(self.bias.is_some()) + u64::from(self.draw.is_some())) * self.out.len() as u64
    }
}

/// `weight[j, v] = Σ d[r, j]·m(b, v)` over the rows r whose token is v, and `bias = Σ_r d[r]`; cut into slices.
///
/// The host sorts the rows by token: those of v are `order[starts[part, v]..starts[part, v + 1]]`.
#[derive(Clone, Debug)]
pub struct GatherGradient {
    /// `[R, M]`: the gradient of the gathered rows.
    pub d: View,
    /// Row numbers, counted within each part of the window, part by part, in these by token and then by position.
    pub order: TensorId,
    /// `[parts, I + 1]`; of a table of which only some rows are wanted, `[parts, U + 1]`.
    pub starts: TensorId,
    /// Which part of the window these rows are.
    pub part: usize,
    /// `[S, flat]`, written at `weight` and `bias` of every slice.
    pub slices: TensorId,
    /// Where `[M, I]`, or `[I, M]`, starts in a slice.
    pub weight: usize,
    /// Where a token's gradient is a row of the weight, without a bias, and not a column.
    pub table: Option<TableGradient>,
    /// Where `[M]` starts in a slice, if there is a bias.
    pub bias: Option<usize>,
    /// m, as in [`Gather`].
    pub draw: Option<DropoutDraw>,
    /// B.
    pub batch: usize,
}

/// What a gradient of a table with a row for each token has beside that of W.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableGradient {
    /// Whether it is added to what is there.
    pub adds: bool,
    /// A token whose gradient is zero.
    pub padding: Option<usize>,
    /// Which rows are wanted, if not all: the v of `starts` counts these.
    pub rows: Option<TableRows>,
}

/// Rows of a table of the flat buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableRows {
    /// `[U]`: which they are, ascending; where there are fewer than U, the rest is V or more and stands for none.
    pub ids: TensorId,
    /// V.
    pub vocabulary: usize,
    /// Where the table starts in the flat buffers.
    pub offset: usize,
    /// The width of a row.
    pub width: usize,
}

impl TableRows {
    /// As an operand.
    pub(super) fn operand(&self, plan: &Plan) -> Operand {
        Operand::read((plan, self.ids))
    }
}

impl Operation for GatherGradient {
    fn name(&self) -> String {
        "gather gradient".to_owned()
    }

    fn operands(&self, plan: &Plan) -> Vec<Operand> {
        let (r, m) = (self.d.rows as u64, self.d.cols as u64);
        let vocabulary = columns(plan, self.starts).saturating_sub(1);
        let bias = if self.bias.is_some() { m } else { 0 };
        let operands = [
            if self.table.is_some_and(|table| table.adds) {
                Operand::update((self.slices, rows(plan, self.slices) * m * vocabulary))
            } else {
                Operand::write((self.slices, rows(plan, self.slices) * (m * vocabulary + bias)))
            },
            Operand::read(&self.d),
            Operand::read((self.order, r)),
            Operand::read((self.starts, vocabulary + 1)),
        ];
        let rows = self.table.and_then(|table| table.rows).map(|rows| rows.operand(plan));
        operands.into_iter().chain(self.draw.map(|draw| draw.operand())).chain(rows).collect()
    }

    fn flops(&self, _: &Plan) -> u64 {
        let (r, m) = (self.d.rows as u64, self.d.cols as u64);
        r * (m + if self.bias.is_some() { m } else { 0 }) + if self.draw.is_some() { r * m } else { 0 }
    }

    fn walk(&self, plan: &Plan) -> Walk {
        // Of one token all rows may be; 8 groups of threads take 4 rows each.
        Walk::sum(slice(plan, self.slices, self.d.rows), 32, 5)
    }

    fn note(&self) -> String {
        format!(" at {}", self.weight)
    }
}

/// Elements of K that a workgroup of `matmul.wgsl` takes at a time.
const CHUNK: usize = 16;

/// A sum over K in chunks.
fn product(k: usize) -> Walk {
    Walk { per_round: 2 + CHUNK as u64, ..Walk::sum(k, CHUNK, 8) }
}

/// The longest of the slices that rows are cut into.
fn slice(plan: &Plan, slices: TensorId, rows: usize) -> usize {
    rows.div_ceil(plan.get(slices).shape[0].max(1))
}
