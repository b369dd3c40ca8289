//! What every example is as a program: how it ends, and where it computes.
//!
//! The contract: what is wrong is said in one message, with exit code 1.

use std::{
    io::{self, Write},
    process::{ExitCode, Termination},
};

use anyhow::Result;
use recurrent::Device;
use serde_json::json;

use crate::report::Report;

/// Runs an example to its exit code, which is its own where it has one.
pub fn main<T: Termination>(run: impl FnOnce() -> Result<T>) -> ExitCode {
    // Of the crate its warnings, of others what RUST_LOG asks for.
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("recurrent=warn")).init();
    match run() {
        Ok(done) => done.report(),
        // The reader has seen enough, as `head` has.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to be told where this fails.
            let _ = writeln!(io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The device that was asked for, said aloud.
pub fn open(asked: &str, report: &Report) -> Result<Device> {
    let device = Device::parse(asked)?;
    let name = device.name();
    let why = if asked == "best" && !device.is_gpu() { "; no hardware GPU was found" } else { "" };
    report.event(&json!({ "event": "device", "name": name, "gpu": device.is_gpu() }))?;
    report.line(&format!("device: {name}{why}"))?;
    Ok(device)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let kind = error.chain().find_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
    kind == Some(io::ErrorKind::BrokenPipe)
}
