//! A character-level network: trains on a text by truncated back-propagation through time, and writes more of it.
//!
//! The contract: what is wrong with the input is said in one message before training starts, with exit code 1; an
//! interrupted training saves, says how to go on, and exits with 130.
//!
//! ```text
//! cargo run --release --example text
//! cargo run --release --example text -- --data FILE --hidden 512 --epochs 50
//! cargo run --release --example text -- sample --prime "fn " --temperature 0.5
//! cargo run --release --example text -- eval --split test
//! cargo run --release --example text -- devices
//! ```

mod args;
mod devices;
mod eval;
mod notes;
mod plot;
mod progress;
mod report;
mod run;
mod sample;
mod settings;
mod source;
mod text;
mod train;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::Result;

use args::{Command, Common};

fn main() -> ExitCode {
    // Of the crate its warnings, of others what RUST_LOG asks for.
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("recurrent=warn")).init();
    let (command, common) = args::parse();
    match execute(&command, &common) {
        Ok(code) => code,
        // The reader has seen enough, as `head` has.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to be told where this fails.
            let _ = writeln!(io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn execute(command: &Command, common: &Common) -> Result<ExitCode> {
    match command {
        Command::Train(args) => return train::run(args, common),
        Command::Sample(args) => sample::run(args, common)?,
        Command::Eval(args) => eval::run(args, common)?,
        Command::Devices => devices::list(&report::Report::new(common.json))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let kind = error.chain().find_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
    kind == Some(io::ErrorKind::BrokenPipe)
}
