//! The command `train`: epochs over the text, each validated, saved and plotted, then a sample.
//!
//! The contract: where the run stands follows from the steps done alone, so that an interrupted run goes on bit for
//! bit; the device is waited for only every so many steps.

use std::{
    env,
    io::{self, Write},
    process::{self, ExitCode},
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

use anyhow::{Context, Result};

use crate::{
    args::{Common, TrainArgs},
    progress::Progress,
    report::{Report, finite},
    run::Run,
    sample::{self, Style},
};

/// 128 + SIGINT, as shells count.
const INTERRUPTED: u8 = 130;

/// Set by Ctrl-C.
static STOP: AtomicBool = AtomicBool::new(false);

pub fn run(args: &TrainArgs, common: &Common) -> Result<ExitCode> {
    let mut report = Report::new(common.json);
    let mut run = Run::prepare(args, common, &report)?;
    ctrlc::set_handler(|| {
        if STOP.swap(true, Ordering::Relaxed) {
            // Asked twice: at once, with what the last epoch saved.
            process::exit(INTERRUPTED.into());
        }
    })?;
    let done = learn(&mut run, &mut report);
    report.end();
    if !done? {
        let (steps, file) = (run.trainer.steps(), run.checkpoint.display());
        let command = resume_command(&run, args, common);
        let notice = format!("interrupted after {steps} steps; saved in {file}. To go on:\n{command}");
        // All is saved, whether or not somebody reads that it is.
        let _ = writeln!(io::stderr(), "{notice}");
        return Ok(ExitCode::from(INTERRUPTED));
    }
    report.line(&format!("saved in {}, plotted in {}\n", run.checkpoint.display(), run.plot.display()))?;
    let style = Style { prime: "", temperature: 0.8, length: 500, seed: run.notes.settings.seed };
    let model = run.trainer.model()?;
    sample::print(run.trainer.device(), &model, &run.notes.alphabet, &style, &report)?;
    Ok(ExitCode::SUCCESS)
}

/// Trains to the end of the last epoch, or until Ctrl-C: then `false`. Either way everything is saved.
fn learn(run: &mut Run, report: &mut Report) -> Result<bool> {
    let epoch = run.epoch();
    report.begin(run.trainer.steps(), run.notes.settings.epochs.saturating_mul(epoch))?;
    let mut clock = Clock::start(run);
    loop {
        let steps = run.trainer.steps();
        if steps / epoch > run.notes.progress.epochs {
            end_epoch(run, report)?;
            clock = Clock::start(run);
        }
        if run.notes.progress.epochs >= run.notes.settings.epochs {
            return Ok(true);
        }
        if stopped() {
            drain(run, report, &mut clock)?;
            run.save()?;
            return Ok(false);
        }
        run.trainer.step(&run.windows.get((steps % epoch) as usize))?;
        if Progress::is_point(steps + 1, epoch) {
            drain(run, report, &mut clock)?;
        }
    }
}

/// Waits for the device and reports what it did.
fn drain(run: &mut Run, report: &Report, clock: &mut Clock) -> Result<()> {
    let epoch = run.epoch();
    let metrics = run.trainer.metrics().context("a lower --learning-rate or stronger clipping may help")?;
    let speed = clock.characters_per_second(run);
    for means in run.notes.progress.record(&metrics, epoch) {
        report.train(&means, (means.step - 1) / epoch + 1, speed)?;
    }
    Ok(())
}

/// Validates, saves, reports; unless Ctrl-C comes in between, then the epoch waits to be ended by a resumed run.
fn end_epoch(run: &mut Run, report: &Report) -> Result<()> {
    let validation = match &run.held {
        Some(held) => {
            let nats = run.trainer.evaluate(held.clone().take_while(|_| !stopped()));
            if stopped() {
                return Ok(());
            }
            Some(finite(nats?, "validation loss")?)
        }
        None => None,
    };
    let train = run.notes.progress.end_epoch(run.epoch(), validation);
    run.save()?;
    report.epoch(run.notes.progress.epochs, run.notes.settings.epochs, train, validation)
}

fn stopped() -> bool {
    STOP.load(Ordering::Relaxed)
}

/// Measures the speed of training, what lies between epochs left out.
struct Clock {
    since: Instant,
    steps: u64,
}

impl Clock {
    fn start(run: &Run) -> Self {
        Clock { since: Instant::now(), steps: run.trainer.steps() }
    }

    /// Since the last call.
    fn characters_per_second(&mut self, run: &Run) -> f64 {
        let before = std::mem::replace(self, Clock::start(run));
        let seconds = before.since.elapsed().as_secs_f64().max(1e-9);
        ((self.steps - before.steps) * run.characters()) as f64 / seconds
    }
}

/// The command line that goes on where this run stopped.
fn resume_command(run: &Run, args: &TrainArgs, common: &Common) -> String {
    let program = env::args().next().unwrap_or_else(|| "text".to_owned());
    let mut words = vec![program, "--resume".to_owned(), run.checkpoint.display().to_string()];
    if let Some(plot) = &args.plot {
        words.extend(["--plot".to_owned(), plot.display().to_string()]);
    }
    if common.device != "best" {
        words.extend(["--device".to_owned(), common.device.clone()]);
    }
    if common.json {
        words.push("--json".to_owned());
    }
    words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_./:\\".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}
