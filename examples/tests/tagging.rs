//! The example `tagging` from outside: what it learns and has to beat, and what it answers to damaged files.
//!
//! The contract: a run ends in a test event with a share of what is right, behind those of its baselines, and a bad
//! file in one message that names file and line. `cargo test` builds the example.

use std::{collections::BTreeMap, fs, path::Path, process::Output};

use recurrent::{Checkpoint, Config, InputKind, Model};
use serde_json::Value;

use crate::support::{self, events, refused};

fn run(folder: &Path, args: &[&str]) -> Output {
    support::run("tagging", folder, args)
}

/// The baselines by their names, and the test.
fn told(output: &Output) -> (BTreeMap<String, Value>, Value) {
    let mut events = events(output);
    let test = events.pop().unwrap();
    assert_eq!(test["event"], "test", "{test}");
    let baselines = events.into_iter().filter(|event| event["event"] == "baseline");
    (baselines.map(|event| (event["name"].as_str().unwrap().to_owned(), event)).collect(), test)
}

fn share(event: &Value, what: &str) -> f64 {
    event[what].as_f64().unwrap_or_else(|| panic!("no {what} in {event}"))
}

/// Sentences in which `ba` is a noun behind `lo` and a verb behind `mu`, and other words' endings tell what they are;
/// every other noun is there once.
fn corpus(count: usize) -> Vec<Vec<(String, &'static str)>> {
    let sentence = |at: usize| {
        let noun = if at.is_multiple_of(2) { "ba".to_owned() } else { format!("n{}um", at * 7) };
        let verb = if at.is_multiple_of(3) { "ba".to_owned() } else { format!("v{}at", at % 5) };
        let object = [("lo".to_owned(), "DET"), (noun, "NOUN")];
        let mut words = vec![("mu".to_owned(), "PRON"), (verb, "VERB")];
        (0..1 + at % 3).for_each(|_| words.extend(object.clone()));
        words.push((".".to_owned(), "PUNCT"));
        words
    };
    (0..count).map(sentence).collect()
}

/// Lines as `line` writes them, of the number in a sentence, a word and its tag; a blank one behind each sentence.
fn file(count: usize, line: impl Fn(usize, &str, &str) -> String) -> String {
    let sentence = |words: Vec<(String, &'static str)>| {
        let lines = (1..).zip(words).map(|(at, (word, tag))| line(at, &word, tag));
        lines.collect::<String>() + "\n"
    };
    corpus(count).into_iter().map(sentence).collect()
}

fn two_columns(count: usize) -> String {
    file(count, |_, word, tag| format!("{word}\t{tag}\n"))
}

const SMALL: [&str; 6] = ["--hidden", "12", "--epochs", "3", "--batch-size", "8"];

#[test]
fn both_directions_tell_what_one_and_the_most_frequent_tag_cannot() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = [(); 2].map(|()| told(&run(folder.path(), &["--hidden", "16", "--epochs", "3"])));
    let (baselines, test) = first;
    let names = ["most frequent tag", "forward only", "without letters"];
    // By how much it has to be better than each: than one way at words of two kinds, than words alone at unknown ones.
    for (what, least) in [
        ("accuracy", [0.05, 0.02, 0.005]),
        ("ambiguous_accuracy", [0.2, 0.08, -0.02]),
        ("unknown_accuracy", [0.1, -0.05, 0.1]),
    ] {
        for (name, least) in names.into_iter().zip(least) {
            let [ours, other] = [&test, &baselines[name]].map(|event| share(event, what));
            assert!(ours > other + least, "{what}: {ours} beside {other}, {name}");
        }
    }
    assert!(["words", "unknown_words", "ambiguous_words"].iter().all(|what| test[what].as_u64().unwrap() > 100));
    let without_time = |(baselines, mut test): (BTreeMap<String, Value>, Value)| {
        test["seconds"].take();
        (baselines, test)
    };
    assert_eq!(without_time((baselines.clone(), test.clone())), without_time(second));

    let picture = fs::read_to_string(folder.path().join("out/tagging.svg")).unwrap();
    for words in ["confusion on the test part", "most frequent tag", "ambiguous words", "PROPN"] {
        assert!(picture.contains(words), "{words}");
    }
    // The network that is saved is the one that reads both ways: what stands behind a word changes its tag.
    let tags = |sentence: &str| {
        let mut events = events(&run(folder.path(), &["--tag", sentence]));
        events.pop().unwrap()["tags"].as_array().unwrap().clone()
    };
    let [before_noun, before_verb] = ["Ta zidum trolat .", "Ta trolat ."].map(tags);
    assert_eq!((before_noun.len(), before_verb.len()), (4, 3));
    assert_eq!((&before_noun[0], &before_verb[0]), (&"DET".into(), &"PRON".into()));
}

#[test]
fn a_file_is_the_same_in_every_format_it_is_read_in() {
    let folder = tempfile::tempdir().unwrap();
    let conllu = |id: &str, word: &str, tag: &str| format!("{id}\t{word}\tlemma\t{tag}{}\n", "\t_".repeat(6));
    let with_others = |at: usize, word: &str, tag: &str| {
        let others = [conllu("1-2", "muba", "_"), conllu("1.1", "none", "NOUN")].concat();
        let before = if at == 1 { format!("# sent_id = 1\n{others}") } else { String::new() };
        before + &conllu(&at.to_string(), word, tag)
    };
    let files = [
        ("plain.tsv", two_columns(120), &[][..]),
        // As Windows writes it, with more blank lines and none at the end.
        ("windows.tsv", format!("\u{feff}\r\n{}", two_columns(120).trim_end().replace('\n', "\r\n")), &[]),
        (
            "turned.tsv",
            file(120, |_, word, tag| format!("{tag}\tx\t{word}\n")),
            &["--word-column", "3", "--tag-column", "1"],
        ),
        ("words.conllu", file(120, with_others), &["--conllu"]),
        (
            "xpos.conllu",
            file(120, |at, word, tag| format!("{at}\t{word}\t_\tX\t{tag}{}\n", "\t_".repeat(5))),
            &["--conllu", "--tag-column", "5"],
        ),
    ];
    let tested = files.map(|(name, text, options)| {
        fs::write(folder.path().join(name), text).unwrap();
        let (_, mut test) = told(&run(folder.path(), &[&SMALL[..], &["--data", name], options].concat()));
        test["seconds"].take();
        test
    });
    assert_eq!(tested[0]["words"], corpus(120)[108..].iter().map(Vec::len).sum::<usize>());
    assert!(tested.iter().all(|test| *test == tested[0]), "{tested:?}");

    // Words of its own to test with, one of them with a tag that no word to learn has; an empty group has no share.
    let tag = "INTERJECTION".repeat(10);
    fs::write(folder.path().join("test.tsv"), format!("mu\tPRON\nv1at\t{tag}\n.\tPUNCT\n")).unwrap();
    let args = [&SMALL[..], &["--data", "plain.tsv", "--test", "test.tsv"]].concat();
    let (_, test) = told(&run(folder.path(), &args));
    assert_eq!((&test["words"], &test["unknown_words"]), (&3.into(), &0.into()));
    assert_eq!((share(&test, "accuracy"), &test["unknown_accuracy"]), (2.0 / 3.0, &Value::Null));
    // Beside the matrix a name has room for twelve letters.
    let picture = fs::read_to_string(folder.path().join("out/tagging.svg")).unwrap();
    assert_eq!(picture.lines().filter(|line| line.trim() == "INTERJECTION").count(), 2);

    fs::write(folder.path().join("words.txt"), "mu ba lo ba .\n\nlo N35um\n").unwrap();
    let said = events(&run(folder.path(), &["--predict", "words.txt"]));
    let said = &said[said.len() - 2..];
    assert_eq!((&said[0]["line"], &said[1]["line"]), (&1.into(), &3.into()));
    assert_eq!(said[0]["tags"].as_array().unwrap().len(), 5);
    assert!(said[1]["probabilities"].as_array().unwrap().iter().all(|p| (0.0..=1.0).contains(&p.as_f64().unwrap())));
}

#[test]
fn a_damaged_file_is_named_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let good = two_columns(100);
    let conllu = format!("1\tmu\t_\tPRON{}\n", "\t_".repeat(6));
    let changed = |line: usize, to: &str| {
        let mut lines: Vec<&str> = good.lines().collect();
        lines[line - 1] = to;
        lines.join("\n").into_bytes()
    };
    for (bytes, options, expected) in [
        (Vec::new(), &[][..], "words.tsv has no words"),
        (b"\n \n\t\n".to_vec(), &[], "words.tsv has no words"),
        (b"# text = mu\n\n".to_vec(), &["--conllu"], "words.tsv has no words"),
        (changed(3, "lo"), &[], "words.tsv, line 3: 1 columns, expected 2 as in the first line"),
        (changed(3, "lo DET"), &[], "words.tsv, line 3: 1 columns, expected 2"),
        (changed(1, "mu"), &[], "words.tsv, line 1: 1 columns, expected 2, or a tag in another"),
        (changed(4, "ba\t"), &[], "words.tsv, line 4: no tag in column 2"),
        (changed(4, " \tNOUN"), &[], "words.tsv, line 4: no word in column 1"),
        (good.clone().into_bytes(), &["--tag-column", "3"], "words.tsv, line 1: 2 columns, expected 3"),
        (good.clone().into_bytes(), &["--conllu"], "words.tsv, line 1: 2 columns, expected 10 of CoNLL-U"),
        ([conllu.as_bytes(), b"2\tba\n"].concat(), &["--conllu"], "words.tsv, line 2: 2 columns, expected 10"),
        (conllu.replace("1\t", "one\t").into_bytes(), &["--conllu"], "words.tsv, line 1: the id is \"one\""),
        (conllu.replace("PRON", "_").into_bytes(), &["--conllu"], "line 1: the tag in column 4 is \"_\""),
        (b"mu\tPRON\nba\xff\tVERB\n".to_vec(), &[], "words.tsv is not UTF-8 text: invalid byte at offset 10, line 2"),
        (two_columns(99).into_bytes(), &[], "words.tsv: 99 sentences, expected at least 100"),
        (good.replace("PRON", "X").into_bytes(), &["--tag-column", "1"], "--word-column and --tag-column are both 1"),
        (file(100, |_, word, _| format!("{word}\tX\n")).into_bytes(), &[], "all words are tagged X"),
    ] {
        fs::write(folder.path().join("words.tsv"), &bytes).unwrap();
        refused(&run(folder.path(), &[&["--data", "words.tsv"], options].concat()), expected);
    }
    let once: String = (0..100).map(|at| format!("w{at}\tX{}\n\n", at % 2)).collect();
    fs::write(folder.path().join("words.tsv"), once).unwrap();
    refused(&run(folder.path(), &["--data", "words.tsv"]), "no word occurs twice");
    fs::write(folder.path().join("words.tsv"), &good).unwrap();
    fs::write(folder.path().join("test.tsv"), "mu\n").unwrap();
    refused(&run(folder.path(), &["--data", "words.tsv", "--test", "test.tsv"]), "test.tsv, line 1: 1 columns");
    refused(&run(folder.path(), &["--data", "no-such"]), "no-such");
    assert!(!folder.path().join("out/tagging.safetensors").exists());
}

#[test]
fn an_option_that_makes_no_sense_is_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("words.tsv"), two_columns(100)).unwrap();
    let data = ["--data", "words.tsv"];
    for (args, expected) in [
        (&["--epochs", "0"][..], "--epochs is 0"),
        (&["--hidden", "0"], "hidden units (H) is 0"),
        (&["--word-dropout", "-1"], "--word-dropout is -1, expected at least 0"),
        (&["--word-dropout", "nan"], "--word-dropout is NaN"),
        (&["--word-column", "0"], "--word-column is 0, expected 1 to 65535"),
        (&["--conllu", "--tag-column", "11"], "--tag-column is 11, expected 1 to 10"),
        (&["--plot", "words.tsv"], "words.tsv is named twice"),
        (&["--test", "words.tsv", "--plot", "words.tsv"], "words.tsv is named twice"),
    ] {
        refused(&run(folder.path(), &[&data[..], args].concat()), expected);
    }
    for args in [
        &["--conllu"][..],
        &["--tag-column", "2"],
        &["--test", "words.tsv"],
        &["--tag", "mu", "--epochs", "3"],
        &["--tag", "mu", "--predict", "words.tsv"],
        &["--predict", "words.tsv", "--data", "words.tsv"],
        &["--cell", "transformer"],
    ] {
        let output = run(folder.path(), args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn a_checkpoint_of_another_program_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    refused(&run(folder.path(), &["--tag", "mu"]), "train first");
    refused(&run(folder.path(), &["--tag", " "]), "the sentence of --tag has no words");
    fs::write(folder.path().join("words.tsv"), two_columns(100)).unwrap();
    told(&run(folder.path(), &[&SMALL[..], &["--data", "words.tsv"]].concat()));
    fs::write(folder.path().join("empty.txt"), " \n\n").unwrap();
    refused(&run(folder.path(), &["--predict", "empty.txt"]), "empty.txt has no words");

    let path = folder.path().join("out/tagging.safetensors");
    let good = Checkpoint::load(&path).unwrap();
    let noted = |change: &dyn Fn(&mut Checkpoint), expected: &str| {
        let mut checkpoint = good.clone();
        change(&mut checkpoint);
        checkpoint.save(&path).unwrap();
        refused(&run(folder.path(), &["--tag", "mu ba"]), expected);
    };
    let note = |from: &'static str, to: &'static str| {
        move |checkpoint: &mut Checkpoint| {
            let note = checkpoint.notes["prepared"].replacen(from, to, 1);
            assert_ne!(note, checkpoint.notes["prepared"], "{from}");
            checkpoint.notes.insert("prepared".to_owned(), note);
        }
    };
    let other = |checkpoint: &mut Checkpoint| {
        let model = Model::new(Config::gru(InputKind::Dense(4), 2, 10)).unwrap();
        *checkpoint = Checkpoint::from(model);
        checkpoint.notes = good.notes.clone();
        checkpoint.notes.insert("program".to_owned(), "handwriting".to_owned());
    };
    noted(&other, "it was written by `handwriting`");
    noted(&note(r#""DET","#, ""), "the checkpoint's note names 4 tags of 5");
    noted(&note(r#""mu""#, r#""lo""#), "appears twice in the vocabulary");
    noted(&note(r#""words":["#, r#""words":["more","#), "words, or other endings, and its network reads");
    noted(&note(r#""suffixes":[["#, r#""suffixes":[["more","#), "or other endings");
    noted(&|checkpoint| *checkpoint = Checkpoint::from(good.model.clone()), "it names no program");
}
