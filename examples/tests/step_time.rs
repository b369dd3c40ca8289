//! The example `step_time`: the work it counts against figures made by hand, and the program from outside.
//!
//! The contract: no test looks at how long anything took. `cargo test` builds the example.

use std::process::{Command, Output};

use recurrent::Device;
use recurrent_examples::timing::{
    clock::Median,
    floor::Floor,
    report::{self, Row},
    scaling::{self, Point},
    verdict::{Cost, verdict},
    work::{Phase, Work},
};
use serde_json::Value;

use crate::support::program;

const SIZES: &str = "2,3,4,5,6";
const PHASES: [Phase; 3] = [Phase::Forward, Phase::Train, Phase::Stream];

fn work(text: &str) -> Work {
    Work::parse(text).unwrap()
}

fn run(args: &[&str], adapter: Option<&str>) -> Output {
    let mut command = Command::new(program("step_time"));
    command.args(args).env_remove("RUST_LOG");
    if let Some(adapter) = adapter {
        command.env("WGPU_ADAPTER_NAME", adapter);
    }
    command.output().unwrap()
}

/// The lines on standard output of a run that goes well.
fn lines(args: &[&str], adapter: Option<&str>) -> Vec<String> {
    let output = run(args, adapter);
    assert!(output.status.success(), "{:?}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn the_products_are_counted() {
    // 2·T·B·(G·H·(I + H) + H·V), T·B being 6 and in a stream 2.
    for (cell, forward) in [("elman", 12 * (45 + 30)), ("lstm", 12 * (4 * 45 + 30)), ("gru", 12 * (3 * 45 + 30))] {
        let work = work(&format!("{cell}:{SIZES}"));
        let forward = f64::from(forward);
        assert_eq!(PHASES.map(|phase| work.flop(phase)), [forward, 3.0 * forward, forward / 3.0], "{cell}");
    }
}

#[test]
fn more_layers_are_more_products() {
    // The second reads as many numbers as it has units.
    let two = work(&format!("lstm:{SIZES}")).with_layers(2);
    assert_eq!(two.flop(Phase::Forward), f64::from(12 * (4 * 45 + 4 * 50 + 30)));
}

#[test]
fn a_picture_names_the_sizes_that_depart_from_the_work() {
    let point = |(size, flop, ms): &(usize, f64, f64)| Point { size: *size, flop: [*flop; 2], ms: [*ms, *flop] };
    let points: Vec<Point> =
        [(1, 1.0, 4.0), (2, 2.0, 4.0), (4, 4.0, 5.0), (8, 8.0, 8.0), (16, 16.0, 32.0)].iter().map(point).collect();
    let [forward, train] = [0, 1].map(|phase| scaling::departure(&points, phase));
    assert_eq!(forward, "up to 2 at most 4.0 × the line, from 16 on 2.0 ×");
    assert_eq!(train, "everywhere within 1.5 × the line");
    let table = scaling::markdown("H", &points);
    assert_eq!(table.lines().next(), Some("| H | 1 | 4.00 | 4.00 | 1.00 | 1.00 |"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scaling.svg");
    let panels: Vec<_> = ["T", "B", "H", "L"].map(|name| (name, "the rest", points.clone())).into();
    scaling::draw(&path, "made up", &panels).unwrap();
    let picture = std::fs::read_to_string(&path).unwrap();
    assert_eq!(picture.matches(&forward).count(), 4);
    let nowhere = folder.path().join("no such folder").join("scaling.svg");
    assert!(scaling::draw(&nowhere, "made up", &panels).unwrap_err().to_string().contains("scaling.svg"));
}

#[test]
fn the_products_of_several_layers_are_counted() {
    // 2·3 for T·B = 6 and a multiplication with its addition, forwards and twice backwards.
    let words = (4 * 512 * (256 + 512) + 4 * 256 * (512 + 256) + 256 * 10_000) as f64;
    for name in ["words:2,3", "words-tied:2,3"] {
        assert_eq!(work(name).flop(Phase::Train), 3.0 * 2.0 * 6.0 * words, "{name}");
    }
    // Two directions of three gates at each of 6 steps, and the read-out of 5 once for each of two sequences.
    let classes = 6.0 * f64::from(2 * 3 * 128 * 256) + 2.0 * f64::from(256 * 5);
    for name in ["classes:2,3", "classes-lazy:2,3", "classes-lazy:2,3,77"] {
        assert_eq!(work(name).flop(Phase::Train), 3.0 * 2.0 * classes, "{name}");
    }
}

#[test]
fn several_layers_are_timed_in_training_alone() {
    let text = lines(&["--device", "cpu", "--seconds", "0", "classes:2,3"], None);
    let row: Value = serde_json::from_str(&text[0]).unwrap();
    assert_eq!((text.len(), &row["cell"], &row["phase"]), (1, &"classes".into(), &"train".into()));
    assert_eq!([&row["B"], &row["T"], &row["I"], &row["H"], &row["V"]], [2, 3, 10_000, 128, 5]);
    let text = lines(&["--device", "cpu", "--seconds", "0", "classes-lazy:2,3,77"], None);
    let row: Value = serde_json::from_str(&text[0]).unwrap();
    assert_eq!((&row["cell"], &row["I"]), (&"classes-lazy".into(), &77.into()));
    for (args, says) in [
        (["--device", "cpu", "--stream", "classes:2,3"], "timed in training alone"),
        (["--device", "cpu", "--floor", "words:2,3"], "timed in training alone"),
        (["--device", "cpu", "--profile", "words:2,3,4,5"], "4 sizes given, expected B and T"),
        (["--device", "cpu", "--profile", "words:0,3"], "expected at least 1"),
        (["--device", "cpu", "--profile", "classes-lazy:2,3,0"], "expected at least 1"),
    ] {
        let output = run(&args, None);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), said.contains(says)), (Some(1), true), "{args:?}: {said}");
    }
}

#[test]
fn the_traffic_is_counted() {
    // Of elements. P: 5·4 + 5·5 + 5 + 5 a gate, 6·5 + 6 of the read-out; x 24, g 30 a gate, h 4·2·5, y 36, m 30,
    // targets 6. In a stream x is 8, g 10 a gate, h 2·2·5 and y 12.
    let cases = [
        ("elman", [91 + 24 + 2 * 30 + 2 * 40 + 36, 910 + 48 + 120 + 200 + 144 + 6, 91 + 8 + 20 + 40 + 12]),
        (
            "lstm",
            [256 + 24 + 2 * 120 + 2 * 40 + 36, 2560 + 48 + 480 + 200 + 144 + 6 + 240 + 60, 256 + 8 + 80 + 40 + 12],
        ),
        ("gru", [201 + 24 + 2 * 90 + 2 * 40 + 36, 2010 + 48 + 360 + 200 + 144 + 6 + 180 + 60, 201 + 8 + 60 + 40 + 12]),
    ];
    for (cell, elements) in cases {
        let work = work(&format!("{cell}:{SIZES}"));
        let bytes = elements.map(|elements| f64::from(4 * elements));
        assert_eq!(PHASES.map(|phase| work.bytes(phase).unwrap()), bytes, "{cell}");
    }
}

#[test]
fn the_traffic_is_that_of_all_steps_though_inference_keeps_few_at_once() {
    let elements = 6 + 200 + 2 * 200 + 2 * 201 + 200;
    assert_eq!(work("elman:1,200,1,1,1").bytes(Phase::Forward).unwrap(), f64::from(4 * elements));
}

#[test]
fn the_floor_is_the_longer_of_products_and_traffic() {
    let floor = Floor { gflops: 2.0, size: 256, bandwidth: 8.0 };
    assert_eq!(floor.ms(4e6, 8e6), 2.0);
    assert_eq!(floor.ms(4e6, 80e6), 10.0);
}

#[test]
fn a_row_keeps_the_keys_that_other_programs_read() {
    let (work, time) = (work("elman:2,3,4,5,6"), Median { ms: 0.5, least: 0.25, repeats: 7 });
    let row = |floor| Row::new(&work, Phase::Forward, &Device::cpu(), time, floor).unwrap();
    let sizes = r#"{"peer":"recurrent-cpu","cell":"elman","B":2,"T":3,"I":4,"H":5,"V":6"#;
    let known = format!(r#"{sizes},"phase":"forward","ms":0.5,"repeats":7,"gflops":0.0018"#);
    assert_eq!(serde_json::to_string(&row(None)).unwrap(), format!(r#"{known},"least_ms":0.25}}"#));
    assert_eq!(row(None).markdown(), "| elman B2 T3 I4 H5 V6 | forward | 0.5000 | 0.00180 |");
    // 900 FLOP and 1164 bytes, of which there are a thousand million in a second: the bytes take longer.
    let floor = Some(Floor { gflops: 1.0, size: 256, bandwidth: 1.0 });
    let with_floor = format!(r#"{known},"floor_ms":0.001164,"times_floor":429.6,"least_ms":0.25}}"#);
    assert_eq!(serde_json::to_string(&row(floor)).unwrap(), with_floor);
    assert_eq!(row(floor).markdown(), "| elman B2 T3 I4 H5 V6 | forward | 0.5000 | 0.00180 | 430 |");
}

/// Of one sequence on the CPU a step is timed without a plan, and so are T in a call.
#[test]
fn one_sequence_is_timed_by_the_step_and_by_the_block() {
    let phases = |work: &str| -> Vec<(String, f64, f64)> {
        let rows = lines(&["--device", "cpu", "--seconds", "0", "--stream", work], None);
        let rows = rows.iter().map(|row| serde_json::from_str::<Value>(row).unwrap());
        let number = |row: &Value, key: &str| row[key].as_f64().unwrap();
        rows.map(|row| (row["phase"].as_str().unwrap().to_owned(), number(&row, "ms"), number(&row, "least_ms")))
            .collect()
    };
    let one = phases("gru:1,16,3,8,2");
    assert!(one.iter().map(|row| row.0.as_str()).eq(["forward", "train", "stream", "block"]), "{one:?}");
    assert!(one.iter().all(|(_, ms, least)| 0.0 < *least && least <= ms), "{one:?}");
    assert!(phases("gru:2,16,3,8,2").iter().map(|row| row.0.as_str()).eq(["forward", "train", "stream"]));
    assert_eq!(report::short(0.000_063_1), "0.0000631");
}

#[test]
fn days_have_dates() {
    let cases = [
        (0, "1970-01-01"),
        (11_016, "2000-02-29"),
        (11_017, "2000-03-01"),
        (19_722, "2023-12-31"),
        (47_541, "2100-03-01"),
    ];
    for (days, date) in cases {
        assert_eq!(report::date(days), date);
    }
}

#[test]
fn a_verdict_names_the_winner_and_when_it_has_paid() {
    let (small, large) = (Cost { first: 10.0, step: 2.0 }, Cost { first: 10.0, step: 5.0 });
    assert_eq!(verdict(small, large), "CPU 2.50× faster");
    assert_eq!(verdict(large, small), "GPU 2.50× faster");
    // 300 ms more at first, 3 ms less a step.
    assert_eq!(verdict(large, Cost { first: 310.0, step: 2.0 }), "GPU 2.50× faster, ahead after 100 steps");
    assert_eq!(verdict(Cost { first: 311.0, step: 2.0 }, large), "CPU 2.50× faster, ahead after 101 steps");
    assert_eq!(verdict(small, Cost { first: 900.0, step: 2.1 }), "even");
}

#[test]
fn json_has_a_line_for_every_phase() {
    let fields = |args: &[&str]| -> Vec<(String, Vec<String>)> {
        let args = [&["--device", "cpu", "--seconds", "0"], args, &["elman:2,3,4,5,6", "gru:2,3,4,5,6"]].concat();
        let rows = lines(&args, None).into_iter().map(|line| serde_json::from_str::<Value>(&line).unwrap());
        let keys = |row: &Value| row.as_object().unwrap().keys().cloned().collect();
        rows.map(|row| (format!("{} {}", row["cell"], row["phase"]).replace('"', ""), keys(&row))).collect()
    };
    let names = |rows: &[(String, Vec<String>)]| rows.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    let plain = fields(&[]);
    assert_eq!(names(&plain), ["elman forward", "elman train", "gru forward", "gru train"]);
    // In the order of the alphabet, as the parser has them.
    let keys = ["B", "H", "I", "T", "V", "cell", "gflops", "least_ms", "ms", "peer", "phase", "repeats"];
    assert!(plain.iter().all(|(_, got)| got == &keys), "{plain:?}");
    let full = fields(&["--stream", "--floor"]);
    let phases = ["elman forward", "elman train", "elman stream", "gru forward", "gru train", "gru stream"];
    assert_eq!(names(&full), phases);
    assert!(full.iter().all(|(_, got)| got.len() == keys.len() + 2), "{full:?}");
}

/// A section's facts, and the cells of its table's rows, the head among them.
fn section(lines: &[String]) -> (Vec<&str>, Vec<Vec<&str>>) {
    assert!(lines[0].starts_with("## "), "{lines:?}");
    let facts = lines.iter().filter_map(|line| line.strip_prefix("- ")).collect();
    let rows = lines.iter().filter_map(|line| line.strip_prefix('|')?.strip_suffix('|'));
    (facts, rows.map(|row| row.split('|').map(str::trim).collect()).collect())
}

#[test]
fn a_table_has_a_head_and_as_many_columns_in_every_row() {
    let facts = |facts: &[&str]| -> Vec<String> { facts.iter().map(|f| f.split(':').next().unwrap().into()).collect() };
    let args = ["--device", "cpu", "--seconds", "0", "--table", "elman:2,3,4,5,6"];
    let text = lines(&args, None);
    let (said, rows) = section(&text);
    assert_eq!(facts(&said), ["processor", "recurrent", "command"]);
    assert!(said[2].ends_with("`step_time --device cpu --seconds 0 --table elman:2,3,4,5,6`"), "{said:?}");
    assert_eq!(rows[0], ["network", "phase", "ms", "GFLOP/s"]);
    assert_eq!(rows[1], ["---"; 4]);
    let names: Vec<_> = rows[2..].iter().map(|row| [row[0], row[1]]).collect();
    assert_eq!(names, [["elman B2 T3 I4 H5 V6", "forward"], ["elman B2 T3 I4 H5 V6", "train"]]);
    assert!(rows.iter().all(|row| row.len() == 4), "{rows:?}");

    let text = lines(&[&args[..], &["--floor", "--stream"]].concat(), None);
    let (said, rows) = section(&text);
    assert_eq!(facts(&said), ["processor", "recurrent", "command", "floor"]);
    assert_eq!(rows[0], ["network", "phase", "ms", "GFLOP/s", "× floor"]);
    assert_eq!(rows.len(), 5);
    assert!(rows.iter().all(|row| row.len() == 5), "{rows:?}");
    assert!(rows[2..].iter().all(|row| row[4].parse::<f64>().unwrap() > 0.0), "{rows:?}");
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn a_gpu_has_a_floor_and_is_set_against_the_cpu() {
    let text = lines(&["--device", "gpu", "--seconds", "0", "--table", "--floor", "elman:2,3,4,5,6"], None);
    let (said, rows) = section(&text);
    let name = Device::gpu().unwrap().name();
    assert!(text[0].starts_with(&format!("## {name}, ")) && said[0].starts_with("adapter: "), "{text:?}");
    assert_eq!((said.len(), rows.len()), (5, 4));

    let text = lines(&["--advise", "--seconds", "0", "lstm:2,3,4,5,6"], None);
    assert!(text[0].starts_with("CPU: CPU (") && text[1].starts_with(&format!("GPU: {name}, ")), "{text:?}");
    let rows: Vec<_> = text.iter().filter(|line| line.starts_with("lstm B2 T3 I4 H5 V6 ")).collect();
    assert_eq!(rows.len(), 3);
    for row in rows {
        let numbers: Vec<f64> = row.split_whitespace().skip(7).map(|number| number.parse().unwrap()).collect();
        assert!(numbers.len() == 4 && numbers.iter().all(|number| *number >= 0.0), "{row}");
    }
    let verdict = text.last().unwrap();
    let phases: Vec<_> = verdict.trim().split(": ").nth(1).unwrap().split("; ").collect();
    assert_eq!(phases.len(), 3, "{verdict}");
    for (phase, said) in PHASES.iter().zip(phases) {
        assert!(said.starts_with(phase.name()) && said.len() > phase.name().len() + 1, "{verdict}");
    }
}

#[test]
fn a_profile_is_a_table_for_each_network() {
    let text = lines(&["--device", "cpu", "--profile", "elman:2,3,4,5,6", "gru:2,3,4,5,6"], None);
    let heads: Vec<usize> = (0..text.len()).filter(|at| text[*at].starts_with("phase ")).collect();
    assert_eq!(heads.len(), 2, "{text:?}");
    for (at, cell) in heads.into_iter().zip(["elman", "gru"]) {
        assert_eq!(text[at - 2], format!("{cell} B2 T3 I4 H5 V6"));
        assert!(text[at - 1].ends_with(" µs") && text[at - 1].contains("one training step, T 3, B 2"), "{text:?}");
        for op in [format!("{cell} forward by steps"), format!("{cell} backward by steps"), "adam".to_owned()] {
            assert!(text[at..].iter().any(|row| row.contains(&op)), "{op}: {text:?}");
        }
    }
}

#[test]
fn without_a_gpu_the_advice_is_the_cpu() {
    let text = lines(&["--advise", "--seconds", "0", "elman:2,3,4,5,6"], Some("no-such"));
    assert!(text[0].starts_with("no GPU: no adapter for") && text[0].contains("no-such"), "{text:?}");
    let rows: Vec<_> = text.iter().filter(|line| line.starts_with("elman B2 T3 I4 H5 V6 ")).collect();
    assert_eq!(rows.len(), 3);
    for row in rows {
        let words: Vec<_> = row.split_whitespace().skip(7).collect();
        assert!(words.len() == 4 && words[1] == "–" && words[3] == "–", "{row}");
        assert!(words[0].parse::<f64>().unwrap() >= 0.0 && words[2].parse::<f64>().unwrap() > 0.0, "{row}");
    }
    assert_eq!(text.last().unwrap(), "  elman B2 T3 I4 H5 V6: the CPU: there is no GPU");
}

#[test]
fn what_is_no_work_is_said_before_anything_is_timed() {
    let cases: [(&[&str], &[&str]); 9] = [
        (&["elman"], &["`elman`", "CELL:B,T,I,H,V"]),
        (&["elman:1,2"], &["`elman:1,2`", "2 sizes given, expected 5"]),
        (&["elman:1,2,3,4,5", "elman:1,2,3,x,5"], &["`x`", "CELL:B,T,I,H,V"]),
        (&["elman:1,2,3,4,5", "lstm:1,0,3,4,5"], &["`lstm:1,0,3,4,5`", "T is 0, expected at least 1"]),
        (&["rnn:1,2,3,4,5"], &["`rnn`", "expected elman, lstm or gru"]),
        (&["--seconds", "NaN", "elman:1,2,3,4,5"], &["NaN", "expected 0 or more"]),
        (&["--device", "abacus", "elman:1,2,3,4,5"], &["`abacus`", "expected best, cpu, gpu"]),
        (&["--advise", "--device", "cpu"], &["`cpu`", "expected best, gpu, gpu:INDEX or gpu:NAME"]),
        (&["--advise", "--device", "gpu:no-such"], &["`no-such`"]),
    ];
    for (args, words) in cases {
        let output = run(args, None);
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {message}");
        let said = message.lines().last().unwrap();
        assert!(said.starts_with("error: ") && words.iter().all(|word| said.contains(word)), "{args:?}: {message}");
        assert!(output.stdout.is_empty(), "{args:?}");
    }
    // What does not go together, and no work at all, is the command line's own error.
    for args in [
        &["--profile", "--table"][..],
        &["--advise", "--floor"],
        &["--advise", "--table"],
        &["--advise", "--stream"],
        &["--floor"],
        &[],
    ] {
        assert_eq!(run(args, None).status.code(), Some(2), "{args:?}");
    }
}
