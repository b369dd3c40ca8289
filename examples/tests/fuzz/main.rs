//! Damaged files, by the thousand: every reader of the library and of the examples answers each with a value or an
//! error.
//!
//! The contract: what is drawn follows from the seed and from the valid files here alone, so that a run repeats. An
//! input that makes a reader panic, or break what it promises, is kept in `target/tmp/fuzz` and named.
//! `RECURRENT_FUZZ_SECONDS` is how long each reader is tried, in place of a few thousand inputs; `RECURRENT_FUZZ_SEED`
//! draws others.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, and so do its helpers"
)]

mod damage;
mod valid;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use recurrent::data::read_text;
use recurrent::formats::Names;
use recurrent::{Checkpoint, Model};
use recurrent_examples::readers::{idx, midi, sound, strokes, table::Dialect, tagged};

/// Inputs of each reader where no time is given: a few seconds.
const INPUTS: u64 = 3000;
/// A reader takes milliseconds for files as small; on a busy machine too it is done in this time, or it is caught in a
/// loop.
const LONGEST: Duration = Duration::from_secs(20);

/// A number from the environment.
fn setting(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|value| value.parse().unwrap_or_else(|_| panic!("{name} is {value}, expected a number")))
}

/// Hands `read` the valid files and then damaged ones; true where it took one, false where it refused it.
fn fuzz(reader: &str, valid: &[Vec<u8>], read: impl Fn(&[u8]) -> bool) {
    let seed = setting("RECURRENT_FUZZ_SEED").unwrap_or(0);
    let seconds = setting("RECURRENT_FUZZ_SECONDS").map(Duration::from_secs);
    let (since, mut taken, mut count) = (Instant::now(), 0, 0);
    while seconds.map_or(count < INPUTS, |seconds| since.elapsed() < seconds) {
        let input = match valid.get(count as usize) {
            Some(valid) => valid.clone(),
            None => damage::input(valid, seed, count),
        };
        let start = Instant::now();
        let result = catch_unwind(AssertUnwindSafe(|| read(&input)));
        let is_slow = start.elapsed() > LONGEST;
        let is_taken = result.as_ref().is_ok_and(|taken| *taken);
        if result.is_err() || is_slow || (!is_taken && (count as usize) < valid.len()) {
            let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fuzz");
            fs::create_dir_all(&folder).unwrap();
            let path = folder.join(format!("{reader}-{seed}-{count}"));
            fs::write(&path, &input).unwrap();
            let what = if result.is_err() {
                "panics"
            } else if is_slow {
                "takes too long"
            } else {
                "refuses a valid file"
            };
            panic!("{reader} {what}: input {count} of seed {seed}, {}", path.display());
        }
        taken += u64::from(is_taken);
        count += 1;
    }
    println!("{reader}: {taken} of {count} inputs taken in {:?}", since.elapsed());
    // Some are damaged where it does not matter, most are not.
    assert!(taken < count, "{reader}: nothing was refused of {count}");
}

/// [`fuzz`] for a reader of files: of the path that it is handed.
fn fuzz_file(reader: &str, valid: &[Vec<u8>], read: impl Fn(&Path) -> bool) {
    let folder = tempfile::TempDir::new().unwrap();
    let path: PathBuf = folder.path().join(reader);
    fuzz(reader, valid, |input| {
        fs::write(&path, input).unwrap();
        read(&path)
    });
}

#[test]
fn checkpoints() {
    fuzz("checkpoint", &valid::checkpoints(), |input| match Checkpoint::from_bytes(input) {
        Ok(checkpoint) => {
            let bytes = checkpoint.to_bytes().expect("what was loaded can be saved");
            assert!(Checkpoint::from_bytes(&bytes).is_ok_and(|again| again == checkpoint), "another comes back");
            true
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            false
        }
    });
}

#[test]
fn files_of_other_programs() {
    let names = Names::new().recurrent("rnn.").read_out("head.").ignore_others();
    fuzz("import", &valid::exports(), |input| match Model::import_bytes(input, valid::config(), &names) {
        Ok(model) => {
            assert!(model.values().iter().all(|value| value.is_finite()));
            true
        }
        Err(_) => false,
    });
}

#[test]
fn lists_of_other_programs() {
    let names = Names::sequential().ignore_others();
    fuzz("import_list", &valid::exported_lists(), |input| match Model::import_bytes(input, valid::list(), &names) {
        Ok(model) => {
            assert!(model.values().iter().all(|value| value.is_finite()));
            true
        }
        Err(_) => false,
    });
}

#[test]
fn recordings() {
    fuzz_file("wav", &valid::recordings(), |path| match sound::read(path) {
        Ok((samples, _)) => {
            assert!(!samples.is_empty() && samples.iter().all(|sample| sample.is_finite()));
            true
        }
        Err(_) => false,
    });
}

#[test]
fn images() {
    fuzz_file("idx", &valid::images(), |path| match idx::images(path) {
        Ok(images) => {
            assert!(images.pixels.iter().all(|image| image.len() == images.height * images.width));
            true
        }
        Err(_) => false,
    });
}

#[test]
fn tables() {
    let plain = Dialect::default();
    let other = Dialect { separator: Some(b';'), decimal_comma: true, comment: Some(b'#'), ..Dialect::default() };
    let bare = Dialect { no_header: true, ..Dialect::default() };
    fuzz_file("csv", &valid::tables(), |path| {
        let read = |dialect: &Dialect| match dialect.read(path, None) {
            Ok((_, values)) => {
                assert!(!values.is_empty() && values.iter().all(|value| value.is_finite()));
                true
            }
            Err(_) => false,
        };
        // Each is tried, whichever took it.
        [&plain, &other, &bare].map(read).contains(&true)
    });
}

#[test]
fn music() {
    fuzz_file("midi", &valid::music(), |path| match midi::read(path) {
        Ok(piece) => {
            assert!(
                piece.steps.first().is_some_and(|step| *step != 0) && piece.steps.iter().all(|step| step >> 88 == 0)
            );
            true
        }
        Err(_) => false,
    });
}

#[test]
fn pen_strokes() {
    fuzz_file("strokes", &valid::strokes(), |path| strokes::read(path).is_ok_and(|strokes| !strokes.is_empty()));
}

#[test]
fn tagged_words() {
    let columns = tagged::Format::default();
    let conllu = tagged::Format { conllu: true, ..tagged::Format::default() };
    fuzz_file("tagged", &valid::tagged_words(), |path| {
        let read = |format: &tagged::Format| match format.read(path) {
            Ok(sentences) => {
                let is_whole = |one: &tagged::Sentence| !one.words.is_empty() && one.words.len() == one.tags.len();
                assert!(!sentences.is_empty() && sentences.iter().all(is_whole));
                true
            }
            Err(_) => false,
        };
        // Each is tried, whichever took it.
        [&columns, &conllu].map(read).contains(&true)
    });
}

#[test]
fn sentences_of_words() {
    fuzz_file("sentences", &valid::texts(), |path| match tagged::sentences(path) {
        Ok(sentences) => {
            assert!(!sentences.is_empty() && sentences.iter().all(|(_, words)| !words.is_empty()));
            true
        }
        Err(_) => false,
    });
}

#[test]
fn texts() {
    fuzz_file("text", &valid::texts(), |path| read_text(path).is_ok());
}
