//! Recordings of words: WAV files whose names say digit, speaker and index, as the Free Spoken Digit Dataset has them.
//!
//! The contract: mono at 8 kHz, of 8 to 32 bits or float; what is another, damaged or cut short is an error with the file
//! and the sample.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use hound::{SampleFormat, WavReader};

/// Samples a second.
pub const RATE: u32 = 8000;
/// The official test set: of every speaker and digit the recordings below this index.
const TEST: u32 = 5;

/// A file of floats may go beyond 1 where it was made too loud; what is beyond this is no sound.
const LOUDEST: f32 = 1000.0;

/// One word.
pub struct Recording {
    /// −1 to 1.
    pub samples: Vec<f32>,
    pub digit: usize,
    pub name: String,
}

/// The words to learn, and those to test with.
pub struct Parts {
    pub train: Vec<Recording>,
    pub test: Vec<Recording>,
}

/// All recordings of a folder.
pub fn read_folder(folder: &Path) -> Result<Parts> {
    let mut files = Vec::new();
    for entry in folder.read_dir().with_context(|| format!("cannot read the folder {}", folder.display()))? {
        let path = entry.with_context(|| format!("cannot read the folder {}", folder.display()))?.path();
        if path.extension().is_some_and(|end| end.eq_ignore_ascii_case("wav")) {
            files.push(path);
        }
    }
    // Folders list their files in any order.
    files.sort();
    let mut parts = Parts { train: Vec::new(), test: Vec::new() };
    for path in files {
        let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let (digit, index) = named(&name)
            .with_context(|| format!("{}: expected a name like 7_theo_3.wav: digit, speaker, index", path.display()))?;
        let part = if index < TEST { &mut parts.test } else { &mut parts.train };
        part.push(Recording { samples: read(&path)?, digit, name });
    }
    for (part, which) in [(&parts.train, "to learn, of index 5 or more"), (&parts.test, "to test, of index 0 to 4")] {
        ensure!(!part.is_empty(), "{} has no recordings {which}", folder.display());
    }
    Ok(parts)
}

fn named(name: &str) -> Option<(usize, u32)> {
    let (digit, rest) = name.split_once('_')?;
    let (_, index) = rest.rsplit_once('_')?;
    let digit = digit.parse().ok().filter(|digit| *digit < 10)?;
    Some((digit, index.parse().ok()?))
}

/// The samples of one file.
pub fn read(path: &Path) -> Result<Vec<f32>> {
    let reader = WavReader::open(path).with_context(|| format!("cannot read {} as WAV", path.display()))?;
    let spec = reader.spec();
    ensure!(spec.channels == 1, "{} has {} channels, expected 1", path.display(), spec.channels);
    ensure!(spec.sample_rate == RATE, "{} has {} samples a second, expected {RATE}", path.display(), spec.sample_rate);
    let samples = match spec.sample_format {
        SampleFormat::Float => collect(reader.into_samples::<f32>(), 1.0),
        SampleFormat::Int => collect(reader.into_samples::<i32>(), 2f64.powi(1 - i32::from(spec.bits_per_sample))),
    };
    let samples = samples.with_context(|| path.display().to_string())?;
    ensure!(!samples.is_empty(), "{} has no samples", path.display());
    Ok(samples)
}

fn collect<S: Into<f64>>(samples: impl Iterator<Item = hound::Result<S>>, scale: f64) -> Result<Vec<f32>> {
    let mut all = Vec::new();
    for sample in samples {
        let sample = sample.with_context(|| format!("sample {} cannot be read", all.len()))?;
        let value = (sample.into() * scale) as f32;
        if value.is_nan() || value.abs() > LOUDEST {
            bail!("sample {} is {value:e}, expected −1 to 1", all.len());
        }
        all.push(value);
    }
    Ok(all)
}
