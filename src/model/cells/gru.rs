//! The gated recurrent unit, gates in the order r, z, n (PyTorch's and cuDNN's; Cho et al. 2014), reset after the
//! product:
//!
//! r, z = σ(W·x_t + b_W + U·h_(t-1) + b_U), n = tanh(W_n·x_t + b_Wn + r ⊙ (U_n·h_(t-1) + b_Un)), each with its own
//! block of rows; h_t = (1 - z) ⊙ n + z ⊙ h_(t-1).

use serde::{Deserialize, Serialize};

use super::{Record, Saved};

pub(crate) const RECORD: Record =
    // What is kept is U_n·h_(t-1) + b_Un, which r multiplies.
    Record { name: "gru", gates: 3, first_gates: 3, forget_gate: None, saved: Saved::Recurrent, peepholes: false };

/// Where r resets the candidate n.
///
/// ```
/// use recurrent::{Cell, Config, InputKind, Reset};
/// let config = Config::gru(InputKind::Dense(2), 8, 1).with_cell(Cell::Gru(Reset::BeforeProduct)); // Cho et al. 2014
/// # assert_eq!(config.recurrent_layers().next().unwrap().cell, Cell::Gru(Reset::BeforeProduct));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reset {
    /// After the product with U: r ⊙ (U_n·h_(t-1) + b_Un), as in PyTorch and cuDNN. One product a step.
    #[default]
    AfterProduct,
    /// Before it: U_n·(r ⊙ h_(t-1)) + b_Un, as in the paper and by default in ONNX. Two products a step.
    BeforeProduct,
}
