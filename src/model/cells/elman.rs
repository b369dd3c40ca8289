//! The Elman cell: h_t = act(W·x_t + b_W + U·h_(t-1) + b_U), one gate (Elman, *Finding Structure in Time*, 1990).

use super::{Record, Saved};

pub(crate) const RECORD: Record =
    // The gate is the pre-activation itself.
    Record { name: "elman", gates: 1, first_gates: 1, forget_gate: None, saved: Saved::None, peepholes: false };
