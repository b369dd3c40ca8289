//! The functions around a sum.

use serde::{Deserialize, Serialize};

/// The function around a sum: of a dense layer any of them, of an Elman cell tanh or relu.
///
/// ```
/// use recurrent::{Activation, Cell, Config, InputKind, Pool};
/// let config = Config::elman(InputKind::Dense(2), 8, 1).with_cell(Cell::Elman(Activation::Relu));
/// let config = config.pool(Pool::Max).dense(16, Activation::Gelu);
/// # assert_eq!(config.layers.len(), 3);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Activation {
    /// The hyperbolic tangent.
    #[default]
    Tanh,
    /// max(0, x).
    Relu,
    /// 1 / (1 + e⁻ˣ).
    Sigmoid,
    /// x·Φ(x), Φ being the normal distribution's (Hendrycks & Gimpel 2016); PyTorch's, without its approximation.
    Gelu,
    /// ln(1 + eˣ).
    Softplus,
    /// x itself: a linear layer.
    Identity,
}

impl Activation {
    /// As `elman.wgsl` and `activation.wgsl` count them.
    #[cfg(feature = "gpu")]
    pub(crate) fn variant(self) -> u32 {
        match self {
            Activation::Tanh => 0,
            Activation::Relu => 1,
            Activation::Sigmoid => 2,
            Activation::Gelu => 3,
            Activation::Softplus => 4,
            Activation::Identity => 5,
        }
    }

    /// Whether its slope follows from its value; else from what it is of.
    pub(crate) fn slope_is_of_value(self) -> bool {
        !matches!(self, Activation::Gelu | Activation::Softplus)
    }
}
