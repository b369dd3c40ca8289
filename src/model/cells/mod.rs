//! The cells, each a small record in its own file, and the table of them: all that the rest of the crate knows.
//!
//! A cell's arithmetic is a few pointwise functions, in `cpu/cells` and in `shaders/`, in files of the record's name.

pub(crate) mod cifg;
pub(crate) mod elman;
mod gates;
pub(crate) mod gru;
pub(crate) mod gru_before;
pub(crate) mod lstm;
pub(crate) mod peephole_lstm;

use serde::{Deserialize, Serialize};

pub use gates::GateActivation;
pub use gru::Reset;

use super::activation::Activation;

/// The recurrent cell.
///
/// ```
/// use recurrent::{Cell, Config, InputKind};
/// let config = Config::of_cell(Cell::Lstm, InputKind::Dense(2), 8, 1);
/// assert_eq!(config, Config::lstm(InputKind::Dense(2), 8, 1));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(rename_all = "snake_case")]
pub enum Cell {
    /// The simple recurrent network of Elman (1990).
    Elman(Activation),
    /// Long short-term saved (Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000).
    Lstm,
    /// The gated recurrent unit (Cho et al. 2014).
    Gru(Reset),
    /// The LSTM of three gates, whose input gate is what the forget gate leaves, i = 1 - f: CIFG (Greff et al. 2017).
    Cifg,
    /// The LSTM whose gates see c: i and f that of the step before, o that of its own (Gers, Schraudolph & Schmidhuber
    /// 2002).
    PeepholeLstm,
}

/// Hands the table to another macro: for each cell the name of its files, and which cells these are.
macro_rules! table {
    ($make:ident) => {
        $make! {
            elman: $crate::model::Cell::Elman(_),
            lstm: $crate::model::Cell::Lstm,
            gru: $crate::model::Cell::Gru($crate::model::Reset::AfterProduct),
            gru_before: $crate::model::Cell::Gru($crate::model::Reset::BeforeProduct),
            cifg: $crate::model::Cell::Cifg,
            peephole_lstm: $crate::model::Cell::PeepholeLstm,
        }
    };
}
pub(crate) use table;

macro_rules! records {
    ($($file:ident: $cell:pat,)*) => {
        impl Cell {
            pub(crate) const fn record(self) -> &'static Record {
                match self { $($cell => &$file::RECORD,)* }
            }
        }
    };
}
table!(records);

/// What sequencing, plans and drivers know of a cell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    /// The name of its files.
    pub name: &'static str,
    /// G: rows of W and U for every hidden unit. Gate k has rows k·H to (k + 1)·H.
    pub gates: usize,
    /// How many gates' recurrent sums are over h_(t-1); those of the others are over what the cell makes of it once
    /// these are known.
    pub first_gates: usize,
    /// Which gate forgets, where one does.
    pub forget_gate: Option<usize>,
    /// What it keeps beside its gates and h.
    pub saved: Saved,
    /// Whether three of its gates see its second state: i and f that before the step, o that after it.
    pub peepholes: bool,
}

impl Cell {
    /// G, the number of gates: rows of W and U for every hidden unit.
    pub fn gates(self) -> usize {
        self.record().gates
    }

    /// The name that the cell's shader, its twin and the documentation share.
    pub fn name(self) -> &'static str {
        self.record().name
    }

    /// S, the number of states that are carried from step to step: h, and c where there is one.
    pub fn states(self) -> usize {
        if self.saved() == Saved::State { 2 } else { 1 }
    }

    /// The number by which the cell's shader knows its options.
    #[cfg(feature = "gpu")]
    pub(crate) fn variant(self) -> u32 {
        if let Cell::Elman(activation) = self { activation.variant() } else { 0 }
    }

    /// Whether it has gates, beside what it computes of its sums.
    pub(crate) fn is_gated(self) -> bool {
        !matches!(self, Cell::Elman(_))
    }

    pub(crate) fn saved(self) -> Saved {
        self.record().saved
    }

    pub(crate) fn has_peepholes(self) -> bool {
        self.record().peepholes
    }

    pub(crate) fn forget_gate(self) -> Option<usize> {
        self.record().forget_gate
    }

    pub(crate) fn first_gates(self) -> usize {
        self.record().first_gates
    }

    /// How many recurrent products a step takes, one after the other.
    pub(crate) fn products(self) -> usize {
        if self.first_gates() == self.gates() { 1 } else { 2 }
    }
}

/// What a cell keeps of a window beside its gates and h, in a tensor of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Saved {
    /// Nothing.
    None,
    /// A second state c `[T+D, B, D·H]`, carried as h is.
    State,
    /// `[T, B, D·G·H]`: the recurrent part of the pre-activations, whose gradient is not that of the gates.
    Recurrent,
    /// `[T, B, D·H]`: what the second product's sums are over.
    Operand,
}
