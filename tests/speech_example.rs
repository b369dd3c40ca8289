//! The example `speech` from outside: what it learns of recordings, and what it answers to damaged ones.
//!
//! The contract: a run ends in a test event with a share of what is right, and a bad file in one message that names it and
//! what is wrong. `cargo test` builds the example.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "failing is how a test speaks")]

use std::{fs, path::Path, process::Output};

use hound::{SampleFormat, WavSpec, WavWriter};
use serde_json::Value;

#[path = "common/example.rs"]
mod example;

use example::{events, refused};

const SPEC: WavSpec = WavSpec { channels: 1, sample_rate: 8000, bits_per_sample: 16, sample_format: SampleFormat::Int };

fn run(folder: &Path, args: &[&str]) -> Output {
    example::run("speech", folder, args)
}

fn last(output: &Output) -> Value {
    events(output).pop().unwrap()
}

/// A tone whose pitch is the digit's, of a length that no other has.
fn tone(path: &Path, spec: WavSpec, digit: usize, index: usize) {
    let mut file = WavWriter::create(path, spec).unwrap();
    for at in 0..1200 + 97 * index {
        let pitch = 200.0 + 150.0 * digit as f64 + 3.0 * index as f64;
        let value = (at as f64 / 8000.0 * pitch * std::f64::consts::TAU).sin();
        for _ in 0..spec.channels {
            match spec.sample_format {
                SampleFormat::Int => file.write_sample((value * 12000.0) as i16).unwrap(),
                SampleFormat::Float => file.write_sample(value as f32 * 0.4).unwrap(),
            }
        }
    }
    file.finalize().unwrap();
}

fn tones(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    for digit in 0..10 {
        for index in 0..14 {
            tone(&folder.join(format!("{digit}_tester_{index}.wav")), SPEC, digit, index);
        }
    }
}

#[test]
fn recordings_are_learnt_and_then_heard_in_any_sample_format() {
    let folder = tempfile::tempdir().unwrap();
    tones(&folder.path().join("words"));
    let short = ["--data", "words", "--hidden", "32", "--epochs", "10", "--batch-size", "16"];
    let test = last(&run(folder.path(), &short));
    assert_eq!((test["event"].as_str(), test["recordings"].as_u64()), (Some("test"), Some(50)));
    assert!(test["accuracy"].as_f64().unwrap() > 0.6, "{test}");
    let picture = fs::read_to_string(folder.path().join("out/speech.svg")).unwrap();
    assert!(picture.contains("confusion on the test part"));
    let float = WavSpec { bits_per_sample: 32, sample_format: SampleFormat::Float, ..SPEC };
    tone(&folder.path().join("one.wav"), float, 4, 7);
    let prediction = last(&run(folder.path(), &["--predict", "one.wav"]));
    assert_eq!(prediction["event"].as_str(), Some("prediction"), "{prediction}");
    assert!(prediction["digit"].as_u64().unwrap() < 10 && prediction["probability"].as_f64().unwrap() <= 1.0);
}

#[test]
fn a_damaged_recording_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let words = folder.path().join("words");
    let damaged = |file: &str, make: &dyn Fn(&Path), expected: &str| {
        let _ = fs::remove_dir_all(&words);
        fs::create_dir_all(&words).unwrap();
        tone(&words.join("1_tester_0.wav"), SPEC, 1, 0);
        make(&words.join(file));
        let output = run(folder.path(), &["--data", "words"]);
        refused(&output, expected);
        refused(&output, file);
    };
    let spec = |channels, sample_rate| WavSpec { channels, sample_rate, ..SPEC };
    let file = "3_tester_7.wav";
    damaged(file, &|path| tone(path, spec(2, 8000), 3, 7), "has 2 channels, expected 1");
    damaged(file, &|path| tone(path, spec(1, 16000), 3, 7), "has 16000 samples a second, expected 8000");
    let float = WavSpec { bits_per_sample: 32, sample_format: SampleFormat::Float, ..SPEC };
    let write = |path: &Path, samples: &[f32]| {
        let mut file = WavWriter::create(path, float).unwrap();
        samples.iter().for_each(|sample| file.write_sample(*sample).unwrap());
        file.finalize().unwrap();
    };
    damaged(file, &|path| write(path, &[0.5, 1e20]), "sample 1 is 1e20, expected −1 to 1");
    damaged(file, &|path| write(path, &[f32::NAN]), "sample 0 is NaN");
    damaged(file, &|path| fs::write(path, b"RIFF and no more").unwrap(), "as WAV");
    damaged(
        file,
        &|path| {
            tone(path, SPEC, 3, 7);
            let all = fs::read(path).unwrap();
            fs::write(path, &all[..1044]).unwrap();
        },
        "sample 500 cannot be read",
    );
    damaged(file, &|path| WavWriter::create(path, SPEC).unwrap().finalize().unwrap(), "has no samples");
    damaged("three_tester_7.wav", &|path| tone(path, SPEC, 3, 7), "expected a name like 7_theo_3.wav");
    damaged("12_tester_7.wav", &|path| tone(path, SPEC, 3, 7), "expected a name like 7_theo_3.wav");
    damaged("", &|_| (), "no recordings to learn");
    refused(&run(folder.path(), &["--data", "no-such"]), "no-such");
    refused(&run(folder.path(), &["--predict", "no-such"]), "train first");
}
