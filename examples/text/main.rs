//! A network of characters or words: trains on a text by truncated back-propagation through time, and writes more.
//!
//! The contract: what is wrong with the input is said in one message before training starts, with exit code 1; an
//! interrupted training saves, says how to go on, and exits with 130, or with 143 or 129 on SIGTERM or SIGHUP.
//!
//! ```text
//! cargo run --release --example text
//! cargo run --release --example text -- --data FILE --hidden 512 --epochs 50
//! cargo run --release --example text -- --words --data FILE
//! cargo run --release --example text -- sample --prime "fn " --temperature 0.5
//! cargo run --release --example text -- eval --split test
//! cargo run --release --example text -- devices
//! ```

mod args;
mod devices;
mod eval;
mod events;
mod ngram;
mod notes;
mod plot;
mod progress;
mod run;
mod sample;
mod settings;
mod text;
mod tokenizer;
mod train;

use std::process::ExitCode;

use recurrent_examples::{program, report::Report};

use args::Command;

fn main() -> ExitCode {
    program::main(|| {
        let (command, common) = args::parse();
        match &command {
            Command::Train(args) => return train::run(args, &common),
            Command::Sample(args) => sample::run(args, &common)?,
            Command::Eval(args) => eval::run(args, &common)?,
            Command::Devices => devices::list(&Report::new(common.json))?,
        }
        Ok(ExitCode::SUCCESS)
    })
}
