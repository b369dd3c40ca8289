//! The cells, each a small record in its own file; this table is all that the rest of the crate knows of them.
//!
//! A cell's arithmetic is two pointwise functions, in `cpu/cells` and in `shaders/`, under the same name.

pub(crate) mod elman;

use serde::{Deserialize, Serialize};

pub use elman::Activation;

/// The recurrent cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(rename_all = "snake_case")]
pub enum Cell {
    /// The simple recurrent network of Elman (1990).
    Elman(Activation),
}

impl Cell {
    /// G, the number of gates: rows of W and U for every hidden unit.
    pub fn gates(self) -> usize {
        match self {
            Cell::Elman(_) => elman::GATES,
        }
    }

    /// The name that the cell's shader, its twin and the documentation share.
    pub fn name(self) -> &'static str {
        match self {
            Cell::Elman(_) => "elman",
        }
    }

    /// The number by which the cell's shader knows its options.
    pub(crate) fn variant(self) -> u32 {
        match self {
            Cell::Elman(activation) => activation.variant(),
        }
    }
}
