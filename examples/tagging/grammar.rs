//! Sentences of a language that a machine makes up: a grammar, words with endings, and words that are of two kinds.
//!
//! The contract: the same seed gives the same sentences; what a word of two kinds is follows from its sentence, at
//! times only from what comes behind it; of the open classes some words are in the test part alone.

use std::collections::HashSet;

use rand::{RngExt, SeedableRng, rngs::ChaCha12Rng, seq::IndexedRandom};
use recurrent_examples::readers::tagged::Sentence;

/// Sentences to learn and to test.
const SENTENCES: [usize; 2] = [2000, 500];
/// Stems of the open classes: nouns, verbs, adjectives, adverbs and names, and as many again for the test alone.
const STEMS: [usize; 5] = [220, 150, 100, 50, 90];
/// How probably a word of an open class is one that is in the test part alone, there.
const NEW: f64 = 0.15;
/// Bare stems that are nouns or verbs, and those that are adjectives or nouns.
const DOUBLE: [usize; 2] = [16, 10];

const DETERMINERS: [&str; 4] = ["lo", "ta", "sem", "eni"];
const PRONOUNS: [&str; 4] = ["mu", "ti", "ela", "ona"];
const PREPOSITIONS: [&str; 5] = ["ab", "kon", "sur", "de", "per"];
const CONJUNCTIONS: [&str; 2] = ["ed", "ma"];

const NOUN: &str = "NOUN";
const VERB: &str = "VERB";
const ADJ: &str = "ADJ";
const ADV: &str = "ADV";
const NAME: &str = "PROPN";

/// The endings of nouns, verbs, adjectives and adverbs. Two are shared: `en` by nouns and verbs, `is` by verbs and
/// adjectives.
const ENDINGS: [&[&str]; 4] = [&["um", "en"], &["at", "is", "en"], &["ik", "is"], &["ove"]];
/// Of this many stems of nouns and verbs one has no ending.
const BARE: usize = 4;

/// The words of the language.
struct Language {
    /// Of each open class those of both parts, and those of the test part.
    stems: [[Vec<String>; 2]; 5],
    double: [Vec<String>; 2],
}

/// A sentence that is being said.
struct Speaker<'a> {
    language: &'a Language,
    rng: &'a mut ChaCha12Rng,
    is_test: bool,
    said: Sentence,
}

/// Makes up the sentences to learn and those to test.
pub fn parts(seed: u64) -> [Vec<Sentence>; 2] {
    let mut rng = ChaCha12Rng::seed_from_u64(seed);
    let mut used = HashSet::new();
    let mut stems = |count: usize| -> Vec<String> { (0..count).map(|_| stem(&mut rng, &mut used)).collect() };
    let double = DOUBLE.map(&mut stems);
    let language = Language { stems: STEMS.map(|count| [stems(count), stems(count)]), double };
    [false, true].map(|is_test| {
        let mut sentence = || {
            let mut speaker = Speaker { language: &language, rng: &mut rng, is_test, said: Sentence::default() };
            speaker.sentence();
            speaker.said
        };
        (0..SENTENCES[usize::from(is_test)]).map(|_| sentence()).collect()
    })
}

/// Draws a stem that there is not yet: one or two open syllables and a closed one.
fn stem(rng: &mut ChaCha12Rng, used: &mut HashSet<String>) -> String {
    let one = |rng: &mut ChaCha12Rng, of: &[&'static str]| of.choose(rng).copied().unwrap_or_default();
    loop {
        let mut stem = String::new();
        for _ in 0..rng.random_range(1..=2) {
            stem += one(rng, &["b", "d", "f", "g", "k", "l", "m", "n", "p", "r", "s", "t", "v", "z", "br", "st", "tr"]);
            stem += one(rng, &["a", "e", "i", "o", "u"]);
        }
        stem += one(rng, &["b", "d", "f", "g", "k", "l", "m", "n", "p", "r", "t", "v", "lk", "nt", "rd"]);
        if used.insert(stem.clone()) {
            return stem;
        }
    }
}

impl Speaker<'_> {
    fn chance(&mut self, probability: f64) -> bool {
        self.rng.random_bool(probability)
    }

    fn say(&mut self, word: &str, tag: &str) {
        self.said.words.push(word.to_owned());
        self.said.tags.push(tag.to_owned());
    }

    fn say_one(&mut self, of: &[&str], tag: &str) {
        let word = of.choose(self.rng).copied().unwrap_or_default();
        self.say(word, tag);
    }

    /// A word of the open class of that number, with an ending where the class has one: any, or that given.
    fn open(&mut self, class: usize, tag: &str, ending: Option<&str>) {
        let is_new = self.is_test && self.rng.random_bool(NEW);
        let stems = &self.language.stems[class][usize::from(is_new)];
        let (place, stem) = rare(stems, self.rng);
        let (mut word, is_bare) = (stem.to_owned(), class < 2 && place % BARE == 0);
        if let Some(endings) = ENDINGS.get(class).filter(|_| !is_bare) {
            word += ending.or_else(|| endings.choose(self.rng).copied()).unwrap_or_default();
        }
        // Names are capitalised, and so is what begins a sentence.
        let word = if tag == NAME { capitalised(&word) } else { word };
        self.say(&word, tag);
    }

    /// A bare word of two kinds: of nouns and verbs, or of adjectives and nouns.
    fn double(&mut self, kinds: usize, tag: &str) {
        let word = rare(&self.language.double[kinds], self.rng).1.to_owned();
        self.say(&word, tag);
    }

    fn sentence(&mut self) {
        self.clause();
        if self.chance(0.25) {
            self.say_one(&CONJUNCTIONS, "CCONJ");
            self.clause();
        }
        self.say_one(&[".", ".", ".", "?", "!"], "PUNCT");
        let first = &mut self.said.words[0];
        *first = capitalised(first);
    }

    fn clause(&mut self) {
        match self.rng.random_range(0..10) {
            // A pronoun may have a bare verb, also one that helps another: "ti kolm sedaten".
            0 | 1 => {
                self.say_one(&PRONOUNS, "PRON");
                if self.chance(0.4) {
                    self.double(0, VERB);
                    self.open(1, VERB, Some("en"));
                    return self.objects(false);
                }
            }
            2 => {
                self.open(4, NAME, None);
                if self.chance(0.3) {
                    self.open(4, NAME, None);
                }
            }
            // What is a determiner elsewhere stands for a noun, as "that" does.
            3 => self.say("ta", "PRON"),
            _ => self.noun_phrase(true),
        }
        if self.chance(0.15) {
            self.open(3, ADV, None);
        }
        if self.chance(0.45) {
            // Only a determiner behind it tells the bare verb from the second noun of a compound.
            self.double(0, VERB);
            self.objects(true);
        } else {
            self.open(1, VERB, None);
            self.objects(false);
        }
    }

    /// What follows a verb: an object, two, or none.
    fn objects(&mut self, must_begin_with_determiner: bool) {
        if must_begin_with_determiner || self.chance(0.6) {
            match must_begin_with_determiner || self.chance(0.75) {
                true => self.noun_phrase(false),
                false => self.open(4, NAME, None),
            }
            if self.chance(0.2) {
                self.noun_phrase(false);
            }
        }
        if self.chance(0.25) {
            self.say_one(&PREPOSITIONS, "ADP");
            self.noun_phrase(false);
        }
        if self.chance(0.12) {
            self.open(3, ADV, None);
        }
    }

    /// A determiner, adjectives and a noun, bare or not, or a compound whose second noun is bare.
    fn noun_phrase(&mut self, is_subject: bool) {
        self.say_one(&DETERMINERS, "DET");
        match self.rng.random_range(0..10) {
            0 => {
                let number = self.rng.random_range(2..200).to_string();
                self.say(&number, "NUM");
            }
            1 | 2 => self.open(2, ADJ, None),
            3 | 4 => self.double(1, ADJ),
            // The bare noun ends the phrase.
            5 => return self.double(1, NOUN),
            _ => {}
        }
        match self.rng.random_range(0..10) {
            0..=2 => {
                self.open(0, NOUN, None);
                self.double(0, NOUN);
            }
            3 => self.double(0, NOUN),
            _ => self.open(0, NOUN, None),
        }
        if is_subject && self.chance(0.15) {
            self.say_one(&PREPOSITIONS, "ADP");
            self.noun_phrase(false);
        }
    }
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect()
}

/// Draws one of a list, the first ones more often; returns its place with it.
fn rare<'a>(of: &'a [String], rng: &mut ChaCha12Rng) -> (usize, &'a str) {
    let place: f64 = rng.random();
    let place = (place * place * of.len() as f64) as usize;
    (place, of.get(place).map_or("", String::as_str))
}
