//! How long a recurrent network takes on a device: JSON lines for other programs, a table for people, where the time of
//! a training step goes, or which executor to take on this machine.
//!
//! The contract: a repeat is what a caller waits for, the upload of the inputs and the reading of the results included;
//! work that is no work and a device that is not there are an error with exit code 1, before anything is timed.
//!
//! ```text
//! cargo run --release --example step_time -- --device gpu elman:16,64,64,128,64
//! cargo run --release --example step_time -- --table --floor --stream
//! cargo run --release --example step_time -- --advise
//! cargo run --release --example step_time -- --profile lstm:16,64,64,128,64
//! cargo run --release --example step_time -- --device cpu words:20,35 words-tied:20,35 classes:32,200
//! cargo run --release --example step_time -- --device cpu --scaling scaling.svg
//! ```
//!
//! # What is counted
//!
//! G is the number of gates: 1 of an Elman network, 4 of an LSTM, 3 of a GRU.
//!
//! | phase | FLOP | bytes |
//! |---|---|---|
//! | forward | F = 2·T·B·(G·H·(I + H) + H·V) | P + x + 2·g + 2·h + y |
//! | train | 3·F, the gradient of x included | 10·P + 2·x + 4·g + 5·h + 4·y + targets; LSTM, GRU: + 2·g + 2·m |
//! | stream | F, T being 1 | as forward, T being 1 |
//!
//! P are all parameters, x `[T, B, I]`, g the gates `[T, B, G·H]`, h the history `[T + 1, B, H]`, y the outputs
//! `[T, B, V]`, m `[T, B, H]`, targets `[T, B]`, of four bytes each. Weights are read once; inputs are read, outputs
//! written; gates and history are written and read. Training reads P for both passes and in the update, which writes
//! it, writes and reads its gradient and reads and writes Adam's two moments; x is read again for the gradient of W, h
//! for those of U and V; gates, history and outputs have a gradient each, written and read; the gates of an LSTM and a
//! GRU are kept, and m beside them, c of an LSTM, U·h of a GRU's n.
//!
//! The floor of a device is measured, not looked up: GFLOP/s of the best of several large products, and GB/s of a large
//! copy, what is read and what is written both counted, through the crate's own executor. `floor_ms` is the longer of
//! FLOP over the first and bytes over the second. It knows nothing of steps that must follow one another, nor of what a
//! submission to a GPU takes; and it is no law: a network whose tensors stay in a cache does not pay for the traffic.

mod advise;

use std::io::{Write, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail, ensure};
use clap::Parser;
use recurrent::Device;
use recurrent_examples::{
    program,
    timing::{
        clock::{Repeats, Subject, WARM_UP, median},
        floor::Floor,
        report::{self, Row},
        scaling,
        work::{self, Phase, Work},
    },
};

/// Times a recurrent layer with a read-out at every step: x [B, T, I] to H hidden units to V classes.
///
/// `forward` is inference: inputs up, outputs back. `train` is a whole training step: mean cross-entropy, the backward
/// pass, clipping to a norm of 1 and Adam; inputs up, the loss back. `stream` is one step of B sequences whose state
/// stays on the device. Figures are medians.
///
/// GFLOP/s are those of the products: 2·T·B·(G·H·(I + H) + H·V) forwards, with 1, 4 or 3 gates G of an elman, lstm or
/// gru, three times that for a training step, T = 1 for a stream. The head of this program's source says what bytes are
/// counted.
#[derive(Parser)]
#[command(name = "step_time", max_term_width = 100)]
struct Args {
    /// best, cpu, gpu, gpu:INDEX or gpu:NAME; with --advise the GPU that the CPU is set against
    #[arg(long, default_value = "best")]
    device: String,
    /// How long each phase is repeated; at least 5 times, with --advise 3, at most 200
    #[arg(long, default_value_t = 2.0, conflicts_with = "profile")]
    seconds: f64,
    /// Times `stream` too
    #[arg(long, conflicts_with = "advise")]
    stream: bool,
    /// Measures first what the device reaches in large products and in a large copy, and gives the time that each phase
    /// would take at that pace (floor_ms), and the multiple of it that it takes (times_floor)
    #[arg(long, conflicts_with = "advise")]
    floor: bool,
    /// Prints a section for benches/RESULTS.md in place of JSON lines
    #[arg(long, conflicts_with = "advise")]
    table: bool,
    /// Times the CPU against the best GPU there is, a software one if there is no other, and says which wins each
    /// phase, by what factor, and what the first use of each takes: from opening the device to the end of the first
    /// step
    #[arg(long)]
    advise: bool,
    /// Prints where the time of one training step goes, operation by operation: on a GPU by its own timestamps where it
    /// has them. FLOP and bytes are here each operation's, computed from its plan
    #[arg(long, conflicts_with_all = ["advise", "floor", "stream", "table"])]
    profile: bool,
    /// Draws to this file how the time grows with T, B, H and the number of layers, each on its own, beside the growth
    /// of the work, and prints the figures as a table; takes a minute or two
    #[arg(long, value_name = "SVG", conflicts_with_all = ["advise", "floor", "profile", "stream", "table", "work"])]
    scaling: Option<PathBuf>,
    /// What is timed: CELL:B,T,I,H,V, where CELL is elman, lstm or gru, or NAME:B,T, of which a training step is timed:
    /// words (embedding 10,000 × 256, LSTM 512, LSTM 256, a read-out of 10,000), words-tied (its read-out tied to the
    /// embedding), classes (embedding 10,000 × 128, GRU 128 in both directions, maximum, a read-out of 5) or
    /// classes-lazy (the same, of whose embedding a step updates the rows that occur); NAME:B,T,TOKENS has so many
    /// tokens in place of 10,000; may be left out with --table, --advise and --profile
    #[arg(required_unless_present_any = ["table", "advise", "profile", "scaling"])]
    work: Vec<String>,
}

fn main() -> ExitCode {
    program::main(|| run(&Args::parse()))
}

fn run(args: &Args) -> Result<()> {
    let seconds = args.seconds;
    ensure!(seconds >= 0.0, "--seconds is {seconds}, expected 0 or more");
    let default = work::DEFAULT.map(str::to_owned);
    let texts = if args.work.is_empty() { default.as_slice() } else { &args.work };
    let works = texts.iter().map(|text| Work::parse(text)).collect::<Result<Vec<_>>>()?;
    if let Some(work) = works.iter().find(|work| work.is_of_layers() && (args.advise || args.floor || args.stream)) {
        bail!("{work} is timed in training alone, expected neither --advise nor --floor nor --stream");
    }
    if args.advise {
        return advise::advise(&args.device, seconds, &works);
    }

    let device = Device::parse(&args.device)?;
    let mut out = stdout().lock();
    program::aside(format_args!("device: {}", device.name()));
    if let Some(path) = &args.scaling {
        return scale(path, &device, seconds);
    }
    if args.profile {
        for work in &works {
            let profile = Subject::new(work)?.profile(&device)?;
            writeln!(out, "{work}\n{profile}\n")?;
        }
        return Ok(());
    }
    let floor = if args.floor { Some(Floor::measure(&device, seconds)?) } else { None };
    if args.table {
        let command: Vec<String> = std::env::args().skip(1).collect();
        writeln!(out, "{}", report::head(&device, &command, floor))?;
    }
    for work in &works {
        let stream = args.stream.then_some(Phase::Stream);
        // Of one sequence on the CPU, which is read without a plan.
        let block = stream.filter(|_| work.batch == 1 && !device.is_gpu()).map(|_| Phase::Block);
        let subject = Subject::new(work)?;
        let forward = (!work.is_of_layers()).then_some(Phase::Forward);
        for phase in forward.into_iter().chain([Phase::Train]).chain(stream).chain(block) {
            let time = median(Repeats { warm_up: WARM_UP, fewest: 5, seconds }, subject.on(&device, phase)?)?;
            let row = Row::new(work, phase, &device, time, floor)?;
            writeln!(out, "{}", if args.table { row.markdown() } else { serde_json::to_string(&row)? })?;
        }
    }
    Ok(())
}

/// Measures and draws how the time grows with each size.
fn scale(path: &Path, device: &Device, seconds: f64) -> Result<()> {
    let mut out = stdout().lock();
    writeln!(out, "| grows | size | forward, ms | × line | train, ms | × line |\n|---|---|---|---|---|---|")?;
    let mut panels = Vec::new();
    for axis in scaling::axes()? {
        let points = scaling::measure(&axis, device, seconds)?;
        write!(out, "{}", scaling::markdown(&format!("{} ({})", axis.name, axis.rest), &points))?;
        panels.push((axis.name, axis.rest, points));
    }
    scaling::draw(path, &format!("LSTM on {}", device.name()), &panels)
}
