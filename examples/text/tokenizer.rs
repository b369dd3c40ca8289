//! What a network reads and writes one by one: the characters of an alphabet, or the words of a vocabulary.
//!
//! The contract: what is written is what was learned, so that no unknown word ever is; what is counted, measured and
//! drawn is named after the same unit.

use anyhow::Result;
use recurrent::data::{Alphabet, Vocabulary};

#[derive(Clone, PartialEq)]
pub enum Tokenizer {
    Characters(Alphabet),
    Words(Vocabulary),
}

/// What a token is.
#[derive(Clone, Copy, PartialEq)]
pub enum Unit {
    Character,
    /// Or a punctuation mark, or the end of a line.
    Word,
}

impl Tokenizer {
    pub fn unit(&self) -> Unit {
        match self {
            Tokenizer::Characters(_) => Unit::Character,
            Tokenizer::Words(_) => Unit::Word,
        }
    }

    /// What the list of all tokens is called.
    pub fn list(&self) -> &'static str {
        match self {
            Tokenizer::Characters(_) => "alphabet",
            Tokenizer::Words(_) => "vocabulary",
        }
    }

    /// How many different tokens there are.
    pub fn len(&self) -> usize {
        match self {
            Tokenizer::Characters(alphabet) => alphabet.len(),
            Tokenizer::Words(vocabulary) => vocabulary.len(),
        }
    }

    /// Fails at a character that the alphabet lacks; such a word is the unknown one.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        Ok(match self {
            Tokenizer::Characters(alphabet) => alphabet.encode(text)?,
            Tokenizer::Words(vocabulary) => vocabulary.encode(text),
        })
    }

    /// What is read where a text begins: a network must read something before it can expect something. The end of a
    /// line, where the text has lines.
    pub fn start(&self) -> u32 {
        match self {
            Tokenizer::Characters(alphabet) => alphabet.encode("\n").map_or(0, |ids| ids[0]),
            Tokenizer::Words(vocabulary) => vocabulary.id("\n"),
        }
    }

    /// The first id that is written; those below are not.
    pub fn first_written(&self) -> u32 {
        match self {
            Tokenizer::Characters(_) => 0,
            Tokenizer::Words(_) => Vocabulary::UNKNOWN + 1,
        }
    }

    /// What an id adds to a text that ends with the id `before`.
    pub fn piece(&self, before: Option<u32>, id: u32) -> String {
        match self {
            Tokenizer::Characters(alphabet) => {
                alphabet.character(id).unwrap_or(char::REPLACEMENT_CHARACTER).to_string()
            }
            Tokenizer::Words(vocabulary) => vocabulary.decode_behind(before, id),
        }
    }
}

impl Unit {
    pub fn name(self) -> &'static str {
        match self {
            Unit::Character => "character",
            Unit::Word => "word",
        }
    }

    /// A loss in nats and in bits per character, or with its perplexity.
    pub fn loss(self, nats: f64) -> String {
        match self {
            Unit::Character => format!("{nats:.3} nats ({:.3} bits)", nats / std::f64::consts::LN_2),
            Unit::Word => format!("{nats:.3} nats (perplexity {:.1})", perplexity(nats)),
        }
    }

    /// How many of them are read in a second.
    pub fn speed(self, per_second: f64) -> String {
        match self {
            Unit::Character => format!("{:.0}k chars/s", per_second / 1e3),
            Unit::Word => format!("{:.1}k words/s", per_second / 1e3),
        }
    }
}

/// Of how many equally likely tokens a loss would be that of; the largest number where it is beyond numbers.
pub fn perplexity(nats: f64) -> f64 {
    nats.exp().min(f64::MAX)
}
