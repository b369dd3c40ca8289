//! The GPU: the choice of an adapter, the kernels, and the executor that replays plans on them.
//!
//! This folder is the only place that names a wgpu type.

mod adapter;
mod context;
mod executor;
pub mod kernels;
mod progress;
mod slots;
mod wait;

pub use adapter::{Adapter, Select, adapters_async};
pub use context::Gpu;
pub use executor::Executor;
pub(crate) use executor::Readback;
pub(crate) use wait::Wait;

#[cfg(not(target_arch = "wasm32"))]
pub use adapter::adapters;
