//! The example `music` from outside: what it learns, what it plays, and what it answers to damaged files.
//!
//! The contract: what it plays is a file that it reads itself, of as many steps as were asked for at the most; a bad
//! file is one message that names file and byte. `cargo test` builds the example.

use std::{fs, path::Path, process::Output};

use recurrent_examples::readers::midi;
use serde_json::Value;

use crate::support::{self, events, refused};

fn run(folder: &Path, args: &[&str]) -> Output {
    support::run("music", folder, args)
}

fn last(output: &Output) -> Value {
    events(output).pop().unwrap()
}

/// Two chords by turns, the second held longer by as much as the piece's number says.
fn piece(number: usize) -> Vec<u128> {
    let chord = |keys: [usize; 3]| keys.iter().fold(0, |step, key| step | 1 << (key + number % 5));
    let (first, second) = (chord([30, 34, 37]), chord([28, 35, 40]));
    let turn = [vec![first; 2], vec![second; 2 + number % 2]].concat();
    turn.iter().copied().cycle().take(6 * turn.len()).collect()
}

#[test]
fn what_is_written_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.mid");
    for steps in [piece(3), vec![1], vec![1 << 87 | 1, 0, 0, 1 << 40, 1 << 40 | 1 << 41]] {
        midi::write(&path, &steps).unwrap();
        let read = midi::read(&path).unwrap();
        assert_eq!((&read.steps, read.outside, read.name.as_str()), (&steps, 0, "a.mid"));
    }
}

/// A file of tracks in a format, a quarter note being 96 ticks.
fn file(format: u8, tracks: &[&[u8]]) -> Vec<u8> {
    let mut file = [b"MThd\0\0\0\x06\0", &[format, 0, tracks.len() as u8, 0, 96][..]].concat();
    for track in tracks {
        file.extend([b"MTrk", &(track.len() as u32).to_be_bytes()[..], track].concat());
    }
    file
}

#[test]
fn files_are_read_as_other_programs_write_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.mid");
    let steps = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let read = midi::read(&path).unwrap();
        let keys = |step: &u128| (0..88).filter(|key| step >> key & 1 == 1).map(|key| key + 21).collect::<Vec<u8>>();
        (read.steps.iter().map(keys).collect::<Vec<_>>(), read.outside)
    };
    // A name, a tempo; a status that runs on, and a note that ends by being struck with nothing.
    let plain = [&b"\0\xff\x03\x01a\0\xff\x51\x03\x07\xa1\x20"[..], b"\0\x90\x3c\x40\0\x40\x40\x30\x3c\0\x30\x40\0"];
    let plain = [&plain.concat()[..], b"\0\xff\x2f\0"].concat();
    assert_eq!(steps(&file(0, &[&plain])), (vec![vec![60, 64], vec![64]], 0));
    // Two tracks side by side, silence before, percussion and a key that no piano has.
    let second = b"\x60\x99\x3c\x40\x60\x89\x3c\x40\0\x90\x3e\x40\0\x05\x40\x60\x80\x3e\x40\0\x05\0\0\xff\x2f\0";
    let (read, outside) = steps(&file(1, &[b"\x60\xc0\x05\x60\x90\x30\x40\x30\x80\x30\x40\0\xff\x2f\0", second]));
    assert_eq!((read, outside), (vec![vec![48, 62], vec![62]], 1));
    // What never ends ends with its track; a message of another program's, and a chunk.
    let held = b"\0\xf0\x02\x01\xf7\0\x90\x3c\x40\x81\x10\xff\x2f\0";
    assert_eq!(steps(&file(0, &[held])).0, vec![vec![60]; 3]);
    let mut with = file(0, &[held]);
    with.splice(14..14, *b"XXXX\0\0\0\x02ab");
    assert_eq!(steps(&with).0, vec![vec![60]; 3]);
}

#[test]
fn a_damaged_file_is_named_with_its_byte() {
    let folder = tempfile::tempdir().unwrap();
    let good = file(0, &[b"\0\x90\x3c\x40\x60\x80\x3c\x40\0\xff\x2f\0"]);
    let change = |at: usize, to: u8| {
        let mut bad = good.clone();
        bad[at] = to;
        bad
    };
    for (bad, expected) in [
        (b"RIFF".to_vec(), "is not a MIDI file"),
        (good[..10].to_vec(), "byte 10: 2 more were expected, 0 are there"),
        (change(7, 5), "byte 4: a header of 5 bytes"),
        (change(9, 2), "byte 8: format 2, expected 0 or 1"),
        (change(12, 0xe7), "byte 12: it counts time in frames"),
        (change(13, 0), "byte 12: a quarter note has 0 parts"),
        (change(11, 2), "ends before track 2 of 2"),
        (change(21, 200), "byte 14: track 1 has 200 bytes, but 12 follow"),
        (change(23, 0x10), "byte 23: a message that does not say what it is"),
        (change(23, 0xf5), "byte 23: a message 0xf5"),
        (change(24, 0xbc), "byte 24 is 188, expected at most 127"),
        (file(0, &[b"\xff\xff\xff\xff\x7f\x90"]), "byte 22: a number of more than four bytes"),
        (file(0, &[b"\0"]), "byte 23: a track ends in the middle"),
        (file(0, &[b"\0\xff\x2f\0"]), "has no note of a piano's"),
        (file(0, &[b"\0\x90\x3c\x40\xff\xff\xff\x7f\x80\x3c\x40"]), "lasts 5592405 eighth notes, expected at most"),
    ] {
        let pieces = folder.path().join("pieces");
        fs::create_dir_all(&pieces).unwrap();
        fs::write(pieces.join("bad.mid"), &bad).unwrap();
        let output = run(folder.path(), &["--data", "pieces"]);
        refused(&output, "bad.mid");
        refused(&output, expected);
    }
    refused(&run(folder.path(), &["--data", "no-such"]), "cannot read the folder no-such");
    refused(&run(folder.path(), &["--data", "."]), "has no file that ends in .mid");
    fs::write(folder.path().join("pieces/bad.mid"), &good).unwrap();
    refused(&run(folder.path(), &["--data", "pieces"]), "1 pieces, expected at least 20");
    refused(&run(folder.path(), &["--predict", "pieces/bad.mid"]), "train first");
    refused(&run(folder.path(), &["--length", "0"]), "--length is 0");
    refused(&run(folder.path(), &["--temperature", "0"]), "--temperature is 0");
    refused(&run(folder.path(), &["--midi", "out/music.svg"]), "out/music.svg is named twice");
}

#[test]
fn pieces_are_learned_and_played_on() {
    let folder = tempfile::tempdir().unwrap();
    let pieces = folder.path().join("pieces");
    fs::create_dir(&pieces).unwrap();
    for number in 0..40 {
        midi::write(&pieces.join(format!("{number:02}.mid")), &piece(number)).unwrap();
    }
    let args = ["--data", "pieces", "--hidden", "48", "--epochs", "40", "--batch-size", "2", "--length", "20"];
    let test = last(&run(folder.path(), &args));
    assert_eq!((test["event"].as_str(), test["pieces"].as_u64()), (Some("test"), Some(4)));
    let [network, frequencies, sounding] =
        [&test["nll"], &test["baselines"]["frequencies"], &test["baselines"]["sounding"]]
            .map(|nll| nll.as_f64().unwrap());
    // It has to count, which keys by themselves cannot.
    assert!(network < 0.8 * sounding && sounding < frequencies, "{test}");
    assert!(fs::read_to_string(folder.path().join("out/music.svg")).unwrap().contains("what the network plays"));
    assert!(midi::read(&folder.path().join("out/music.mid")).unwrap().steps.len() <= 20);

    let predict = ["--predict", "pieces/07.mid", "--length", "6", "--midi", "on.mid"];
    let said = last(&run(folder.path(), &predict));
    assert_eq!((said["event"].as_str(), said["steps"].as_u64()), (Some("prediction"), Some(30)));
    assert!(said["nll"].as_f64().unwrap() < frequencies && said["keys"].as_array().unwrap().len() == 6, "{said}");
    assert_eq!(said, last(&run(folder.path(), &predict)));
    assert!(midi::read(&folder.path().join("on.mid")).unwrap().steps.len() <= 6);
}

#[test]
fn the_music_it_makes_up_is_learned_alike_from_one_seed() {
    let folder = tempfile::tempdir().unwrap();
    let short = ["--epochs", "4", "--hidden", "32", "--batch-size", "4"];
    let [first, second] = [(); 2].map(|()| last(&run(folder.path(), &short)));
    assert!(first["nll"].as_f64() < first["baselines"]["frequencies"].as_f64(), "{first}");
    assert_eq!((&first["nll"], &first["baselines"]), (&second["nll"], &second["baselines"]));
}
