//! The example `cartpole` from outside: what it learns of what it cannot see, and what it answers to what cannot be.
//!
//! The contract: a policy with memory does better than the same without, from few steps already; one seed is one run.
//! `cargo test` builds the example.

use std::{fs, path::Path, process::Output};

use recurrent::{Checkpoint, Config, InputKind, Model};
use serde_json::Value;

use crate::support::{self, events, refused};

fn run(folder: &Path, args: &[&str]) -> Output {
    support::run("cartpole", folder, args)
}

fn last(output: &Output) -> Value {
    events(output).pop().unwrap()
}

#[test]
fn a_memory_keeps_the_pole_up_for_longer() {
    let folder = tempfile::tempdir().unwrap();
    let test = last(&run(folder.path(), &["--steps", "60000", "--hidden", "16", "--episodes", "50"]));
    assert_eq!((test["event"].as_str(), test["episodes"].as_u64()), (Some("test"), Some(50)));
    let [reward, without] = [&test["reward"], &test["memoryless"]["reward"]].map(|reward| reward.as_f64().unwrap());
    assert!(reward > 1.5 * without && reward > 100.0, "{test}");
    let picture = fs::read_to_string(folder.path().join("out/cartpole.svg")).unwrap();
    assert!(picture.contains("mean reward by thousands of steps") && picture.contains("angle by step, degrees"));

    // What was kept plays as it did in the test, and each with the memory that it learned with.
    for (file, expected, memory) in
        [("out/cartpole.safetensors", reward, true), ("out/cartpole.memoryless.safetensors", without, false)]
    {
        let said = last(&run(folder.path(), &["--predict", file, "--episodes", "50"]));
        assert_eq!((said["event"].as_str(), said["memory"].as_bool()), (Some("prediction"), Some(memory)));
        assert_eq!(said["reward"].as_f64(), Some(expected), "{file}");
        assert_eq!(said["rewards"].as_array().unwrap().len(), 50);
    }
}

#[test]
fn one_seed_is_one_run() {
    let folder = tempfile::tempdir().unwrap();
    let short = ["--steps", "6000", "--hidden", "8", "--environments", "6", "--window", "50", "--cell", "lstm"];
    let points = |seed: &str| -> Vec<Value> {
        let events = events(&run(folder.path(), &[&short[..], &["--seed", seed]].concat()));
        events.into_iter().filter(|event| event["event"] == "validation").collect()
    };
    let first = points("3");
    assert_eq!(first, points("3"));
    assert_ne!(first, points("4"));
    // At the beginning, and after every second of 20 updates.
    let of = |policy: &str| first.iter().filter(|event| event["policy"] == policy).count();
    assert_eq!((of("recurrent"), of("memoryless")), (11, 11), "{first:?}");
}

#[test]
fn what_cannot_be_is_one_message() {
    let folder = tempfile::tempdir().unwrap();
    for (args, expected) in [
        (["--steps", "0"], "--steps is 0"),
        (["--window", "0"], "--window is 0, expected 1 to 4096"),
        (["--environments", "5000"], "--environments is 5000"),
        (["--episodes", "0"], "--episodes is 0"),
        (["--hidden", "0"], "hidden"),
        (["--learning-rate", "-1"], "learning rate"),
        (["--plot", "out/cartpole.safetensors"], "is named twice"),
        (["--predict", "no-such.safetensors"], "train first"),
    ] {
        refused(&run(folder.path(), &args), expected);
    }
    let path = folder.path().join("other.safetensors");
    let model = Model::new(Config::gru(InputKind::Dense(2), 4, 2)).unwrap();
    model.save(&path).unwrap();
    refused(&run(folder.path(), &["--predict", "other.safetensors"]), "was not written by `cartpole`");
    // One of its own that says so, and is of another network.
    let mut checkpoint = Checkpoint::from(model);
    checkpoint.notes = recurrent_examples::options::notes("cartpole", &true).unwrap();
    checkpoint.save(&path).unwrap();
    refused(&run(folder.path(), &["--predict", "other.safetensors"]), "does not choose between 2 pushes");
    let output = run(folder.path(), &["--predict", "other.safetensors", "--hidden", "3"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot be used with"), "{output:?}");
}

#[test]
fn a_rate_that_is_far_too_high_ends_with_the_best_network_before() {
    let folder = tempfile::tempdir().unwrap();
    let args = ["--steps", "20000", "--hidden", "128", "--cell", "elman", "--learning-rate", "1e15", "--episodes", "3"];
    let events = events(&run(folder.path(), &args));
    // Whether it comes to numbers that are not finite depends on the machine's vector instructions.
    let best = |policy: &str| {
        let of = events.iter().filter(|event| event["policy"] == policy);
        of.filter_map(|event| event["reward"].as_f64()).fold(0.0, f64::max)
    };
    assert!(best("recurrent") > 0.0 && best("memoryless") > 0.0, "{events:?}");
    assert_eq!(events.last().unwrap()["event"], "test");
    let kept = Checkpoint::load(folder.path().join("out/cartpole.safetensors")).unwrap();
    assert!(kept.model.values().iter().all(|value| value.is_finite()));
}
