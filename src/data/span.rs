//! What of sequences one run of a plan reads: some steps of them, borrowed.
//!
//! The contract: a span knows where in its sequences it lies, so that lengths and resets are those of its own steps.

use super::{InputColumn, Inputs, InputsRef};

/// The columns of sequences, of which a span is a part.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SpanColumns<'a> {
    pub columns: &'a [InputColumn],
    /// The first step.
    pub first: usize,
    /// The steps that there are.
    pub all: usize,
}

/// Some steps of B sequences, one after the other: what one run of a plan reads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span<'a> {
    /// How many steps these are.
    pub steps: usize,
    /// B.
    pub batch_size: usize,
    /// `[T, B]` or `[T, B, I]`: those of these steps.
    pub inputs: InputsRef<'a>,
    /// Those of all steps, of which these begin at `first` and `all` are there.
    pub columns: SpanColumns<'a>,
    /// `[B]`: of the whole sequences.
    pub lengths: Option<&'a [usize]>,
    /// Ascending: of the whole sequences.
    pub resets: &'a [(usize, usize)],
    /// How many steps of the sequences come before these.
    pub before: usize,
}

impl<'a> Span<'a> {
    /// `steps` of these steps, from `first` on.
    pub fn part(self, first: usize, steps: usize) -> Self {
        let columns = SpanColumns { first: self.columns.first + first, ..self.columns };
        Span { steps, inputs: self.inputs.part(self.steps, first, steps), columns, before: self.before + first, ..self }
    }

    /// What of a column's inputs, which are those of all steps, are of these.
    pub fn of_column(&self, inputs: &'a Inputs) -> InputsRef<'a> {
        inputs.borrowed().part(self.columns.all, self.columns.first, self.steps)
    }

    /// Whether sequence `b` begins anew at a step of these, which may be the one after the last.
    pub fn is_reset(&self, step: usize, b: usize) -> bool {
        self.resets.binary_search(&(self.before + step, b)).is_ok()
    }

    /// How many of these steps of sequence `b` are valid.
    pub fn length(&self, b: usize) -> usize {
        let length = self.lengths.and_then(|lengths| lengths.get(b)).copied();
        length.map_or(self.steps, |length| length.saturating_sub(self.before).min(self.steps))
    }
}
