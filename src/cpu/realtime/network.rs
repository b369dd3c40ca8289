//! A compiled network and its voices: what is done with a row, one stage after the other.
//!
//! The contract: a step of a voice allocates nothing, and what it does depends on the network and not on what is read.

use pulp::{Arch, Simd, WithSimd};

use super::product::{Aligned, Place, Product, Source};
use super::row::{Normalization, ReadOut, Table};
use super::units::{Candidate, Cifg, Gru, Lstm, PeepholeLstm, Plain, ResetGates, TINY};
use crate::cpu::activation;
use crate::model::{Activation, State};

/// A network for one sequence, which voices share.
#[derive(Debug)]
pub(crate) struct Network {
    pub(super) arch: Arch,
    pub(super) stages: Vec<Stage>,
    /// The number of tokens, of a network that reads tokens.
    pub(super) tokens: Option<usize>,
    /// I, or 1.
    pub(super) inputs: usize,
    /// O.
    pub(super) outputs: usize,
}

/// What is done with a row.
#[derive(Debug)]
pub(super) struct Stage {
    pub op: Op,
    /// Which row: that of the stage before, or one farther back.
    pub back: Back,
    /// How many of its numbers: those that a model's layer reads, or of a token the one that stands for it.
    pub reads: usize,
    /// The width of the row that it makes.
    pub width: usize,
    /// The layer of the network, where it has a state.
    pub layer: usize,
}

#[derive(Debug)]
pub(super) enum Op {
    /// A row of a table for a token.
    Gather(Table),
    Recurrent {
        cell: Kind,
        first: Product,
        second: Option<Box<Product>>,
        projection: Option<Box<Product>>,
    },
    Dense {
        product: Product,
        activation: Activation,
    },
    ReadOut(ReadOut),
    Normalize(Normalization),
    /// What another stage made is added to what is read.
    Add(Back),
}

/// A row, counted back from a stage: what a layer reads, and what goes past it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Back {
    Last,
    LastButOne,
}

/// The cells, by their functions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Elman,
    Lstm,
    PeepholeLstm,
    Cifg,
    Gru,
    GruBefore,
}

/// The state of one sequence, and the rows of a step.
#[derive(Clone, Debug)]
pub(crate) struct Voice {
    input: Aligned,
    stages: Vec<Rows>,
    /// Steps until what has faded away is taken for 0.
    until_settled: u32,
}

/// So many steps a state may lie among subnormal numbers, which it passes through in fewer if it fades fast.
const SETTLED_EVERY: u32 = 16;

/// What a stage keeps.
#[derive(Clone, Debug)]
struct Rows {
    /// What it made last: of a recurrent one h.
    out: Aligned,
    /// h of the step before that, whose place the next one takes.
    before: Aligned,
    /// c; between two products z.
    c: Aligned,
    /// What a second product or a projection is over.
    made: Aligned,
}

/// What a voice reads.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Read<'a> {
    /// `[n, I]`.
    Numbers(&'a [f32]),
    /// `[n]`.
    Tokens(&'a [u32]),
}

impl Network {
    /// I, or `None` of a network that reads tokens.
    pub fn features(&self) -> Option<usize> {
        if self.tokens.is_none() { Some(self.inputs) } else { None }
    }

    /// The number of tokens, of a network that reads tokens.
    pub fn tokens(&self) -> Option<usize> {
        self.tokens
    }

    /// O.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Bytes of the weights as a step reads them.
    pub fn bytes(&self) -> usize {
        self.stages.iter().map(|stage| stage.op.bytes()).sum()
    }

    /// A voice in a state.
    pub fn voice(&self, state: &State) -> Voice {
        let row = Aligned::zeros;
        let stages = self.stages.iter().map(|stage| {
            let none = || row(0);
            let mut rows = Rows { out: row(stage.width), before: none(), c: none(), made: none() };
            if let Op::Recurrent { cell, projection, .. } = &stage.op {
                rows.before = row(stage.width);
                let hidden = projection.as_ref().map_or(stage.width, |projection| projection.inputs);
                if !matches!(cell, Kind::Elman | Kind::Gru) {
                    rows.c = row(hidden);
                }
                if projection.is_some() || *cell == Kind::GruBefore {
                    rows.made = row(hidden);
                }
            }
            rows
        });
        let mut voice = Voice { input: row(self.inputs), stages: stages.collect(), until_settled: 0 };
        if self.tokens.is_some() {
            // A token is a column of the weights, once.
            voice.input.get_mut()[0] = 1.0;
        }
        self.set_state(&mut voice, state);
        voice
    }

    /// Sets the state of a voice; it allocates nothing.
    pub fn set_state(&self, voice: &mut Voice, state: &State) {
        voice.until_settled = SETTLED_EVERY;
        for (stage, rows) in self.stages.iter().zip(&mut voice.stages) {
            if !matches!(stage.op, Op::Recurrent { .. }) {
                continue;
            }
            let of_state = [(state.h(stage.layer), rows.out.get_mut()), (state.c(stage.layer), rows.c.get_mut())];
            for (from, to) in of_state {
                to.iter_mut().zip(from.unwrap_or_default()).for_each(|(to, from)| *to = *from);
            }
        }
    }

    /// The state of a voice, in the order of [`State::new`].
    pub fn state(&self, voice: &Voice) -> Vec<f32> {
        let mut values = Vec::new();
        let mut put = |from: &[f32]| values.extend_from_slice(from);
        let layers = || self.stages.iter().zip(&voice.stages);
        for (stage, rows) in layers().filter(|(stage, _)| matches!(stage.op, Op::Recurrent { .. })) {
            put(&rows.out.get()[..stage.width]);
        }
        for (stage, rows) in layers() {
            if let Op::Recurrent { cell: Kind::Lstm | Kind::PeepholeLstm | Kind::Cifg, projection, .. } = &stage.op {
                let hidden = projection.as_ref().map_or(stage.width, |projection| projection.inputs);
                put(&rows.c.get()[..hidden]);
            }
        }
        values
    }

    /// Reads as many steps as there are rows of outputs, `[n, O]`. Inputs have that many rows, and tokens are below
    /// [`Network::tokens`]: the caller has seen to that.
    #[inline]
    pub fn run(&self, voice: &mut Voice, read: Read<'_>, outputs: &mut [f32]) {
        self.arch.dispatch(Run { network: self, voice, read, outputs });
    }
}

struct Run<'a> {
    network: &'a Network,
    voice: &'a mut Voice,
    read: Read<'a>,
    outputs: &'a mut [f32],
}

impl WithSimd for Run<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Run { network, voice, read, outputs } = self;
        // No chunks: to count them is a division, and most calls read one step.
        let (mut outputs, mut read) = (outputs, read);
        while let Some((y, rest)) = std::mem::take(&mut outputs).split_at_mut_checked(network.outputs) {
            outputs = rest;
            let first = match &mut read {
                Read::Numbers(numbers) => {
                    let Some((x, rest)) = numbers.split_at_checked(network.inputs) else { return };
                    *numbers = rest;
                    for (out, x) in voice.input.get_mut().iter_mut().zip(x) {
                        *out = if x.abs() < TINY { 0.0 } else { *x };
                    }
                    0
                }
                Read::Tokens(tokens) => {
                    let Some((token, rest)) = tokens.split_first() else { return };
                    *tokens = rest;
                    *token as usize
                }
            };
            network.step(simd, voice, first, y);
        }
    }
}

impl Network {
    /// One step; what the lowest layer reads begins at this column of its weights.
    #[inline(always)]
    fn step<S: Simd>(&self, simd: S, voice: &mut Voice, first: usize, y: &mut [f32]) {
        let Voice { input, stages, until_settled } = voice;
        let (mut rest, mut first) = (&mut stages[..], first);
        let mut rows: [&[f32]; 2] = [&[], input.get()];
        for stage in &self.stages {
            let Some((own, others)) = rest.split_first_mut() else { return };
            let row = stage.back.of(&rows);
            let x = row.get(..stage.reads).unwrap_or(row);
            match &stage.op {
                Op::Gather(table) => table.step(first, stage.width, own.out.get_mut()),
                Op::Recurrent { cell, first: product, second, projection } => {
                    std::mem::swap(&mut own.out, &mut own.before);
                    own.step(simd, *cell, Source { first, x }, product, second.as_deref(), projection.as_deref());
                }
                Op::Dense { product, activation } => {
                    let place = Place { operand: &[], before: &[], c: &mut [], h: own.out.get_mut() };
                    product.step::<S, Plain, 1, 1, 1>(simd, Source { first, x }, place);
                    if let Some((out, behind)) = own.out.get_mut().split_at_mut_checked(stage.width) {
                        activation::apply_without_vectors(*activation, out);
                        // Of σ they are ½ each.
                        behind.fill(0.0);
                    }
                }
                Op::ReadOut(read_out) => read_out.step(simd, row, own.out.get_mut()),
                Op::Normalize(normalization) => normalization.step(simd, row, own.out.get_mut()),
                Op::Add(other) => {
                    let both = row.iter().zip(other.of(&rows));
                    own.out.get_mut().iter_mut().zip(both).for_each(|(out, (x, y))| *out = x + y);
                }
            }
            // What is read next is a row and no token.
            first = 0;
            rows = [rows[1], own.out.get()];
            rest = others;
        }
        y.iter_mut().zip(rows[1]).for_each(|(y, out)| *y = *out);
        *until_settled = until_settled.saturating_sub(1);
        if *until_settled == 0 {
            *until_settled = SETTLED_EVERY;
            for (stage, rows) in self.stages.iter().zip(stages) {
                if matches!(stage.op, Op::Recurrent { .. }) {
                    rows.settle();
                }
            }
        }
    }
}

impl Back {
    /// That of the last two.
    #[inline(always)]
    fn of<'a>(self, rows: &[&'a [f32]; 2]) -> &'a [f32] {
        match self {
            Back::Last => rows[1],
            Back::LastButOne => rows[0],
        }
    }
}

impl Rows {
    /// Takes states so close to 0 that products of them are subnormal for 0.
    fn settle(&mut self) {
        for state in [&mut self.out, &mut self.c] {
            state.get_mut().iter_mut().for_each(|x| *x = if x.abs() < TINY { 0.0 } else { *x });
        }
    }

    /// One step of a recurrent layer.
    #[inline(always)]
    fn step<S: Simd>(
        &mut self,
        simd: S,
        cell: Kind,
        source: Source<'_>,
        product: &Product,
        second: Option<&Product>,
        projection: Option<&Product>,
    ) {
        let Rows { out, before, c, made } = self;
        let (c, before) = (c.get_mut(), before.get());
        let operand = before.get(..product.operand).unwrap_or(before);
        let is_made = projection.is_some() || second.is_some();
        let h = if is_made { made.get_mut() } else { out.get_mut() };
        let place = Place { operand, before, c: &mut *c, h };
        match cell {
            Kind::Elman => product.step::<S, Plain, 1, 1, 1>(simd, source, place),
            Kind::Lstm => product.step::<S, Lstm, 4, 4, 4>(simd, source, place),
            Kind::PeepholeLstm => product.step::<S, PeepholeLstm, 4, 4, 4>(simd, source, place),
            Kind::Cifg => product.step::<S, Cifg, 3, 3, 3>(simd, source, place),
            Kind::Gru => product.step::<S, Gru, 4, 3, 3>(simd, source, place),
            Kind::GruBefore => product.step::<S, ResetGates, 2, 2, 2>(simd, source, place),
        }
        if let Some(second) = second {
            let operand = made.get();
            let operand = operand.get(..second.operand).unwrap_or(operand);
            let place = Place { operand, before, c, h: out.get_mut() };
            second.step::<S, Candidate, 1, 1, 1>(simd, source, place);
        } else if let Some(projection) = projection {
            let x = made.get();
            let source = Source { first: 0, x: x.get(..projection.inputs).unwrap_or(x) };
            let place = Place { operand: &[], before, c: &mut [], h: out.get_mut() };
            projection.step::<S, Plain, 1, 1, 1>(simd, source, place);
        }
    }
}

impl Op {
    fn bytes(&self) -> usize {
        match self {
            Op::Gather(table) => table.bytes(),
            Op::Recurrent { first, second, projection, .. } => {
                [Some(first), second.as_deref(), projection.as_deref()].into_iter().flatten().map(Product::bytes).sum()
            }
            Op::Dense { product, .. } => product.bytes(),
            Op::ReadOut(read_out) => read_out.bytes(),
            Op::Normalize(normalization) => normalization.bytes(),
            Op::Add(_) => 0,
        }
    }
}
