//! Examples side by side.
//!
//! The contract: every example of the order is in one batch, in that order.

use anyhow::Result;
use recurrent::{Batch, Config, data::Example};

/// Lays examples side by side in that order, `size` in a batch.
pub fn batches(examples: &[Example], order: &[usize], size: usize, config: &Config) -> Result<Vec<Batch>> {
    let pad = |chunk: &[usize]| Ok(Batch::pad(chunk.iter().map(|&at| &examples[at]), config)?);
    order.chunks(size).map(pad).collect()
}
