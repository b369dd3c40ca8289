//! The function that makes a gate of its sums.

use serde::{Deserialize, Serialize};

/// What an LSTM's i, f and o and a GRU's r and z are of their sums.
///
/// ```
/// use recurrent::{Config, GateActivation, InputKind, Recurrent};
/// let lstm = Recurrent::lstm(32).with_gate_activation(GateActivation::HardSigmoid);
/// let config = Config::new(InputKind::Dense(6)).layer(lstm).outputs(2);
/// # assert_ne!(config, Config::lstm(InputKind::Dense(6), 32, 2));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(rename_all = "snake_case")]
pub enum GateActivation {
    /// The logistic function σ.
    #[default]
    Sigmoid,
    /// min(max(x/6 + 1/2, 0), 1): `hard_sigmoid` of Keras 3 and PyTorch's `hardsigmoid`.
    HardSigmoid,
    /// min(max(x/5 + 1/2, 0), 1): `hard_sigmoid` of Keras 2 and ONNX's `HardSigmoid` as it is without other numbers.
    SteepHardSigmoid,
}

impl GateActivation {
    /// Whether it is that of most networks; a file says nothing of it then.
    pub(crate) fn is_sigmoid(&self) -> bool {
        *self == GateActivation::Sigmoid
    }

    /// The slope between 0 and 1 of one that is made of straight lines.
    pub(crate) fn slope(self) -> Option<f64> {
        match self {
            GateActivation::Sigmoid => None,
            GateActivation::HardSigmoid => Some(1.0 / 6.0),
            GateActivation::SteepHardSigmoid => Some(0.2),
        }
    }

    /// The number by which the shaders know it.
    #[cfg(feature = "gpu")]
    pub(crate) fn variant(self) -> u32 {
        match self {
            GateActivation::Sigmoid => 0,
            GateActivation::HardSigmoid => 1,
            GateActivation::SteepHardSigmoid => 2,
        }
    }
}
