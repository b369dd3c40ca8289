//! An example from outside: run in a folder, and what it said taken apart.
//!
//! The contract: what it says where it succeeds is JSON, an object a line; where it fails it is one message.

use std::{
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

#[path = "program.rs"]
mod program;

/// Runs an example on the CPU.
pub fn run(name: &str, folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(program::example(name));
    // The text of a message must not depend on the caller's logging.
    command.args(args).args(["--device", "cpu", "--json"]).current_dir(folder).env_remove("RUST_LOG").output().unwrap()
}

/// What a run said that succeeded.
pub fn events(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = std::str::from_utf8(&output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Fails unless a run failed with one message that holds `words`.
pub fn refused(output: &Output, words: &str) {
    let said = std::str::from_utf8(&output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{words}: {said}");
    assert!(
        said.starts_with("error: ") && program::says(said, words) && said.trim_end().lines().count() == 1,
        "{words}: {said}"
    );
}
