//! An example from outside: run in a folder, and what it said taken apart.
//!
//! The contract: what it says where it succeeds is JSON, an object a line; where it fails it is one message. An example
//! that is not there fails the test with the command that builds it.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;

/// The executable of that example, of the profile that the test itself was built in.
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    let program = profile.join("examples").join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(program.is_file(), "{} is missing: cargo build --example {name}", program.display());
    program
}

/// Runs an example on the CPU.
pub fn run(name: &str, folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(program(name));
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
        said.starts_with("error: ") && says(said, words) && said.trim_end().lines().count() == 1,
        "{words}: {said}"
    );
}

/// Whether a message holds these words. Paths in it may be parted by `/` or, on Windows, by `\`, or by some of each.
pub fn says(message: &str, words: &str) -> bool {
    let [message, words] = [message, words].map(|text| text.replace('\\', "/"));
    message.contains(&words)
}
