//! The examples from outside: programs with arguments, their output, their files and their exit codes.
//!
//! The contract: `cargo test` builds the programs beside the tests. Whatever a user gives one, it answers with a result
//! or with one message, and never with a panic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "failing is how a test speaks")]

mod cartpole;
#[cfg(unix)]
mod ends;
mod gradients;
mod handwriting;
mod image_patches;
mod kneser_ney;
mod longterm;
mod music;
mod real_time;
mod speech;
mod step_time;
mod support;
mod tagging;
mod text;
mod time_series;
