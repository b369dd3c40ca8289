//! The Elman cell: h_t = act(W·x_t + b_W + U·h_(t-1) + b_U), one gate (Elman, *Finding Structure in Time*, 1990).

use serde::{Deserialize, Serialize};

use super::{Record, Saved};

pub(crate) const RECORD: Record =
    // The gate is the pre-activation itself.
    Record { name: "elman", gates: 1, first_gates: 1, forget_gate: None, saved: Saved::None };

/// The function around an Elman cell's sum.
///
/// ```
/// use recurrent::{Activation, Cell, Config, InputKind};
/// let config = Config::elman(InputKind::Dense(2), 8, 1).with_cell(Cell::Elman(Activation::Relu));
/// # assert_eq!(config.recurrent_layers().next().unwrap().cell, Cell::Elman(Activation::Relu));
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
}

impl Activation {
    /// As `elman.wgsl` counts them.
    #[cfg(feature = "gpu")]
    pub(crate) fn variant(self) -> u32 {
        match self {
            Activation::Tanh => 0,
            Activation::Relu => 1,
        }
    }
}
