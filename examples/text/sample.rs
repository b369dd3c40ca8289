//! Writing text: each character or word is drawn from what the network expects after all before it.
//!
//! The contract: the same network, prime, temperature and seed give the same text on the same device; the command
//! writes nothing else to stdout, except the end of the line on a terminal.

use std::io::{self, IsTerminal, Write};

use anyhow::{Context, Result, ensure};
use rand::{RngExt, SeedableRng, rngs::ChaCha12Rng};
use recurrent::{Device, Model, StreamingPredictor, stream};
use recurrent_examples::{device, report::Report};

use crate::{
    args::{Common, SampleArgs},
    events::Event,
    notes,
    tokenizer::{Tokenizer, Unit},
};

pub struct Style<'a> {
    pub prime: &'a str,
    pub temperature: f64,
    pub length: usize,
    pub seed: u64,
}

/// How much is written where nothing is said.
pub fn length(unit: Unit) -> usize {
    match unit {
        Unit::Character => 500,
        Unit::Word => 120,
    }
}

/// The command `sample`.
pub fn run(args: &SampleArgs, common: &Common) -> Result<()> {
    let (checkpoint, notes) = notes::load(&args.checkpoint)?;
    let length = args.length.unwrap_or(length(notes.tokenizer.unit()));
    ensure!(length > 0, "--length is 0, expected at least 1");
    let style = Style { prime: &args.prime, temperature: args.temperature, length, seed: args.seed };
    check(&notes.tokenizer, &style)?;
    let mut report = Report::new(common.json);
    report.is_aside = true;
    let device = device::open(&common.device, &report)?;
    print(&device, &checkpoint.model, &notes.tokenizer, &style, (common, &report))?;
    let mut out = io::stdout().lock();
    if !common.json && out.is_terminal() {
        writeln!(out)?;
    }
    Ok(())
}

/// Prints a text piece by piece, or as one event.
pub fn print(
    device: &Device,
    model: &Model,
    tokenizer: &Tokenizer,
    style: &Style,
    (common, report): (&Common, &Report),
) -> Result<()> {
    if common.json {
        let mut text = style.prime.to_owned();
        write(device, model, tokenizer, style, |piece| {
            text.push_str(piece);
            Ok(())
        })?;
        return report.event(&Event::Sample { text: &text });
    }
    let mut out = io::stdout().lock();
    write!(out, "{}", style.prime)?;
    write(device, model, tokenizer, style, |piece| {
        write!(out, "{piece}")?;
        out.flush()
    })
}

fn check(tokenizer: &Tokenizer, style: &Style) -> Result<()> {
    tokenizer.encode(style.prime).context("the network never saw all of --prime")?;
    // The library judges the temperature; it does so before anything is printed.
    stream::sample(&[0.0], style.temperature, 0.0).context("--temperature cannot be used")?;
    Ok(())
}

fn write(
    device: &Device,
    model: &Model,
    tokenizer: &Tokenizer,
    style: &Style,
    mut emit: impl FnMut(&str) -> io::Result<()>,
) -> Result<()> {
    let mut rng = ChaCha12Rng::seed_from_u64(style.seed);
    let mut stream = StreamingPredictor::new(device, model, 1)?;
    let mut prime = tokenizer.encode(style.prime)?;
    let mut before = prime.last().copied();
    let mut id = prime.pop().unwrap_or_else(|| tokenizer.start());
    for token in prime {
        stream.step_tokens(&[token])?;
    }
    let is_parted = tokenizer.unit() == Unit::Word && style.prime.ends_with(char::is_whitespace);
    let first = tokenizer.first_written();
    for at in 0..style.length {
        let outputs = &stream.step_tokens(&[id])?[first as usize..];
        id = stream::sample(outputs, style.temperature, rng.random())? + first;
        let piece = tokenizer.piece(before.replace(id), id);
        // The space between words may have been given already.
        emit(if at == 0 && is_parted { piece.trim_start_matches(' ') } else { &piece })?;
    }
    Ok(())
}
