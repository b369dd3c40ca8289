//! A text as the network meets it: its alphabet, its ids, and the parts that are learned, validated and tested.
//!
//! The contract: the parts lie in this order, do not overlap, and together are the whole text.

use anyhow::{Context, Result, bail, ensure};
use recurrent::data::{Alphabet, read_text};

use crate::{args::Split, settings::Settings};

/// The source of the library, every file under its path, as `build.rs` gathered it.
const SOURCE: &str = include_str!(concat!(env!("OUT_DIR"), "/source.txt"));

pub struct Text {
    pub alphabet: Alphabet,
    pub ids: Vec<u32>,
    /// Tells this text from any other.
    pub fingerprint: String,
}

impl Text {
    /// The text of a file, or the embedded source.
    pub fn load(data: Option<&str>) -> Result<Self> {
        let text = read(data)?;
        let alphabet = Alphabet::from_text(&text).with_context(|| name(data))?;
        let ids = alphabet.encode(&text)?;
        Ok(Text { alphabet, ids, fingerprint: fingerprint(&text) })
    }

    /// The text of a file, or the embedded source, in the characters of a model that has learned them.
    pub fn load_with(data: Option<&str>, alphabet: &Alphabet) -> Result<Self> {
        let text = read(data)?;
        ensure!(!text.is_empty(), "{} is empty", name(data));
        let ids = alphabet.encode(&text).with_context(|| name(data))?;
        Ok(Text { alphabet: alphabet.clone(), ids, fingerprint: fingerprint(&text) })
    }

    /// Fails where the text's alphabet is not `expected`, the checkpoint's.
    pub fn check_alphabet(&self, expected: &Alphabet) -> Result<()> {
        let (here, there) = (self.alphabet.characters(), expected.characters());
        if here == there {
            return Ok(());
        }
        let mut differences = Vec::new();
        for (characters, others, what) in
            [(&here, &there, "that the checkpoint lacks"), (&there, &here, "fewer than the checkpoint")]
        {
            let only: Vec<char> = characters.chars().filter(|c| !others.contains(*c)).collect();
            if !only.is_empty() {
                differences.push(format!("{} {what} ({})", count(only.len(), "character"), first(&only)));
            }
        }
        bail!("the text has another alphabet than the checkpoint's: {}", differences.join(" and "))
    }

    /// One part of the text.
    pub fn part(&self, split: Split, settings: &Settings) -> Result<&[u32]> {
        let (train, validation) = (settings.train_fraction, settings.validation_fraction);
        ensure!(train > 0.0 && train <= 1.0, "--train-fraction is {train}, expected above 0 and at most 1");
        ensure!(
            // Some room for rounding: 0.7 + 0.2 + 0.1 is not 1.
            validation >= 0.0 && train + validation <= 1.0 + 1e-9,
            "--validation-fraction is {validation}, expected 0 to {}, what --train-fraction leaves",
            1.0 - train
        );
        let at = |fraction: f64| ((self.ids.len() as f64 * fraction).round() as usize).min(self.ids.len());
        let (a, b) = (at(train), at(train + validation));
        Ok(match split {
            Split::Train => &self.ids[..a],
            Split::Validation => &self.ids[a..b],
            Split::Test => &self.ids[b..],
            Split::All => &self.ids,
        })
    }
}

fn read(data: Option<&str>) -> Result<String> {
    Ok(match data {
        Some(path) => read_text(path)?,
        None => SOURCE.to_owned(),
    })
}

/// What a text is called.
pub fn name(data: Option<&str>) -> String {
    data.map_or_else(|| "the source of this crate".to_owned(), str::to_owned)
}

/// `1 character`, `2 characters`.
pub fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

fn first(characters: &[char]) -> String {
    const SHOWN: usize = 5;
    let shown: Vec<String> = characters.iter().take(SHOWN).map(|c| format!("{c:?}")).collect();
    shown.join(", ") + if characters.len() > SHOWN { ", …" } else { "" }
}

/// Length and FNV-1a hash.
fn fingerprint(text: &str) -> String {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    format!("{}-{hash:016x}", text.len())
}
