//! A text as the network meets it: characters or words as ids, and the parts that are learned, validated and tested.
//!
//! The contract: the parts lie in this order, do not overlap, and together are the whole text; a vocabulary is that of
//! the part that is learned.

use std::{borrow::Cow, collections::HashSet};

use anyhow::{Context, Result, bail, ensure};
use recurrent::data::{Alphabet, Vocabulary, read_text};

use crate::{args::Split, settings::Settings, tokenizer::Tokenizer};

/// The source of the library, every file under its path, as `build.rs` gathered it.
const SOURCE: &str = include_str!(concat!(env!("OUT_DIR"), "/source.txt"));

pub struct Text {
    pub tokenizer: Tokenizer,
    pub ids: Vec<u32>,
    /// Tells this text from any other.
    pub fingerprint: String,
}

impl Text {
    /// The text of a file, or the embedded source, in its own characters or words.
    pub fn load(settings: &Settings) -> Result<Self> {
        let data = settings.data.as_deref();
        let text = read(data)?;
        let (tokenizer, ids) = match settings.vocabulary {
            Some(size) => words(&text, size, settings).with_context(|| name(data))?,
            None => {
                let alphabet = Alphabet::from_text(&text).with_context(|| name(data))?;
                let ids = alphabet.encode(&text)?;
                (Tokenizer::Characters(alphabet), ids)
            }
        };
        Ok(Text { tokenizer, ids, fingerprint: fingerprint(&text) })
    }

    /// The text of a file, or the embedded source, in the characters or words of a model that has learned them.
    pub fn load_with(data: Option<&str>, tokenizer: &Tokenizer) -> Result<Self> {
        let text = read(data)?;
        ensure!(!text.is_empty(), "{} is empty", name(data));
        let ids = tokenizer.encode(&text).with_context(|| name(data))?;
        Ok(Text { tokenizer: tokenizer.clone(), ids, fingerprint: fingerprint(&text) })
    }

    /// Fails where the text's characters or words are not those `expected`, the checkpoint's.
    pub fn check_tokenizer(&self, expected: &Tokenizer) -> Result<()> {
        if self.tokenizer == *expected {
            return Ok(());
        }
        let (here, there) = (tokens(&self.tokenizer), tokens(expected));
        let mut differences = Vec::new();
        for (tokens, others, what) in
            [(&here, &there, "that the checkpoint lacks"), (&there, &here, "fewer than the checkpoint")]
        {
            let others: HashSet<&String> = others.iter().collect();
            let only: Vec<&String> = tokens.iter().filter(|token| !others.contains(token)).collect();
            if !only.is_empty() {
                let unit = self.tokenizer.unit().name();
                differences.push(format!("{} {what} ({})", count(only.len(), unit), first(&only)));
            }
        }
        if differences.is_empty() {
            differences.push(format!("the same {}s in another order", self.tokenizer.unit().name()));
        }
        let list = self.tokenizer.list();
        bail!("the text has another {list} than the checkpoint's: {}", differences.join(" and "))
    }

    /// One part of the text.
    pub fn part(&self, split: Split, settings: &Settings) -> Result<&[u32]> {
        let (a, b) = borders(self.ids.len(), settings)?;
        Ok(match split {
            Split::Train => &self.ids[..a],
            Split::Validation => &self.ids[a..b],
            Split::Test => &self.ids[b..],
            Split::All => &self.ids,
        })
    }
}

/// Where the training part of so many tokens ends, and where the validation part does.
fn borders(tokens: usize, settings: &Settings) -> Result<(usize, usize)> {
    let (train, validation) = (settings.train_fraction, settings.validation_fraction);
    ensure!(train > 0.0 && train <= 1.0, "--train-fraction is {train}, expected above 0 and at most 1");
    ensure!(
        // Some room for rounding: 0.7 + 0.2 + 0.1 is not 1.
        validation >= 0.0 && train + validation <= 1.0 + 1e-9,
        "--validation-fraction is {validation}, expected 0 to {}, what --train-fraction leaves",
        1.0 - train
    );
    let at = |fraction: f64| ((tokens as f64 * fraction).round() as usize).min(tokens);
    Ok((at(train), at(train + validation)))
}

/// The words of a text, as a vocabulary of so many of the training part has them.
fn words(text: &str, size: usize, settings: &Settings) -> Result<(Tokenizer, Vec<u32>)> {
    let tokens: Vec<Cow<'_, str>> = Vocabulary::tokens(text).collect();
    let (train, _) = borders(tokens.len(), settings)?;
    let vocabulary = Vocabulary::from_tokens(&tokens[..train], size)?;
    let ids = tokens.iter().map(|token| vocabulary.id(token)).collect();
    Ok((Tokenizer::Words(vocabulary), ids))
}

/// All tokens, each as a message shows it.
fn tokens(tokenizer: &Tokenizer) -> Vec<String> {
    match tokenizer {
        Tokenizer::Characters(alphabet) => alphabet.characters().chars().map(|c| format!("{c:?}")).collect(),
        Tokenizer::Words(vocabulary) => vocabulary.words().iter().map(|word| format!("{word:?}")).collect(),
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

fn first(tokens: &[&String]) -> String {
    const SHOWN: usize = 5;
    let shown: Vec<&str> = tokens.iter().take(SHOWN).map(|token| token.as_str()).collect();
    shown.join(", ") + if tokens.len() > SHOWN { ", …" } else { "" }
}

/// Length and FNV-1a hash.
fn fingerprint(text: &str) -> String {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    format!("{}-{hash:016x}", text.len())
}
