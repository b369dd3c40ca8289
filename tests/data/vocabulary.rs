//! The vocabulary: what the tokens of a text are, which of them are known, and the way back to a text.
//!
//! The contract: a text comes back from its tokens but for its white space, and what is unknown is never another word.

use proptest::prelude::*;
use recurrent::data::Vocabulary;

use super::assert_says;

fn tokens(text: &str) -> Vec<String> {
    Vocabulary::tokens(text).map(String::from).collect()
}

/// A vocabulary that knows every token of a text.
fn all_of(text: &str) -> Option<Vocabulary> {
    Vocabulary::from_tokens(&[tokens(text), tokens(text)].concat(), usize::MAX).ok()
}

#[test]
fn words_keep_their_case_and_their_inner_apostrophes() {
    assert_eq!(tokens("Don't  stop_me 2nd \tÉté"), ["Don't", "stop_me", "2nd", "Été"]);
    assert_eq!(tokens("rock'n'roll o’er"), ["rock'n'roll", "o’er"]);
    assert_eq!(tokens("'tis th' '' a''b"), [" '", "tis", "th", "' ", " '' ", "a", "''", "b"]);
}

#[test]
fn marks_are_tokens_of_their_own_and_keep_the_space_beside_them() {
    assert_eq!(tokens("so, \"well,\" he"), ["so", ", ", " \"", "well", ",", "\" ", "he"]);
    assert_eq!(tokens("a--b -- c..."), ["a", "--", "b", " -- ", "c", "... "]);
    let call = ["Vec", "::", "<", "u8", ">", "::", "new", "(", ") ", " =", "> ", "x", "; "];
    assert_eq!(tokens("Vec::<u8>::new() => x;"), call);
}

#[test]
fn line_ends_are_tokens_with_the_indentation_behind_them() {
    assert_eq!(tokens("a \nb\r\n    c\n \n\n\td\n"), ["a", "\n", "b", "\n    ", "c", "\n\n\t", "d", "\n"]);
    // White space beside a line end is that of a mark, so that a comma there is the same as elsewhere.
    assert_eq!(tokens("a,\n\"b"), ["a", ", ", "\n", " \"", "b"]);
    assert_eq!(tokens(" \t "), Vec::<String>::new());
}

#[test]
fn the_most_frequent_tokens_have_the_lowest_ids_and_what_occurs_once_none() {
    let text = "b b b c c a a d";
    assert_eq!(Vocabulary::from_text(text, 9).unwrap().words(), ["<unk>", "b", "a", "c"]);
    let two = Vocabulary::from_text(text, 3).unwrap();
    assert_eq!((two.words(), two.len()), (&["<unk>", "b", "a"].map(str::to_owned)[..], 3));
    assert_eq!(two.encode(text), [1, 1, 1, 0, 0, 2, 2, 0]);
    assert_eq!((two.id("a"), two.id("d"), two.id("<unk>")), (2, Vocabulary::UNKNOWN, Vocabulary::UNKNOWN));
    // What looks like the unknown token in a text is none of it.
    assert_eq!(tokens("<unk>"), [" <", "unk", "> "]);
}

#[test]
fn a_vocabulary_of_too_little_is_an_error() {
    for size in [0, 1] {
        assert_says(&Vocabulary::from_text("a a", size).unwrap_err(), &[&format!("{size} tokens"), "at least 2"]);
    }
    assert_says(&Vocabulary::from_text(" ", 9).unwrap_err(), &["no words"]);
    assert_says(&Vocabulary::from_text("all words differ", 9).unwrap_err(), &["twice", "3"]);
    assert_says(&Vocabulary::from_words(["<unk>"]).unwrap_err(), &["1 token", "at least 2"]);
    assert_says(&Vocabulary::from_words(["<unk>", "a", "a"]).unwrap_err(), &["\"a\"", "twice"]);
}

#[test]
fn words_that_were_given_come_back_as_a_text() {
    let vocabulary = Vocabulary::from_words(["<unk>", "so", ", ", " \"", "\" ", "\n", "("]).unwrap();
    assert_eq!(vocabulary.decode(&[3, 1, 2, 1, 4, 1, 5, 1, 6, 1, 0, 1]), "\"so, so\" so\nso(so <unk> so");
    assert_eq!(vocabulary.decode(&[5, 2, 5, 9]), "\n,\n\u{fffd}");
    assert_eq!(vocabulary.decode(&[]), "");
}

proptest! {
    #[test]
    fn a_text_comes_back_but_for_its_white_space(
        text in "([a-c]{1,2}|['’,.\"(\\-]{1,2}|[ \t]{1,2}|\r?\n|é|\\PC){0,40}",
    ) {
        let Some(vocabulary) = all_of(&text) else {
            prop_assert!(tokens(&text).is_empty());
            return Ok(());
        };
        let back = vocabulary.decode(&vocabulary.encode(&text));
        let bare = |text: &str| text.split_whitespace().collect::<String>();
        prop_assert_eq!(bare(&back), bare(&text));
        // Spaces are where they were: the same tokens are found again.
        prop_assert_eq!(tokens(&back), tokens(&text));
        prop_assert_eq!(Vocabulary::from_words(vocabulary.words().to_vec()).unwrap(), vocabulary);
    }
}
