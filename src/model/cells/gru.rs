//! The gated recurrent unit, gates in the order r, z, n, reset after the product (PyTorch's and cuDNN's; Cho et al. 2014):
//!
//! r, z = σ(W·x_t + b_W + U·h_(t-1) + b_U), n = tanh(W_n·x_t + b_Wn + r ⊙ (U_n·h_(t-1) + b_Un)), each with its own block
//! of rows; h_t = (1 - z) ⊙ n + z ⊙ h_(t-1).

use super::CellMemory;

/// r, z, n.
pub(crate) const GATES: usize = 3;

/// U_n·h_(t-1) + b_Un, which r multiplies.
pub(crate) const MEMORY: CellMemory = CellMemory::Recurrent;
