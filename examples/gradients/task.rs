//! The adding problem: two of T random numbers are marked, and their sum is asked for at the end (Hochreiter &
//! Schmidhuber 1997).
//!
//! The contract: the first mark lies in the first half and the second in the second, so the gradient has a way to go.

use rand::{RngExt, SeedableRng, rngs::ChaCha12Rng};
use recurrent::{Batch, BatchShape, Sequences, Targets};

/// What always guessing 1 is off by, squared: the variance of the sum of two uniform numbers.
pub const GUESSING: f64 = 1.0 / 6.0;

/// Sequences without an end.
pub struct Adding {
    rng: ChaCha12Rng,
    steps: usize,
    batch: usize,
}

impl Adding {
    pub fn new(seed: u64, steps: usize, batch: usize) -> Self {
        Adding { rng: ChaCha12Rng::seed_from_u64(seed), steps, batch }
    }

    /// `[T, B, 2]`: a number and whether it is marked.
    pub fn next(&mut self) -> Batch {
        let (steps, batch) = (self.steps, self.batch);
        let mut inputs = vec![0.0; steps * batch * 2];
        let mut sums = vec![0.0; batch];
        for (b, sum) in sums.iter_mut().enumerate() {
            let marks = [self.rng.random_range(0..steps / 2), self.rng.random_range(steps / 2..steps)];
            for t in 0..steps {
                let (value, at) = (self.rng.random::<f32>(), (t * batch + b) * 2);
                inputs[at] = value;
                if marks.contains(&t) {
                    inputs[at + 1] = 1.0;
                    *sum += value;
                }
            }
        }
        let sequences = Sequences::dense(BatchShape { steps, batch_size: batch }, inputs);
        Batch::new(sequences, Targets::Values(sums))
    }
}
