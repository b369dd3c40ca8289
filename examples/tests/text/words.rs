//! The example `text` with `--words`: what it learns, measures and writes, and what it refuses.
//!
//! The contract: a checkpoint of words is used without being told that it is one, no unknown word is written, and the
//! n-gram model beside the network is that of the same words.

use std::{fs, process::Command};

use recurrent::Checkpoint;
use serde_json::Value;

use super::{Room, events, fail, keys, named, stderr, succeed};

/// Lines that end with the word they begin with, too far apart for an n-gram.
fn lines(count: usize) -> String {
    let names = ["Ada", "Ben", "Cid", "Dot", "Eve", "Fay"];
    let line = |at: usize| {
        let name = names[at * at % 31 % names.len()];
        format!("{name}: \"no,\" {name}.\n")
    };
    (0..count).map(line).collect()
}

impl Room {
    fn of_lines() -> Self {
        let room = Room::new();
        room.file("data.txt", lines(300));
        room
    }

    fn learn(&self, args: &[&str]) -> Command {
        self.train_at("0.02", &[&["--words", "--dropout-inputs", "0"], args].concat())
    }
}

fn number(event: &Value, key: &str) -> f64 {
    event[key].as_f64().unwrap_or_else(|| panic!("no {key} in {event}"))
}

#[test]
fn words_are_learned_better_than_n_grams_know_them() {
    let room = Room::of_lines();
    let stdout = succeed(room.learn(&["--epochs", "20", "--dropout", "0"]));
    assert!(!stdout.contains("null"), "a number that is not finite: {stdout}");
    let events = events(&stdout);
    let ngrams = named(&events, "ngram");
    assert_eq!(ngrams.iter().map(|e| e["split"].as_str().unwrap()).collect::<Vec<_>>(), ["validation", "test"]);
    for event in &ngrams {
        assert_eq!(keys(event), ["event", "nats", "order", "perplexity", "split"]);
    }
    let train = named(&events, "train");
    assert_eq!(keys(train[0]), ["epoch", "event", "nats", "norm", "step", "words_per_second"]);
    let validation = named(&events, "validation");
    assert_eq!(keys(validation[0]), ["epoch", "event", "nats", "perplexity"]);
    let test = events.last().unwrap();
    assert_eq!(keys(test), ["event", "nats", "ngram_perplexity", "perplexity", "seconds", "unknown", "words"]);
    let (network, by_ngrams) = (number(test, "perplexity"), number(test, "ngram_perplexity"));
    assert!(
        (network - number(test, "nats").exp()).abs() < 1e-9 * network && by_ngrams == number(ngrams[1], "perplexity")
    );
    // Who has heard a name knows the one that ends the line; three words further on n-grams have forgotten it.
    assert!(network < 0.95 * by_ngrams, "{network}, by n-grams {by_ngrams}");
    assert_eq!((test["words"].as_u64(), test["unknown"].as_u64()), (Some(135), Some(0)));
    let svg = String::from_utf8(room.read("out/text.svg")).unwrap();
    assert!(svg.contains("nats per word"));

    // What was learned is known to be of words.
    let evaluate = |split| {
        let stdout = succeed(room.command(&["eval", "--json", "--split", split]));
        named(&super::events(&stdout), "evaluation")[0].clone()
    };
    assert_eq!(number(&evaluate("test"), "perplexity"), network);
    let best = validation.iter().map(|event| number(event, "perplexity")).fold(f64::INFINITY, f64::min);
    assert_eq!(number(&evaluate("validation"), "perplexity"), best);
    let sample = succeed(room.command(&["sample", "--temperature", "0", "--length", "14", "--prime", "Ben:"]));
    let quoted = "\"no,\"";
    assert!(sample.starts_with(&format!("Ben: {quoted} Ben.\n")), "{sample}");
    assert!(sample.matches(quoted).count() == 2 && !sample.contains("  "), "{sample}");
}

#[test]
fn the_vocabulary_is_that_of_the_training_part_and_the_unknown_is_never_written() {
    let room = Room::of_lines();
    // The last line is in the test part, and nothing of it before.
    room.file("data.txt", format!("no no\n{}Zoe nods nods nods\n", lines(300)));
    let stdout = succeed(room.learn(&["--epochs", "1"]));
    let test = events(&stdout).pop().unwrap();
    assert_eq!((test["words"].as_u64(), test["unknown"].as_u64()), (Some(135), Some(4)), "{test}");
    // One word is known, and all others look alike.
    succeed(room.learn(&["--epochs", "1", "--vocabulary", "2"]));
    let model = Checkpoint::load(room.path("out/text.safetensors")).unwrap().model;
    assert_eq!(model.config().outputs, 2);
    let sample = |prime: &str| succeed(room.command(&["sample", "--length", "3", "--prime", prime]));
    assert_eq!(sample("it is, no"), "it is, no no no no");
    assert_eq!(sample("is "), "is no no no");
    assert_eq!(sample(""), "no no no");
}

#[test]
fn a_resumed_run_of_words_ends_in_the_same_bytes() {
    let room = Room::of_lines();
    let run = |more: &[&str]| succeed(room.learn(&[&["--dropout-hidden", "0.1", "--layers", "2"], more].concat()));
    run(&["--epochs", "3", "--checkpoint", "whole.safetensors"]);
    run(&["--epochs", "1", "--checkpoint", "part.safetensors"]);
    let stdout = succeed(room.command(&["--resume", "part.safetensors", "--epochs", "3", "--json"]));
    assert_eq!(named(&events(&stdout), "ngram").len(), 2);
    for name in ["", ".training"] {
        let [whole, part] = ["whole", "part"].map(|of| room.read(&format!("{of}{name}.safetensors")));
        assert!(whole == part, "whole{name} and part{name} differ");
    }
}

#[test]
fn what_has_no_words_enough_is_an_error() {
    let room = Room::new();
    room.file("empty.txt", "");
    room.file("space.txt", " \t");
    room.file("one.txt", "word");
    room.file("distinct.txt", "no word is here more than once");
    room.file("short.txt", "again and again and again");
    let train = |data: &str| room.command(&["--words", "--data", data]);
    fail(train("empty.txt"), &["empty.txt", "no words"]);
    fail(train("space.txt"), &["space.txt", "no words"]);
    fail(train("one.txt"), &["one.txt", "twice"]);
    fail(train("distinct.txt"), &["distinct.txt", "twice"]);
    fail(train("short.txt"), &["too short", "words to train on", "--batch-size"]);
    assert!(!room.path("out").exists(), "an error leaves nothing behind");
}

#[test]
fn options_of_words_that_make_no_sense_are_errors() {
    let room = Room::of_lines();
    let cases: [(&[&str], &[&str]); 8] = [
        (&["--vocabulary", "100"], &["--vocabulary", "--words"]),
        (&["--words", "--vocabulary", "0"], &["--vocabulary is 0", "at least 2"]),
        (&["--words", "--vocabulary", "1"], &["--vocabulary is 1", "at least 2"]),
        (&["--words", "--layers", "0"], &["--layers is 0"]),
        (&["--words", "--layers", "99999999999"], &["layers"]),
        (&["--words", "--dropout", "1"], &["rate is 1"]),
        (&["--words", "--activation", "relu"], &["--cell elman"]),
        (&["--words", "--train-fraction", "0"], &["--train-fraction is 0"]),
    ];
    for (args, words) in cases {
        fail(room.command(&[&["--data", "data.txt"], args].concat()), words);
    }
    for command in ["sample", "eval"] {
        let output = room.command(&[command, "--words"]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    }
}

#[test]
fn a_checkpoint_of_the_other_kind_is_not_taken_for_one_of_words() {
    let room = Room::of_lines();
    succeed(room.train(&["--epochs", "1"]));
    let resume = |args: &[&str]| room.command(&[&["--resume", "out/text.safetensors", "--epochs", "2"], args].concat());
    fail(resume(&["--words"]), &["--words contradicts", "characters"]);
    fail(resume(&["--vocabulary", "9"]), &["--vocabulary", "--words"]);
    succeed(room.learn(&["--epochs", "1"]));
    fail(resume(&["--vocabulary", "9"]), &["--vocabulary 9", "10000"]);
    fail(resume(&["--dropout", "0.2"]), &["--dropout 0.2", "0.4"]);
    room.file("other.txt", lines(300).replace("Eve", "Eva"));
    let words = ["another vocabulary", "1 word that the checkpoint lacks (\"Eva\")", "(\"Eve\")"];
    fail(resume(&["--data", "other.txt"]), &words);
    let swapped = lines(300).replace("Eve", "-").replace("Ada", "Eve").replace('-', "Ada");
    room.file("swapped.txt", swapped);
    fail(resume(&["--data", "swapped.txt"]), &["another vocabulary", "same words in another order"]);
    // Another text is measured all the same.
    let stdout = succeed(room.command(&["eval", "--data", "other.txt", "--split", "all", "--json"]));
    let unknown = lines(300).matches("Eve").count() as u64;
    assert_eq!(named(&events(&stdout), "evaluation")[0]["unknown"].as_u64(), Some(unknown));
    succeed(resume(&["--words"]));
    // A network of characters with the notes of words, as no training writes it.
    let mut checkpoint = Checkpoint::load(room.path("out/text.safetensors")).unwrap();
    checkpoint.notes.remove("vocabulary");
    checkpoint.save(room.path("damaged.safetensors")).unwrap();
    fail(room.command(&["sample", "--checkpoint", "damaged.safetensors"]), &["damaged.safetensors", "notes"]);
    fs::remove_file(room.path("out/text.training.safetensors")).unwrap();
    fail(resume(&["--words"]), &["no training to go on with"]);
}
