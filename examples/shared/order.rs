//! The order in which examples are learnt, and all else that an epoch leaves to chance.
//!
//! The contract: seed and epoch settle it.

use anyhow::Result;
use rand::{SeedableRng, rngs::ChaCha12Rng, seq::SliceRandom};
use recurrent::{Batch, Config, data::Example};

/// What an epoch draws from.
pub fn chance(seed: u64, epoch: u64) -> ChaCha12Rng {
    let mut rng = ChaCha12Rng::seed_from_u64(seed);
    rng.set_stream(epoch);
    rng
}

/// The same places in another order.
pub fn shuffled(places: &[usize], mut rng: ChaCha12Rng) -> Vec<usize> {
    let mut places = places.to_vec();
    places.shuffle(&mut rng);
    places
}

/// Examples in that order, so many side by side.
pub fn batches(examples: &[Example], order: &[usize], size: usize, config: &Config) -> Result<Vec<Batch>> {
    let pad = |chunk: &[usize]| Ok(Batch::pad(chunk.iter().map(|&at| &examples[at]), config)?);
    order.chunks(size).map(pad).collect()
}
