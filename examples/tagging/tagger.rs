//! Networks that tag words: how they learn from sentences of unequal length, and what they say of others.
//!
//! The contract: what is said of a sentence is a tag for each of its words, in the order in which the sentences came.

use std::collections::BTreeMap;

use anyhow::Result;
use recurrent::{
    Batch, Device, Directions, Loss, Model, Predictor,
    data::{Buckets, Example},
};
use recurrent_examples::{
    classes,
    fit::{self, History},
    options::Options,
    readers::tagged::Sentence,
    report::Report,
    shuffle,
};
use serde_json::json;

use crate::letters::Lexicon;

/// Sentences that are tagged side by side.
const BATCH: usize = 64;

/// Sentences, and the number of each word's tag.
pub struct Part {
    /// In their order.
    pub sentences: Vec<Sentence>,
    /// Of each sentence, its words'.
    pub classes: Vec<Vec<usize>>,
}

impl Part {
    /// Numbers the tags of sentences.
    pub fn new(sentences: Vec<Sentence>, lexicon: &Lexicon) -> Result<Self> {
        let classes = sentences.iter().map(|sentence| lexicon.classes(sentence)).collect::<Result<_>>()?;
        Ok(Part { sentences, classes })
    }

    /// Returns the words of each sentence, and the numbers of their tags.
    pub fn pairs(&self) -> impl Iterator<Item = (&[String], &[usize])> {
        self.sentences.iter().map(|sentence| &sentence.words[..]).zip(self.classes.iter().map(Vec::as_slice))
    }

    /// Returns how many words there are.
    pub fn words(&self) -> usize {
        self.classes.iter().map(Vec::len).sum()
    }
}

/// What networks learn from.
pub struct Lesson<'a> {
    /// To learn.
    pub kept: &'a Part,
    /// To tell when to stop.
    pub held: &'a Part,
    /// See [`Lexicon::dropped`].
    pub word_dropout: f64,
}

/// A network that is to be.
pub struct Plan<'a> {
    /// What it is called beside others.
    pub name: &'static str,
    /// What it reads of a word.
    pub lexicon: Lexicon,
    /// The ways it reads a sentence.
    pub directions: Directions,
    /// All else.
    pub options: &'a Options,
}

/// Trains a network, with other words unknown in every epoch.
pub fn learn(
    device: &Device,
    lesson: &Lesson,
    Plan { name, lexicon, directions, options }: &Plan,
    report: &mut Report,
    notes: Option<BTreeMap<String, String>>,
) -> Result<(Model, History)> {
    let Lesson { kept, held, word_dropout } = *lesson;
    let config = lexicon.config(options, *directions);
    let model = Model::new(config.clone())?;
    let parameters = model.values().len();
    report.event(&json!({ "event": "network", "name": name, "parameters": parameters }))?;
    report.line(&format!("a network ({name}), {parameters} parameters:"))?;
    let batches = |examples: Vec<Example>, number| -> Result<Vec<Batch>> {
        Ok(Buckets::new(examples, options.batch_size, &config, options.seed)?.epoch(number).collect())
    };
    let epoch = |number| {
        let mut rng = shuffle::rng(options.seed, number);
        let examples = kept.pairs().map(|(words, classes)| lexicon.dropped(words, classes, word_dropout, &mut rng));
        batches(examples.collect(), number)
    };
    let held = batches(held.pairs().map(|(words, classes)| lexicon.example(words, classes)).collect(), 0)?;
    fit::fit((device, &model, Loss::CrossEntropy), epoch, &held, options, report, notes)
}

/// The likeliest tag of every word, with its probability.
pub fn judged(
    device: &Device,
    model: &Model,
    lexicon: &Lexicon,
    sentences: &[&[String]],
) -> Result<Vec<Vec<(usize, f64)>>> {
    let (config, mut predictor) = (model.config(), Predictor::new(device, model)?);
    // Side by side are sentences of about one length.
    let mut order: Vec<usize> = (0..sentences.len()).collect();
    order.sort_by_key(|&at| sentences[at].len());
    let mut all = vec![Vec::new(); sentences.len()];
    for chunk in order.chunks(BATCH) {
        // Any tags: only what is read matters.
        let example = |&at: &usize| lexicon.example(sentences[at], &vec![0; sentences[at].len()]);
        let sequences = Batch::pad(&chunk.iter().map(example).collect::<Vec<_>>(), config)?.sequences;
        let outputs = predictor.run(&sequences)?.outputs;
        // [T, B, O]
        for (row, outputs) in outputs.chunks_exact(config.outputs).enumerate() {
            let at = chunk[row % chunk.len()];
            if row / chunk.len() < sentences[at].len() {
                let probabilities = classes::softmax(outputs);
                let class = classes::likeliest(&probabilities);
                all[at].push((class, probabilities[class]));
            }
        }
    }
    Ok(all)
}
