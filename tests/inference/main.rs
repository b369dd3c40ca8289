//! Inference: whole sequences by a predictor, and step by step by a stream.
//!
//! The contract: both say the same, on the CPU and on the GPU, whatever the lengths, the directions and the start.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../common/mod.rs"]
mod common;

mod heads;
mod predict;
mod stream;
