//! What a network reads of a word: the word itself where it is known, and what its letters say whether it is or not.
//!
//! The contract: everything here comes from the sentences to learn alone; what they lack has the unknown id, in every
//! column.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use rand::{RngExt, rngs::ChaCha12Rng};
use recurrent::{
    Config, Directions, Embedding, InputKind, Inputs, Model, Targets,
    data::{Example, Vocabulary},
};
use recurrent_examples::{options::Options, readers::tagged::Sentence};
use serde::{Deserialize, Serialize};

/// The words that are known, at most: the most frequent ones.
const KNOWN: usize = 20_000;
/// Numbers that a word is to the network.
const WORD: usize = 32;
/// Columns of the last letters, one of one letter, of two and of three, and the numbers that each is.
pub const SUFFIXES: [(&str, usize); 3] = [("suffix_1", 6), ("suffix_2", 10), ("suffix_3", 14)];
/// The column of the kind of letters, and the numbers that it is.
const SHAPE: (&str, usize) = ("shape", 4);
/// How many kinds [`shape`] tells apart.
const SHAPES: usize = 6;
/// What stands in front of a word's letters, so that a short word is no ending of longer ones.
const BEGIN: char = '^';

/// What is known of a language: its words, their endings and its tags.
#[derive(Clone)]
pub struct Lexicon {
    words: Vocabulary,
    suffixes: [Vocabulary; 3],
    tags: Vec<String>,
    /// Whether letters are read beside the words.
    has_letters: bool,
    /// How often each known word is in the sentences to learn; of a trained network nothing.
    counts: Vec<usize>,
}

/// The lists of a lexicon, as they are kept beside a network.
#[derive(Serialize, Deserialize)]
pub struct Prepared {
    words: Vec<String>,
    suffixes: [Vec<String>; 3],
    tags: Vec<String>,
}

impl Lexicon {
    /// Learns the words, endings and tags of sentences. A word or ending that is there once is unknown: it shows what
    /// an unknown one is like.
    /// `tags` are those of all words, whether to learn or not.
    pub fn new<'a>(sentences: &[Sentence], tags: impl Iterator<Item = &'a String>) -> Result<Self> {
        let words: Vec<String> = sentences.iter().flat_map(|one| &one.words).map(|word| known_as(word)).collect();
        let vocabulary = Vocabulary::from_tokens(&words, KNOWN).context("of the sentences to learn")?;
        let mut counts = vec![0; vocabulary.len()];
        words.iter().for_each(|word| counts[vocabulary.id(word) as usize] += 1);
        let of_length = |length| {
            let endings: Vec<String> = words.iter().map(|word| suffix(word, length)).collect();
            Vocabulary::from_tokens(&endings, KNOWN).context("of the endings of the words to learn")
        };
        let suffixes = [of_length(1)?, of_length(2)?, of_length(3)?];
        let tags: Vec<String> = tags.collect::<BTreeSet<_>>().into_iter().cloned().collect();
        ensure!(tags.len() > 1, "all words are tagged {}, expected at least two tags", tags.join(""));
        Ok(Lexicon { words: vocabulary, suffixes, tags, has_letters: true, counts })
    }

    /// The lexicon of a trained network; one of another network is an error.
    pub fn of(prepared: Prepared, model: &Model) -> Result<Self> {
        let list = |words| Vocabulary::from_words::<String>(words).context("the checkpoint's note cannot be right");
        let [one, two, three] = prepared.suffixes;
        let suffixes = [list(one)?, list(two)?, list(three)?];
        let (words, tags) = (list(prepared.words)?, prepared.tags);
        let (config, count) = (model.config(), tags.len());
        ensure!(count == config.outputs, "the checkpoint's note names {count} tags of {}", config.outputs);
        let lexicon = Lexicon { words, suffixes, tags, has_letters: true, counts: Vec::new() };
        let expected = lexicon.read_by();
        ensure!(
            (&expected.input, &expected.columns) == (&config.input, &config.columns),
            "the checkpoint's note names {} words, or other endings, and its network reads {}",
            lexicon.words.len(),
            config.input.size()
        );
        Ok(lexicon)
    }

    /// The same lexicon for a network that reads nothing beside the words.
    pub fn without_letters(self) -> Self {
        Lexicon { has_letters: false, ..self }
    }

    /// Returns what is kept beside a network.
    pub fn prepared(&self) -> Prepared {
        let suffixes = [0, 1, 2].map(|at: usize| self.suffixes[at].words().to_vec());
        Prepared { words: self.words.words().to_vec(), suffixes, tags: self.tags.clone() }
    }

    /// Returns the tags, in their order.
    pub fn tags(&self) -> &[String] {
        &self.tags
    }

    /// A network of no layers yet that reads the words and what their letters say.
    fn read_by(&self) -> Config {
        let config = Config::new(InputKind::Tokens(self.words.len()));
        if !self.has_letters {
            return config;
        }
        let columns = self.suffixes.iter().zip(SUFFIXES);
        let with = |config: Config, (endings, (name, width)): (&Vocabulary, _)| {
            config.token_column(name, endings.len(), width)
        };
        columns.fold(config, with).token_column(SHAPE.0, SHAPES, SHAPE.1)
    }

    /// Returns the network that the options describe, reading these ways.
    pub fn config(&self, options: &Options, directions: Directions) -> Config {
        let Config { input, columns, .. } = self.read_by();
        let mut config = options.config(input, self.tags.len());
        config.columns = columns;
        config.layers.insert(0, Embedding::new(WORD).into());
        config.with_directions(directions)
    }

    /// Returns what a network reads of words, and the tags expected: those of a sentence to learn, else any.
    pub fn example(&self, words: &[String], tags: &[usize]) -> Example {
        self.read(words, tags, |_| false)
    }

    /// Returns the same for training: a word that is there n times is unknown with the probability
    /// `dropout` / (`dropout` + n) (Kiperwasser & Goldberg 2016), so that its letters and its neighbours have to do.
    pub fn dropped(&self, words: &[String], tags: &[usize], dropout: f64, rng: &mut ChaCha12Rng) -> Example {
        self.read(words, tags, |id| {
            let count = self.counts.get(id as usize).map_or(0.0, |&count| count as f64);
            rng.random_bool(dropout / (dropout + count).max(f64::MIN_POSITIVE))
        })
    }

    fn read(&self, words: &[String], tags: &[usize], mut is_dropped: impl FnMut(u32) -> bool) -> Example {
        let known: Vec<String> = words.iter().map(|word| known_as(word)).collect();
        let id = |word: &String| {
            let id = self.words.id(word);
            if is_dropped(id) { Vocabulary::UNKNOWN } else { id }
        };
        let tags = Targets::Classes(tags.iter().map(|&tag| tag as u32).collect());
        let mut example = Example::new(Inputs::Tokens(known.iter().map(id).collect()), tags);
        if !self.has_letters {
            return example;
        }
        for (length, (vocabulary, (name, _))) in (1..).zip(self.suffixes.iter().zip(SUFFIXES)) {
            let ids = known.iter().map(|word| vocabulary.id(&suffix(word, length))).collect();
            example = example.with_column(name, Inputs::Tokens(ids));
        }
        let shapes = words.iter().map(|word| shape(word) as u32).collect();
        example.with_column(SHAPE.0, Inputs::Tokens(shapes))
    }

    /// Returns the number of each tag of a sentence.
    pub fn classes(&self, sentence: &Sentence) -> Result<Vec<usize>> {
        let class = |tag: &String| self.tags.binary_search(tag).ok().with_context(|| format!("{tag} is no known tag"));
        sentence.tags.iter().map(class).collect()
    }
}

/// Returns a word as it is known: how it is capitalised is told beside it.
pub fn known_as(word: &str) -> String {
    word.to_lowercase()
}

/// Returns the last letters of a word, or all of it behind a mark where it has fewer.
pub fn suffix(word: &str, length: usize) -> String {
    let marked: Vec<char> = std::iter::once(BEGIN).chain(word.chars()).collect();
    marked[marked.len().saturating_sub(length)..].iter().collect()
}

/// Returns the kind of a word's letters: 0 small, 1 capitalised, 2 capitals alone, 3 with both a letter and a digit,
/// 4 digits and marks, 5 marks alone.
pub fn shape(word: &str) -> usize {
    let has = |is: fn(char) -> bool| word.chars().any(is);
    let is_capitalised = word.chars().next().is_some_and(char::is_uppercase);
    match (has(char::is_alphabetic), has(char::is_numeric)) {
        (true, true) => 3,
        (false, true) => 4,
        (false, false) => 5,
        (true, false) if !has(char::is_lowercase) && word.chars().count() > 1 && is_capitalised => 2,
        (true, false) if is_capitalised => 1,
        (true, false) => 0,
    }
}
