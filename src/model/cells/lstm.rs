//! Long short-term saved, gates in the order i, f, g, o (PyTorch's; Hochreiter & Schmidhuber 1997; Gers et al. 2000):
//!
//! i, f, o = σ(W·x_t + b_W + U·h_(t-1) + b_U), g = tanh(the same), each with its own block of rows;
//! c_t = f ⊙ c_(t-1) + i ⊙ g, h_t = o ⊙ tanh(c_t).

use super::{Record, Saved};

pub(crate) const RECORD: Record =
    // The second state is c.
    Record { name: "lstm", gates: 4, first_gates: 4, forget_gate: Some(1), saved: Saved::State, peepholes: false };
