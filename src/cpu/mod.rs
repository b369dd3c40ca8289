//! The CPU executor: the twin of every kernel, in plain Rust over f32 or f64.
//!
//! In f64 it is the oracle that the GPU's kernels and PyTorch's numbers are held against; in f32 it is what runs where
//! there is no GPU. It replays the same plans. Matrix products go through the `gemm` crate; the rest is a few plain
//! loops, one file an operation, under the operation's name.

mod cells;
mod executor;
mod gather;
mod loss;
mod mask;
mod matmul;
mod memory;
mod packed;
mod real;
mod recurrence;
mod state;
mod steps;
mod update;
mod vector;

pub use executor::Executor;
pub use real::Real;
