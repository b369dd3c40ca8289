//! What this program keeps in a checkpoint besides the network: the alphabet, the settings and the progress.
//!
//! The contract: what [`Notes::write`] wrote, [`Notes::read`] returns; a checkpoint of another program is an error.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result, ensure};
use recurrent::{Checkpoint, data::Alphabet};
use serde::{Serialize, de::DeserializeOwned};

use crate::{progress::Progress, settings::Settings};

pub struct Notes {
    pub alphabet: Alphabet,
    /// Of the text that is learned.
    pub fingerprint: String,
    pub settings: Settings,
    pub progress: Progress,
}

impl Notes {
    pub fn read(checkpoint: &Checkpoint) -> Result<Self> {
        let notes = &checkpoint.notes;
        let alphabet = Alphabet::from_characters(get(notes, "alphabet")?)?;
        let (characters, config) = (alphabet.len(), checkpoint.model.config());
        ensure!(
            config.input.size() == characters && config.outputs == characters,
            "its alphabet has {characters} characters, but its network {} inputs and {} outputs",
            config.input.size(),
            config.outputs
        );
        Ok(Notes {
            alphabet,
            fingerprint: get(notes, "text")?.to_owned(),
            settings: parse(notes, "settings")?,
            progress: parse(notes, "progress")?,
        })
    }

    pub fn write(&self) -> Result<BTreeMap<String, String>> {
        let entries = [
            ("alphabet", self.alphabet.characters()),
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
