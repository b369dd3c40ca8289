//! What this program keeps in a checkpoint besides the network: its characters or words, the settings and the progress.
//!
//! The contract: what [`Notes::write`] wrote, [`Notes::read`] returns; a checkpoint of another program is an error.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result, ensure};
use recurrent::{
    Checkpoint,
    data::{Alphabet, Vocabulary},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{progress::Progress, settings::Settings, text::count, tokenizer::Tokenizer};

pub struct Notes {
    pub tokenizer: Tokenizer,
    /// Of the text that is learned.
    pub fingerprint: String,
    pub settings: Settings,
    pub progress: Progress,
}

impl Notes {
    pub fn read(checkpoint: &Checkpoint) -> Result<Self> {
        let notes = &checkpoint.notes;
        let settings: Settings = parse(notes, "settings")?;
        let tokenizer = if settings.vocabulary.is_some() {
            let words: Vec<String> = parse(notes, "vocabulary")?;
            Tokenizer::Words(Vocabulary::from_words(words)?)
        } else {
            Tokenizer::Characters(Alphabet::from_characters(get(notes, "alphabet")?)?)
        };
        let (tokens, config) = (tokenizer.len(), checkpoint.model.config());
        ensure!(
            config.input.size() == tokens && config.outputs == tokens,
            "its {} has {}, but its network {} inputs and {} outputs",
            tokenizer.list(),
            count(tokens, tokenizer.unit().name()),
            config.input.size(),
            config.outputs
        );
        Ok(Notes {
            tokenizer,
            fingerprint: get(notes, "text")?.to_owned(),
            settings,
            progress: parse(notes, "progress")?,
        })
    }

    pub fn write(&self) -> Result<BTreeMap<String, String>> {
        let tokens = match &self.tokenizer {
            Tokenizer::Characters(alphabet) => alphabet.characters(),
            Tokenizer::Words(vocabulary) => json(&vocabulary.words())?,
        };
        let entries = [
            (self.tokenizer.list(), tokens),
            ("text", self.fingerprint.clone()),
            ("settings", json(&self.settings)?),
            ("progress", json(&self.progress)?),
        ];
        Ok(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    }
}

/// A checkpoint of this program.
pub fn load(path: &Path) -> Result<(Checkpoint, Notes)> {
    let checkpoint = Checkpoint::load(path)?;
    let notes = Notes::read(&checkpoint).with_context(|| {
        format!("checkpoint {} was not written by this example, or its notes are damaged", path.display())
    })?;
    Ok((checkpoint, notes))
}

fn get<'a>(notes: &'a BTreeMap<String, String>, key: &str) -> Result<&'a str> {
    notes.get(key).map(String::as_str).with_context(|| format!("it has no note `{key}`"))
}

fn parse<T: DeserializeOwned>(notes: &BTreeMap<String, String>, key: &str) -> Result<T> {
    serde_json::from_str(get(notes, key)?).with_context(|| format!("its note `{key}` cannot be understood"))
}

fn json<T: Serialize>(value: &T) -> Result<String> {
    Ok(serde_json::to_string(value)?)
}
