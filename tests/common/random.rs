//! Random data from a seed. All numbers are f32 ones, so that executors of either precision start from the same values.

use rand::{RngExt, SeedableRng, rngs::ChaCha12Rng};

/// A generator that gives the same numbers for the same seed.
pub struct Random(ChaCha12Rng);

impl Random {
    /// A generator at its start.
    pub fn new(seed: u64) -> Self {
        Random(ChaCha12Rng::seed_from_u64(seed))
    }

    /// Uniform in ±`bound`.
    pub fn reals(&mut self, len: usize, bound: f64) -> Vec<f64> {
        (0..len).map(|_| f64::from(self.0.random_range(-bound..=bound) as f32)).collect()
    }

    /// Ids below `end`.
    pub fn ids(&mut self, len: usize, end: usize) -> Vec<u32> {
        (0..len).map(|_| self.0.random_range(0..end) as u32).collect()
    }

    /// A mask of zeros and ones with at least one 1; about a third are zeros.
    pub fn mask(&mut self, len: usize) -> Vec<f64> {
        let mut mask: Vec<f64> = (0..len).map(|_| if self.0.random_range(0..3) == 0 { 0.0 } else { 1.0 }).collect();
        mask[self.0.random_range(0..len)] = 1.0;
        mask
    }
}
