//! The GPU: the choice of an adapter, the kernels, and the executor that replays plans on them.
//!
//! This folder is the only place that names a wgpu type.

mod adapter;
mod context;
pub(crate) mod executor;
pub(crate) mod kernels;
mod pipelines;
mod progress;
pub(crate) mod slice;
mod slots;
mod wait;

pub use adapter::{Adapter, Select, adapters_async};
pub use context::Gpu;

#[cfg(not(target_arch = "wasm32"))]
pub use adapter::adapters;
