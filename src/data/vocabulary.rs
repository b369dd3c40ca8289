//! Text as ids of words: the tokens of a text, its most frequent ones numbered, and the way back to a text.
//!
//! The contract: the tokens of a text, written one behind the other, are that text but for its white space; a token
//! that a vocabulary lacks has the id [`Vocabulary::UNKNOWN`], and every other token an id of its own.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::HashMap;

use crate::error::{Error, Result};

/// How the unknown token is written; [`Vocabulary::tokens`] makes three tokens of it, so no text holds it.
const UNKNOWN: &str = "<unk>";

/// Words and punctuation marks, numbered by how frequent they are.
///
/// ```
/// use recurrent::data::Vocabulary;
/// let text = "the cat, the dog, the cat";
/// let vocabulary = Vocabulary::from_text(text, 100)?; // "dog" occurs once: it is unknown
/// assert_eq!(vocabulary.words(), ["<unk>", "the", ", ", "cat"]);
/// let ids = vocabulary.encode("The cat, the frog.");
/// assert_eq!(ids, [0, 3, 2, 1, 0, 0]);
/// assert_eq!(vocabulary.decode(&ids), "<unk> cat, the <unk> <unk>");
/// # Ok::<(), recurrent::Error>(())
/// ```
///
/// A token is one of these ([`Vocabulary::tokens`]):
/// - a word: letters, digits and `_`, also with single apostrophes between them, in upper and lower case as it stands;
/// - a mark: any other character that is no white space, or a run of the same. Of white space beside it a single space
///   is part of it, so that `" ` which closes a quotation is another token than ` "` which opens one;
/// - the end of a line, or of a paragraph where empty lines follow, with the indentation of the next line.
///
/// That suits languages and programs that part words by spaces or marks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vocabulary {
    words: Vec<String>,
    ids: HashMap<String, u32>,
}

impl Vocabulary {
    /// The id of every token that the vocabulary lacks.
    pub const UNKNOWN: u32 = 0;

    /// The most frequent tokens of a text, as [`Vocabulary::from_tokens`].
    ///
    /// # Errors
    /// Same as [`Vocabulary::from_tokens`].
    pub fn from_text(text: &str, size: usize) -> Result<Self> {
        Self::from_tokens(&Self::tokens(text).collect::<Vec<_>>(), size)
    }

    /// The most frequent tokens of some, `size` with the unknown one at most, and of those only the ones that occur
    /// twice or more: what occurs once shows a network what an unknown token is like. More frequent ones have lower
    /// ids, equally frequent ones are in the order of their code points.
    ///
    /// # Errors
    /// [`Error::Data`] where there are no tokens, or none occurs twice; [`Error::Config`] for a size below 2.
    pub fn from_tokens<T: AsRef<str>>(tokens: &[T], size: usize) -> Result<Self> {
        if size < 2 {
            return Err(Error::Config(format!(
                "the vocabulary is to have {size} tokens, expected at least 2: the unknown one and another"
            )));
        }
        if tokens.is_empty() {
            return Err(Error::Data("the text has no words: a vocabulary needs some".to_owned()));
        }
        let mut counts: HashMap<&str, usize> = HashMap::new();
        tokens.iter().for_each(|token| *counts.entry(token.as_ref()).or_default() += 1);
        let mut known: Vec<(&str, usize)> = counts.into_iter().filter(|&(_, count)| count > 1).collect();
        if known.is_empty() {
            let count = tokens.len();
            return Err(Error::Data(format!("no word occurs twice among {count}: a vocabulary needs one that does")));
        }
        known.sort_unstable_by_key(|&(token, count)| (Reverse(count), token));
        known.truncate(size - 1);
        Self::from_words([UNKNOWN].into_iter().chain(known.into_iter().map(|(token, _)| token)))
    }

    /// The given tokens by rising id: what [`Vocabulary::words`] returned. The first is the unknown one.
    ///
    /// # Errors
    /// [`Error::Data`] where there are fewer than two, or one appears twice.
    pub fn from_words<T: Into<String>>(words: impl IntoIterator<Item = T>) -> Result<Self> {
        let words: Vec<String> = words.into_iter().map(Into::into).collect();
        if words.len() < 2 {
            let count = words.len();
            return Err(Error::Data(format!("the vocabulary has {count} tokens, expected at least 2")));
        }
        let mut ids = HashMap::with_capacity(words.len());
        for (id, word) in (0u32..).zip(&words) {
            if ids.insert(word.clone(), id).is_some() {
                return Err(Error::Data(format!("token {word:?} appears twice in the vocabulary")));
            }
        }
        Ok(Vocabulary { words, ids })
    }

    /// The tokens of a text, in their order.
    ///
    /// ```
    /// use recurrent::data::Vocabulary;
    /// let tokens: Vec<_> = Vocabulary::tokens("\"Don't,\" he said -- twice.\n\n  And f(x)").collect();
    /// let line = [" \"", "Don't", ",", "\" ", "he", "said", " -- ", "twice", ". "];
    /// assert_eq!(tokens[..9], line);
    /// assert_eq!(tokens[9..], ["\n\n  ", "And", "f", "(", "x", ") "]);
    /// ```
    pub fn tokens(text: &str) -> impl Iterator<Item = Cow<'_, str>> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let (token, behind) = next_token(text, at)?;
            at = behind;
            Some(token)
        })
    }

    /// The number of tokens, the unknown one included.
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Never: every vocabulary has two tokens.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// All tokens by rising id, for [`Vocabulary::from_words`].
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// The id of a token, [`Vocabulary::UNKNOWN`] where the vocabulary lacks it.
    pub fn id(&self, token: &str) -> u32 {
        self.ids.get(token).copied().unwrap_or(Self::UNKNOWN)
    }

    /// The id of every token of a text.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        Self::tokens(text).map(|token| self.id(&token)).collect()
    }

    /// The text of some ids, words and marks parted as they were in a text; an id beyond the vocabulary becomes U+FFFD,
    /// the replacement character.
    pub fn decode(&self, ids: &[u32]) -> String {
        let mut before = None;
        ids.iter().map(|&id| self.decode_behind(before.replace(id), id)).collect()
    }

    /// What an id adds to a text whose last id is `before`: a text that is written token by token. `None`: the text
    /// begins.
    ///
    /// ```
    /// use recurrent::data::Vocabulary;
    /// let vocabulary = Vocabulary::from_words(["<unk>", "well", ", "])?;
    /// assert_eq!(vocabulary.decode_behind(None, 1), "well");
    /// assert_eq!(vocabulary.decode_behind(Some(1), 2), ",");
    /// assert_eq!(vocabulary.decode_behind(Some(2), 1), " well");
    /// # Ok::<(), recurrent::Error>(())
    /// ```
    pub fn decode_behind(&self, before: Option<u32>, id: u32) -> String {
        let token = self.written(id);
        let space = if before.is_some_and(|before| self.is_parted(before, id)) { " " } else { "" };
        let token = if is_line_end(token) { token } else { token.trim() };
        format!("{space}{token}")
    }

    fn written(&self, id: u32) -> &str {
        self.words.get(id as usize).map_or("\u{fffd}", String::as_str)
    }

    /// Whether there is a space between two tokens; an unknown one counts as a word.
    fn is_parted(&self, before: u32, id: u32) -> bool {
        let is_word = |id: u32| id == Self::UNKNOWN || self.written(id).starts_with(is_of_word);
        let (first, second) = (self.written(before), self.written(id));
        let is_space = first.ends_with(' ') || second.starts_with(' ') || is_word(before) && is_word(id);
        is_space && !is_line_end(first) && !is_line_end(second)
    }
}

/// The token of `text` from byte `at` on, and where it ends.
fn next_token(text: &str, at: usize) -> Option<(Cow<'_, str>, usize)> {
    let rest = text[at..].trim_start();
    let begin = text.len() - rest.len();
    let white = &text[at..begin];
    if let Some((lines, indentation)) = white.rsplit_once('\n') {
        let end = if lines.contains('\n') { "\n\n" } else { "\n" };
        return Some((Cow::Owned(format!("{end}{indentation}")), begin));
    }
    let first = rest.chars().next()?;
    if is_of_word(first) {
        let end = begin + word_length(rest);
        return Some((Cow::Borrowed(&text[begin..end]), end));
    }
    let behind = rest.trim_start_matches(first);
    let end = text.len() - behind.len();
    let before = if text[..begin].chars().next_back().is_none_or(char::is_whitespace) { " " } else { "" };
    let after = if behind.chars().next().is_none_or(char::is_whitespace) { " " } else { "" };
    Some((Cow::Owned(format!("{before}{}{after}", &text[begin..end])), end))
}

fn is_of_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Bytes of the word that a text begins with.
fn word_length(text: &str) -> usize {
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        let is_inner = |next: Option<&(usize, char)>| next.is_some_and(|&(_, next)| is_of_word(next));
        if !(is_of_word(character) || matches!(character, '\'' | '’') && is_inner(characters.peek())) {
            return at;
        }
    }
    text.len()
}

fn is_line_end(token: &str) -> bool {
    token.starts_with('\n')
}
