//! The order in which examples are learned, and all else that an epoch leaves to chance.
//!
//! The contract: seed and epoch settle it.

use rand::{SeedableRng, rngs::ChaCha12Rng, seq::SliceRandom};

/// Returns what an epoch draws from.
pub fn rng(seed: u64, epoch: u64) -> ChaCha12Rng {
    let mut rng = ChaCha12Rng::seed_from_u64(seed);
    rng.set_stream(epoch);
    rng
}

/// Returns the same places in another order.
pub fn shuffled(places: &[usize], mut rng: ChaCha12Rng) -> Vec<usize> {
    let mut places = places.to_vec();
    places.shuffle(&mut rng);
    places
}
