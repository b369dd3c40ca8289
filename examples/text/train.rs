//! The command `train`: epochs over the text, each validated, saved and plotted, then a sample and the test.
//!
//! The contract: where the run stands follows from the steps done alone, so that an interrupted run goes on bit for
//! bit; the device is waited for only every so many steps.

use std::{env, io, process::ExitCode, time::Instant};

use anyhow::{Context, Result};
use recurrent_examples::{program, report::Report, signals};

use crate::{
    args::{Common, TrainArgs},
    eval,
    events::{self, Epoch, Event, finite},
    progress::Progress,
    run::Run,
    sample::{self, Style},
    tokenizer::perplexity,
};

pub fn run(args: &TrainArgs, common: &Common) -> Result<ExitCode> {
    let since = Instant::now();
    let mut report = Report::new(common.json);
    let mut run = Run::prepare(args, common, &report)?;
    signals::watch()?;
    let learned = learn(&mut run, &mut report);
    report.end();
    let stopped = match learned {
        // Nobody reads what is said, the pipe or the terminal being closed: what was learned is kept all the same.
        Err(error) if error.chain().any(|cause| cause.is::<io::Error>()) => {
            run.save()?;
            Some(signals::stopped().ok_or(error)?)
        }
        learned => learned?,
    };
    if let Some(code) = stopped {
        let (steps, file) = (run.trainer.steps_done(), run.checkpoint.display());
        let command = resume_command(&run, args, common);
        program::aside(format_args!("interrupted after {steps} steps; saved in {file}. To go on:\n{command}"));
        return Ok(ExitCode::from(code));
    }
    report.line(&format!("saved in {}, plotted in {}\n", run.checkpoint.display(), run.plot.display()))?;
    let unit = run.unit();
    let style = Style { prime: "", temperature: 0.8, length: sample::length(unit), seed: run.notes.settings.seed };
    let (model, device) = (run.network()?, run.trainer.device());
    sample::print(device, &model, &run.notes.tokenizer, &style, (common, &report))?;
    report.line("")?;
    let Some((held, part)) = run.test else {
        report.line("\ntoo little text is left for a test")?;
        return Ok(ExitCode::SUCCESS);
    };
    let nats = eval::measure(device, &model, held.iter().take_while(|_| signals::stopped().is_none()));
    if let Some(code) = signals::stopped() {
        return Ok(ExitCode::from(code));
    }
    let (nats, seconds) = (nats?, since.elapsed().as_secs_f64());
    let extent = events::extent(unit, &part);
    let mut line = format!("\ntest part: {} over {extent}, after {seconds:.0} s", unit.loss(nats));
    if let Some(nats) = run.ngram.test {
        line += &format!("; by n-grams {}", unit.loss(nats));
    }
    report.line(&line)?;
    let (measured, ngram_perplexity) = (events::measured(unit, &part, nats), run.ngram.test.map(perplexity));
    report.event(&Event::Test { nats, measured, ngram_perplexity, seconds })?;
    Ok(ExitCode::SUCCESS)
}

/// Trains to the end of the last epoch, or until a signal: then the exit code. Either way everything is saved.
fn learn(run: &mut Run, report: &mut Report) -> Result<Option<u8>> {
    let epoch = run.epoch();
    report.begin(run.trainer.steps_done(), run.notes.settings.epochs.saturating_mul(epoch))?;
    let mut clock = TimingSource::start(run);
    loop {
        let steps = run.trainer.steps_done();
        if steps / epoch > run.notes.progress.epochs {
            end_epoch(run, report)?;
            clock = TimingSource::start(run);
        }
        if run.is_over() {
            return Ok(None);
        }
        if let Some(code) = signals::stopped() {
            drain(run, report, &mut clock)?;
            run.save()?;
            return Ok(Some(code));
        }
        let window = run.windows.get((steps % epoch) as usize).context("an epoch has a window at every step")?;
        run.trainer.step(&window)?;
        if Progress::is_point(steps + 1, epoch) {
            drain(run, report, &mut clock)?;
        }
    }
}

/// Waits for the device and reports what it did.
fn drain(run: &mut Run, report: &Report, clock: &mut TimingSource) -> Result<()> {
    let epoch = run.epoch();
    let metrics = run.trainer.metrics()?;
    let (unit, speed) = (run.unit(), clock.tokens_per_second(run));
    for means in run.notes.progress.record(&metrics, epoch) {
        events::train(report, &means, (means.step - 1) / epoch + 1, unit, speed)?;
    }
    Ok(())
}

/// Validates, saves, reports; unless a signal comes in between, then the epoch waits to be ended by a resumed run.
fn end_epoch(run: &mut Run, report: &Report) -> Result<()> {
    let validation = match &run.held {
        Some(held) => {
            let nats = run.trainer.evaluate(held.iter().take_while(|_| signals::stopped().is_none()));
            if signals::stopped().is_some() {
                return Ok(());
            }
            Some(finite(nats?, "validation loss")?)
        }
        None => None,
    };
    if let Some(nats) = validation {
        run.stopping.observe(nats, &mut run.trainer)?;
    }
    let train = run.notes.progress.end_epoch(run.epoch(), validation);
    run.save()?;
    let is_best = run.stopping.since_best() == 0;
    let (number, of) = (run.notes.progress.epochs, run.notes.settings.epochs);
    Epoch { number, of, train, validation, is_best }.tell(report, run.unit())?;
    if !run.stopping.should_continue() {
        let patience = run.notes.settings.patience;
        report.line(&format!("{patience} consecutive validations were no better than the best: training ends"))?;
    }
    Ok(())
}

/// Measures the speed of training, what lies between epochs left out.
struct TimingSource {
    since: Instant,
    steps: u64,
}

impl TimingSource {
    fn start(run: &Run) -> Self {
        TimingSource { since: Instant::now(), steps: run.trainer.steps_done() }
    }

    /// Since the last call.
    fn tokens_per_second(&mut self, run: &Run) -> f64 {
        let before = std::mem::replace(self, TimingSource::start(run));
        let seconds = before.since.elapsed().as_secs_f64().max(1e-9);
        ((self.steps - before.steps) * run.tokens()) as f64 / seconds
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
