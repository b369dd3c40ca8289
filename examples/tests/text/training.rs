//! What a training says, keeps and draws, and where it ends.
//!
//! The contract: the network that is kept is that of the best validation, and evaluation repeats its loss.

use recurrent::Checkpoint;
use serde_json::Value;

use super::{Room, SMALL, events, fail, keys, named, succeed, text, validations};

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
