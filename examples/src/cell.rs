//! The cells by their names on a command line.
//!
//! The contract: a name means the same cell in every example and in every checkpoint's notes.

use clap::ValueEnum;
use recurrent::{Config, InputKind};
use serde::{Deserialize, Serialize};

/// A cell that an example may be asked for.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CellName {
    /// An Elman network
    Elman,
    /// Long short-term memory
    Lstm,
    /// Gated recurrent unit
    Gru,
}

impl CellName {
    /// All of them.
    pub const ALL: [CellName; 3] = [CellName::Elman, CellName::Lstm, CellName::Gru];

    /// Returns the name, as it is given.
    pub fn name(self) -> &'static str {
        match self {
            CellName::Elman => "elman",
            CellName::Lstm => "lstm",
            CellName::Gru => "gru",
        }
    }

    /// Returns a network of one layer of it.
    pub fn config(self, input: InputKind, hidden: usize, outputs: usize) -> Config {
        match self {
            CellName::Elman => Config::elman(input, hidden, outputs),
            CellName::Lstm => Config::lstm(input, hidden, outputs),
            CellName::Gru => Config::gru(input, hidden, outputs),
        }
    }
}
