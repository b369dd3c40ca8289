//! What the example `text` answers to texts, options and files that do not fit.
//!
//! The contract: one message with exit code 1 that names what was given, before anything is trained or written.

use std::fs;

use recurrent::Checkpoint;

use super::{Room, SMALL, fail, stderr, succeed, text};

#[test]
fn a_text_that_cannot_be_learned_is_an_error() {
    let room = Room::new();
    room.file("empty.txt", "");
    room.file("short.txt", "too short");
    room.file("latin1.txt", b"good\nb\xe4d");
    let train = |data| room.command(&[&["--data", data], &SMALL[..]].concat());
    fail(train("none.txt"), &["none.txt"]);
    fail(train("empty.txt"), &["empty.txt", "is empty"]);
    fail(train("short.txt"), &["too short", "at least 41", "--batch-size"]);
    fail(train("latin1.txt"), &["latin1.txt", "UTF-8", "offset 6", "line 2"]);
    assert!(!room.path("out").exists(), "an error leaves nothing behind");
}

#[test]
fn an_option_that_makes_no_sense_is_an_error() {
    let room = Room::new();
    let cases: [(&[&str], &[&str]); 13] = [
        (&["--hidden", "0"], &["hidden", "is 0"]),
        (&["--seq-length", "0"], &["steps", "is 0"]),
        (&["--batch-size", "0"], &["sequences", "is 0"]),
        (&["--epochs", "0"], &["--epochs is 0"]),
        (&["--patience", "0"], &["--patience is 0"]),
        (&["--learning-rate", "nan"], &["learning rate", "NaN"]),
        (&["--grad-clip", "-1"], &["clipping", "-1"]),
        (&["--train-fraction", "1.5"], &["--train-fraction is 1.5"]),
        (&["--validation-fraction", "0.2"], &["--validation-fraction is 0.2"]),
        (&["--momentum", "0.9"], &["--optimizer sgd"]),
        (&["--weight-decay", "0.1"], &["--optimizer adamw"]),
        (&["--cell", "gru", "--activation", "relu"], &["--cell elman"]),
        (&["--layers", "0"], &["layers (L)", "is 0"]),
    ];
    for (args, words) in cases {
        fail(room.command(&[&["--data", "data.txt"], args].concat()), words);
    }
    let both = room.train(&["--grad-clip", "1", "--clip-value", "1"]).output().unwrap();
    assert_eq!(both.status.code(), Some(2), "{}", stderr(&both));
    let before = room.command(&["--hidden", "8", "sample"]).output().unwrap();
    assert_eq!(before.status.code(), Some(2), "{}", stderr(&before));
}

#[test]
fn a_sample_that_cannot_be_drawn_is_an_error() {
    let room = Room::new().trained();
    let sample = |args: &[&str]| room.command(&[&["sample"], args].concat());
    fail(sample(&["--prime", "the Q"]), &["--prime", "'Q'", "column 5"]);
    fail(sample(&["--length", "0"]), &["--length is 0"]);
    fail(sample(&["--temperature", "-1"]), &["temperature", "-1"]);
    fail(sample(&["--temperature", "nan"]), &["temperature", "NaN"]);
    fail(sample(&["--checkpoint", "none.safetensors"]), &["none.safetensors"]);
}

#[test]
fn a_checkpoint_of_something_else_is_an_error() {
    let room = Room::new().trained();
    let bytes = room.read("out/text.safetensors");
    room.file("cut.safetensors", &bytes[..bytes.len() / 2]);
    room.file("noise.safetensors", "no checkpoint at all");
    Checkpoint::load(room.path("out/text.safetensors")).unwrap().model.save(room.path("bare.safetensors")).unwrap();
    for command in ["sample", "eval"] {
        let with = |file| room.command(&[command, "--checkpoint", file]);
        fail(with("cut.safetensors"), &["cut.safetensors"]);
        fail(with("noise.safetensors"), &["noise.safetensors"]);
        fail(with("bare.safetensors"), &["bare.safetensors", "not written by this example"]);
    }
    fail(room.command(&["--resume", "cut.safetensors"]), &["cut.safetensors"]);
}

#[test]
fn one_file_in_two_roles_is_an_error() {
    let room = Room::new().trained();
    let before = std::fs::read(room.path("data.txt")).unwrap();
    for roles in [["--checkpoint", "data.txt"], ["--plot", "./data.txt"], ["--plot", "out/text.training.safetensors"]] {
        fail(room.command(&[&["--data", "data.txt", "--epochs", "1"], &roles[..]].concat()), &["named twice"]);
    }
    assert_eq!(std::fs::read(room.path("data.txt")).unwrap(), before);
}

#[test]
fn another_text_is_an_error() {
    let room = Room::new().trained();
    room.file("other.txt", text(3000).replace('g', "Q"));
    let words = ["another alphabet", "1 character that the checkpoint lacks ('Q')", "('g')"];
    let resume = ["--resume", "out/text.safetensors", "--epochs", "2"];
    fail(room.command(&[&resume[..], &["--data", "other.txt"]].concat()), &words);
    fail(room.command(&["eval", "--data", "other.txt"]), &["other.txt", "'Q'"]);
    // Fewer characters than the network knows are no hindrance.
    room.file("few.txt", text(3000).replace('g', "e"));
    succeed(room.command(&["eval", "--data", "few.txt", "--split", "all"]));
    // The same characters, but not the same text.
    room.file("data.txt", text(3100));
    fail(room.command(&resume), &["data.txt", "no longer"]);
    fail(room.command(&["eval"]), &["data.txt", "no longer"]);
    succeed(room.command(&["eval", "--data", "data.txt"]));
}

#[test]
fn an_option_that_contradicts_the_checkpoint_is_an_error() {
    let room = Room::new().trained();
    let resume = |args: &[&str]| room.command(&[&["--resume", "out/text.safetensors", "--epochs", "2"], args].concat());
    fail(resume(&["--hidden", "256"]), &["--hidden 256", "24"]);
    fail(resume(&["--cell", "lstm"]), &["--cell", "lstm", "elman"]);
    fail(resume(&["--layers", "2"]), &["--layers 2", "1"]);
    fail(resume(&["--activation", "relu"]), &["--activation", "relu", "tanh"]);
    fail(resume(&["--clip-value", "5"]), &["clipping"]);
    fail(resume(&["--optimizer", "sgd"]), &["--optimizer", "sgd", "adam"]);
    succeed(resume(&["--hidden", "24", "--learning-rate", "1e-2", "--grad-clip", "5.0"]));
}

#[test]
fn a_file_that_cannot_be_written_is_an_error_before_training() {
    let room = Room::new();
    fs::create_dir(room.path("folder")).unwrap();
    for option in ["--checkpoint", "--plot"] {
        fail(room.train(&[option, "folder"]), &["folder"]);
        fail(room.train(&[option, "data.txt/file"]), &["data.txt"]);
    }
    let left: Vec<_> = fs::read_dir(room.path("folder")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(!room.path("out/text.safetensors").exists() && !room.path("out/text.svg").exists());
}
