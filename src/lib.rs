//! Recurrent neural networks on any GPU.
pub mod cpu;
pub mod error;
pub mod model;
pub mod plan;
pub use error::{Error, Result};
pub use model::{Activation, Cell, Config, Init, Input, Layout, Model, ReadOut};
