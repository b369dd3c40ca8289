//! Text as ids: an alphabet of the distinct characters of a text, and the reading of a file.
//!
//! The contract: encoding and decoding are inverse for every text over the alphabet, and a character or byte that does
//! not belong is reported with its place.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use crate::error::{Error, Result};

/// Distinct characters (`char`s), numbered from 0: the id of a character is its rank.
///
/// ```
/// use recurrent::data::Alphabet;
/// let alphabet = Alphabet::from_text("hello")?;
/// assert_eq!(alphabet.len(), 4); // e, h, l, o
/// let ids = alphabet.encode("hole")?;
/// assert_eq!(alphabet.decode(&ids), "hole");
/// assert!(alphabet.encode("help").is_err()); // says which character, and where
/// # Ok::<(), recurrent::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alphabet {
    characters: Vec<char>,
    ids: HashMap<char, u32>,
}

impl Alphabet {
    /// The distinct characters of a text, in the order of their code points.
    ///
    /// # Errors
    /// [`Error::Data`] where the text is empty.
    pub fn from_text(text: &str) -> Result<Self> {
        let distinct: BTreeSet<char> = text.chars().collect();
        Self::from_characters(&String::from_iter(distinct))
    }

    /// The given characters in the given order: what [`Alphabet::characters`] returned.
    ///
    /// # Errors
    /// [`Error::Data`] where there are none, or one appears twice.
    pub fn from_characters(characters: &str) -> Result<Self> {
        let characters: Vec<char> = characters.chars().collect();
        if characters.is_empty() {
            return Err(Error::Data("the text is empty: an alphabet needs at least one character".into()));
        }
        let mut ids = HashMap::with_capacity(characters.len());
        for (id, &character) in (0u32..).zip(&characters) {
            if ids.insert(character, id).is_some() {
                return Err(Error::Data(format!("character {character:?} appears twice in the alphabet")));
            }
        }
        Ok(Alphabet { characters, ids })
    }

    /// The number of characters.
    pub fn len(&self) -> usize {
        self.characters.len()
    }

    /// Never: every alphabet has a character.
    pub fn is_empty(&self) -> bool {
        self.characters.is_empty()
    }

    /// All characters by rising id, for [`Alphabet::from_characters`].
    pub fn characters(&self) -> String {
        self.characters.iter().collect()
    }

    /// The id of every character of a text.
    ///
    /// # Errors
    /// [`Error::Data`] for a character that the alphabet lacks: which one, and its line and column, counted from 1.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let (mut line, mut column) = (1u64, 0u64);
        text.chars()
            .map(|character| {
                column += 1;
                let id = self.ids.get(&character).copied().ok_or_else(|| {
                    let count = self.len();
                    Error::Data(format!(
                        "character {character:?} at line {line}, column {column} is not among the {count} of the \
                        alphabet"
                    ))
                });
                if character == '\n' {
                    (line, column) = (line + 1, 0);
                }
                id
            })
            .collect()
    }

    /// The character of an id, or `None` where the alphabet ends before it.
    pub fn character(&self, id: u32) -> Option<char> {
        self.characters.get(id as usize).copied()
    }

    /// The text of some ids; an id beyond the alphabet becomes U+FFFD, the replacement character.
    pub fn decode(&self, ids: &[u32]) -> String {
        ids.iter().map(|&id| self.character(id).unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
    }
}

/// Reads a UTF-8 file as it stands, but for a leading byte order mark (U+FEFF), which is no part of the text.
///
/// ```
/// # let folder = tempfile::TempDir::new().unwrap();
/// # let path = folder.path().join("a.txt");
/// # std::fs::write(&path, "\u{feff}text").unwrap();
/// assert_eq!(recurrent::data::read_text(&path)?, "text");
/// # Ok::<(), recurrent::Error>(())
/// ```
///
/// # Errors
/// [`Error::File`] where it cannot be read; [`Error::Data`] where it is not UTF-8, with the file, the byte offset
/// (counted from 0) and the line (counted from 1).
pub fn read_text(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    let unreadable = |source| Error::File { path: path.to_owned(), what: "cannot be read".to_owned(), source };
    let bytes = std::fs::read(path).map_err(unreadable)?;
    let text = String::from_utf8(bytes).map_err(|e| {
        let offset = e.utf8_error().valid_up_to();
        let line = e.as_bytes().iter().take(offset).filter(|&&b| b == b'\n').count() + 1;
        Error::Data(format!("{} is not UTF-8 text: invalid byte at offset {offset}, line {line}", path.display()))
    })?;
    Ok(match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    })
}
