//! The example `real_time`: what it says of good models and of bad ones.
//!
//! The contract: no test looks at how long anything took; `scripts/counts.sh` counts instructions and system calls.

use std::process::{Command, Output};

use recurrent::{Config, Directions, InputKind, Model};

use crate::support::program;

fn run(args: &[&str]) -> Output {
    Command::new(program("real_time")).args(args).env_remove("RUST_LOG").output().unwrap()
}

#[test]
fn a_block_is_timed() {
    let output = run(&["--blocks", "20", "--cell", "gru", "--hidden", "9", "--block", "32", "--rate", "32000"]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && said.contains("a block of 32 samples lasts 1000 µs and takes "), "{said}");
}

#[test]
fn what_cannot_run_in_real_time_is_one_message() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("model.safetensors");
    let path = file.to_str().unwrap();
    let dense = |inputs, outputs| Config::lstm(InputKind::Dense(inputs), 4, outputs);
    for (config, says) in [
        (dense(2, 1), "reads Dense(2) and has 1 outputs, expected one number in and one out"),
        (dense(1, 3), "has 3 outputs, expected one number in and one out"),
        (dense(1, 1).with_directions(Directions::Bidirectional), "expected layers that read forwards"),
    ] {
        Model::new(config).unwrap().save(&file).unwrap();
        let output = run(&["--model", path]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && said.contains(says), "{said}");
    }
    for (args, says) in [
        (["--model", "no-such-file"], "there is no such file"),
        (["--block", "0"], "expected at least 1"),
        (["--rate", "0"], "expected at least 1"),
        (["--hidden", "0"], "hidden units (H)"),
    ] {
        let output = run(&args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && said.contains(says), "{said}");
    }
}
