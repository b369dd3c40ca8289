//! What a network has to beat: the most frequent tag of each word, and of an unknown word that of its ending.
//!
//! The contract: it learns from the same sentences as the network and sees the same letters, but no neighbour.

use std::collections::HashMap;

use recurrent_examples::readers::tagged::Sentence;

use crate::letters::{SUFFIXES, known_as, shape, suffix};

/// How often each tag was seen, by its number.
type Counts = HashMap<usize, usize>;

/// The most frequent tags.
pub struct Guess {
    words: HashMap<String, Counts>,
    /// Of words by the kind of their letters and their last ones, from three down to none; each word counts once for
    /// each of its tags, as words that are still unknown are rare ones.
    endings: HashMap<(usize, String), Counts>,
}

impl Guess {
    /// Counts the tags of sentences.
    pub fn new(sentences: &[Sentence], classes: &[Vec<usize>]) -> Self {
        let mut words: HashMap<String, Counts> = HashMap::new();
        let mut endings: HashMap<(usize, String), Counts> = HashMap::new();
        for (word, &tag) in sentences.iter().zip(classes).flat_map(|(one, classes)| one.words.iter().zip(classes)) {
            let known = known_as(word);
            let count = words.entry(known.clone()).or_default().entry(tag).or_default();
            *count += 1;
            if *count == 1 {
                for ending in backed_off(word, &known) {
                    *endings.entry(ending).or_default().entry(tag).or_default() += 1;
                }
            }
        }
        Guess { words, endings }
    }

    /// Whether the sentences have the word.
    pub fn knows(&self, word: &str) -> bool {
        self.words.contains_key(&known_as(word))
    }

    /// Whether the sentences have the word with several tags.
    pub fn is_ambiguous(&self, word: &str) -> bool {
        self.words.get(&known_as(word)).is_some_and(|counts| counts.len() > 1)
    }

    /// Returns the likeliest tag of a word.
    pub fn tag(&self, word: &str) -> usize {
        let known = known_as(word);
        let of_ending = || backed_off(word, &known).into_iter().find_map(|ending| self.endings.get(&ending));
        // Equally frequent tags in the order of their numbers.
        let best =
            |counts: &Counts| counts.iter().max_by_key(|&(tag, count)| (*count, usize::MAX - tag)).map(|(t, _)| *t);
        self.words.get(&known).or_else(of_ending).and_then(best).unwrap_or(0)
    }
}

/// What of its letters a word is judged by, from the most to the least.
fn backed_off(word: &str, known: &str) -> Vec<(usize, String)> {
    let of_length = |length| (shape(word), suffix(known, length));
    (0..=SUFFIXES.len()).rev().map(of_length).collect()
}
