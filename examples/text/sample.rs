//! Writing text: each character is drawn from what the network expects after all before it.
//!
//! The contract: the same network, prime, temperature and seed give the same text on the same device; the command
//! writes nothing else to stdout, except the end of the line on a terminal.

use std::io::{self, IsTerminal, Write};

use anyhow::{Context, Result, ensure};
use rand::{RngExt, SeedableRng, rngs::ChaCha12Rng};
use recurrent::{Device, Model, StreamingPredictor, data::Alphabet, stream};
use recurrent_examples::{device, report::Report};

use crate::{
    args::{Common, SampleArgs},
    events::Event,
    notes,
};

pub struct Style<'a> {
    pub prime: &'a str,
    pub temperature: f64,
    pub length: usize,
    pub seed: u64,
}

/// The command `sample`.
pub fn run(args: &SampleArgs, common: &Common) -> Result<()> {
    let (checkpoint, notes) = notes::load(&args.checkpoint)?;
    ensure!(args.length > 0, "--length is 0, expected at least 1");
    let style = Style { prime: &args.prime, temperature: args.temperature, length: args.length, seed: args.seed };
    check(&notes.alphabet, &style)?;
    let mut report = Report::new(common.json);
    report.is_aside = true;
    let device = device::open(&common.device, &report)?;
    print(&device, &checkpoint.model, &notes.alphabet, &style, (common, &report))?;
    let mut out = io::stdout().lock();
    if !common.json && out.is_terminal() {
        writeln!(out)?;
    }
    Ok(())
}

/// Prints a text character by character, or as one event.
pub fn print(
    device: &Device,
    model: &Model,
    alphabet: &Alphabet,
    style: &Style,
    (common, report): (&Common, &Report),
) -> Result<()> {
    if common.json {
        let mut text = style.prime.to_owned();
        write(device, model, alphabet, style, |character| {
            text.push(character);
            Ok(())
        })?;
        return report.event(&Event::Sample { text: &text });
    }
    let mut out = io::stdout().lock();
    write!(out, "{}", style.prime)?;
    write(device, model, alphabet, style, |character| {
        write!(out, "{character}")?;
        out.flush()
    })
}

fn check(alphabet: &Alphabet, style: &Style) -> Result<()> {
    alphabet.encode(style.prime).context("the network never saw all of --prime")?;
    // The library judges the temperature; it does so before anything is printed.
    stream::sample(&[0.0], style.temperature, 0.0).context("--temperature cannot be used")?;
    Ok(())
}

fn write(
    device: &Device,
    model: &Model,
    alphabet: &Alphabet,
    style: &Style,
    mut emit: impl FnMut(char) -> io::Result<()>,
) -> Result<()> {
    let mut rng = ChaCha12Rng::seed_from_u64(style.seed);
    let mut stream = StreamingPredictor::new(device, model, 1)?;
    let mut prime = alphabet.encode(style.prime)?;
    if prime.is_empty() {
        // A network must read something before it can expect something: the end of a line, where the text has lines.
        prime.push(alphabet.encode("\n").map_or(0, |ids| ids[0]));
    }
    let mut id = prime.pop().unwrap_or(0);
    for before in prime {
        stream.step_tokens(&[before])?;
    }
    for _ in 0..style.length {
        id = stream::sample(stream.step_tokens(&[id])?, style.temperature, rng.random())?;
        emit(alphabet.character(id).unwrap_or(char::REPLACEMENT_CHARACTER))?;
    }
    Ok(())
}
