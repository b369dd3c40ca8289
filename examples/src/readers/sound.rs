//! Recordings of words: WAV files whose names say digit, speaker and index, as the Free Spoken Digit Dataset has them.
//!
//! The contract: recordings come out as mono at 8 kHz; it is reported which were mixed or resampled, and one that is
//! damaged or cut short is an error with the file and the sample.

use std::{collections::BTreeMap, fs, ops::RangeInclusive, path::Path};

use anyhow::{Context, Result, anyhow, ensure};
use rubato::{Fft, FixedSync, Resampler, audioadapter_buffers::owned::InterleavedOwned};

use super::wav::{self, Wav};

/// Samples a second.
pub const RATE: u32 = 8000;
/// The official test set: of every speaker and digit the recordings below this index.
const TEST: u32 = 5;

/// Rates that are accepted and resampled.
const RATES: RangeInclusive<u32> = 4000..=384_000;
/// Samples that are resampled at a time.
const CHUNK: usize = 1024;

/// One word.
pub struct Recording {
    /// −1 to 1.
    pub samples: Vec<f32>,
    /// What is said, 0 to 9.
    pub digit: usize,
    /// The file's, without its ending.
    pub name: String,
}

/// The words to learn, and those to test with.
pub struct Parts {
    /// Those to learn.
    pub train: Vec<Recording>,
    /// Those to test with.
    pub test: Vec<Recording>,
}

/// Reads all recordings of a folder; returns with them what was done to how many.
pub fn read_folder(folder: &Path) -> Result<(Parts, BTreeMap<String, usize>)> {
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
    let mut changed = BTreeMap::new();
    for path in files {
        let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let (digit, index) = named(&name)
            .with_context(|| format!("{}: expected a name like 7_theo_3.wav: digit, speaker, index", path.display()))?;
        let part = if index < TEST { &mut parts.test } else { &mut parts.train };
        let (samples, changes) = read(&path)?;
        part.push(Recording { samples, digit, name });
        changes.into_iter().for_each(|change| *changed.entry(change).or_insert(0) += 1);
    }
    for (part, which) in [(&parts.train, "to learn, of index 5 or more"), (&parts.test, "to test, of index 0 to 4")] {
        ensure!(!part.is_empty(), "{} has no recordings {which}", folder.display());
    }
    Ok((parts, changed))
}

fn named(name: &str) -> Option<(usize, u32)> {
    let (digit, rest) = name.split_once('_')?;
    let (_, index) = rest.rsplit_once('_')?;
    let digit = digit.parse().ok().filter(|digit| *digit < 10)?;
    Some((digit, index.parse().ok()?))
}

/// Reads one file, mixed to one channel and resampled where necessary; returns with its samples what was done to them.
pub fn read(path: &Path) -> Result<(Vec<f32>, Vec<String>)> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let Wav { channels, rate, mut samples } =
        wav::parse(&bytes).map_err(|error| anyhow!("{} {error:#}", path.display()))?;
    ensure!(!samples.is_empty(), "{} has no samples", path.display());
    let (least, most) = (RATES.start(), RATES.end());
    ensure!(RATES.contains(&rate), "{} has {rate} samples a second, expected {least} to {most}", path.display());
    let mut changes = Vec::new();
    if channels > 1 {
        let mean = |frame: &[f32]| frame.iter().sum::<f32>() / channels as f32;
        samples = samples.chunks_exact(channels).map(mean).collect();
        changes.push(format!("mixed from {channels} channels"));
    }
    if rate != RATE {
        samples = resampled(samples, rate).with_context(|| format!("{} cannot be resampled", path.display()))?;
        changes.push(format!("resampled from {rate} to {RATE} samples a second"));
    }
    Ok((samples, changes))
}

/// Resamples a sound to [`RATE`], through a low-pass filter.
fn resampled(samples: Vec<f32>, rate: u32) -> Result<Vec<f32>> {
    let frames = samples.len();
    let mut resampler = Fft::<f32>::new(rate as usize, RATE as usize, CHUNK, 1, FixedSync::Input)?;
    let samples = InterleavedOwned::new_from(samples, 1, frames)?;
    Ok(resampler.process_all(&samples, frames, None)?.take_data())
}
