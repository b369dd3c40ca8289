//! The LSTM whose input and forget gate are coupled, i = 1 - f, gates in the order f, g, o (CIFG of Greff et al.,
//! *LSTM: A Search Space Odyssey*, 2017):
//!
//! f, o = σ(W·x_t + b_W + U·h_(t-1) + b_U), g = tanh(the same), each with its own block of rows;
//! c_t = f ⊙ c_(t-1) + (1 - f) ⊙ g, h_t = o ⊙ tanh(c_t).

use super::{Record, Saved};

pub(crate) const RECORD: Record =
    // The second state is c.
    Record { name: "cifg", gates: 3, first_gates: 3, forget_gate: Some(0), saved: Saved::State, peepholes: false };
