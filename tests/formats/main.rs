//! Files: what comes back from a checkpoint, from an export, and from what other programs wrote.
//!
//! The contract: bit for bit what was saved, and of what is damaged or does not fit an error that says what.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../common/mod.rs"]
mod common;

mod checkpoint;
mod import;
mod keras;
mod sources;
