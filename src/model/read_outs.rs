//! The read-outs of a network: its own and its heads, as whoever brings labels or takes outputs sees them.
//!
//! The contract: the network's own comes first, and the heads follow in the order of the configuration.

use std::fmt;

use super::config::Config;
use super::head::Head;
use super::shape::Rows;

/// What is known of a read-out, the network's own or a head, by whoever brings its labels or takes its outputs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadOut<'a> {
    /// A head's.
    pub name: Option<&'a str>,
    /// What it has a row for.
    pub rows: Rows,
    /// O.
    pub outputs: usize,
}

impl ReadOut<'_> {
    /// An argument of this read-out.
    pub fn argument(&self, what: &'static str) -> Argument<'_> {
        Argument { what, head: self.name }
    }
}

/// An argument of a read-out, as an error names it: nothing is written unless there is one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Argument<'a> {
    what: &'static str,
    head: Option<&'a str>,
}

impl fmt::Display for Argument<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.head {
            None => f.write_str(self.what),
            Some(head) => write!(f, "{} of head `{head}`", self.what),
        }
    }
}

impl Config {
    /// The network's own read-out, and its heads in their order.
    pub(crate) fn read_outs(&self) -> impl Iterator<Item = ReadOut<'_>> {
        let heads = self.heads.iter().map(|Head { name, reads, outputs }| {
            let rows = self.rows_of(*reads);
            ReadOut { name: Some(name), rows, outputs: *outputs }
        });
        std::iter::once(self.read_out()).chain(heads)
    }

    /// The network's own read-out.
    pub(crate) fn read_out(&self) -> ReadOut<'static> {
        ReadOut { name: None, rows: self.rows(), outputs: self.outputs }
    }
}
