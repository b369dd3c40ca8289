//! The example `speech` from outside: what it learns of recordings, and what it answers to damaged ones.
//!
//! The contract: a run ends in a test event with a share of what is right, and a bad file in one message that names it
//! and what is wrong. `cargo test` builds the example.

use std::{fs, path::Path, process::Output};

use hound::{SampleFormat, WavSpec, WavWriter};
use recurrent_examples::readers::sound;
use serde_json::Value;

use crate::support::{self, events, refused};

/// One tone in many formats; `scripts/file_fixtures.py` wrote them.
const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/sound");

const SPEC: WavSpec = WavSpec { channels: 1, sample_rate: 8000, bits_per_sample: 16, sample_format: SampleFormat::Int };

fn run(folder: &Path, args: &[&str]) -> Output {
    support::run("speech", folder, args)
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
fn recordings_are_learned_and_then_heard_in_any_sample_format() {
    let folder = tempfile::tempdir().unwrap();
    tones(&folder.path().join("words"));
    // Two as another recorder left them.
    let wide = WavSpec { channels: 2, sample_rate: 44100, ..SPEC };
    tone(&folder.path().join("words/3_tester_9.wav"), wide, 3, 9);
    tone(&folder.path().join("words/4_tester_9.wav"), wide, 4, 9);
    let short = ["--data", "words", "--hidden", "32", "--epochs", "10", "--batch-size", "16"];
    let all = events(&run(folder.path(), &short));
    let changed: Vec<_> = all.iter().filter(|event| event["event"] == "converted").collect();
    let changed =
        changed.iter().map(|event| (event["recordings"].as_u64().unwrap(), event["change"].as_str().unwrap()));
    let expected = [(2, "mixed from 2 channels"), (2, "resampled from 44100 to 8000 samples a second")];
    assert_eq!(changed.collect::<Vec<_>>(), expected);
    let test = all.last().unwrap();
    assert_eq!((test["event"].as_str(), test["recordings"].as_u64()), (Some("test"), Some(50)));
    assert!(test["accuracy"].as_f64().unwrap() > 0.6, "{test}");
    let picture = fs::read_to_string(folder.path().join("out/speech.svg")).unwrap();
    assert!(picture.contains("confusion on the test part"));
    let float = WavSpec { bits_per_sample: 32, sample_format: SampleFormat::Float, ..SPEC };
    tone(&folder.path().join("one.wav"), float, 4, 7);
    let prediction = last(&run(folder.path(), &["--predict", "one.wav"]));
    assert_eq!(prediction["event"].as_str(), Some("prediction"), "{prediction}");
    assert!(prediction["digit"].as_u64().unwrap() < 10 && prediction["probability"].as_f64().unwrap() <= 1.0);

    for (file, said) in [("pipe_sox", None), ("stereo_44100", Some("resampled from 44100 to 8000 samples a second"))] {
        let all = events(&run(folder.path(), &["--predict", &format!("{FIXTURES}/{file}.wav")]));
        assert_eq!(all.last().unwrap()["event"].as_str(), Some("prediction"), "{file}: {all:?}");
        let change = all.iter().rfind(|event| event["event"] == "converted");
        assert_eq!(change.map(|event| event["change"].as_str().unwrap()), said, "{file}");
    }
    for (file, name) in
        [("gsm", "gsm.wav is in GSM 6.10, expected PCM"), ("ima_adpcm", "is in IMA ADPCM, expected PCM")]
    {
        refused(&run(folder.path(), &["--predict", &format!("{FIXTURES}/{file}.wav")]), name);
    }
}

/// Tones joined to strings: few of them and a small network, so that no more is asked than that it runs.
#[test]
fn strings_are_heard_as_letters() {
    let folder = tempfile::tempdir().unwrap();
    tones(&folder.path().join("words"));
    let short = ["--ctc", "--data", "words", "--hidden", "24", "--epochs", "3", "--batch-size", "8"];
    let all = events(&run(folder.path(), &short));
    let losses: Vec<f64> =
        all.iter().filter(|event| event["event"] == "validation").map(|e| e["loss"].as_f64().unwrap()).collect();
    assert!(losses.len() == 3 && losses[2] < losses[0], "{losses:?}");
    let test = all.last().unwrap();
    // Fifty recordings to test, each in one string of each of two passes.
    assert_eq!((test["event"].as_str(), test["words"].as_u64()), (Some("test"), Some(100)));
    assert!(test["strings"].as_u64().unwrap() >= 100 / 6, "{test}");
    for rate in ["word_error_rate", "greedy_word_error_rate"] {
        assert!((0.0..=2.0).contains(&test[rate].as_f64().unwrap()), "{test}");
    }
    let picture = fs::read_to_string(folder.path().join("out/speech_strings.svg")).unwrap();
    assert!(picture.contains("loss by epoch"));
    tone(&folder.path().join("one.wav"), SPEC, 4, 7);
    let prediction = last(&run(folder.path(), &["--ctc", "--predict", "one.wav"]));
    assert_eq!(prediction["event"].as_str(), Some("prediction"), "{prediction}");
    assert!(prediction["text"].is_string() && prediction["greedy"].is_string());
    // A network of words is none of strings.
    let file = ["--predict", "one.wav", "--checkpoint", "out/speech_strings.safetensors"];
    refused(&run(folder.path(), &file), "it was written by `speech --ctc`");
    refused(&run(folder.path(), &["--ctc", "--predict", "one.wav", "--checkpoint", "none"]), "train first");
}

#[test]
fn every_format_of_one_sound_is_the_same_sound() {
    let read = |file: &str| sound::read(&Path::new(FIXTURES).join(file).with_extension("wav")).unwrap().0;
    let reference = read("reference");
    assert_eq!(reference.len(), 1200);
    let energy = |samples: &mut dyn Iterator<Item = f32>| samples.map(|x| f64::from(x).powi(2)).sum::<f64>();
    let whole = energy(&mut reference.iter().copied());
    for (file, most) in [
        // The same samples, all of which are read.
        ("pipe_sox", 0.0),
        ("pipe_ffmpeg", 0.0),
        ("odd_list", 0.0),
        ("valid_24_of_32", 0.0),
        ("signed24", 0.0),
        ("float32", 0.0),
        ("float64", 0.0),
        // Rounded to 8 bits.
        ("a_law", 0.03),
        ("mu_law", 0.03),
        ("unsigned8", 0.03),
        // There and back; by a filter of odd length half a sample of 44.1 kHz late, 0.13 rad at 1.8 kHz.
        ("mono_16000", 0.02),
        ("stereo_44100", 0.1),
    ] {
        let samples = read(file);
        assert_eq!(samples.len(), reference.len(), "{file}");
        // Of two channels each may be softer than one was.
        let scale = samples.iter().zip(&reference).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>() / whole;
        let off = energy(&mut samples.iter().zip(&reference).map(|(a, b)| a - b * scale as f32));
        let off = (off / whole / scale.powi(2)).sqrt();
        assert!(off <= most && scale > 0.4, "{file} is off by {off} at a scale of {scale}");
    }
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
    damaged(file, &|path| tone(path, spec(1, 1000), 3, 7), "has 1000 samples a second, expected 4000 to 384000");
    let write_with = |path: &Path, at: usize, bytes: &[u8]| {
        tone(path, SPEC, 3, 7);
        let mut all = fs::read(path).unwrap();
        all[at..at + bytes.len()].copy_from_slice(bytes);
        fs::write(path, all).unwrap();
    };
    damaged(file, &|path| write_with(path, 22, &[0, 0]), "has 0 channels");
    damaged(file, &|path| write_with(path, 22, &[255, 255]), "has 65535 channels in frames of 2 bytes");
    damaged(file, &|path| write_with(path, 32, &[5, 0]), "has 1 channels in frames of 5 bytes, 16 bits a sample");
    damaged(file, &|path| write_with(path, 16, &[255; 4]), "ends inside its chunk `fmt `");
    damaged(file, &|path| write_with(path, 12, b"junk"), "has no chunk `fmt ` before `data`");
    damaged(file, &|path| write_with(path, 36, b"junk"), "ends before its chunk `data`");
    damaged(
        file,
        &|path| write_with(path, 40, &[1, 0, 0, 0]),
        "has 1 bytes of samples, no whole number of frames of 2",
    );
    damaged(file, &|path| write_with(path, 20, &[0x55, 0]), "is in MP3, expected PCM");
    let float = WavSpec { bits_per_sample: 32, sample_format: SampleFormat::Float, ..SPEC };
    let write = |path: &Path, samples: &[f32]| {
        let mut file = WavWriter::create(path, float).unwrap();
        samples.iter().for_each(|sample| file.write_sample(*sample).unwrap());
        file.finalize().unwrap();
    };
    damaged(file, &|path| write(path, &[0.5, 1e20]), "e20, expected −1 to 1");
    damaged(file, &|path| write(path, &[f32::NAN]), "sample 0 is NaN");
    damaged(file, &|path| fs::write(path, b"RIFF and no more").unwrap(), "is no WAV file");
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
