//! How long a training step and a forward pass take: one JSON object a line, with the median over the repeats.
//!
//! The contract: a repeat is what a caller waits for, the upload of the inputs and the reading of the results included;
//! a device that is not there is an error with exit code 1.
//!
//! ```text
//! cargo run --release --example step_time -- --device gpu elman:16,64,64,128,64
//! ```

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, anyhow};
use clap::Parser;
use rand::{RngExt, SeedableRng, rngs::ChaCha12Rng};
use recurrent::{
    Batch, Clip, Config, Device, Input, Loss, Model, Optimizer, Recipe, Sequences, Stream, Targets, Trainer,
};
use serde_json::json;

/// Repeats before the clock starts: the first compiles kernels and fills caches.
const WARM_UP: usize = 3;
/// Repeats that are timed, however long they take.
const FEWEST: usize = 5;
/// Repeats after which the median has settled.
const MOST: usize = 200;

/// Times a recurrent layer with a read-out at every step: x [B, T, I] to H hidden units to V classes.
///
/// `forward` is inference: inputs up, outputs back. `train` is a whole training step: mean cross-entropy, the backward
/// pass, clipping to a norm of 1 and Adam; inputs up, the loss back.
#[derive(Parser)]
#[command(name = "step_time", max_term_width = 100)]
struct Args {
    /// best, cpu, gpu, gpu:INDEX or gpu:NAME
    #[arg(long, default_value = "best")]
    device: String,
    /// How long each phase is repeated; at least 5 times, at most 200
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// What is timed: CELL:B,T,I,H,V, where CELL is elman, lstm or gru
    #[arg(required = true)]
    work: Vec<String>,
}

/// The sizes of a piece of work, by the letters of its argument.
struct Work {
    batch: usize,
    steps: usize,
    inputs: usize,
    hidden: usize,
    classes: usize,
}

fn main() -> ExitCode {
    env_logger::init();
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    let device = Device::parse(&args.device)?;
    eprintln!("device: {}", device.name());
    for text in &args.work {
        let (cell, sizes) = text.split_once(':').with_context(|| not_work(text))?;
        let work = Work::parse(sizes).with_context(|| not_work(text))?;
        let config: fn(Input, usize, usize) -> Config = match cell {
            "elman" => Config::elman,
            "lstm" => Config::lstm,
            "gru" => Config::gru,
            _ => {
                eprintln!("skipped {text}: there is no cell `{cell}`");
                continue;
            }
        };
        time(&device, args.seconds, (cell, config(Input::Dense(work.inputs), work.hidden, work.classes)), &work)?;
    }
    Ok(())
}

fn not_work(text: &str) -> String {
    format!("`{text}` is not work, expected CELL:B,T,I,H,V, elman:16,64,64,128,64 say")
}

impl Work {
    fn parse(sizes: &str) -> Result<Self> {
        let sizes = sizes.split(',').map(str::parse).collect::<std::result::Result<Vec<usize>, _>>()?;
        let [batch, steps, inputs, hidden, classes] =
            sizes.try_into().map_err(|sizes: Vec<_>| anyhow!("{} sizes given, expected 5", sizes.len()))?;
        Ok(Work { batch, steps, inputs, hidden, classes })
    }
}

/// Both phases of one piece of work.
fn time(device: &Device, seconds: f64, (cell, config): (&str, Config), work: &Work) -> Result<()> {
    let &Work { batch, steps, inputs, hidden, classes } = work;
    // The model first: it refuses sizes that the data could not be drawn for.
    let model = Model::new(config)?;
    let labels = steps.checked_mul(batch).context("T·B overflows")?;
    let values = labels.checked_mul(inputs).context("T·B·I overflows")?;
    let mut rng = ChaCha12Rng::seed_from_u64(0);
    let x: Vec<f32> = (0..values).map(|_| rng.random_range(-1.0..1.0)).collect();
    let y: Vec<u32> = (0..labels).map(|_| rng.random_range(0..classes as u32)).collect();

    let peer = if device.is_gpu() { "recurrent-gpu" } else { "recurrent-cpu" };
    let print = |phase: &str, (ms, repeats): (f64, usize)| {
        let ms = (ms * 1e4).round() / 1e4;
        let line = json!({
            "peer": peer, "cell": cell, "B": batch, "T": steps, "I": inputs, "H": hidden, "V": classes,
            "phase": phase, "ms": ms, "repeats": repeats,
        });
        println!("{line}");
    };

    let mut stream = Stream::new(device, &model, batch)?;
    let sequences = Sequences::dense(steps, batch, x);
    print("forward", timed(seconds, || Ok(stream.sequence(steps, &sequences.inputs).map(drop)?))?);

    let recipe = Recipe::new(Loss::CrossEntropy).with_clip(Clip::Norm(1.0)).with_optimizer(Optimizer::adam(), 1e-3);
    let mut trainer = Trainer::new(device, &model, recipe)?;
    let window = Batch { sequences, targets: Targets::Classes(y), mask: None };
    print(
        "train",
        timed(seconds, || {
            trainer.step(&window)?;
            // The call that waits: without it the clock would stop before the device does.
            Ok(trainer.metrics().map(drop)?)
        })?,
    );
    Ok(())
}

/// The median in milliseconds, and of how many repeats.
fn timed(seconds: f64, mut repeat: impl FnMut() -> Result<()>) -> Result<(f64, usize)> {
    for _ in 0..WARM_UP {
        repeat()?;
    }
    let begin = Instant::now();
    let mut times = Vec::with_capacity(MOST);
    while times.len() < FEWEST || (times.len() < MOST && begin.elapsed().as_secs_f64() < seconds) {
        let start = Instant::now();
        repeat()?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    let middle = times.len() / 2;
    let median = if times.len() % 2 == 1 { times[middle] } else { (times[middle - 1] + times[middle]) / 2.0 };
    Ok((median, times.len()))
}
