//! What a network of words is measured against: an n-gram model of the same words, learned from the same part.
//!
//! The contract: it predicts what the network does, every word of a part but its first, unknown ones included; what is
//! before a word is at its hand also where the network begins a track anew.

use anyhow::Result;
use recurrent_examples::{kneser_ney::KneserNey, report::Report};

use crate::{
    args::Split,
    events::Event,
    settings::Settings,
    text::Text,
    tokenizer::{Tokenizer, Unit, perplexity},
};

/// Words of the longest n-gram. On prose of some hundred thousand words a longer one is hardly better.
const ORDER: usize = 4;

/// The losses of an n-gram model, in nats; `None` of a part that is too short.
#[derive(Default)]
pub struct Ngram {
    pub validation: Option<f64>,
    pub test: Option<f64>,
}

impl Ngram {
    /// Those of a text; of characters there are none.
    pub fn measure(text: &Text, settings: &Settings) -> Result<Self> {
        let Tokenizer::Words(vocabulary) = &text.tokenizer else { return Ok(Ngram::default()) };
        let model = KneserNey::new(text.part(Split::Train, settings)?, ORDER, vocabulary.len());
        let nats = |split| Ok::<_, anyhow::Error>(model.nats(text.part(split, settings)?));
        Ok(Ngram { validation: nats(Split::Validation)?, test: nats(Split::Test)? })
    }

    pub fn tell(&self, report: &Report) -> Result<()> {
        for (split, nats) in [("validation", self.validation), ("test", self.test)] {
            let Some(nats) = nats else { continue };
            let loss = Unit::Word.loss(nats);
            report.line(&format!("{split} part by {ORDER}-grams (Kneser-Ney): {loss}"))?;
            report.event(&Event::Ngram { split, order: ORDER, nats, perplexity: perplexity(nats) })?;
        }
        Ok(())
    }
}
