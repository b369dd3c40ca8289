//! The gated recurrent unit as in the paper (Cho et al. 2014), reset before the product; gates and the rest as in
//! `gru.rs`:
//!
//! n = tanh(W_n·x_t + b_Wn + U_n·(r ⊙ h_(t-1)) + b_Un).

use super::{Record, Saved};

pub(crate) const RECORD: Record =
    // n waits for r; what its sums are over is r ⊙ h_(t-1).
    Record {
        name: "gru_before",
        gates: 3,
        first_gates: 2,
        forget_gate: None,
        saved: Saved::Operand,
        peepholes: false,
    };
