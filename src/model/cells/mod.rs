//! The cells, each a small record in its own file; this table is all that the rest of the crate knows of them.
//!
//! A cell's arithmetic is two pointwise functions, in `cpu/cells` and in `shaders/`, under the same name.

pub(crate) mod elman;
pub(crate) mod gru;
pub(crate) mod lstm;

use serde::{Deserialize, Serialize};

pub use elman::Activation;

/// The recurrent cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(rename_all = "snake_case")]
pub enum Cell {
    /// The simple recurrent network of Elman (1990).
    Elman(Activation),
    /// Long short-term memory (Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000).
    Lstm,
    /// The gated recurrent unit (Cho et al. 2014), reset after the product as in PyTorch and cuDNN.
    Gru,
}

impl Cell {
    /// G, the number of gates: rows of W and U for every hidden unit.
    pub fn gates(self) -> usize {
        match self {
            Cell::Elman(_) => elman::GATES,
            Cell::Lstm => lstm::GATES,
            Cell::Gru => gru::GATES,
        }
    }

    /// The name that the cell's shader, its twin and the documentation share.
    pub fn name(self) -> &'static str {
        match self {
            Cell::Elman(_) => "elman",
            Cell::Lstm => "lstm",
            Cell::Gru => "gru",
        }
    }

    /// The number by which the cell's shader knows its options.
    pub(crate) fn variant(self) -> u32 {
        match self {
            Cell::Elman(activation) => activation.variant(),
            Cell::Lstm | Cell::Gru => 0,
        }
    }

    /// What the cell keeps beside its gates and h.
    pub(crate) fn memory(self) -> CellMemory {
        match self {
            Cell::Elman(_) => elman::MEMORY,
            Cell::Lstm => lstm::MEMORY,
            Cell::Gru => gru::MEMORY,
        }
    }

    /// S, the number of states that are carried from step to step: h, and c where there is one.
    pub fn states(self) -> usize {
        if self.memory() == CellMemory::State { 2 } else { 1 }
    }
}

/// What a cell keeps of a window beside its gates and h, in a tensor of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CellMemory {
    /// Nothing.
    None,
    /// A second state c `[T+1, B, H]`, carried as h is.
    State,
    /// `[T, B, G·H]`: the recurrent part of the pre-activations, whose gradient is not that of the gates.
    Recurrent,
}
