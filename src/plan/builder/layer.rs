//! What a layer is to the plan: something that runs over parts of a window and goes back over them. The plan strings
//! layers together by these and knows none by its name.

use super::{Builder, TokenTensors};
use crate::error::Result;
use crate::plan::{
    CopyView, DropoutDraw, DropoutMask, Gather, GatherGradient, MatMul, Op, ProductTile, TensorId, View, WeightGradient,
};

/// A place of the network at which dropout draws.
#[derive(Clone, Copy)]
pub(super) enum Site {
    Inputs,
    /// A column beside the inputs.
    Column(usize),
    /// Between this recurrent layer and what reads it.
    Outputs(usize),
    Hidden(usize),
    /// U of this recurrent layer.
    Weights(usize),
    /// The zoneout of this recurrent layer's h, 0, or c, 1.
    Zoneout(usize, usize),
    /// A layer of its own, at this rate.
    Layer(usize, f64),
}

/// A part of the steps of a window: all of them, a chunk, or a segment.
pub(super) struct Part {
    /// The first step.
    pub first: usize,
    pub steps: usize,
    /// `[B]`: how many of the steps from the first on are valid.
    pub lengths: TensorId,
    /// The states that it starts from: the tensor, and where in it.
    pub state: (TensorId, usize),
    /// Whether it leaves its states there.
    pub leaves: bool,
}

/// The part of a window that is gone back over at once: all of it, unless gradients are checkpointed.
#[derive(Clone, Copy)]
pub(super) struct Segment {
    /// The first step.
    pub first: usize,
    /// Whether no segment comes after it.
    pub is_last: bool,
    pub slices: TensorId,
    /// [`StepParams`].
    pub step_params: TensorId,
}

/// What a layer reads of a part.
#[derive(Clone, Copy)]
pub(super) enum Below {
    /// Token ids, from this one of the window on.
    Tokens { ids: TensorId, first: usize },
    /// The same, each of which has a row of a table `[V, ·]`: what the layer makes of a row, it makes of it once.
    Table { ids: TensorId, first: usize, table: View },
    /// `[T·B, ·]`.
    Rows(View),
}

impl Below {
    /// The rows that a layer reads which a configuration lets stand over nothing else.
    pub fn rows(self) -> View {
        let Below::Rows(rows) = self else { unreachable!("a layer over tokens that reads rows") };
        rows
    }
}

/// What a layer reads that another has made: for its gradient's way back.
#[derive(Clone, Copy)]
pub(super) struct Link<'a> {
    /// Of the layer below.
    pub tape: &'a dyn Tape,
    /// What was read.
    pub rows: View,
    /// The dropout between the two, and after how many rows its mask begins again.
    pub draw: Option<DropoutDraw>,
    pub period: usize,
}

/// A layer whose tensors are there, ready to run over the parts of a window.
pub(super) trait OpenLayer {
    /// Runs it over a part: returns its rows `[T·B, ·]` and what goes back over them.
    fn forward(&self, builder: &mut Builder<'_>, part: &Part, below: Below) -> Result<(View, Box<dyn Tape>)>;
}

/// What a layer has left of a part, for the way back.
pub(super) trait Tape {
    /// Where whoever reads the layer's rows puts their gradient.
    fn gradient(&self, builder: &mut Builder<'_>) -> Result<View>;

    /// Goes back over a segment, from the gradient of the rows to those of the parameters and of what was read; without
    /// `below` nobody wants the latter.
    fn backward(&self, builder: &mut Builder<'_>, segment: Segment, below: Option<Link<'_>>) -> Result<()>;

    /// D of the recurrence that made the rows.
    fn directions(&self) -> usize {
        1
    }

    /// What the layer above reads in the place of rows, which there are none of then, nor of their gradient.
    fn hands_on(&self) -> Option<Below> {
        None
    }
}

/// A layer after a part.
pub(super) struct Done {
    pub rows: View,
    pub tape: Box<dyn Tape>,
    /// What the next layer reads of it, by way of the dropout between them.
    pub handed: View,
    pub draw: Option<DropoutDraw>,
}

impl Builder<'_> {
    /// The gradient of a layer's rows, of which the longest part has so many, in a tensor of that name.
    pub(super) fn upstream(&mut self, name: &str, rows: View, longest: usize) -> Result<View> {
        let upstream = self.scratch(name, &[longest, rows.cols], self.storage_dtype)?;
        Ok(View::new(upstream, 0, rows.rows, rows.cols))
    }

    /// `out = x·weightᵀ + bias` of what a layer reads.
    pub(super) fn linear(&mut self, below: Below, (weight, bias): (&str, &str), out: View) -> Result<()> {
        let (weight, bias) = (self.weight(weight), self.parameter(bias));
        let (tokens, first, weight, by_rows, bias, draw) = match below {
            Below::Rows(a) => {
                let tile = ProductTile::of(self.target, [out.rows, out.cols]);
                return self.product(MatMul { a, transpose_a: false, b: weight, transpose_b: true, bias, out, tile });
            }
            Below::Tokens { ids, first } => (ids, first, weight, false, bias, self.draw(Site::Inputs)),
            // With the bias in it, so that a number is the same to the last bit as without a product of the table.
            Below::Table { ids, first, table } => {
                (ids, first, self.product_of_table(table, (weight, bias))?, true, None, None)
            }
        };
        self.push(Op::Gather(Gather { tokens, first, weight, by_rows, bias, draw, batch: self.batch, out }));
        Ok(())
    }

    /// `out = d·weight`: the gradient of what a product with `weight` read.
    pub(super) fn input_gradient(&mut self, d: View, weight: &str, out: View) -> Result<()> {
        let b = self.weight(weight);
        let tile = ProductTile::of(self.target, [out.rows, out.cols]);
        self.product(MatMul { a: d, transpose_a: false, b, transpose_b: false, bias: None, out, tile })
    }

    /// The gradients of a weight and its bias, which lie so, from that of what a layer made of what it has read.
    pub(super) fn weight_gradient(
        &mut self,
        d: View,
        below: Below,
        (weight, bias): (usize, Option<usize>),
        segment: Segment,
    ) -> Result<()> {
        match below {
            Below::Rows(x) => {
                let (tile, slices) = (ProductTile::of(self.target, [d.cols, x.cols]), segment.slices);
                self.push(Op::WeightGradient(WeightGradient { d, x, slices, weight, bias, tile }));
            }
            Below::Tokens { .. } => {
                let op = self.gather_gradient(None, d, (weight, bias), segment)?;
                self.push(Op::GatherGradient(op));
            }
            Below::Table { table, .. } => self.gradient_by_token(d, table, (weight, bias), segment)?,
        }
        Ok(())
    }

    /// The gradient of columns of a weight by token, of the inputs or of one of the columns beside them, and of its
    /// bias.
    pub(super) fn gather_gradient(
        &mut self,
        column: Option<usize>,
        d: View,
        (weight, bias): (usize, Option<usize>),
        Segment { first, slices, .. }: Segment,
    ) -> Result<GatherGradient> {
        let TokenTensors { order, starts, .. } = match column {
            None => self.rows_by_token()?,
            Some(at) => self.rows_by_token_of(at)?,
        };
        let (draw, batch, part) =
            (self.draw(column.map_or(Site::Inputs, Site::Column)), self.batch, first / self.segment);
        Ok(GatherGradient { d, order, starts, part, slices, weight, table: None, bias, draw, batch })
    }

    /// The gradient of what a layer has read, by way of the dropout on the way to it, to the layer that made it: of the
    /// steps from `first` on.
    pub(super) fn pass_down(&mut self, d: View, weight: &str, below: Link<'_>, first: usize) -> Result<()> {
        let out = below.tape.gradient(self)?;
        let Some(draw) = below.draw else { return self.input_gradient(d, weight, out) };
        // What the layer has read gives way to its gradient.
        self.input_gradient(d, weight, below.rows)?;
        let (first, period) = (first * self.batch % below.period, below.period);
        self.push(Op::Dropout(DropoutMask { input: Some(below.rows), out, draw, first, period }));
        Ok(())
    }

    /// A gradient that is there to the layer that made what was read, by way of the dropout between them.
    pub(super) fn hand_down(&mut self, d: View, below: Link<'_>, first: usize) -> Result<()> {
        let out = below.tape.gradient(self)?;
        match below.draw {
            None => self.push(Op::Copy(CopyView { from: d, to: out })),
            Some(draw) => {
                let (first, period) = (first * self.batch % below.period, below.period);
                self.push(Op::Dropout(DropoutMask { input: Some(d), out, draw, first, period }));
            }
        }
        Ok(())
    }
}
