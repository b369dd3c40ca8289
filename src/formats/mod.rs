//! Networks from other programs and for them: PyTorch's names in safetensors files, and Keras' arrays.
//!
//! The contract: what comes in is held against a configuration before it becomes a model, and computes what it computed
//! there.

mod family;
mod keras;
mod names;
mod pytorch;

pub use names::Names;
