//! The LSTM with peepholes, gates in the order i, f, g, o (Gers, Schraudolph & Schmidhuber 2002):
//!
//! i, f = σ(W·x_t + b_W + U·h_(t-1) + b_U + w_c ⊙ c_(t-1)), g = tanh(the same without w_c), c_t = f ⊙ c_(t-1) + i ⊙ g,
//! o = σ(the same + w_co ⊙ c_t), h_t = o ⊙ tanh(c_t).

use super::{Record, Saved};

pub(crate) const RECORD: Record =
    // The second state is c.
    Record {
        name: "peephole_lstm",
        gates: 4,
        first_gates: 4,
        forget_gate: Some(1),
        saved: Saved::State,
        peepholes: true,
    };
