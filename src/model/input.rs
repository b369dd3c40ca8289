//! What a network reads at every step: tokens or vectors, and what stands beside them.
//!
//! The contract: beside the inputs of a network stand columns, each with a name and a width of its own.

use serde::{Deserialize, Serialize};

use super::layers::Embedding;
use super::shape::check_size;
use crate::error::{Error, Result};

/// What the network reads at every step.
///
/// ```
/// use recurrent::{Config, InputKind};
/// let of_text = Config::gru(InputKind::Tokens(65), 128, 65); // ids below 65
/// let of_sensors = Config::gru(InputKind::Dense(6), 32, 2); // six numbers a step
/// # assert_ne!(of_text, of_sensors);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(rename_all = "snake_case")]
pub enum InputKind {
    /// One of this many tokens, by its id. W·x is then the gathering of a column of W; no one-hot vector exists.
    Tokens(usize),
    /// A vector of this many real numbers.
    Dense(usize),
}

impl InputKind {
    /// I: the number of tokens or of features.
    pub fn size(self) -> usize {
        match self {
            InputKind::Tokens(n) | InputKind::Dense(n) => n,
        }
    }
}

/// What is read at every step beside the inputs of a network: another token, whose row of a table it is, or numbers.
/// Its width is added to that of the inputs, or of the embedding that reads them.
///
/// ```
/// use recurrent::{Config, InputKind, Layout, Recurrent};
/// // A word, its part of speech, and three numbers that tell of its letters.
/// let config = Config::new(InputKind::Tokens(5000))
///     .token_column("tag", 17, 8)
///     .dense_column("shape", 3)
///     .embedding(64)
///     .layer(Recurrent::gru(64))
///     .outputs(2);
/// let layout = Layout::new(&config)?;
/// assert_eq!(layout.get("column.tag.weight").unwrap().shape, [17, 8]);
/// assert_eq!(layout.get("gru.weight_ih_l0").unwrap().shape, [3 * 64, 64 + 8 + 3]);
/// # Ok::<(), recurrent::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// What a batch calls it; its table is `column.NAME.weight`.
    pub name: String,
    /// What is read.
    pub input: InputKind,
    /// The table, of a column of tokens.
    pub embedding: Option<Embedding>,
}

impl Column {
    /// What stands in front of the name of its table.
    pub(crate) fn prefix(&self) -> String {
        format!("column.{}.", self.name)
    }

    /// How many numbers of a row are its own.
    pub(crate) fn width(&self) -> usize {
        self.embedding.map_or(self.input.size(), |embedding| embedding.width)
    }

    /// Checks it alone.
    pub(crate) fn check(&self) -> Result<()> {
        let Column { name, input, embedding } = self;
        if name.is_empty() || name.contains(['.', ' ']) || name.contains(char::is_control) {
            return Err(Error::Config(format!(
                "a column is called {name:?}, expected a name that is not empty, without dots and spaces"
            )));
        }
        let fails = |what: String| Err(Error::Config(format!("column `{name}` {what}")));
        match (input, embedding) {
            (InputKind::Tokens(_), None) => fails("reads tokens, but has no table".to_owned()),
            (InputKind::Dense(_), Some(_)) => fails("has a table, but reads numbers".to_owned()),
            (InputKind::Tokens(tokens), Some(Embedding { padding: Some(padding), .. })) if padding >= tokens => {
                fails(format!("has padding id {padding}, but {tokens} tokens, counted from 0"))
            }
            _ => {
                check_size(&format!("inputs of column `{name}`"), input.size())?;
                check_size(&format!("numbers of column `{name}`"), self.width())
            }
        }
    }
}
