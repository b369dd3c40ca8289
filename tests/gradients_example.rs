//! The example `gradients` from outside: what its traces say, what it writes, and what it answers to what cannot be.
//!
//! The contract: gradients of the known networks go back as theory has it. `cargo test` builds the example.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "failing is how a test speaks")]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

#[path = "common/program.rs"]
mod program;

fn run(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(program::example("gradients"));
    command.args(args).args(["--device", "cpu", "--json"]).current_dir(folder).env_remove("RUST_LOG").output().unwrap()
}

fn lines(text: &[u8]) -> Vec<Value> {
    std::str::from_utf8(text).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn gradients_vanish_and_explode_as_they_are_known_to() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &["--updates", "20", "--steps", "40", "--trace", "traces.jsonl"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let events = lines(&output.stdout);
    let decay = |network: &str| {
        let of = |event: &&Value| event["network"] == network && event["when"] == "at initialisation";
        events.iter().find(of).unwrap()["decay"].as_f64().unwrap()
    };
    // tanh' ≤ 1, so the spectral radius of U bounds what a step leaves in the long run.
    assert!((0.5..0.7).contains(&decay("Elman, ρ(U) = 0.6")), "{events:?}");
    assert!(decay("Elman, ρ(U) = 1.8") > 1.0, "{events:?}");
    let largest = |name: &str| {
        let event = events.iter().find(|event| event["clipping"] == name).unwrap();
        (event["largest_norm"].as_f64().unwrap(), event["loss"].as_f64())
    };
    let (without, with) = (largest("no clipping"), largest("norm at most 1"));
    assert!(without.0 > 100.0 * with.0, "{without:?} {with:?}");
    assert!(with.1.unwrap() < 1.0, "{with:?}");

    let traces = lines(&fs::read(folder.path().join("traces.jsonl")).unwrap());
    assert_eq!(traces.len(), 8, "four networks, before and after");
    assert!(traces.iter().all(|line| line["trace"]["layers"][0]["norms"].as_array().unwrap().len() == 40));
    let picture = fs::read_to_string(folder.path().join("out/gradients.svg")).unwrap();
    assert!(picture.contains("the gradient at initialisation") && picture.contains("after training"));
}

#[test]
fn what_cannot_be_is_one_message() {
    let folder = tempfile::tempdir().unwrap();
    for (args, expected) in [
        (["--steps", "3"], "--steps is 3, expected at least 4"),
        (["--updates", "0"], "--updates is 0, expected at least 1"),
        (["--device", "gpu:no-such-adapter"], "no-such-adapter"),
        (["--hidden", "0"], "hidden units (H) is 0"),
        (["--steps", "100000000000"], "[100000000000, 32, 2] needs 6400000000000; the limit is"),
        (["--trace", "out/gradients.svg"], "out/gradients.svg is named twice"),
        (["--plot", "."], "cannot write ."),
    ] {
        let mut command = Command::new(program::example("gradients"));
        let output = command.args(args).current_dir(folder.path()).env_remove("RUST_LOG").output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.starts_with("error: ") && said.contains(expected), "{said}");
    }
}
