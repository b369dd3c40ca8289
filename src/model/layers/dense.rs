//! A linear function of each row, and a function around it.

use serde::{Deserialize, Serialize};

use super::{Draw, ParameterGroup};
use crate::error::Result;
use crate::model::activation::Activation;
use crate::model::shape::check_size;

/// A dense layer: f(W·x + b), row by row.
///
/// ```
/// use recurrent::{Activation, Config, Dense, InputKind, Pool, Recurrent};
/// // Numbers are widened before the recurrence, and a sequence's row goes through one more layer after it.
/// let config = Config::new(InputKind::Dense(3))
///     .layer(Dense::new(32, Activation::Tanh).with_bias(false))
///     .layer(Recurrent::gru(64))
///     .pool(Pool::Last)
///     .dense(16, Activation::Relu)
///     .outputs(4);
/// # recurrent::Model::new(config)?;
/// # Ok::<(), recurrent::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(deny_unknown_fields)]
pub struct Dense {
    /// The width of its rows.
    pub units: usize,
    /// f.
    pub activation: Activation,
    /// Whether it has b.
    pub bias: bool,
    /// Whether what it reads is added to its output (He et al. 2016); where that is not as wide, by way of a linear map
    /// without bias, `weight_residual` `[N, I]`.
    #[serde(default)]
    pub residual: bool,
}

impl Dense {
    /// A dense layer with a bias.
    pub fn new(units: usize, activation: Activation) -> Self {
        Dense { units, activation, bias: true, residual: false }
    }

    /// The same layer with or without a bias.
    pub fn with_bias(self, bias: bool) -> Self {
        Dense { bias, ..self }
    }

    /// The same layer with what it reads added to its output.
    pub fn residual(self) -> Self {
        Dense { residual: true, ..self }
    }

    pub(super) fn check(&self) -> Result<()> {
        check_size("units", self.units)
    }

    pub(super) fn parameters(&self, below: usize) -> Vec<ParameterGroup> {
        let group = |name: &str, shape, draw| ParameterGroup { names: vec![name.to_owned()], shape, draw };
        let mut all = vec![group("weight", vec![self.units, below], Draw::Weight { blocks: 1, fan: below })];
        if self.bias {
            all.push(group("bias", vec![self.units], Draw::Bias { fan: below }));
        }
        all
    }
}
