//! What an example says: prose with a progress bar, or one JSON object a line.
//!
//! The contract: with --json nothing but JSON goes to stdout; only a terminal sees the bar; a failing write to stdout
//! comes back as an error.

use std::io::{self, Write};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::program;

/// Where an example says what it has to say.
pub struct Report {
    json: bool,
    /// Prose goes to stderr: stdout is for what was asked for alone.
    pub is_aside: bool,
    bar: ProgressBar,
}

impl Report {
    /// Speaks JSON or prose, with no bar yet.
    pub fn new(json: bool) -> Self {
        Report { json, is_aside: false, bar: ProgressBar::hidden() }
    }

    /// Prints an event, in JSON only: an object whose `event` names it.
    pub fn event(&self, event: &impl Serialize) -> Result<()> {
        if self.json { self.print(&serde_json::to_string(event)?) } else { Ok(()) }
    }

    /// Prints a line, in prose only.
    pub fn line(&self, line: &str) -> Result<()> {
        match (self.json, self.is_aside) {
            (true, _) => Ok(()),
            (false, true) => {
                program::aside(line);
                Ok(())
            }
            (false, false) => self.print(line),
        }
    }

    fn print(&self, line: &str) -> Result<()> {
        self.bar.suspend(|| {
            let mut out = io::stdout().lock();
            writeln!(out, "{line}")?;
            out.flush()
        })?;
        Ok(())
    }

    /// Shows a bar of `total` steps, `done` of them behind it.
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

    /// Moves the bar on to a step.
    pub fn at(&self, step: u64, message: String) {
        self.bar.set_position(step);
        self.bar.set_message(message);
    }

    /// Returns the bar, for what moves it by itself.
    pub fn bar(&self) -> ProgressBar {
        self.bar.clone()
    }

    /// Takes the bar away.
    pub fn end(&mut self) {
        self.bar.finish_and_clear();
        self.bar = ProgressBar::hidden();
    }
}
