//! Examples side by side.
//!
//! The contract: every example of the order is in one batch, in that order.

use anyhow::Result;
use recurrent::{Batch, Config, data::Example};

/// Examples in that order, so many side by side.
pub fn batches(examples: &[Example], order: &[usize], size: usize, config: &Config) -> Result<Vec<Batch>> {
    let pad = |chunk: &[usize]| Ok(Batch::pad(chunk.iter().map(|&at| &examples[at]), config)?);
    order.chunks(size).map(pad).collect()
}
