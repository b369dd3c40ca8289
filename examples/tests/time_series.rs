//! The example `time_series` from outside: what it forecasts, and what it answers to files and sizes that do not fit.
//!
//! The contract: a run ends in a test event with its errors beside those of the baselines. `cargo test` builds the
//! example.

use std::{fs, path::Path, process::Output};

use recurrent::Checkpoint;
use serde_json::Value;

use crate::support::{self, events, refused};

fn run(folder: &Path, args: &[&str]) -> Output {
    support::run("time_series", folder, args)
}

/// A wave of 12 months on a map that no line predicts: x ← 3.7·x·(1 − x).
fn table(rows: usize) -> String {
    let mut x = 0.4;
    let mut row = |at: usize| {
        x = 3.7 * x * (1.0 - x);
        format!("{at},{:.5},{at}\n", 10.0 * x + 3.0 * (at as f64 * std::f64::consts::TAU / 12.0).sin())
    };
    let rows: String = (0..rows).map(&mut row).collect();
    format!("month,level,count\n{rows}")
}

const SMALL: [&str; 12] = [
    "--data",
    "series.csv",
    "--column",
    "level",
    "--window",
    "6",
    "--horizon",
    "2",
    "--networks",
    "2",
    "--hidden",
    "24",
];

#[test]
fn a_series_is_forecast_better_than_by_a_line_and_goes_on_after_its_end() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("series.csv"), table(600)).unwrap();
    let all = events(&run(
        folder.path(),
        &[&SMALL[..], &["--period", "12", "--epochs", "40", "--learning-rate", "0.01"]].concat(),
    ));
    let test = all.last().unwrap();
    assert_eq!((test["event"].as_str(), test["forecasts"].as_u64()), (Some("test"), Some(89)), "{test}");
    let (own, of) = (test["rmse"].as_f64().unwrap(), |name: &str| test["baselines"][name]["rmse"].as_f64().unwrap());
    assert!(own < 0.8 * of("linear") && own < 0.4 * of("persistence"), "{test}");
    assert!(of("seasonal persistence") > 0.0 && test["by_step"].as_array().unwrap().len() == 2, "{test}");
    let picture = fs::read_to_string(folder.path().join("out/time_series.svg")).unwrap();
    assert!(picture.contains("seasonal persistence") && picture.contains("forecast 2 steps ahead"));

    let all = events(&run(folder.path(), &["--predict", "series.csv"]));
    let said: Vec<f64> = all.iter().filter_map(|event| event["value"].as_f64()).collect();
    // What comes next is known.
    let next: Vec<f64> =
        table(602).lines().skip(601).map(|line| line.split(',').nth(1).unwrap().parse().unwrap()).collect();
    assert_eq!(said.len(), 2, "{all:?}");
    assert!((said[0] - next[0]).abs() < 2.0, "{said:?}, not {next:?}");

    // As a run leaves it that was stopped while its last network was trained.
    let names = ["out/time_series.safetensors", "out/time_series.1.safetensors"].map(|name| folder.path().join(name));
    let whole = names.each_ref().map(|name| Checkpoint::load(name).unwrap());
    for (name, mut checkpoint) in names.iter().zip(whole.clone()) {
        let mut prepared: Value = serde_json::from_str(&checkpoint.notes["prepared"]).unwrap();
        prepared["shares"] = Value::from(Vec::<f32>::new());
        checkpoint.notes.insert("prepared".to_owned(), prepared.to_string());
        checkpoint.save(name).unwrap();
    }
    refused(&run(folder.path(), &["--predict", "series.csv"]), "was not ended");
    names.iter().zip(whole).for_each(|(name, checkpoint)| checkpoint.save(name).unwrap());

    // The first network alone of another run.
    let again = ["--epochs", "1", "--seed", "7"];
    let other = folder.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::copy(folder.path().join("series.csv"), other.join("series.csv")).unwrap();
    events(&run(&other, &[&SMALL[..], &again].concat()));
    fs::copy(other.join("out/time_series.safetensors"), folder.path().join("out/time_series.safetensors")).unwrap();
    let mixed = run(folder.path(), &["--predict", "series.csv"]);
    refused(&mixed, "time_series.1.safetensors is of another run than");
}

/// What is forgotten by a fifth a step, and as much chance.
fn noise(rows: usize) -> String {
    let (mut state, mut x) = (7u64, 0.0);
    let mut row = |_| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        x = 0.8 * x + (state >> 40) as f64 / f64::from(1 << 24) - 0.5;
        format!("{x:.5}\n")
    };
    let rows: String = (0..rows).map(&mut row).collect();
    format!("level\n{rows}")
}

#[test]
fn bands_hold_about_what_they_say() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("series.csv"), noise(2000)).unwrap();
    let args = [&SMALL[..], &["--quantiles", "--epochs", "12", "--learning-rate", "0.01"]].concat();
    let all = events(&run(folder.path(), &args));
    let test = all.last().unwrap();
    let [outer, inner] = test["bands"].as_array().unwrap().as_slice() else { panic!("{test}") };
    for (band, nominal) in [(outer, 0.9), (inner, 0.5)] {
        let [said, first, all] = ["nominal", "first", "all"].map(|name| band[name].as_f64().unwrap());
        assert!((said - nominal).abs() < 1e-9, "{test}");
        // Of 299 forecasts: four standard deviations.
        assert!((first - nominal).abs() < 0.12 && (all - nominal).abs() < 0.12, "{test}");
    }
    let picture = fs::read_to_string(folder.path().join("out/time_series.svg")).unwrap();
    assert!(picture.contains("where 90 %") && picture.contains("<polygon"));

    // The first network says them of what comes next.
    let all = events(&run(folder.path(), &["--predict", "series.csv"]));
    for event in all.iter().filter(|event| event["event"] == "prediction") {
        let [value, low, high] = [&event["value"], &event["band"][0], &event["band"][1]].map(|v| v.as_f64().unwrap());
        assert!(low < value && value < high && high - low < 4.0, "{event}");
    }
}

#[test]
fn the_embedded_series_is_forecast_alike_from_one_seed() {
    let folder = tempfile::tempdir().unwrap();
    let short = ["--epochs", "2", "--networks", "1", "--hidden", "8"];
    let [first, second] = [(); 2].map(|()| events(&run(folder.path(), &short)).pop().unwrap());
    assert!(first["rmse"].as_f64().unwrap() < first["baselines"]["persistence"]["rmse"].as_f64().unwrap(), "{first}");
    assert_eq!(first["rmse"], second["rmse"]);
}

#[test]
fn values_past_the_digits_of_f32_are_forecast_and_measured_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let rows: String = (0..400).map(|i| format!("{}\n", 1_600_000_000 + 3 * i + i % 2)).collect();
    fs::write(folder.path().join("series.csv"), format!("seconds\n{rows}")).unwrap();
    let short = ["--epochs", "1", "--networks", "1", "--hidden", "4", "--window", "4", "--horizon", "2"];
    let test = events(&run(folder.path(), &[&["--data", "series.csv"][..], &short].concat())).pop().unwrap();
    // Each value is 4 or 2 above the one before, in turn: √((4² + 2²) / 2).
    let persistence = test["baselines"]["persistence"]["rmse"].as_f64().unwrap();
    assert!((persistence - 10f64.sqrt()).abs() < 0.02, "{test}");
    assert!(test["baselines"]["linear"]["rmse"].as_f64().unwrap() < 0.1, "{test}");
    let next = events(&run(folder.path(), &["--predict", "series.csv"]));
    let said = next.iter().find_map(|event| event["value"].as_f64()).unwrap();
    assert!((said - 1_600_001_200.0).abs() < 4.0, "{said}");
}

/// The same 60 numbers as `table` writes them.
fn levels() -> Vec<String> {
    table(60).lines().skip(1).map(|line| line.split(',').nth(1).unwrap().to_owned()).collect()
}

/// Runs an example on bytes, so small that what it says of the test part tells which numbers it read.
fn told(folder: &Path, file: &[u8], args: &[&str]) -> Output {
    fs::write(folder.join("series.csv"), file).unwrap();
    let short = ["--epochs", "1", "--networks", "1", "--hidden", "4", "--window", "4", "--horizon", "2"];
    run(folder, &[&["--data", "series.csv"][..], &short, args].concat())
}

#[test]
fn a_first_line_of_numbers_is_data_or_an_error_that_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let persistence = |output: &Output| events(output).pop().unwrap()["baselines"]["persistence"].clone();
    let expected = persistence(&told(folder.path(), table(60).as_bytes(), &["--column", "level"]));
    let body: String = levels().iter().enumerate().map(|(at, level)| format!("{at},{level}\n")).collect();
    let bare = |args: &[&str]| told(folder.path(), body.as_bytes(), args);
    let words = "line 1: \"0\" in place of a column's name: --no-header reads the line as data, --header as names";
    refused(&bare(&[]), words);
    // Not even where it is asked for by what stands there.
    refused(&bare(&["--column", "0"]), words);
    assert_eq!(persistence(&bare(&["--no-header"])), expected);
    assert_eq!(persistence(&bare(&["--no-header", "--column", "2"])), expected);
    refused(&bare(&["--no-header", "--column", "level"]), "no column \"level\"; there are \"1\", \"2\"");
    // The network was trained on its last column; the file that is predicted may be of either kind.
    events(&bare(&["--no-header"]));
    fs::write(folder.path().join("bare.csv"), &body).unwrap();
    refused(&run(folder.path(), &["--predict", "bare.csv"]), "--no-header");
    events(&run(folder.path(), &["--predict", "bare.csv", "--no-header"]));
    // Years are names to who says so.
    let years = format!("month,2019\n{body}");
    refused(&told(folder.path(), years.as_bytes(), &[]), "line 1: \"2019\" in place of a column's name");
    assert_eq!(persistence(&told(folder.path(), years.as_bytes(), &["--header"])), expected);
    let twice = table(60).replacen("month,level,count", "level,level,count", 1);
    refused(&told(folder.path(), twice.as_bytes(), &[]), "line 1: two columns are called \"level\"");
}

#[test]
fn dialects_of_csv_are_read_by_their_options_and_hinted_at_without_them() {
    let folder = tempfile::tempdir().unwrap();
    let expected = events(&told(folder.path(), table(60).as_bytes(), &["--column", "level"])).pop().unwrap();
    let with = |separator: &str, head: &str, decimals: &str| -> String {
        let row = |(at, level): (usize, String)| format!("{at}{separator}{}\r\n", level.replace('.', decimals));
        format!("{head}\r\n{}", levels().into_iter().enumerate().map(row).collect::<String>())
    };
    let comments =
        format!("# from a station\n{}", with(",", "month,level", ".").replacen("\n30,", "\n# moved\n30,", 1));
    for (file, args, hint) in [
        (
            with(";", "\u{feff}month;level", ","),
            &["--separator", ";", "--decimal-comma"][..],
            "--separator ';' --decimal-comma",
        ),
        (with("\t", "month\tlevel", "."), &["--separator", "tab"], "--separator tab"),
        (comments, &["--comment", "#"], "--comment '#'"),
        (with(",", "\u{feff}month,level", "."), &[], ""),
    ] {
        let said = events(&told(folder.path(), file.as_bytes(), args)).pop().unwrap();
        assert_eq!(said["baselines"]["persistence"], expected["baselines"]["persistence"], "{args:?}");
        if !hint.is_empty() {
            refused(&told(folder.path(), file.as_bytes(), &[]), hint);
        }
    }
    // As Python writes them.
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/csv");
    let of = |name: &str, args: &[&str]| {
        let file = fs::read(format!("{fixtures}/{name}.csv")).unwrap();
        events(&told(folder.path(), &file, args)).pop().unwrap()["baselines"].clone()
    };
    let plain = of("plain", &[]);
    assert_eq!(of("semicolon", &["--separator", ";", "--decimal-comma"]), plain);
    assert_eq!(of("tab", &["--separator", "tab"]), plain);

    // A number is never taken for what it may be in another dialect.
    let thousands = with(";", "month;level", ",").replacen("\n3;", "\n3;1.", 1);
    refused(&told(folder.path(), thousands.as_bytes(), &["--separator", ";", "--decimal-comma"]), "line 5: \"1.");
    let single = with(";", "month;level", ",").replace('\r', "");
    let single: String = single.lines().map(|line| format!("{}\n", line.split(';').nth(1).unwrap())).collect();
    refused(&told(folder.path(), single.as_bytes(), &[]), "--separator ';' --decimal-comma");
    events(&told(folder.path(), single.as_bytes(), &["--separator", ";", "--decimal-comma"]));
    let wide: Vec<u8> = table(60).encode_utf16().flat_map(u16::to_le_bytes).collect();
    refused(&told(folder.path(), &[&[0xff, 0xfe][..], &wide].concat(), &[]), "UTF-16");
    for option in ["--decimal-comma", "--no-header", "--header"] {
        refused(&run(folder.path(), &[option]), &format!("{option} is of a file: name one with --data"));
    }
    refused(&run(folder.path(), &["--comment", "#"]), "--comment is of a file");
    refused(&told(folder.path(), b"", &["--separator", ";", "--comment", ";"]), "are the same character");
    let word = told(folder.path(), b"", &["--separator", "ab"]);
    assert_eq!(word.status.code(), Some(2), "{}", String::from_utf8_lossy(&word.stderr));
}

#[test]
fn what_does_not_fit_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let good = table(60);
    for (file, args, expected) in [
        (good.replacen(",0\n", ",zero\n", 1), vec!["--column", "count"], "line 2: \"zero\" in column \"count\""),
        (good.replacen("\n3,", "\n3,inf,", 1), vec![], "line 5: 4 columns, expected 3"),
        (good.replacen("\n1,", "\n1,NaN", 1), vec!["--column", "level"], "line 3: \"NaN"),
        (good.clone(), vec!["--column", "height"], "no column \"height\"; there are \"month\", \"level\", \"count\""),
        (good.clone(), vec!["--window", "40"], "too few"),
        (good.clone(), vec!["--horizon", "0"], "the horizon is 0"),
        (good.clone(), vec!["--window", "6", "--horizon", "2", "--period", "50"], "less than one period of 50"),
        (good.clone(), vec!["--networks", "0"], "--networks is 0"),
        (good.clone(), vec!["--networks", "1000000000000"], "expected 1 to 100"),
        (good, vec!["--window", "6", "--horizon", "2", "--plot", "out/time_series.1.safetensors"], "named twice"),
        ("month,level\n".to_owned(), vec![], "has no values in column \"level\""),
    ] {
        fs::write(folder.path().join("series.csv"), &file).unwrap();
        refused(&run(folder.path(), &[&["--data", "series.csv"][..], &args].concat()), expected);
    }
    refused(&run(folder.path(), &["--predict", "series.csv"]), "train first");
    refused(&run(folder.path(), &["--column", "level"]), "--column is of a file");
    let longer = run(folder.path(), &["--predict", "series.csv", "--horizon", "99"]);
    let said = String::from_utf8_lossy(&longer.stderr);
    assert!(longer.status.code() == Some(2) && said.contains("--horizon cannot be used with it"), "{said}");
}
