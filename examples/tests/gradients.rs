//! The example `gradients` from outside: what its traces say, what it writes, and what it answers to what cannot be.
//!
//! The contract: gradients of the known networks go back as theory has it. `cargo test` builds the example.

use std::{fs, path::Path, process::Output};

use serde_json::Value;

use crate::support::{self, events, refused};

fn run(folder: &Path, args: &[&str]) -> Output {
    support::run("gradients", folder, args)
}

#[test]
fn gradients_vanish_and_explode_as_they_are_known_to() {
    let folder = tempfile::tempdir().unwrap();
    let events = events(&run(folder.path(), &["--updates", "20", "--steps", "40", "--trace", "traces.jsonl"]));
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

    let traces = fs::read_to_string(folder.path().join("traces.jsonl")).unwrap();
    let traces: Vec<Value> = traces.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
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
        (["--hidden", "0"], "hidden units (H) is 0"),
        (["--steps", "100000000000"], "[100000000000, 32, 2] needs 6400000000000; the limit is"),
        (["--trace", "out/gradients.svg"], "out/gradients.svg is named twice"),
        (["--plot", "."], "cannot write ."),
    ] {
        refused(&run(folder.path(), &args), expected);
    }
}
