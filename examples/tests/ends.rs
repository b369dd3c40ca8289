//! How every example ends that is not let come to its end: by a signal, or by a reader that leaves.
//!
//! The contract: a signal ends a training with what it has learned kept and an exit code of its own; a closed pipe ends
//! any example quietly. What `text` does beyond that is in `text/`.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use crate::support::{program, says};

fn command(name: &str, folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(program(name));
    command.args(args).current_dir(folder).env_remove("RUST_LOG").stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Signals on Linux, where a process says which it takes.
#[cfg(target_os = "linux")]
mod signals {
    use std::{
        fs,
        io::{BufRead, BufReader},
        process::Child,
        thread,
        time::Duration,
    };

    use recurrent::Checkpoint;

    use super::*;

    const TERM: u32 = 15;
    /// With its exit code. SIGHUP may be ignored where the tests run under nohup.
    const SIGNALS: [(&str, i32); 2] = [("-INT", 130), ("-TERM", 143)];

    fn send(signal: &str, child: &Child) {
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
    }

    /// Waits until a process takes a signal, which it does as it begins to train.
    fn wait(child: &mut Child, signal: u32) {
        loop {
            let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
            let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
            if u64::from_str_radix(mask.trim(), 16).unwrap() >> (signal - 1) & 1 == 1 {
                return;
            }
            assert!(child.try_wait().unwrap().is_none(), "it ended before it trained");
            thread::sleep(Duration::from_millis(2));
        }
    }

    #[test]
    fn the_first_epoch_is_kept_as_far_as_it_came() {
        let epochs = ["--hidden", "8", "--batch-size", "1", "--epochs", "1000"];
        let names = ["handwriting", "speech", "image_patches", "time_series", "tagging", "music"];
        let steps = ["--hidden", "8", "--steps", "1000000000"];
        for (name, long) in names.map(|name| (name, &epochs[..])).into_iter().chain([("cartpole", &steps[..])]) {
            for (signal, code) in SIGNALS {
                let folder = tempfile::tempdir().unwrap();
                let long = [&["--device", "cpu", "--json"][..], long].concat();
                let mut child = command(name, folder.path(), &long).spawn().unwrap();
                wait(&mut child, TERM);
                send(signal, &child);
                let output = child.wait_with_output().unwrap();
                let message = String::from_utf8_lossy(&output.stderr);
                assert_eq!(output.status.code(), Some(code), "{name} {signal}: {message}");
                let file = format!("out/{name}.safetensors");
                assert!(message.contains("interrupted") && says(&message, &file), "{name} {signal}: {message}");
                let kept = Checkpoint::load(folder.path().join(&file)).unwrap();
                assert_eq!(kept.notes["program"], name);
                assert!(!String::from_utf8_lossy(&output.stdout).contains("\"event\":\"test\""), "{name} {signal}");
            }
        }
    }

    #[test]
    fn a_forecaster_that_was_stopped_early_forecasts() {
        let folder = tempfile::tempdir().unwrap();
        let args = ["--device", "cpu", "--hidden", "8", "--batch-size", "1", "--epochs", "1000"];
        let mut child = command("time_series", folder.path(), &args).spawn().unwrap();
        wait(&mut child, TERM);
        send("-TERM", &child);
        child.wait_with_output().unwrap();
        let rows: String = (0..60).map(|year| format!("{}\n", year * 7 % 11)).collect();
        fs::write(folder.path().join("years.csv"), format!("spots\n{rows}")).unwrap();
        let predict = ["--device", "cpu", "--predict", "years.csv", "--column", "spots"];
        let said = command("time_series", folder.path(), &predict).output().unwrap();
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    }

    #[test]
    fn what_was_finished_is_drawn() {
        for (name, args, event, drawn) in [
            ("gradients", &["--steps", "8", "--hidden", "8", "--updates", "2000"][..], "trace", "Elman"),
            ("longterm", &["--tasks", "recall", "--lags", "3,400", "--cells", "gru"], "run", "recall"),
        ] {
            for (signal, code) in SIGNALS {
                let folder = tempfile::tempdir().unwrap();
                let args = [&["--device", "cpu", "--json"][..], args].concat();
                let mut child = command(name, folder.path(), &args).spawn().unwrap();
                let mut output = BufReader::new(child.stdout.take().unwrap());
                let mut line = String::new();
                while !line.contains(&format!("\"event\":\"{event}\"")) {
                    line.clear();
                    assert!(output.read_line(&mut line).unwrap() > 0, "{name} ended before");
                }
                send(signal, &child);
                child.stdout = Some(output.into_inner());
                let output = child.wait_with_output().unwrap();
                let message = String::from_utf8_lossy(&output.stderr);
                assert_eq!(output.status.code(), Some(code), "{name} {signal}: {message}");
                let picture = fs::read_to_string(folder.path().join(format!("out/{name}.svg"))).unwrap();
                assert!(message.contains("interrupted") && picture.contains(drawn), "{name} {signal}: {message}");
            }
        }
    }
}

#[test]
fn a_reader_that_leaves_ends_every_example_quietly() {
    let weights = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/matrix_lstm.safetensors");
    let short = ["--device", "cpu", "--hidden", "4", "--epochs", "1"];
    let pytorch = [
        weights,
        "--cell",
        "lstm",
        "--inputs",
        "6",
        "--hidden",
        "4",
        "--outputs",
        "7",
        "--bidirectional",
        "--prefix",
        "l1_d2_equal_bias/",
        "--head",
        "l1_d2_equal_bias/",
        "--ignore-others",
        "--run",
        "3",
    ];
    for (name, args) in [
        ("handwriting", &short[..]),
        ("speech", &short),
        ("image_patches", &short),
        ("time_series", &short),
        ("tagging", &short),
        ("music", &short),
        ("cartpole", &["--device", "cpu", "--hidden", "4", "--steps", "500", "--episodes", "2"]),
        ("gradients", &["--device", "cpu", "--updates", "1", "--steps", "8"]),
        ("longterm", &["--device", "cpu", "--lags", "5", "--updates", "1"]),
        ("step_time", &["--device", "cpu", "--seconds", "0", "elman:2,3,4,5,6"]),
        ("step_time", &["--device", "cpu", "--profile", "elman:2,3,4,5,6"]),
        ("text", &["devices"]),
        ("pytorch", &pytorch),
    ] {
        for is_output in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            let mut child = command(name, folder.path(), args).spawn().unwrap();
            if is_output {
                drop(child.stdout.take())
            } else {
                drop(child.stderr.take())
            }
            let output = child.wait_with_output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{name} {args:?}: {:?}, {said}", output.status);
            // Drivers have been seen to write to the standard error themselves.
            assert!(!said.contains("panicked"), "{name} {args:?}: {said}");
        }
    }
}
