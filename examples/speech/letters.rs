//! Digits written out as letters, which are what a network is to say of a string of them.
//!
//! The contract: label 0 is the blank; a word of the text is the name of a digit, or it is wrong.

/// What is said, by digit.
const NAMES: [&str; 10] = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
/// The letters of these and what stands between two, in the order of their labels from 1 on.
const LETTERS: &str = " efghinorstuvwxz";

/// The blank.
pub const BLANK: u32 = 0;
/// Outputs of a network that says letters: these and the blank.
pub const OUTPUTS: usize = 1 + LETTERS.len();

/// The labels of a text; what is no letter of a digit's name has none.
pub fn labels(text: &str) -> Vec<u32> {
    text.chars().filter_map(|letter| LETTERS.find(letter)).map(|at| at as u32 + 1).collect()
}

/// The letters of labels.
pub fn text(labels: &[u32]) -> String {
    labels.iter().filter_map(|label| LETTERS.chars().nth((*label as usize).checked_sub(1)?)).collect()
}

/// The names of digits, side by side.
pub fn written(digits: &[usize]) -> String {
    digits.iter().map(|digit| NAMES[*digit]).collect::<Vec<_>>().join(" ")
}

/// The words of a text.
pub fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}
