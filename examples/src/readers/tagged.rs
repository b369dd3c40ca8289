//! Sentences whose words have tags, one word a line: columns parted by tabs, or CoNLL-U; and sentences without tags.
//!
//! The contract: the options say which columns are read and nothing is guessed; every sentence has a word, every word
//! a tag, and what is not so is an error with file and line.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use recurrent::data::read_text;

/// Columns of CoNLL-U, of which the second is the word's form and the fourth its universal part of speech.
const CONLLU: [usize; 3] = [10, 2, 4];

/// Words and their tags, as many of these as of those.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sentence {
    /// As they are written.
    pub words: Vec<String>,
    /// One for each.
    pub tags: Vec<String>,
}

/// How to read a file of tagged words.
#[derive(Args, Clone, Default)]
pub struct Format {
    /// The file is CoNLL-U: ten columns, comments begin with #, and what stands for several words or none is left out
    #[arg(long)]
    pub conllu: bool,
    /// The column of the word, from 1 [default: 1; of CoNLL-U 2]
    #[arg(long, value_name = "NUMBER")]
    pub word_column: Option<usize>,
    /// The column of the tag, from 1 [default: 2; of CoNLL-U 4]
    #[arg(long, value_name = "NUMBER")]
    pub tag_column: Option<usize>,
}

impl Format {
    /// Returns the first option that was given.
    pub fn given(&self) -> Option<&'static str> {
        let options = [
            ("--conllu", self.conllu),
            ("--word-column", self.word_column.is_some()),
            ("--tag-column", self.tag_column.is_some()),
        ];
        options.iter().find(|(_, is_given)| *is_given).map(|(option, _)| *option)
    }

    /// Reads the sentences of a file, which blank lines part.
    pub fn read(&self, path: &Path) -> Result<Vec<Sentence>> {
        let text = read_text(path)?;
        let file = path.display();
        let [word, tag] = self.columns()?;
        // A file has as many columns in every line as in its first, CoNLL-U has ten.
        let mut expected = self.conllu.then_some(CONLLU[0]);
        let (mut sentences, mut sentence) = (Vec::new(), Sentence::default());
        for (number, line) in (1..).zip(text.lines()) {
            if line.trim().is_empty() {
                sentences.extend(Some(std::mem::take(&mut sentence)).filter(|ended| !ended.words.is_empty()));
                continue;
            }
            if self.conllu && line.starts_with('#') {
                continue;
            }
            let fields: Vec<&str> = line.split('\t').collect();
            let columns = expected.unwrap_or(fields.len().max(word).max(tag));
            ensure!(
                fields.len() == columns,
                "{file}, line {number}: {} columns, expected {columns}{}; tabs part them",
                fields.len(),
                match (self.conllu, expected) {
                    (true, _) => " of CoNLL-U",
                    (false, Some(_)) => " as in the first line",
                    (false, None) => ", or a tag in another: --tag-column",
                }
            );
            expected = Some(columns);
            if self.conllu && !is_word(fields[0]).with_context(|| format!("{file}, line {number}"))? {
                continue;
            }
            for (column, what, into) in [(word, "word", &mut sentence.words), (tag, "tag", &mut sentence.tags)] {
                let field = fields[column - 1].trim();
                ensure!(!field.is_empty(), "{file}, line {number}: no {what} in column {column}");
                ensure!(
                    !(self.conllu && what == "tag" && field == "_"),
                    "{file}, line {number}: the tag in column {column} is \"_\", which says that there is none"
                );
                into.push(field.to_owned());
            }
        }
        sentences.extend(Some(sentence).filter(|last| !last.words.is_empty()));
        ensure!(!sentences.is_empty(), "{file} has no words");
        Ok(sentences)
    }

    /// The columns of words and tags, from 1.
    fn columns(&self) -> Result<[usize; 2]> {
        let [_, word, tag] = if self.conllu { CONLLU } else { [0, 1, 2] };
        let columns = [self.word_column.unwrap_or(word), self.tag_column.unwrap_or(tag)];
        for (option, column) in [("--word-column", columns[0]), ("--tag-column", columns[1])] {
            let most = if self.conllu { CONLLU[0] } else { usize::from(u16::MAX) };
            ensure!((1..=most).contains(&column), "{option} is {column}, expected 1 to {most}");
        }
        ensure!(columns[0] != columns[1], "--word-column and --tag-column are both {}", columns[0]);
        Ok(columns)
    }
}

/// Whether the id of a CoNLL-U line is that of a word, and not of a token of several (`3-4`) or of none (`5.1`).
fn is_word(id: &str) -> Result<bool> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_pair = |mark| id.split_once(mark).is_some_and(|(first, second)| is_number(first) && is_number(second));
    match is_number(id) {
        true => Ok(true),
        false if is_pair('-') || is_pair('.') => Ok(false),
        false => bail!("the id is {id:?}, expected a number, two as 3-4, or two as 5.1"),
    }
}

/// Reads sentences without tags: one a line, words and marks parted by spaces. Blank lines are left out; each has the
/// number of its line, from 1.
pub fn sentences(path: &Path) -> Result<Vec<(usize, Vec<String>)>> {
    let text = read_text(path)?;
    let lines = (1..).zip(text.lines().map(words));
    let sentences: Vec<_> = lines.filter(|(_, words)| !words.is_empty()).collect();
    ensure!(!sentences.is_empty(), "{} has no words", path.display());
    Ok(sentences)
}

/// Parts a sentence where it has spaces.
pub fn words(sentence: &str) -> Vec<String> {
    sentence.split_whitespace().map(str::to_owned).collect()
}
