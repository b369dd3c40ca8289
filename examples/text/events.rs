//! What the program says in JSON, and of a training in prose.
//!
//! The contract: every number in an event is finite; a loss is given in nats a character, or in nats a word with its
//! perplexity.

use anyhow::{Result, ensure};
use recurrent::data::Vocabulary;
use recurrent_examples::report::Report;
use serde::Serialize;

use crate::{
    progress::Means,
    tokenizer::{Unit, perplexity},
};

/// A line of JSON.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event<'a> {
    Device {
        name: &'a str,
        gpu: bool,
    },
    LearningRate {
        before: f64,
        now: f64,
    },
    Train {
        step: u64,
        epoch: u64,
        nats: f64,
        norm: f64,
        #[serde(flatten)]
        speed: Speed,
    },
    Validation {
        epoch: u64,
        nats: f64,
        #[serde(skip_serializing_if = "Option::is_none")]
        perplexity: Option<f64>,
    },
    Ngram {
        split: &'a str,
        order: usize,
        nats: f64,
        perplexity: f64,
    },
    Sample {
        text: &'a str,
    },
    Evaluation {
        split: &'a str,
        nats: f64,
        #[serde(flatten)]
        measured: Measured,
    },
    Test {
        nats: f64,
        #[serde(flatten)]
        measured: Measured,
        #[serde(skip_serializing_if = "Option::is_none")]
        ngram_perplexity: Option<f64>,
        seconds: f64,
    },
    Adapter {
        index: usize,
        name: &'a str,
        backend: &'a str,
        kind: &'a str,
        software: bool,
        limits: Limits,
    },
}

/// How many tokens a training reads, under the name of its unit.
#[derive(Serialize)]
#[serde(untagged)]
pub enum Speed {
    Characters { chars_per_second: f64 },
    Words { words_per_second: f64 },
}

/// How many tokens a loss is the mean of, under the name of its unit, and what is said of words besides.
#[derive(Serialize)]
#[serde(untagged)]
pub enum Measured {
    Characters { characters: usize },
    Words { words: usize, unknown: usize, perplexity: f64 },
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
pub fn train(report: &Report, means: &Means, epoch: u64, unit: Unit, per_second: f64) -> Result<()> {
    let &Means { step, nats, norm } = means;
    report.at(step, format!("epoch {epoch}  {}  {}", unit.loss(nats), unit.speed(per_second)));
    let speed = match unit {
        Unit::Character => Speed::Characters { chars_per_second: per_second },
        Unit::Word => Speed::Words { words_per_second: per_second },
    };
    report.event(&Event::Train { step, epoch, nats, norm, speed })
}

/// The loss on a part of a text, whose tokens are these.
pub fn measured(unit: Unit, part: &[u32], nats: f64) -> Measured {
    match unit {
        Unit::Character => Measured::Characters { characters: part.len() },
        Unit::Word => Measured::Words { words: part.len(), unknown: unknown(part), perplexity: perplexity(nats) },
    }
}

/// How much a part of a text is, whose tokens are these.
pub fn extent(unit: Unit, part: &[u32]) -> String {
    let count = format!("{} {}s", thousands(part.len()), unit.name());
    match unit {
        Unit::Character => count,
        Unit::Word => format!("{count}, of which {} are unknown", thousands(unknown(part))),
    }
}

/// How many words of a part the vocabulary lacks.
pub fn unknown(part: &[u32]) -> usize {
    part.iter().filter(|&&id| id == Vocabulary::UNKNOWN).count()
}

/// An epoch that is done.
pub struct Epoch {
    /// Counted from 1.
    pub number: u64,
    pub of: u64,
    /// The mean training loss.
    pub train: f64,
    /// `None` where no text is kept for that.
    pub validation: Option<f64>,
    pub is_best: bool,
}

impl Epoch {
    pub fn tell(&self, report: &Report, unit: Unit) -> Result<()> {
        let &Epoch { number, of, train, validation, is_best } = self;
        let mut line = format!("epoch {number}/{of}: training {}", unit.loss(train));
        if let Some(nats) = validation {
            line += &format!(", validation {}{}", unit.loss(nats), if is_best { ", the best so far" } else { "" });
            let perplexity = (unit == Unit::Word).then(|| perplexity(nats));
            report.event(&Event::Validation { epoch: number, nats, perplexity })?;
        }
        report.line(&line)
    }
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
