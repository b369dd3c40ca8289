//! The example `text` from outside: a process with arguments, its output, its files and its exit code.
//!
//! The contract: whatever a user gives it, it answers with a result or one message, never with a panic; a training
//! taken up again ends in the same bytes as one that was not interrupted. `cargo test` builds the example.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "failing is how a test speaks")]

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use recurrent::Checkpoint;
use serde_json::Value;
use tempfile::TempDir;

#[path = "common/program.rs"]
mod program;
#[path = "../examples/text/source.rs"]
mod source;

/// A network that learns in no time.
const SMALL: [&str; 6] = ["--hidden", "24", "--seq-length", "10", "--batch-size", "4"];

/// A folder with a text to learn.
struct Room(TempDir);

impl Room {
    fn new() -> Self {
        let room = Room(tempfile::tempdir().unwrap());
        room.file("data.txt", text(3000));
        room
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path(name), bytes).unwrap();
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(program::example("text"));
        // The text of a message must not depend on the caller's logging.
        command.args(args).args(["--device", "cpu"]).current_dir(self.0.path()).env_remove("RUST_LOG");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn train(&self, args: &[&str]) -> Command {
        self.train_at("0.01", args)
    }

    fn train_at(&self, rate: &str, args: &[&str]) -> Command {
        self.command(&[&["--data", "data.txt", "--json", "--learning-rate", rate], &SMALL[..], args].concat())
    }

    /// A trained network in `out/text.safetensors`.
    fn trained(self) -> Self {
        succeed(self.train(&["--epochs", "1"]));
        self
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }
}

/// Words in an order that is neither random nor trivial.
fn text(length: usize) -> String {
    let words = ["network", "gate", "hidden", "state\n", "unroll", "of", "the", "loss"];
    let mut state = 1usize;
    let mut text = String::new();
    while text.len() < length {
        state = (state * 1_103_515_245 + 12_345) % (1 << 31);
        text += words[(state >> 16) % words.len()];
        text.push(' ');
    }
    text
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn succeed(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{:?}: {}", output.status, stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Fails with exit code 1 and one message that holds all of `words`.
fn fail(mut command: Command, words: &[&str]) {
    let output = command.output().unwrap();
    let message = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.starts_with("error: ") && message.trim_end().lines().count() == 1, "{message}");
    for word in words {
        assert!(program::says(&message, word), "no `{word}` in: {message}");
    }
}

fn events(stdout: &str) -> Vec<Value> {
    stdout.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

fn named<'a>(events: &'a [Value], name: &str) -> Vec<&'a Value> {
    events.iter().filter(|e| e["event"] == name).collect()
}

fn keys(event: &Value) -> Vec<&str> {
    event.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn training_reports_in_json_and_its_loss_falls() {
    let room = Room::new();
    let stdout = succeed(room.train(&["--epochs", "3"]));
    assert!(!stdout.contains("null"), "a number that is not finite: {stdout}");
    let events = events(&stdout);
    let train = named(&events, "train");
    let nats: Vec<f64> = train.iter().map(|e| e["nats"].as_f64().unwrap()).collect();
    // 27 characters at most: an untrained network is near ln 27 = 3.3.
    assert!(nats[0] > 2.0 && nats[nats.len() - 1] < 0.7 * nats[0], "{nats:?}");
    for event in &train {
        assert_eq!(keys(event), ["chars_per_second", "epoch", "event", "nats", "norm", "step"]);
        assert!(event["chars_per_second"].as_f64().unwrap() > 0.0 && event["norm"].as_f64().unwrap() > 0.0);
    }
    let validation = named(&events, "validation");
    assert_eq!(validation.iter().map(|e| e["epoch"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(validation[2]["nats"].as_f64().unwrap() < validation[0]["nats"].as_f64().unwrap());
    let sample = named(&events, "sample");
    assert_eq!((sample.len(), sample[0]["text"].as_str().unwrap().chars().count()), (1, 500));
    let test = events.last().unwrap();
    assert_eq!((keys(test), &test["event"]), (vec!["characters", "event", "nats", "seconds"], &Value::from("test")));
    // The last twentieth.
    let (characters, nats) = (test["characters"].as_u64().unwrap(), test["nats"].as_f64().unwrap());
    assert!(characters == 150 && (0.1..3.3).contains(&nats), "{test}");
    assert_eq!(events.len(), 2 + train.len() + validation.len() + sample.len(), "one device, and nothing else");
    let svg = String::from_utf8(room.read("out/text.svg")).unwrap();
    assert!(["nats per character", "training", "validation"].iter().all(|words| svg.contains(words)));
}

#[test]
fn prose_names_the_device_and_every_epoch() {
    let room = Room::new();
    let command = [&["train", "--data", "data.txt", "--epochs", "2"], &SMALL[..]].concat();
    let stdout = succeed(room.command(&command));
    for words in ["device: CPU", "epoch 1/2: training", "epoch 2/2: training", "validation", "nats", "bits"] {
        assert!(stdout.contains(words), "no `{words}` in: {stdout}");
    }
}

#[test]
fn a_resumed_run_ends_in_the_same_bytes() {
    let room = Room::new();
    let options = ["--learning-rate-decay", "0.7", "--learning-rate-decay-after", "1", "--validation-fraction", "0.1"];
    let run = |more: &[&str]| succeed(room.train(&[&options, more].concat()));
    run(&["--epochs", "4", "--checkpoint", "whole.safetensors", "--plot", "whole.svg"]);
    run(&["--epochs", "2", "--checkpoint", "half.safetensors"]);
    run(&["--epochs", "4", "--resume", "half.safetensors", "--plot", "half.svg"]);
    for (whole, half) in
        [("whole.safetensors", "half.safetensors"), ("whole.training.safetensors", "half.training.safetensors")]
    {
        assert!(room.read(whole) == room.read(half), "{whole} and {half} differ");
    }
    assert!(room.read("whole.svg") == room.read("half.svg"), "the plots differ");
    // One that may be as long as it was is told that it is.
    fail(room.command(&["--resume", "half.safetensors"]), &["4 epochs", "--epochs"]);
}

#[test]
fn a_resumed_run_drops_out_what_it_would_have() {
    let room = Room::new();
    let dropout = ["--dropout", "0.3", "--dropout-inputs", "0.1", "--dropout-hidden", "0.2"];
    let run = |more: &[&str]| {
        succeed(room.train(
            &[&dropout[..], &["--cell", "lstm", "--layers", "2", "--validation-fraction", "0.1"], more].concat(),
        ));
    };
    run(&["--epochs", "3", "--checkpoint", "whole.safetensors"]);
    run(&["--epochs", "1", "--checkpoint", "part.safetensors"]);
    run(&["--epochs", "3", "--resume", "part.safetensors"]);
    assert!(room.read("whole.training.safetensors") == room.read("part.training.safetensors"), "the trainings differ");
    // What cannot be done is refused before anything is learned.
    fail(room.train(&["--dropout", "0.3"]), &["one layer", "--layers"]);
    fail(room.train(&["--dropout-hidden", "1"]), &["hidden state", "below 1"]);
}

/// Trains without end until it has said something of step 20, and then does what `then` does to it.
#[cfg(unix)]
fn stopped(command: &mut Command, then: &dyn Fn(&mut Child)) -> Output {
    let mut child = command.spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("\"step\":20,") {
        line.clear();
        assert!(output.read_line(&mut line).unwrap() > 0, "it ended before");
    }
    // Its output is read to the end by a thread, so that it never waits, or not at all where `then` has closed it.
    child.stdout = Some(output.into_inner());
    then(&mut child);
    child.wait_with_output().unwrap()
}

#[cfg(unix)]
fn send(signal: &str, child: &Child) {
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
}

#[cfg(unix)]
#[test]
fn a_run_that_a_signal_ends_says_how_to_go_on_and_ends_in_the_same_bytes() {
    // Hanging up is nothing to a process that inherits that it is ignored, as under nohup.
    let ignores = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignores = ignores.lines().find_map(|line| line.strip_prefix("SigIgn:")).map(|mask| mask.trim().ends_with('1'));
    let signals = [("-INT", 130), ("-TERM", 143), ("-HUP", 129)];
    for (signal, code) in signals.into_iter().take(if ignores == Some(true) { 2 } else { 3 }) {
        let room = Room::new();
        let mut command = room.train(&["--epochs", "100000", "--checkpoint", "a b.safetensors"]);
        let output = stopped(&mut command, &|child| {
            send(signal, child);
            // A closed terminal may say so twice.
            if signal == "-HUP" {
                send(signal, child);
            }
        });
        assert_eq!(output.status.code(), Some(code), "{signal}: {}", stderr(&output));
        let training = Checkpoint::load(room.path("a b.training.safetensors")).unwrap().training.unwrap();
        // (2700 ids − 1) / 4 tracks / 10 steps.
        let epochs = (training.steps / 67 + 1).to_string();
        let message = stderr(&output);
        let resume = format!("{} --epochs {epochs}", message.lines().last().unwrap());
        let mut shell = Command::new("sh");
        shell.args(["-c", &resume]).current_dir(room.0.path()).stderr(Stdio::piped());
        succeed(shell);
        succeed(room.train(&["--epochs", &epochs, "--checkpoint", "whole.safetensors"]));
        assert!(room.read("a b.safetensors") == room.read("whole.safetensors"), "{signal}: the networks differ");
        let trainings = ["a b.training.safetensors", "whole.training.safetensors"].map(|name| room.read(name));
        assert!(trainings[0] == trainings[1], "{signal}: the trainings differ");
    }
}

#[cfg(unix)]
#[test]
fn a_run_whose_reader_leaves_keeps_what_it_has_learned() {
    let room = Room::new();
    let output = stopped(&mut room.train(&["--epochs", "100000"]), &|child| drop(child.stdout.take()));
    assert!(output.status.success() && output.stderr.is_empty(), "{:?}: {}", output.status, stderr(&output));
    let training = Checkpoint::load(room.path("out/text.training.safetensors")).unwrap().training.unwrap();
    assert!(training.steps >= 40, "{} steps", training.steps);
    let epochs = (training.steps / 67 + 1).to_string();
    succeed(room.command(&["--resume", "out/text.safetensors", "--epochs", &epochs]));
    succeed(room.train(&["--epochs", &epochs, "--checkpoint", "whole.safetensors"]));
    let trainings = ["out/text.training.safetensors", "whole.training.safetensors"].map(|name| room.read(name));
    assert!(trainings[0] == trainings[1], "the trainings differ");
}

#[cfg(target_os = "linux")]
#[test]
fn a_run_under_nohup_outlives_its_terminal() {
    let room = Room::new();
    let train = room.train(&["--epochs", "40"]);
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' HUP; exec \"$@\"", "sh"]).arg(train.get_program()).args(train.get_args());
    shell.current_dir(room.0.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = stopped(&mut shell, &|child| send("-HUP", child));
    assert!(output.status.success(), "{:?}: {}", output.status, stderr(&output));
}

/// The second says so and ends; a training that was killed is no obstacle to the next.
#[test]
fn a_second_training_on_one_checkpoint_ends_at_once() {
    let room = Room::new();
    let mut child = room.train(&["--epochs", "100000"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    while !lines.next().expect("the training goes on").unwrap().contains("\"step\":20,") {}
    let reader = std::thread::spawn(move || lines.for_each(drop));
    fail(room.train(&["--epochs", "1"]), &["is in use by", "text.safetensors"]);
    succeed(room.train(&["--epochs", "1", "--checkpoint", "other.safetensors", "--plot", "other.svg"]));
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap();
    succeed(room.train(&["--epochs", "1"]));
}

/// The validation losses of a training, in their order.
fn validations(stdout: &str) -> Vec<f64> {
    named(&events(stdout), "validation").iter().map(|event| event["nats"].as_f64().unwrap()).collect()
}

/// What the network that was saved last has on a part of the text.
fn evaluated(room: &Room, split: &str) -> f64 {
    let events = events(&succeed(room.command(&["eval", "--json", "--split", split])));
    named(&events, "evaluation")[0]["nats"].as_f64().unwrap()
}

#[test]
fn training_ends_where_nothing_better_comes_and_can_be_given_more_patience() {
    let room = Room::new();
    // So small a rate changes no weight: no validation is better than the first.
    let still = |more: &[&str]| succeed(room.train_at("1e-12", &[&["--epochs", "9", "--patience"], more].concat()));
    let stdout = still(&["2"]);
    assert_eq!(validations(&stdout).len(), 3, "{stdout}");
    let resume = ["--resume", "out/text.safetensors", "--json"];
    fail(room.command(&resume), &["2 validations", "--patience"]);
    let stdout = succeed(room.command(&[&resume[..], &["--patience", "4"]].concat()));
    assert_eq!(validations(&stdout).len(), 2, "{stdout}");
    still(&["4", "--checkpoint", "whole.safetensors"]);
    for (whole, part) in
        [("whole.safetensors", "out/text.safetensors"), ("whole.training.safetensors", "out/text.training.safetensors")]
    {
        assert!(room.read(whole) == room.read(part), "{whole} and {part} differ");
    }
}

#[test]
fn the_network_of_the_best_validation_is_kept_tested_and_resumed() {
    let room = Room::new();
    // A rate that overshoots: what is learned is lost again.
    let stdout = succeed(room.train_at("0.1", &["--learning-rate-decay", "1", "--epochs", "8"]));
    let losses = validations(&stdout);
    let best = losses.iter().copied().fold(f64::INFINITY, f64::min);
    assert!(
        losses.len() > 1 && losses[losses.len() - 1] > best,
        "the last is the best, which tests nothing: {losses:?}"
    );
    assert_eq!(evaluated(&room, "validation"), best);
    assert_eq!(events(&stdout).last().unwrap()["nats"].as_f64().unwrap(), evaluated(&room, "test"));

    // Taken up in another file it is still known, and nothing worse takes its place.
    succeed(room.command(&[
        "--resume",
        "out/text.safetensors",
        "--patience",
        "9",
        "--epochs",
        "9",
        "--checkpoint",
        "b.safetensors",
    ]));
    let there = room.command(&["eval", "--json", "--split", "validation", "--checkpoint", "b.safetensors"]);
    let there = events(&succeed(there));
    assert!(named(&there, "evaluation")[0]["nats"].as_f64().unwrap() <= best);
}

#[test]
fn a_network_whose_training_is_not_beside_it_cannot_be_resumed() {
    let room = Room::new().trained();
    let resume = ["--resume", "out/text.safetensors", "--epochs", "2"];
    let mut other = room.train(&["--epochs", "1", "--checkpoint", "other.safetensors"]);
    other.args(["--cell", "gru"]);
    succeed(other);
    let training = room.read("out/text.training.safetensors");
    room.file("out/text.training.safetensors", room.read("other.training.safetensors"));
    fail(room.command(&resume), &["out/text.safetensors", "two trainings"]);
    room.file("out/text.training.safetensors", &training[..training.len() / 2]);
    fail(room.command(&resume), &["out/text.training.safetensors"]);
    fs::remove_file(room.path("out/text.training.safetensors")).unwrap();
    fail(
        room.command(&resume),
        &["no training to go on with beside out/text.safetensors", "text.training.safetensors"],
    );
    succeed(room.command(&["sample", "--length", "20"]));
}

#[test]
fn two_trainings_are_kept_apart_whatever_they_are_called() {
    let room = Room::new();
    // No ending that any file has: what comes after the last dot is part of the name.
    succeed(room.train_at("0.01", &["--epochs", "1", "--checkpoint", "rate0.01"]));
    succeed(room.train_at("0.001", &["--epochs", "1", "--checkpoint", "rate0.001"]));
    succeed(room.command(&["--resume", "rate0.01", "--epochs", "2"]));
    succeed(room.train_at("0.01", &["--epochs", "2", "--checkpoint", "whole"]));
    assert!(room.read("rate0.01.training") == room.read("whole.training"), "the trainings differ");
    // One rate's network beside the other's training.
    fs::copy(room.path("rate0.001.training"), room.path("rate0.01.training")).unwrap();
    fail(room.command(&["--resume", "rate0.01", "--epochs", "3"]), &["rate0.01", "two trainings"]);
}

#[test]
fn without_validation_the_latest_network_is_kept() {
    let room = Room::new();
    let all = ["--train-fraction", "1", "--validation-fraction", "0"];
    let stdout = succeed(room.train(&[&all[..], &["--epochs", "2"]].concat()));
    assert!(validations(&stdout).is_empty() && named(&events(&stdout), "test").is_empty(), "{stdout}");
    let [network, training] = ["out/text.safetensors", "out/text.training.safetensors"]
        .map(|name| Checkpoint::load(room.path(name)).unwrap().model);
    assert!(network == training);
    fail(room.train(&[&all[..], &["--patience", "2"]].concat()), &["--patience", "--validation-fraction"]);
}

#[test]
fn every_cell_learns_resumes_and_writes_in_layers() {
    for cell in ["lstm", "gru"] {
        let room = Room::new();
        succeed(room.train(&["--epochs", "1", "--cell", cell, "--layers", "2"]));
        let resume = ["--resume", "out/text.safetensors", "--epochs", "2"];
        fail(room.command(&[&resume[..], &["--layers", "1"]].concat()), &["--layers 1", "2"]);
        succeed(room.command(&resume));
        succeed(room.command(&["sample", "--length", "20"]));
    }
}

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
fn a_byte_order_mark_is_no_character_of_a_text() {
    let room = Room::new();
    room.file("marked.txt", format!("\u{feff}{}", text(3000)));
    let run = |data| succeed(room.command(&[&["--data", data, "--epochs", "1"], &SMALL[..]].concat()));
    let said =
        |of: &str| of.lines().find(|line| line.starts_with("text: ")).unwrap().split_once(", ").unwrap().1.to_owned();
    assert_eq!(said(&run("marked.txt")), said(&run("data.txt")));
}

#[test]
fn evaluation_repeats_the_validation_loss() {
    let room = Room::new();
    let training = events(&succeed(room.train(&["--epochs", "1"])));
    let evaluate = |split| {
        let events = events(&succeed(room.command(&["eval", "--json", "--split", split])));
        named(&events, "evaluation")[0]["nats"].as_f64().unwrap()
    };
    assert_eq!(named(&training, "validation")[0]["nats"].as_f64().unwrap(), evaluate("validation"));
    for split in ["train", "test", "all"] {
        assert!((0.1..3.3).contains(&evaluate(split)), "{split}");
    }
}

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

#[test]
fn devices_are_listed_and_an_unknown_one_is_an_error() {
    let room = Room::new();
    assert!(succeed(room.command(&["devices"])).lines().last().unwrap().starts_with("cpu "));
    let events = events(&succeed(room.command(&["--json", "devices"])));
    assert!(named(&events, "device")[0]["name"].as_str().unwrap().starts_with("CPU"));
    let mut unknown = Command::new(program::example("text"));
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

#[test]
fn the_embedded_text_is_all_of_the_source() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("src"), root.join("shaders")];
    let mut there = Vec::new();
    while let Some(folder) = folders.pop() {
        // There may be no shaders to be embedded.
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                there.push(path.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/"));
            }
        }
    }
    let mut listed: Vec<&str> = source::FILES.iter().map(|(path, _)| *path).collect();
    listed.sort_unstable();
    there.sort_unstable();
    assert_eq!(listed, there, "examples/text/source.rs lists other files than there are");
    assert!(source::text().contains("// src/lib.rs\n\n//! "));
}
