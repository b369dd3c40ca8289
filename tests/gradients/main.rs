//! Numbers: a network's outputs, losses and gradients against every other source of them that there is.
//!
//! The plain oracle (`reference/`) is held against PyTorch and its f64 twin, the CPU executor in f64, against both;
//! the other executors against the twin. Each source is blind to what another sees: central differences to a fault that
//! the loss shares, PyTorch's files to sizes that are not in them, the oracle to what it does not know. Tolerances are
//! those of `common::compare`, whose comparator is held against planted faults here, too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../common/mod.rs"]
mod common;

mod comparator;
mod ctc;
mod errors;
mod finite_differences;
mod inputs;
mod losses;
mod properties;
mod pytorch;
mod pytorch_matrix;
mod recipes;
mod reference;
mod twin;
mod weight_dropout;
mod zoneout;
