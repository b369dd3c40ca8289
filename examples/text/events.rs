//! What the program says in JSON, and of a training in prose.
//!
//! The contract: every number in an event is finite; a loss is given in nats a character.

use anyhow::{Result, ensure};
use recurrent_examples::report::Report;
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
    Test { nats: f64, characters: usize, seconds: f64 },
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

/// The training loss now.
pub fn train(report: &Report, means: &Means, epoch: u64, chars_per_second: f64) -> Result<()> {
    let &Means { step, nats, norm } = means;
    report.at(step, format!("epoch {epoch}  {}  {:.0}k chars/s", loss(nats), chars_per_second / 1e3));
    report.event(&Event::Train { step, epoch, nats, norm, chars_per_second })
}

/// An epoch that is done: its mean training loss and the validation loss, if any text is kept for that.
pub fn epoch(report: &Report, epoch: u64, of: u64, train: f64, validation: Option<f64>, is_best: bool) -> Result<()> {
    let mut line = format!("epoch {epoch}/{of}: training {}", loss(train));
    if let Some(nats) = validation {
        line += &format!(", validation {}{}", loss(nats), if is_best { ", the best so far" } else { "" });
        report.event(&Event::Validation { epoch, nats })?;
    }
    report.line(&line)
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
