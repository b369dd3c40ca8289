//! What the commands `sample` and `devices` write, and a reader that leaves before they are done.
//!
//! The contract: a sample is that of its seed and nothing else is on stdout; an unknown device is told of those there
//! are.

use std::{io::Read, process::Command};

use super::{Room, events, named, stderr, succeed};
use crate::support::program;

#[test]
fn a_sample_is_that_of_its_seed() {
    let room = Room::new().trained();
    let sample = |args: &[&str]| {
        let args = [&["sample", "--json", "--length", "80", "--prime", "the "], args].concat();
        let events = events(&succeed(room.command(&args)));
        named(&events, "sample")[0]["text"].as_str().unwrap().to_owned()
    };
    let first = sample(&["--seed", "1"]);
    assert!(first.starts_with("the ") && first.chars().count() == 84, "{first}");
    assert_eq!(first, sample(&["--seed", "1"]));
    assert_ne!(first, sample(&["--seed", "2"]));
    // The likeliest character needs no luck.
    assert_eq!(sample(&["--temperature", "0", "--seed", "1"]), sample(&["--temperature", "0", "--seed", "2"]));
}

#[test]
fn a_sample_that_is_written_to_a_file_is_the_text_alone() {
    let room = Room::new().trained();
    let output = room.command(&["sample", "--length", "60", "--prime", "the "]).output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(text.starts_with("the ") && text.chars().count() == 64, "{text:?}");
    assert!(stderr(&output).starts_with("device: CPU"), "{}", stderr(&output));
}

#[test]
fn devices_are_listed_and_an_unknown_one_is_an_error() {
    let room = Room::new();
    assert!(succeed(room.command(&["devices"])).lines().last().unwrap().starts_with("cpu "));
    let events = events(&succeed(room.command(&["--json", "devices"])));
    assert!(named(&events, "device")[0]["name"].as_str().unwrap().starts_with("CPU"));
    let mut unknown = Command::new(program("text"));
    unknown.args(["--device", "gpu:no such adapter"]).current_dir(room.0.path());
    let output = unknown.output().unwrap();
    let message = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("no such adapter"), "{message}");
    for adapter in named(&events, "adapter") {
        assert!(message.contains(adapter["name"].as_str().unwrap()), "{message}");
    }
}

#[test]
fn a_reader_that_leaves_is_no_panic() {
    let room = Room::new().trained();
    for args in [&["sample", "--length", "100000"][..], &["sample", "--json"], &["--data", "data.txt"], &["devices"]] {
        let mut child = room.command(args).spawn().unwrap();
        drop(child.stdout.take());
        let mut message = String::new();
        child.stderr.take().unwrap().read_to_string(&mut message).unwrap();
        // Drivers have been seen to write to the standard error themselves.
        assert!(child.wait().unwrap().success() && !message.contains("panicked"), "{args:?}: {message}");
    }
}
