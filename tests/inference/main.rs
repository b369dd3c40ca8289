//! Inference: whole sequences by a predictor, step by step by a stream, and what is measured of them.
//!
//! The contract: both say the same, on the CPU and on the GPU, whatever the lengths, the directions and the start.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../common/mod.rs"]
mod common;

mod ctc;
mod heads;
mod metrics;
mod predict;
mod realtime;
mod stream;
