//! What the program says: prose with a progress bar, or one JSON object a line.
//!
//! The contract: with --json nothing but JSON goes to stdout, and every number in it is finite; a failing write comes
//! back as an error.

use std::io::{self, Write};

use anyhow::{Result, ensure};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::progress::Means;

/// A line of JSON.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event<'a> {
    Device { name: &'a str, gpu: bool },
    Train { step: u64, epoch: u64, nats: f64, norm: f64, chars_per_second: f64 },
    Validation { epoch: u64, nats: f64 },
    Sample { text: &'a str },
    Evaluation { split: &'a str, nats: f64, characters: usize },
    Adapter { index: usize, name: &'a str, backend: &'a str, kind: &'a str, software: bool, limits: Limits },
}

/// Those of an adapter that decide what can be trained on it.
#[derive(Serialize)]
pub struct Limits {
    pub buffer_bytes: u64,
    pub binding_bytes: u64,
    pub workgroup_bytes: u64,
    pub invocations: u64,
}

pub struct Report {
    json: bool,
    bar: ProgressBar,
}

impl Report {
    pub fn new(json: bool) -> Self {
        Report { json, bar: ProgressBar::hidden() }
    }

    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Prints an event, in JSON only.
    pub fn event(&self, event: &Event) -> Result<()> {
        if self.json { self.print(&serde_json::to_string(event)?) } else { Ok(()) }
    }

    /// Prints a line, in prose only.
    pub fn line(&self, line: &str) -> Result<()> {
        if self.json { Ok(()) } else { self.print(line) }
    }

    fn print(&self, line: &str) -> Result<()> {
        self.bar.suspend(|| {
            let mut out = io::stdout().lock();
            writeln!(out, "{line}")?;
            out.flush()
        })?;
        Ok(())
    }

    /// Shows a bar of `total` steps, `done` of them behind it. Only a terminal sees it.
    pub fn begin(&mut self, done: u64, total: u64) -> Result<()> {
        if !self.json {
            let style = ProgressStyle::with_template("{msg} [{bar:24}] step {pos}/{len}, {eta} left")?;
            self.bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            self.bar.set_style(style.progress_chars("=> "));
            self.bar.set_position(done);
            self.bar.reset_eta();
        }
        Ok(())
    }

    /// The training loss now.
    pub fn train(&self, means: &Means, epoch: u64, chars_per_second: f64) -> Result<()> {
        let &Means { step, nats, norm } = means;
        self.bar.set_position(step);
        self.bar.set_message(format!("epoch {epoch}  {}  {:.0}k chars/s", loss(nats), chars_per_second / 1e3));
        self.event(&Event::Train { step, epoch, nats, norm, chars_per_second })
    }

    /// An epoch that is done: its mean training loss and the validation loss, if any text is kept for that.
    pub fn epoch(&self, epoch: u64, of: u64, train: f64, validation: Option<f64>) -> Result<()> {
        let mut line = format!("epoch {epoch}/{of}: training {}", loss(train));
        if let Some(nats) = validation {
            line += &format!(", validation {}", loss(nats));
            self.event(&Event::Validation { epoch, nats })?;
        }
        self.line(&line)
    }

    /// Takes the bar away.
    pub fn end(&mut self) {
        self.bar.finish_and_clear();
        self.bar = ProgressBar::hidden();
    }
}

/// A loss in nats and in bits per character.
pub fn loss(nats: f64) -> String {
    format!("{nats:.3} nats ({:.3} bits)", nats / std::f64::consts::LN_2)
}

/// A number with its thousands apart: 1,234,567.
pub fn thousands(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A loss that is a number.
pub fn finite(nats: f64, what: &str) -> Result<f64> {
    ensure!(nats.is_finite(), "the {what} is {nats}; a lower --learning-rate or stronger clipping may help");
    Ok(nats)
}
