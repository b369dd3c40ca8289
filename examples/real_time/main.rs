//! A recurrent network in an audio callback: blocks of samples through a model, and how much of the time they may take
//! they do take.
//!
//! The contract: nothing but the network is between the two readings of the clock; a model that cannot run in real time
//! is an error with exit code 1.
//!
//! ```text
//! cargo run --release --example real_time
//! cargo run --release --example real_time -- --cell gru --hidden 40 --block 128
//! cargo run --release --example real_time -- --model amp.safetensors
//! ```

use std::io::{Write, stdout};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use recurrent::{InputKind, Model, RealTimePredictor};
use recurrent_examples::{cell::CellName, program};

/// Runs a model of one number in and one out over blocks of a sine wave, as an audio plug-in would, and says how long a
/// block takes: the median, the 99.9th percentile and the worst, beside the time that the block lasts.
#[derive(Parser)]
#[command(name = "real_time", max_term_width = 100)]
struct Args {
    /// A model that reads one number and has one output; without it one is made up
    #[arg(long, conflicts_with_all = ["cell", "hidden"])]
    model: Option<PathBuf>,
    /// The cell of the model that is made up
    #[arg(long, value_enum, default_value = "lstm")]
    cell: CellName,
    /// H, its hidden units
    #[arg(long, default_value_t = 24)]
    hidden: usize,
    /// Samples a block
    #[arg(long, default_value_t = 64)]
    block: usize,
    /// Samples a second
    #[arg(long, default_value_t = 48_000)]
    rate: u32,
    /// Blocks that are timed
    #[arg(long, default_value_t = 10_000)]
    blocks: usize,
}

fn main() -> ExitCode {
    program::main(|| run(&Args::parse()))
}

fn run(args: &Args) -> Result<()> {
    let &Args { block, rate, blocks, .. } = args;
    ensure!(block > 0 && rate > 0 && blocks > 0, "--block, --rate or --blocks is 0, expected at least 1");
    let model = match &args.model {
        Some(path) => Model::load(path)?,
        None => Model::new(args.cell.config(InputKind::Dense(1), args.hidden, 1))?,
    };
    let config = model.config();
    ensure!(
        config.input == InputKind::Dense(1) && config.outputs == 1,
        "the model reads {:?} and has {} outputs, expected one number in and one out",
        config.input,
        config.outputs
    );
    let mut predictor = RealTimePredictor::new(&model)?;
    let samples: Vec<f32> =
        (0..block).map(|n| (n as f32 * 440.0 * std::f32::consts::TAU / rate as f32).sin()).collect();
    let (mut output, mut times) = (vec![0.0; block], Vec::with_capacity(blocks));
    for _ in 0..blocks {
        let start = Instant::now();
        predictor.block(&samples, &mut output)?;
        times.push(start.elapsed().as_secs_f64() * 1e6);
    }
    ensure!(output.iter().all(|y| y.is_finite()), "the model's output is no longer finite");
    times.sort_by(f64::total_cmp);
    let (median, worst) = (times[blocks / 2], times.last().copied().context("no block")?);
    let most = times[(blocks - 1) * 999 / 1000];
    let lasts = block as f64 / f64::from(rate) * 1e6;
    writeln!(
        stdout(),
        "{} KiB of weights; a block of {block} samples lasts {lasts:.0} µs and takes {median:.1} µs ({:.1} %), \
         {:.0} ns a sample; of 1000 blocks 999 take at most {most:.1} µs, the worst of {blocks} {worst:.1} µs",
        predictor.weight_bytes().div_ceil(1024),
        median / lasts * 100.0,
        median * 1e3 / block as f64,
    )?;
    Ok(())
}
