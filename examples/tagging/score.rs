//! How many words a tagger tags rightly: of all, of those that are unknown, and of those that may be several things.
//!
//! The contract: a word counts once in each of its groups; a group of no words has no share.

use recurrent_examples::readers::tagged::Sentence;
use serde_json::{Map, Value};

use crate::guess::Guess;

/// What the groups are called: in a table, and in an event.
pub const GROUPS: [(&str, &str); 3] =
    [("all words", "words"), ("unknown words", "unknown"), ("ambiguous words", "ambiguous")];

/// Right words and all words of each group.
#[derive(Clone, Copy, Default)]
pub struct Score([(usize, usize); 3]);

impl Score {
    /// Judges what was said of sentences. Unknown are words that the sentences to learn lack, ambiguous are those that
    /// have several tags there.
    pub fn new(sentences: &[Sentence], classes: &[Vec<usize>], said: &[Vec<usize>], guess: &Guess) -> Self {
        let mut groups = [(0, 0); 3];
        for ((sentence, classes), said) in sentences.iter().zip(classes).zip(said) {
            for ((word, is), said) in sentence.words.iter().zip(classes).zip(said) {
                let is_in = [true, !guess.knows(word), guess.is_ambiguous(word)];
                for ((right, all), _) in groups.iter_mut().zip(is_in).filter(|(_, is_in)| *is_in) {
                    *right += usize::from(is == said);
                    *all += 1;
                }
            }
        }
        Score(groups)
    }

    /// Returns the share that is right of each group, where it has words.
    pub fn shares(&self) -> [Option<f64>; 3] {
        self.0.map(|(right, all)| (all > 0).then(|| right as f64 / all as f64))
    }

    /// Returns how many words each group has.
    pub fn counts(&self) -> [usize; 3] {
        self.0.map(|(_, all)| all)
    }

    /// Returns the members of an event: `accuracy` and `words`, then those of the other groups by their names.
    pub fn members(&self) -> Map<String, Value> {
        let mut members = Map::new();
        for ((share, count), (_, name)) in self.shares().into_iter().zip(self.counts()).zip(GROUPS) {
            let accuracy = if name == "words" { "accuracy".to_owned() } else { format!("{name}_accuracy") };
            members.insert(accuracy, share.into());
            members.insert(if name == "words" { name.to_owned() } else { format!("{name}_words") }, count.into());
        }
        members
    }
}
