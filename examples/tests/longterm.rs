//! The example `longterm` from outside: which cell solves which lag, and what it answers to what cannot be.
//!
//! The contract: what is known of the cells comes out. `cargo test` builds the example.

use std::{fs, path::Path, process::Output};

use crate::support::{self, events, refused};

fn run(folder: &Path, args: &[&str]) -> Output {
    support::run("longterm", folder, args)
}

#[test]
fn a_gru_remembers_for_longer_than_an_elman_network() {
    let folder = tempfile::tempdir().unwrap();
    let args = ["--tasks", "recall", "--cells", "elman,gru", "--lags", "5,80", "--updates", "400"];
    let events = events(&run(folder.path(), &args));
    let test = events.last().unwrap();
    assert_eq!(test["event"], "test");
    assert_eq!(test["solved"]["recall"]["gru"], 80, "{events:?}");
    assert_eq!(test["solved"]["recall"]["elman"], 5, "{events:?}");
    let picture = fs::read_to_string(folder.path().join("out/longterm.svg")).unwrap();
    assert!(picture.contains("recall: the first of many tokens") && picture.contains("lag 80"));
    assert!(!picture.contains("adding"), "a task that was not asked for");
}

#[test]
fn what_cannot_be_is_one_message() {
    let folder = tempfile::tempdir().unwrap();
    for (args, expected) in [
        (["--lags", "20,10"], "--lags must grow"),
        (["--lags", "1,10"], "from at least 2"),
        (["--lags", "2,10"], "at least 3 for the task copy"),
        (["--lags", "18446744073709551615"], "the limit is"),
        (["--updates", "0"], "--updates is 0"),
        (["--plot", "."], "cannot write ."),
    ] {
        refused(&run(folder.path(), &args), expected);
    }
}
