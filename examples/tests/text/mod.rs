//! The example `text` from outside: a process with arguments, its output, its files and its exit code.
//!
//! The contract: whatever a user gives it, it answers with a result or one message, never with a panic; a training
//! taken up again ends in the same bytes as one that was not interrupted.

mod output;
mod refusals;
mod resumption;
mod training;
mod words;

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{program, says};

/// A network that learns in no time.
const SMALL: [&str; 6] = ["--hidden", "24", "--seq-length", "10", "--batch-size", "4"];

/// A folder with a text to learn.
struct Room(TempDir);

impl Room {
    fn new() -> Self {
        let room = Room(tempfile::tempdir().unwrap());
        room.file("data.txt", text(3000));
        room
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path(name), bytes).unwrap();
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(program("text"));
        // The text of a message must not depend on the caller's logging.
        command.args(args).args(["--device", "cpu"]).current_dir(self.0.path()).env_remove("RUST_LOG");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn train(&self, args: &[&str]) -> Command {
        self.train_at("0.01", args)
    }

    fn train_at(&self, rate: &str, args: &[&str]) -> Command {
        self.command(&[&["--data", "data.txt", "--json", "--learning-rate", rate], &SMALL[..], args].concat())
    }

    /// A trained network in `out/text.safetensors`.
    fn trained(self) -> Self {
        succeed(self.train(&["--epochs", "1"]));
        self
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }
}

/// Words in an order that is neither random nor trivial.
fn text(length: usize) -> String {
    let words = ["network", "gate", "hidden", "state\n", "unroll", "of", "the", "loss"];
    let mut state = 1usize;
    let mut text = String::new();
    while text.len() < length {
        state = (state * 1_103_515_245 + 12_345) % (1 << 31);
        text += words[(state >> 16) % words.len()];
        text.push(' ');
    }
    text
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn succeed(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{:?}: {}", output.status, stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Fails with exit code 1 and one message that holds all of `words`.
fn fail(mut command: Command, words: &[&str]) {
    let output = command.output().unwrap();
    let message = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.starts_with("error: ") && message.trim_end().lines().count() == 1, "{message}");
    for word in words {
        assert!(says(&message, word), "no `{word}` in: {message}");
    }
}

fn events(stdout: &str) -> Vec<Value> {
    stdout.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

fn named<'a>(events: &'a [Value], name: &str) -> Vec<&'a Value> {
    events.iter().filter(|e| e["event"] == name).collect()
}

fn keys(event: &Value) -> Vec<&str> {
    event.as_object().unwrap().keys().map(String::as_str).collect()
}

/// The validation losses of a training, in their order.
fn validations(stdout: &str) -> Vec<f64> {
    named(&events(stdout), "validation").iter().map(|event| event["nats"].as_f64().unwrap()).collect()
}
