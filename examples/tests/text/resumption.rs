//! A training that is stopped, by a signal or by a reader that leaves, and one that is taken up again.
//!
//! The contract: it ends in the same bytes as one that was not interrupted, or says why it cannot go on.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Output, Stdio},
};

use recurrent::Checkpoint;

use super::{Room, fail, stderr, succeed};

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
fn a_resumed_run_takes_another_rate_and_says_so() {
    let room = Room::new();
    succeed(room.train(&["--epochs", "1", "--checkpoint", "net.safetensors"]));
    let rate =
        |checkpoint: &str| Checkpoint::load(room.path(checkpoint)).unwrap().training.unwrap().recipe.learning_rate;
    assert_eq!(rate("net.training.safetensors"), 0.01);
    let resume = |epochs, more: &[&str]| {
        let args = ["--resume", "net.safetensors", "--epochs", epochs];
        succeed(room.command(&[&args[..], more].concat()))
    };
    let said = resume("2", &["--learning-rate", "0.001"]);
    assert!(said.contains("the learning rate is 0.001 from here on; so far it was 0.01"), "{said}");
    assert_eq!(rate("net.training.safetensors"), 0.001);
    // It stays so, and is said no more.
    let said = resume("3", &[]);
    assert!(!said.contains("learning rate"), "{said}");
    assert_eq!(rate("net.training.safetensors"), 0.001);
    let said = resume("4", &["--json", "--learning-rate", "0.002"]);
    assert!(said.contains(r#"{"event":"learning_rate","before":0.001,"now":0.002}"#), "{said}");
    fail(
        room.command(&["--resume", "net.safetensors", "--epochs", "5", "--learning-rate", "0"]),
        &["learning rate is 0"],
    );
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
