//! What every example is as a program: how it ends.
//!
//! The contract: what is wrong is said in one message, with exit code 1; a closed stdout or stderr ends it quietly.

use std::{
    fmt::Display,
    io::{self, Write},
    path::Path,
    process::{ExitCode, Termination},
};

use anyhow::Result;

/// Runs an example to its exit code, which is its own where it has one.
pub fn main<T: Termination>(run: impl FnOnce() -> Result<T>) -> ExitCode {
    // Of the crate its warnings, of others what RUST_LOG asks for.
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("recurrent=warn")).init();
    match run() {
        Ok(done) => done.report(),
        // The reader has seen enough, as `head` has.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            aside(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Writes a line to stderr, beside the output.
pub fn aside(what: impl Display) {
    // Nobody is left to be told where this fails.
    let _ = writeln!(io::stderr(), "{what}");
}

/// Says that a signal ended a training, with the best network saved but neither tested nor drawn.
pub fn interrupted(checkpoint: &Path) {
    let file = checkpoint.display();
    aside(format_args!("interrupted; the best network so far is saved in {file}, not tested and not drawn"));
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let kind = error.chain().find_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
    kind == Some(io::ErrorKind::BrokenPipe)
}
