//! Dropout of what stands below it, while a network is trained.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Dropout at a place of the network: in training each element is zero with the probability `rate`, and what is kept is
/// divided by 1 − `rate` (Srivastava et al. 2014). [`Dropout`](crate::Dropout) of a recipe is at the recurrent layers.
///
/// ```
/// use recurrent::{Config, DropoutLayer, InputKind, Recurrent};
/// let config = Config::new(InputKind::Tokens(1000))
///     .embedding(32)
///     .layer(DropoutLayer::new(0.3).over_time())
///     .layer(Recurrent::lstm(64))
///     .dropout(0.5)
///     .outputs(1000);
/// # recurrent::Model::new(config)?;
/// # Ok::<(), recurrent::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(deny_unknown_fields)]
pub struct DropoutLayer {
    /// The probability that an element is zero.
    pub rate: f64,
    /// Whether an element is so at all steps of a sequence or at none (Gal & Ghahramani 2016).
    pub over_time: bool,
}

impl DropoutLayer {
    /// Of every element by itself.
    pub fn new(rate: f64) -> Self {
        DropoutLayer { rate, over_time: false }
    }

    /// The same with one mask for all steps.
    pub fn over_time(self) -> Self {
        DropoutLayer { over_time: true, ..self }
    }

    pub(super) fn check(&self) -> Result<()> {
        if self.rate >= 0.0 && (self.rate as f32) < 1.0 {
            Ok(())
        } else {
            Err(Error::Config(format!("the rate is {}, expected at least 0 and, in f32, below 1", self.rate)))
        }
    }
}
