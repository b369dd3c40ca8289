//! The example `handwriting` from outside: what it learns, what it says of files, and what it answers to damaged ones.
//!
//! The contract: a run ends in a test event with a share of what is right, and a bad file in one message that names
//! file and line. `cargo test` builds the example.

use std::{fs, path::Path, process::Output};

use serde_json::Value;

use crate::support::{self, events, refused};

fn run(folder: &Path, args: &[&str]) -> Output {
    support::run("handwriting", folder, args)
}

fn last(output: &Output) -> Value {
    events(output).pop().unwrap()
}

/// Digits that any network tells apart: the pen goes to the right, and up where the digit in binary has a 1.
fn strokes(count: usize) -> String {
    let line = |at: usize| {
        let digit = at % 10;
        let height = |point: usize| if digit >> (point / 2) & 1 == 1 { 90 + at % 7 } else { at % 5 };
        let points = (0..8).map(|point| format!("{:>3},{:>3}", point * 14, height(point)));
        format!("{},{digit}\n", points.collect::<Vec<_>>().join(","))
    };
    (0..count).map(line).collect()
}

#[test]
fn strokes_in_the_format_of_the_uci_are_learned_and_then_read() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("pendigits.tra"), strokes(400)).unwrap();
    fs::write(folder.path().join("pendigits.tes"), strokes(50)).unwrap();
    let test = last(&run(folder.path(), &["--data", ".", "--hidden", "24", "--epochs", "12", "--batch-size", "16"]));
    assert_eq!((test["event"].as_str(), test["strokes"].as_u64()), (Some("test"), Some(50)));
    assert!(test["accuracy"].as_f64().unwrap() > 0.6, "{test}");
    let picture = fs::read_to_string(folder.path().join("out/handwriting.svg")).unwrap();
    assert!(picture.contains("confusion on the test part"));

    let prediction = last(&run(folder.path(), &["--predict", "pendigits.tes"]));
    assert_eq!((prediction["event"].as_str(), prediction["stroke"].as_u64()), (Some("prediction"), Some(50)));
    assert!(prediction["digit"].as_u64().unwrap() < 10 && prediction["probability"].as_f64().unwrap() <= 1.0);
}

#[test]
fn the_digits_it_draws_itself_are_learned_and_drawn_alike_from_one_seed() {
    let folder = tempfile::tempdir().unwrap();
    let short = ["--epochs", "4", "--hidden", "32"];
    let [first, second] = [(); 2].map(|()| last(&run(folder.path(), &short)));
    // A tenth is what guessing reads.
    assert!(first["accuracy"].as_f64().unwrap() > 0.5, "{first}");
    assert_eq!(first["accuracy"], second["accuracy"]);
}

#[test]
fn a_damaged_file_is_named_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let good = strokes(2);
    for (file, expected) in [
        (format!("{good}1,2,3\n"), "line 3: 3 numbers, expected 17"),
        (
            format!("{good}{}", good.replacen("  0,", "101,", 1)),
            "number 1 is \"101\", expected a whole number from 0 to 100",
        ),
        (good.replace(",1\n", ",one\n"), "line 2: number 17 is \"one\""),
        // As Windows ends lines, and one that is blank.
        (good.replace(",1\n", ",one\n").replacen('\n', "\r\n\r\n", 1), "line 3: number 17 is \"one\""),
        (String::new(), "has no strokes"),
    ] {
        fs::write(folder.path().join("pendigits.tra"), &file).unwrap();
        fs::write(folder.path().join("pendigits.tes"), &good).unwrap();
        let output = run(folder.path(), &["--data", "."]);
        refused(&output, "pendigits.tra");
        refused(&output, expected);
    }
    refused(&run(folder.path(), &["--data", "no-such"]), "no-such");
    refused(&run(folder.path(), &["--predict", "no-such"]), "train first");
}

#[test]
fn one_stroke_is_too_few_to_learn_from() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("pendigits.tra"), strokes(1)).unwrap();
    fs::write(folder.path().join("pendigits.tes"), strokes(1)).unwrap();
    refused(&run(folder.path(), &["--data", "."]), "nothing is left to learn from");
    assert!(!folder.path().join("out/handwriting.safetensors").exists());
}

#[test]
fn an_option_that_makes_no_sense_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let small = ["--hidden", "2", "--epochs", "1"];
    for (args, expected) in [
        (&["--epochs", "0"][..], "--epochs is 0"),
        (&["--batch-size", "0"], "--batch-size is 0"),
        (&["--patience", "0"], "--patience is 0"),
        (&["--hidden", "0"], "hidden units (H) is 0"),
        (&["--learning-rate", "nan"], "the learning rate is NaN"),
        (&["--layers", "1", "--dropout", "0.1"], "the network has one recurrent layer"),
        (&["--plot", "out/handwriting.safetensors"], "out/handwriting.safetensors is named twice"),
        (&["--plot", "."], "cannot write ."),
        (&["--learning-rate", "1e30"], "the learning rate is 1e30, expected at most 1e15"),
        (
            &["--learning-rate", "1e4"],
            "weight decay is 1e-2, expected at least 0 and, at a learning rate of 1e4, at most 1e-4",
        ),
    ] {
        refused(&run(folder.path(), args), expected);
    }
    let predict = run(folder.path(), &["--predict", "no-such", "--epochs", "3"]);
    assert_eq!(predict.status.code(), Some(2), "{}", String::from_utf8_lossy(&predict.stderr));
    // One layer has nothing to leave out, whatever the example's own network has.
    last(&run(folder.path(), &[&small[..], &["--layers", "1"]].concat()));
    last(&run(folder.path(), &[&small[..], &["--batch-size", "18446744073709551615"]].concat()));
}
