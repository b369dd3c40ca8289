//! The CPU executor: the twin of every kernel, over f32 or f64.
//!
//! In f64 it is what the GPU's kernels are held against; it is itself held against PyTorch's numbers, finite
//! differences and the plain oracle of `tests/gradients/reference/`. In f32 it is what runs where there is no GPU. It
//! replays the same plans. Every operation is a few plain loops, one file under its name; what the profile says is
//! worth it stands beside them in vector instructions for f32 (`packed`, `vector`), tested against the plain loops.

mod activation;
mod bands;
mod cells;
mod ctc;
mod dropout;
mod executor;
mod gather;
mod gradient;
mod gradient_norms;
mod group;
mod join;
mod loss;
mod matmul;
mod matrix;
mod normalize;
mod optimizer;
mod packed;
mod pool;
mod real;
pub(crate) mod realtime;
mod recurrence;
mod resets;
mod state;
mod steps;
mod stripes;
mod sums;
mod tensors;
mod threads;
mod update;
mod vector;
mod vectorized;

pub use executor::Executor;
pub use real::Real;
pub(crate) use threads::count as threads;
