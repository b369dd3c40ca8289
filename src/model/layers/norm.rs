//! Layer normalisation of each row.

use serde::{Deserialize, Serialize};

use super::{Draw, ParameterGroup};
use crate::error::{Error, Result};

/// Layer normalisation (Ba, Kiros & Hinton 2016): each row less its mean, divided by its standard deviation, times a
/// gain and plus a bias, which are learned.
///
/// ```
/// use recurrent::{Config, InputKind, LayerNorm, Recurrent};
/// let config = Config::new(InputKind::Dense(8))
///     .layer(Recurrent::lstm(64))
///     .layer(LayerNorm::new())
///     .layer(Recurrent::lstm(64))
///     .outputs(3);
/// # recurrent::Model::new(config)?;
/// # Ok::<(), recurrent::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(deny_unknown_fields)]
pub struct LayerNorm {
    /// ε, which is added to the variance.
    pub epsilon: f64,
}

impl Default for LayerNorm {
    fn default() -> Self {
        Self::new()
    }
}

impl LayerNorm {
    /// With an ε of 10⁻⁵, as PyTorch's.
    pub fn new() -> Self {
        LayerNorm { epsilon: 1e-5 }
    }

    /// The same with another ε.
    pub fn with_epsilon(self, epsilon: f64) -> Self {
        LayerNorm { epsilon }
    }

    pub(super) fn check(&self) -> Result<()> {
        let epsilon = self.epsilon;
        if epsilon > 0.0 && (epsilon as f32).is_normal() {
            Ok(())
        } else {
            Err(Error::Config(format!("ε is {epsilon}, expected a number above 0 that f32 can hold")))
        }
    }

    pub(super) fn parameters(&self, below: usize) -> Vec<ParameterGroup> {
        let group = |name: &str, draw| ParameterGroup { names: vec![name.to_owned()], shape: vec![below], draw };
        vec![group("weight", Draw::One), group("bias", Draw::Zero)]
    }
}
