//! Three tasks whose answers are known, and what one without memory makes of them.
//!
//! The contract: between what must be remembered and where it is asked for lie as many steps as the lag says, or of
//! adding, where the first mark has two places, one more.

use clap::ValueEnum;
use rand::{RngExt, rngs::ChaCha12Rng};
use recurrent::{Batch, BatchShape, Config, InputKind, Loss, Pool, Targets};

/// How many tokens there are to remember.
const TOKENS: usize = 8;
/// How many are remembered in [`Task::Copy`], in order.
pub const LENGTH: usize = 3;

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Task {
    /// The first token of many is asked for at the end (Bengio, Simard & Frasconi 1994)
    Recall,
    /// The sum of two marked numbers is asked for at the end (Hochreiter & Schmidhuber 1997)
    Adding,
    /// Three tokens are asked for, in order, after a pause (Arjovsky, Shah & Bengio 2016)
    Copy,
}

impl Task {
    pub const ALL: [Task; 3] = [Task::Recall, Task::Adding, Task::Copy];

    pub fn name(self) -> &'static str {
        match self {
            Task::Recall => "recall",
            Task::Adding => "adding",
            Task::Copy => "copy",
        }
    }

    /// The least loss of one who remembers nothing: ln 8 nats, or the variance of a sum of two uniform numbers.
    pub fn without_memory(self) -> f64 {
        match self {
            Task::Recall | Task::Copy => (TOKENS as f64).ln(),
            Task::Adding => 1.0 / 6.0,
        }
    }

    pub fn loss(self) -> Loss {
        if self == Task::Adding { Loss::MeanSquared } else { Loss::CrossEntropy }
    }

    pub fn learning_rate(self) -> f64 {
        match self {
            Task::Recall => 5e-3,
            Task::Adding => 1e-2,
            Task::Copy => 1.5e-2,
        }
    }

    /// For how many steps the gates of a fresh network remember at the most: to tell the order of tokens units are
    /// needed that are quick.
    pub fn span(self, lag: usize) -> usize {
        if self == Task::Copy { lag.min(20) } else { lag }
    }

    /// T of its sequences.
    pub fn steps(self, lag: usize) -> usize {
        match self {
            Task::Recall => lag.saturating_add(1),
            Task::Adding => lag.saturating_add(2),
            // From the first token to where it is said there are `lag` steps.
            Task::Copy => lag.saturating_add(LENGTH),
        }
    }

    /// What reads and answers it.
    pub fn config(self, config: impl Fn(InputKind, usize) -> Config) -> Config {
        match self {
            Task::Recall => config(InputKind::Tokens(2 * TOKENS), TOKENS).pool(Pool::Last),
            Task::Adding => config(InputKind::Dense(2), 1).pool(Pool::Last),
            Task::Copy => config(InputKind::Tokens(TOKENS + 2), TOKENS),
        }
    }

    /// So many sequences.
    pub fn draw(self, random: &mut ChaCha12Rng, lag: usize, size: usize) -> Batch {
        let steps = self.steps(lag);
        let mut tokens = |count: usize, range: std::ops::Range<usize>| -> Vec<u32> {
            (0..count).map(|_| random.random_range(range.clone()) as u32).collect()
        };
        match self {
            Task::Recall => {
                let asked = tokens(size, 0..TOKENS);
                let others = tokens(lag * size, TOKENS..2 * TOKENS);
                Batch::tokens(BatchShape { steps, batch_size: size }, [&asked[..], &others].concat(), asked)
            }
            Task::Adding => {
                // The first mark is at the beginning: it is what must be remembered.
                let mut inputs: Vec<f32> = (0..steps * size).flat_map(|_| [random.random(), 0.0]).collect();
                let mut sums = vec![0.0; size];
                for (sequence, sum) in sums.iter_mut().enumerate() {
                    for t in [random.random_range(0..2), random.random_range(2..steps)] {
                        let at = 2 * (t * size + sequence);
                        *sum += inputs[at];
                        inputs[at + 1] = 1.0;
                    }
                }
                Batch::dense(BatchShape { steps, batch_size: size }, inputs, Targets::Values(sums))
            }
            Task::Copy => {
                let asked = tokens(LENGTH * size, 0..TOKENS);
                let (blank, signal) = (TOKENS as u32, TOKENS as u32 + 1);
                let (answers, rows) = ((steps - LENGTH) * size, steps * size);
                let mut inputs = vec![blank; rows];
                inputs[..asked.len()].copy_from_slice(&asked);
                inputs[answers..answers + size].fill(signal);
                let mut targets = vec![0; rows];
                targets[answers..].copy_from_slice(&asked);
                let mask = (0..rows).map(|row| row >= answers).collect();
                Batch::tokens(BatchShape { steps, batch_size: size }, inputs, targets).with_loss_mask(mask)
            }
        }
    }
}
