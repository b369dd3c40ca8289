//! Music as a sequence: a network hears which keys of a piano sound and says which will at the next eighth note.
//!
//! The contract: the last tenth of the pieces is the test part, of which nothing is learned; what a network reaches
//! there stands beside keys that know nothing of each other; what is wrong with a file is said with its name and byte.
//!
//! ```text
//! cargo run --release --example music
//! cargo run --release --example music -- --data FOLDER            # *.mid; scripts/chorales.py makes Bach's
//! cargo run --release --example music -- --predict FILE.mid       # plays on after its end
//! ```

mod baseline;
mod drawing;
mod player;
mod synthetic;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use rand::RngExt;
use recurrent::{
    Batch, InputKind, Loss, Model,
    data::{Buckets, Example},
};
use recurrent_examples::{
    device, files, fit,
    options::{self, Options},
    program,
    readers::midi::{self, KEYS, LOWEST, Piece},
    report::Report,
    shuffle, svg,
};
use serde_json::json;

use baseline::Keys;

const DEFAULTS: &[(&str, &str)] = &[
    ("checkpoint", "out/music.safetensors"),
    ("plot", "out/music.svg"),
    ("cell", "lstm"),
    ("layers", "1"),
    ("hidden", "192"),
    ("epochs", "60"),
    ("patience", "10"),
    ("batch_size", "4"),
    ("learning_rate", "0.005"),
    ("dropout", "0"),
];

/// Of this many pieces one is for the test, and of as many of the rest one tells when to stop.
const HELD: usize = 10;
/// Steps that are learned in one go: longer pieces are cut.
const MOST: usize = 128;
/// By how many keys a piece is moved while it is learned, down and up, at most.
const MOVED: (i32, i32) = (-5, 6);

/// Hears music, says at every step which keys sound next, and plays some itself.
///
/// Without --data it learns music that it makes up itself.
#[derive(Parser)]
#[command(name = "music", max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    options: Options,
    /// Where what it plays is written (MIDI)
    #[arg(long, value_name = "FILE", default_value = "out/music.mid")]
    midi: PathBuf,
    /// How many eighth notes it plays
    #[arg(long, default_value_t = 128)]
    length: usize,
    /// How freely it plays: below 1 it keeps to what it thinks likely
    #[arg(long, default_value_t = 0.7, allow_negative_numbers = true)]
    temperature: f64,
}

fn main() -> ExitCode {
    program::main(|| {
        let cli: Cli = options::parse(DEFAULTS);
        let report = Report::new(cli.options.json);
        ensure!((1..=MOST * MOST).contains(&cli.length), "--length is {}, expected 1 to {}", cli.length, MOST * MOST);
        ensure!(
            cli.temperature.is_finite() && cli.temperature > 0.0,
            "--temperature is {}, expected above 0",
            cli.temperature
        );
        match &cli.options.predict {
            Some(file) => predict(file, &cli, &report).map(|()| ExitCode::SUCCESS),
            None => train(&cli, report),
        }
    })
}

fn train(cli: &Cli, mut report: Report) -> Result<ExitCode> {
    let options = &cli.options;
    let pieces = match &options.data {
        Some(folder) => midi::folder(folder)?,
        None => synthetic::pieces(options.seed),
    };
    let (name, count) = (options.name("chorales of a machine"), pieces.len());
    ensure!(count >= 2 * HELD, "{name}: {count} pieces, expected at least {}", 2 * HELD);
    options.prepare(&[])?;
    files::prepare(options.data.as_deref(), &[&options.checkpoint], &[&options.plot, &cli.midi])?;
    let device = device::open(&options.device, &report)?;
    let config = options.config(InputKind::Dense(KEYS), KEYS);
    let mut model = Model::new(config.clone())?;
    let (rest, test) = pieces.split_at(count - count / HELD);
    let order = shuffle::shuffled(&(0..rest.len()).collect::<Vec<_>>(), shuffle::rng(options.seed, u64::MAX));
    let (held, kept) = order.split_at(rest.len() / HELD);
    let [held, kept] = [held, kept].map(|places| places.iter().map(|&at| &rest[at]).collect::<Vec<&Piece>>());
    let test: Vec<&Piece> = test.iter().collect();
    let steps = |pieces: &[&Piece]| pieces.iter().map(|piece| piece.steps.len()).sum::<usize>();
    report.line(&format!(
        "{name}: {} pieces to learn, {} eighth notes long, {} to tell when to stop, the last {} to test",
        kept.len(),
        steps(&kept),
        held.len(),
        test.len()
    ))?;
    // It begins with what it is compared with: how often each key sounds.
    let frequencies = Keys::frequencies(&kept);
    model.set_parameter("bias", &frequencies.log_odds())?;
    let outside: usize = pieces.iter().map(|piece| piece.outside).sum();
    if outside > 0 {
        report.event(&json!({ "event": "left_out", "notes": outside }))?;
        report.line(&format!("{outside} of their notes no piano has, and are left out"))?;
    }

    let batches = |examples: Vec<Example>, number| -> Result<Vec<Batch>> {
        Ok(Buckets::new(examples, options.batch_size, &config, options.seed)?.epoch(number).collect())
    };
    let cut = |steps: &[u128]| -> Vec<Example> {
        let starts = (0..steps.len()).step_by(MOST);
        let before = |at: usize| at.checked_sub(1).map_or(0, |before| steps[before]);
        starts.map(|at| player::example(before(at), &steps[at..steps.len().min(at + MOST)])).collect()
    };
    let epoch = |number| {
        // Every epoch in other keys.
        let mut rng = shuffle::rng(options.seed, number);
        let examples = kept.iter().flat_map(|piece| cut(&moved(&piece.steps, rng.random_range(MOVED.0..=MOVED.1))));
        batches(examples.collect(), number)
    };
    let held = batches(held.iter().flat_map(|piece| cut(&piece.steps)).collect(), 0)?;
    let notes = Some(options::notes("music", &())?);
    let loss = Loss::binary_cross_entropy();
    let (best, history) = fit::fit((&device, &model, loss), epoch, &held, options, &mut report, notes)?;
    if let Some(code) = history.stopped {
        return Ok(fit::interrupted(code, options));
    }

    let expected = player::probabilities(&device, &best, &test)?;
    let network = player::nll(&test, &expected);
    let baselines = [
        ("keys by their frequencies", frequencies.nll(&test)),
        ("keys by whether they sound", Keys::held(&kept).nll(&test)),
    ];
    let played = player::play(
        &device,
        &best,
        &[],
        (cli.length, cli.temperature),
        &mut shuffle::rng(options.seed, u64::MAX - 1),
    )?;
    midi::write(&cli.midi, &played)?;
    svg::write(&options.plot, (1180, 900), &format!("music: {name}"), |area| {
        drawing::draw(
            area,
            &history,
            (test[0], &expected[0], &played),
            &[&baselines[..], &[("network", network)]].concat(),
        )
    })?;
    report.line(&format!("\n{:<30}{:>26}", "", "nats an eighth note, test"))?;
    for (name, nll) in baselines.iter().chain([&("network", network)]) {
        report.line(&format!("{name:<30}{nll:>26.3}"))?;
    }
    report.line(&format!(
        "\n{} eighth notes of {} pieces, after {:.0} s of training; saved in {}, drawn in {}, played in {}",
        steps(&test),
        test.len(),
        history.seconds,
        options.checkpoint.display(),
        options.plot.display(),
        cli.midi.display()
    ))?;
    let [(_, frequencies), (_, sounding)] = baselines;
    report.event(&json!({
        "event": "test", "nll": network, "baselines": { "frequencies": frequencies, "sounding": sounding },
        "pieces": test.len(), "steps": steps(&test), "seconds": history.seconds,
    }))?;
    Ok(ExitCode::SUCCESS)
}

/// The same piece so many keys higher; as it is where the keys do not reach.
fn moved(steps: &[u128], by: i32) -> Vec<u128> {
    let all = steps.iter().fold(0, |all, step| all | step);
    let (low, high) = (all.trailing_zeros() as i32, 127 - all.leading_zeros() as i32);
    if low + by < 0 || high + by >= KEYS as i32 {
        return steps.to_vec();
    }
    steps.iter().map(|step| if by < 0 { step >> -by } else { step << by }).collect()
}

/// What a trained network finds of a file, and how it plays on.
fn predict(file: &Path, cli: &Cli, report: &Report) -> Result<()> {
    let (model, ()) = cli.options.load("music")?;
    let (given, expected) = (model.config(), (InputKind::Dense(KEYS), KEYS));
    ensure!((given.input, given.outputs) == expected, "the checkpoint's network does not read {KEYS} keys");
    let piece = midi::read(file)?;
    files::prepare(Some(file), &[&cli.options.checkpoint], &[&cli.midi])?;
    let device = device::open(&cli.options.device, report)?;
    let expected = player::probabilities(&device, &model, &[&piece])?;
    let nll = player::nll(&[&piece], &expected);
    let mut rng = shuffle::rng(cli.options.seed, u64::MAX - 1);
    let played = player::play(&device, &model, &piece.steps, (cli.length, cli.temperature), &mut rng)?;
    midi::write(&cli.midi, &played).context("what it plays")?;
    let sounding = |step: &u128| (0..KEYS).filter(|key| step >> key & 1 == 1).map(|key| key + LOWEST).collect();
    let keys: Vec<Vec<usize>> = played.iter().map(sounding).collect();
    report.event(&json!({ "event": "prediction", "nll": nll, "steps": piece.steps.len(), "keys": keys }))?;
    report.line(&format!(
        "{}: {} eighth notes, {nll:.3} nats each; {} more are played in {}",
        file.display(),
        piece.steps.len(),
        cli.length,
        cli.midi.display()
    ))
}
