//! What a loss in nats says of a language model.
//!
//! The contract: a mean weighs as much as the positions that it is the mean of, so that batches of unequal size add up
//! to what one of all would say.

use super::{more, share, sum};
use crate::error::{Error, Result};

/// Perplexity and bits of a language model, from mean losses and how many positions they are the means of.
///
/// Perplexity is e to the mean cross-entropy in nats: of a uniform guess the number of tokens (Jelinek et al. 1977).
/// Bits are the mean over the natural logarithm of 2: bits per character where a position is a character.
///
/// ```
/// use recurrent::metrics::Perplexity;
/// use recurrent::{Batch, BatchShape, Config, Device, InputKind, Loss, Model, Recipe, Trainer};
/// let config = Config::gru(InputKind::Tokens(4), 8, 4);
/// let mut trainer = Trainer::new(&Device::cpu(), &Model::new(config.clone())?, Recipe::new(Loss::CrossEntropy))?;
/// let batch = Batch::tokens(BatchShape { steps: 3, batch_size: 1 }, vec![0, 1, 2], vec![1, 2, 3]);
/// let mut perplexity = Perplexity::new();
/// perplexity.add(trainer.evaluate([&batch])?, batch.count(&config))?;
/// println!("perplexity {:.2}, {:.2} bits", perplexity.value().unwrap(), perplexity.bits().unwrap());
/// # assert_eq!(perplexity.count(), 3);
/// # Ok::<(), recurrent::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Perplexity {
    nats: f64,
    count: u64,
}

impl Perplexity {
    /// Of nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a mean loss in nats over so many positions; over none it may be anything.
    ///
    /// # Errors
    /// [`Error::Data`] for a mean that is not finite, or a sum that f64 does not hold.
    pub fn add(&mut self, mean_loss: f64, positions: usize) -> Result<()> {
        if positions == 0 {
            return Ok(());
        }
        if !mean_loss.is_finite() {
            return Err(Error::Data(format!("the mean loss is {mean_loss}, expected a finite number of nats")));
        }
        self.merge(&Perplexity { nats: sum("nats", mean_loss * positions as f64)?, count: positions as u64 })
    }

    /// Adds what another has measured.
    ///
    /// # Errors
    /// [`Error::Data`] where the sum is past f64.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        let nats = sum("nats", self.nats + other.nats)?;
        *self = Perplexity { nats, count: more(self.count, other.count)? };
        Ok(())
    }

    /// Returns how many positions were counted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Returns the mean loss in nats, `None` where nothing was counted.
    pub fn nats(&self) -> Option<f64> {
        share(self.nats, self.count as f64)
    }

    /// Returns the mean loss in bits, `None` where nothing was counted.
    pub fn bits(&self) -> Option<f64> {
        self.nats().map(|nats| nats / std::f64::consts::LN_2)
    }

    /// Returns the perplexity, `None` where nothing was counted; infinite for a mean of more than 709 nats.
    pub fn value(&self) -> Option<f64> {
        self.nats().map(f64::exp)
    }
}
