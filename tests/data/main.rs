//! What is fed: batches, alphabets and windows; padded sequences and buckets; and what prepares data beforehand.
//!
//! The contract: every step and label is where it was, and data that no batch can be made of is an error that says why.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, and so do its helpers"
)]

mod front_padding;
mod padded;
mod preparing;
mod vocabulary;

use std::io::Write;

use proptest::prelude::*;
use recurrent::data::{Alphabet, HeldOutWindows, Windows, read_text};
use recurrent::recipe::Loss;
use recurrent::{Batch, BatchShape, Config, Error, InputKind, Inputs, Pool, Recipe, Sequences, Start, State, Targets};

fn tokens_config() -> Config {
    Config::elman(InputKind::Tokens(5), 3, 4)
}

fn dense_config() -> Config {
    Config::elman(InputKind::Dense(2), 3, 2)
}

/// T = 2, B = 3 over 5 tokens and 4 classes.
fn tokens_batch() -> Batch {
    Batch::tokens(BatchShape { steps: 2, batch_size: 3 }, vec![0, 1, 2, 3, 4, 0], vec![3, 2, 1, 0, 3, 3])
}

/// T = 2, B = 3, I = 2, O = 2.
fn dense_batch() -> Batch {
    Batch::dense(BatchShape { steps: 2, batch_size: 3 }, vec![0.5; 12], Targets::Values(vec![0.25; 12]))
}

/// The same batch, reading other inputs.
fn reading(batch: Batch, inputs: Inputs) -> Batch {
    let mut batch = batch;
    batch.sequences = batch.sequences.with_inputs(inputs);
    batch
}

fn refused(batch: &Batch, config: &Config, loss: Loss) -> Error {
    batch.check(config, &Recipe::new(loss)).expect_err("a bad batch passed the check")
}

/// What an error says, with what its sources say.
fn said(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(Some(error), |error| error.source());
    sources.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn assert_says(error: &Error, words: &[&str]) {
    let text = said(error);
    for word in words {
        assert!(text.contains(word), "{text:?} does not say {word:?}");
    }
}

#[test]
fn good_batches_pass() {
    tokens_batch().check(&tokens_config(), &Recipe::new(Loss::CrossEntropy)).unwrap();
    dense_batch().check(&dense_config(), &Recipe::new(Loss::MeanSquared)).unwrap();
    let given = tokens_batch()
        .with_start(Start::Given(State::new(&tokens_config(), 3, vec![0.1; 9]).unwrap()))
        .with_loss_mask(vec![true; 6]);
    given.check(&tokens_config(), &Recipe::new(Loss::CrossEntropy)).unwrap();
    let last = tokens_batch().with_targets(Targets::Classes(vec![0, 1, 2]));
    last.check(&tokens_config().pool(Pool::Last), &Recipe::new(Loss::CrossEntropy)).unwrap();
}

#[test]
fn a_wrong_length_is_reported_with_both_shapes() {
    let config = tokens_config();
    let two = State::new(&config, 2, vec![0.0; 6]).unwrap();
    let cases = [
        (reading(tokens_batch(), Inputs::Tokens(vec![0; 5])), "inputs", "[2, 3]", "[5]"),
        (tokens_batch().with_targets(Targets::Classes(vec![0; 7])), "targets", "[6]", "[7]"),
        (tokens_batch().with_loss_mask(vec![true; 3]), "mask", "[6]", "[3]"),
        (tokens_batch().with_start(Start::Given(two)), "start", "[3, 3]", "[2, 3]"),
    ];
    for (batch, argument, expected, given) in cases {
        let error = refused(&batch, &config, Loss::CrossEntropy);
        assert!(matches!(error, Error::Shape { .. }), "{error:?}");
        assert_says(&error, &[argument, expected, given]);
    }
    let short = reading(dense_batch(), Inputs::Dense(vec![0.0; 6]));
    assert_says(&refused(&short, &dense_config(), Loss::MeanSquared), &["inputs", "[2, 3, 2]", "[6]"]);
    let short = dense_batch().with_targets(Targets::Values(vec![0.0; 6]));
    assert_says(&refused(&short, &dense_config(), Loss::MeanSquared), &["targets", "[6, 2]", "[6]"]);
    // At the last step there is one label a sequence.
    let last = config.pool(Pool::Last);
    assert_says(&refused(&tokens_batch(), &last, Loss::CrossEntropy), &["targets", "[3]", "[6]"]);
}

#[test]
fn an_id_out_of_range_is_reported_with_its_place() {
    let batch = reading(tokens_batch(), Inputs::Tokens(vec![0, 1, 2, 3, 5, 0]));
    let error = refused(&batch, &tokens_config(), Loss::CrossEntropy);
    assert_says(&error, &["inputs[4]", "step 1, sequence 1", "id 5", "5 tokens"]);
    let batch = tokens_batch().with_targets(Targets::Classes(vec![0, 0, 4, 0, 0, 0]));
    let error = refused(&batch, &tokens_config(), Loss::CrossEntropy);
    assert_says(&error, &["targets[2]", "step 0, sequence 2", "id 4", "4 outputs"]);
    // What does not count may be anything.
    let batch = batch.with_loss_mask(vec![true, true, false, true, true, true]);
    batch.check(&tokens_config(), &Recipe::new(Loss::CrossEntropy)).unwrap();
    let last = tokens_batch().with_targets(Targets::Classes(vec![0, u32::MAX, 0]));
    let error = refused(&last, &tokens_config().pool(Pool::Last), Loss::CrossEntropy);
    assert_says(&error, &["targets[1] (sequence 1)", "id 4294967295"]);
}

#[test]
fn inputs_and_targets_must_be_of_the_kind_that_network_and_loss_need() {
    let error = refused(&tokens_batch(), &dense_config(), Loss::CrossEntropy);
    assert_says(&error, &["reads dense inputs", "inputs are tokens"]);
    let error = refused(&dense_batch(), &tokens_config(), Loss::MeanSquared);
    assert_says(&error, &["reads tokens", "inputs are dense"]);
    let error = refused(&tokens_batch(), &tokens_config(), Loss::MeanSquared);
    assert_says(&error, &["needs real numbers", "batch has classes"]);
    let error = refused(&dense_batch(), &dense_config(), Loss::CrossEntropy);
    assert_says(&error, &["needs classes", "batch has real numbers"]);
}

#[test]
fn numbers_that_are_not_finite_are_refused() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut values = vec![0.0; 12];
        values[7] = bad;
        let inputs = reading(dense_batch(), Inputs::Dense(values.clone()));
        assert_says(&refused(&inputs, &dense_config(), Loss::MeanSquared), &["inputs[7]", &bad.to_string()]);
        let targets = dense_batch().with_targets(Targets::Values(values.clone()));
        assert_says(&refused(&targets, &dense_config(), Loss::MeanSquared), &["targets[7]", &bad.to_string()]);
        let start = State::new(&dense_config(), 3, values[..9].to_vec()).unwrap_err();
        assert_says(&start, &["element 7 of the state", &bad.to_string()]);
    }
}

#[test]
fn a_batch_of_no_steps_or_no_sequences_is_refused() {
    let batch = Batch::tokens(BatchShape { steps: 0, batch_size: 3 }, vec![], vec![]);
    assert_says(&refused(&batch, &tokens_config(), Loss::CrossEntropy), &["steps (T) is 0"]);
    let batch = Batch::tokens(BatchShape { steps: 3, batch_size: 0 }, vec![], vec![]);
    assert_says(&refused(&batch, &tokens_config(), Loss::CrossEntropy), &["sequences in a batch (B) is 0"]);
}

#[test]
fn sizes_whose_product_overflows_are_refused() {
    let half = 1usize << (usize::BITS / 2);
    // The product wraps to 0, which an empty vector would fit.
    let batch = Batch::tokens(BatchShape { steps: half, batch_size: half }, vec![], vec![]);
    assert!(matches!(refused(&batch, &tokens_config(), Loss::CrossEntropy), Error::Shape { .. }));
    let batch = Batch::dense(BatchShape { steps: half, batch_size: half }, vec![], Targets::Values(vec![]));
    assert!(matches!(refused(&batch, &dense_config(), Loss::MeanSquared), Error::Shape { .. }));
}

#[test]
fn positions_that_count_are_counted() {
    assert_eq!(tokens_batch().count(&tokens_config()), 6);
    assert_eq!(dense_batch().count(&dense_config()), 6);
    let masked = tokens_batch().with_loss_mask(vec![true, false, true, true, false, false]);
    assert_eq!(masked.count(&tokens_config()), 3);
}

#[test]
fn lengths_are_one_a_sequence_from_1_to_the_steps() {
    let config = tokens_config();
    tokens_batch().with_lengths(vec![1, 2, 1]).check(&config, &Recipe::new(Loss::CrossEntropy)).unwrap();
    for lengths in [vec![], vec![2; 2], vec![2; 4], vec![1; 6]] {
        let given = format!("[{}]", lengths.len());
        let error = refused(&tokens_batch().with_lengths(lengths), &config, Loss::CrossEntropy);
        assert!(matches!(error, Error::Shape { .. }), "{error:?}");
        assert_says(&error, &["lengths", &given, "[3]"]);
    }
    for bad in [0, 3, usize::MAX] {
        let error = refused(&tokens_batch().with_lengths(vec![2, 1, bad]), &config, Loss::CrossEntropy);
        assert_says(&error, &[&format!("lengths[2] is {bad}"), "1 to the 2 steps"]);
    }
    // The inputs alone say the same.
    let sequences = dense_batch().with_lengths(vec![0; 3]).sequences;
    assert_says(&sequences.check(&dense_config()).unwrap_err(), &["lengths[0] is 0"]);
}

#[test]
fn padding_of_what_is_read_is_held_to_the_same_rules() {
    let config = tokens_config();
    let padded = |inputs, targets| {
        Batch::tokens(BatchShape { steps: 2, batch_size: 3 }, inputs, targets).with_lengths(vec![2, 1, 2])
    };
    padded(vec![0; 6], vec![0; 6]).check(&config, &Recipe::new(Loss::CrossEntropy)).unwrap();
    let error = refused(&padded(vec![0, 0, 0, 0, 5, 0], vec![0; 6]), &config, Loss::CrossEntropy);
    assert_says(&error, &["inputs[4] (step 1, sequence 1)", "id 5"]);
    // Targets behind the end of a sequence may be anything.
    padded(vec![0; 6], vec![0, 0, 0, 0, 4, 0]).check(&config, &Recipe::new(Loss::CrossEntropy)).unwrap();
    let mut values = vec![0.0; 12];
    values[8] = f32::NAN;
    let batch = Batch::dense(BatchShape { steps: 2, batch_size: 3 }, values, Targets::Values(vec![0.0; 12]))
        .with_lengths(vec![2, 1, 2]);
    assert_says(&refused(&batch, &dense_config(), Loss::MeanSquared), &["inputs[8] is NaN"]);
}

#[test]
fn neither_padding_nor_what_is_masked_counts() {
    let config = tokens_config();
    let padded = tokens_batch().with_lengths(vec![2, 1, 1]);
    assert_eq!(padded.count(&config), 4);
    // Of the valid positions 0, 1, 2 and 3 the mask leaves two; what it leaves of the padding is nothing.
    let masked = padded.clone().with_loss_mask(vec![true, false, false, true, true, true]);
    masked.check(&config, &Recipe::new(Loss::CrossEntropy)).unwrap();
    assert_eq!(masked.count(&config), 2);
    let nothing = padded.clone().with_loss_mask(vec![false, false, false, false, true, true]);
    // That is for the step to see, or the evaluation: other windows of it may have labels.
    nothing.check(&config, &Recipe::new(Loss::CrossEntropy)).unwrap();
    assert_eq!(nothing.count(&config), 0);
    // One label a sequence counts however short the sequence is.
    for read_out in [Some(Pool::Last), Some(Pool::Mean)] {
        let config = config.clone().with_pool(read_out);
        let labels = padded.clone().with_targets(Targets::Classes(vec![0, 1, 2]));
        labels.check(&config, &Recipe::new(Loss::CrossEntropy)).unwrap();
        assert_eq!(labels.count(&config), 3);
        assert_eq!(labels.clone().with_loss_mask(vec![false, true, true]).count(&config), 2);
        let nothing = labels.with_loss_mask(vec![false; 3]);
        assert_eq!(nothing.count(&config), 0);
        assert_says(&refused(&padded, &config, Loss::CrossEntropy), &["targets", "[3]", "[6]"]);
        let large = padded.clone().with_targets(Targets::Classes(vec![0, 4, 0]));
        assert_says(&refused(&large, &config, Loss::CrossEntropy), &["targets[1] (sequence 1)", "id 4"]);
    }
}

#[test]
fn counting_a_batch_that_fits_nothing_does_not_panic() {
    let batch = tokens_batch().with_lengths(vec![1]).with_loss_mask(vec![true]);
    batch.count(&tokens_config());
    Batch::tokens(BatchShape { steps: 0, batch_size: 0 }, vec![], vec![]).count(&tokens_config());
}

#[test]
fn an_alphabet_numbers_characters_by_code_point() {
    let alphabet = Alphabet::from_text("ba€\nab").unwrap();
    assert_eq!(alphabet.characters(), "\nab€");
    assert_eq!(alphabet.len(), 4);
    assert_eq!(alphabet.encode("a€b\n").unwrap(), [1, 3, 2, 0]);
    assert_eq!(alphabet.character(3), Some('€'));
    assert_eq!(alphabet.character(4), None);
    assert_eq!(alphabet.decode(&[2, 1, 9]), "ba\u{fffd}");
}

#[test]
fn given_characters_keep_their_order_and_must_be_distinct() {
    let alphabet = Alphabet::from_characters("zay").unwrap();
    assert_eq!(alphabet.characters(), "zay");
    assert_eq!(alphabet.encode("ayz").unwrap(), [1, 2, 0]);
    assert_says(&Alphabet::from_characters("abca").unwrap_err(), &["'a'", "twice"]);
    assert_says(&Alphabet::from_characters("").unwrap_err(), &["empty"]);
    assert_says(&Alphabet::from_text("").unwrap_err(), &["empty"]);
}

#[test]
fn an_unknown_character_is_reported_with_its_line_and_column() {
    let alphabet = Alphabet::from_text("ab\n").unwrap();
    assert_says(&alphabet.encode("ab\n\nabéa").unwrap_err(), &["'é'", "line 3, column 3", "3 of the alphabet"]);
    assert_says(&alphabet.encode("\t").unwrap_err(), &["'\\t'", "line 1, column 1"]);
}

#[test]
fn a_text_file_is_read_as_it_stands() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all("one\r\ntwo €".as_bytes()).unwrap();
    assert_eq!(read_text(file.path()).unwrap(), "one\r\ntwo €");
    // As editors on Windows write it: the mark at the beginning is no token of the text, one further on is.
    let marked = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(marked.path(), "\u{feff}ab\u{feff}").unwrap();
    assert_eq!(read_text(marked.path()).unwrap(), "ab\u{feff}");
    file.write_all(b"\nab\xffcd").unwrap();
    let error = read_text(file.path()).unwrap_err();
    assert_says(&error, &[&file.path().display().to_string(), "not UTF-8", "offset 15", "line 3"]);
    assert_says(&read_text("no/such/file.txt").unwrap_err(), &["no/such/file.txt", "cannot be read", "No such file"]);
}

#[test]
fn windows_are_time_major_and_walk_every_track() {
    // n = 14: L = 13 / 2 = 6 ids a track, two windows of three; id 12 is only a target and id 13 is not used.
    let windows = Windows::new((0..14).collect(), BatchShape { steps: 3, batch_size: 2 }).unwrap();
    assert_eq!(windows.len(), 2);
    let first = Batch::tokens(BatchShape { steps: 3, batch_size: 2 }, vec![0, 6, 1, 7, 2, 8], vec![1, 7, 2, 8, 3, 9]);
    let second =
        Batch::tokens(BatchShape { steps: 3, batch_size: 2 }, vec![3, 9, 4, 10, 5, 11], vec![4, 10, 5, 11, 6, 12]);
    let second = second.with_start(Start::Carry);
    assert_eq!(windows.get(0), Some(first.clone()));
    assert_eq!(windows.get(1).as_ref(), Some(&second));
    assert_eq!(windows.get(2), None);
    assert_eq!(windows.get(usize::MAX), None);
    let two_epochs: Vec<Batch> = windows.iter().cycle().take(4).collect();
    assert_eq!(two_epochs, [first.clone(), second.clone(), first, second], "an epoch starts from the initial state");
}

#[test]
fn too_few_ids_for_a_window_are_reported_with_what_is_needed() {
    assert!(Windows::new(vec![0; 7], BatchShape { steps: 3, batch_size: 2 }).is_ok());
    assert_says(
        &Windows::new(vec![0; 6], BatchShape { steps: 3, batch_size: 2 }).unwrap_err(),
        &["at least 7 ids", "6 given"],
    );
    let error = Windows::new(vec![0; 6], BatchShape { steps: usize::MAX, batch_size: usize::MAX }).unwrap_err();
    assert!(matches!(error, Error::Data(_)), "{error:?}");
    assert!(matches!(Windows::new(vec![0; 6], BatchShape { steps: 0, batch_size: 2 }), Err(Error::Config(_))));
    assert!(matches!(Windows::new(vec![0; 6], BatchShape { steps: 2, batch_size: 0 }), Err(Error::Config(_))));
}

#[test]
fn a_held_out_text_ends_in_masked_positions() {
    // Five targets in two tracks of three: the second track is one short.
    let batches: Vec<Batch> =
        HeldOutWindows::new((10..16).collect(), BatchShape { steps: 2, batch_size: 2 }).unwrap().iter().collect();
    let first = Batch::tokens(BatchShape { steps: 2, batch_size: 2 }, vec![10, 13, 11, 14], vec![11, 14, 12, 15]);
    let second = Batch::tokens(BatchShape { steps: 2, batch_size: 2 }, vec![12, 0, 0, 0], vec![13, 0, 0, 0]);
    let second = second.with_loss_mask(vec![true, false, false, false]).with_start(Start::Carry);
    assert_eq!(batches, [first, second]);
}

#[test]
fn a_held_out_text_may_be_as_short_as_one_target() {
    let batches: Vec<Batch> = HeldOutWindows::new(vec![3, 4], BatchShape { steps: usize::MAX, batch_size: usize::MAX })
        .unwrap()
        .iter()
        .collect();
    assert_eq!(batches, [Batch::tokens(BatchShape { steps: 1, batch_size: 1 }, vec![3], vec![4])]);
    assert_says(
        &HeldOutWindows::new(vec![3], BatchShape { steps: 2, batch_size: 2 }).unwrap_err(),
        &["at least 2 ids", "1 given"],
    );
    assert!(matches!(HeldOutWindows::new(vec![3, 4], BatchShape { steps: 0, batch_size: 1 }), Err(Error::Config(_))));
    assert!(matches!(HeldOutWindows::new(vec![3, 4], BatchShape { steps: 1, batch_size: 0 }), Err(Error::Config(_))));
}

/// The (token, target) pairs that count, track by track, in the order a carried state sees them.
fn walks(batches: &[Batch]) -> Vec<Vec<(u32, u32)>> {
    let mut walks = vec![Vec::new(); batches[0].sequences.batch_size];
    for (index, batch) in batches.iter().enumerate() {
        let Sequences { steps, batch_size: size, inputs, start, .. } = &batch.sequences;
        assert_eq!(*start, if index == 0 { Start::Initial } else { Start::Carry });
        assert_eq!(*size, walks.len());
        let (Inputs::Tokens(tokens), Targets::Classes(targets)) = (inputs, &batch.targets) else {
            panic!("not a batch of tokens")
        };
        assert_eq!(tokens.len(), steps * size);
        for (at, pair) in tokens.iter().copied().zip(targets.iter().copied()).enumerate() {
            if batch.loss_mask.as_ref().is_none_or(|mask| mask[at]) {
                walks[at % size].push(pair);
            }
        }
    }
    walks
}

proptest! {
    #[test]
    fn every_held_out_target_counts_exactly_once(n in 2u32..200, steps in 1usize..20, batch in 1usize..20) {
        // Distinct ids: a pair names its place in the text.
        let held = HeldOutWindows::new((0..n).collect(), BatchShape { steps, batch_size: batch }).unwrap();
        let announced = held.len();
        let batches: Vec<Batch> = held.iter().collect();
        prop_assert_eq!(batches.len(), announced);
        let config = Config::elman(InputKind::Tokens(n as usize), 1, n as usize);
        for one in &batches {
            prop_assert!(one.sequences.steps <= steps && one.sequences.batch_size <= batch);
            // So that no batch is masked altogether.
            one.check(&config, &Recipe::new(Loss::CrossEntropy)).unwrap();
        }
        let counted: usize = batches.iter().map(|b| b.count(&config)).sum();
        prop_assert_eq!(counted, n as usize - 1);
        // Tracks one after the other are the text in order: nothing twice, nothing left out, no track out of step.
        let seen: Vec<(u32, u32)> = walks(&batches).concat();
        let text: Vec<(u32, u32)> = (0..n - 1).map(|i| (i, i + 1)).collect();
        prop_assert_eq!(seen, text);
    }

    #[test]
    fn windows_use_every_target_but_the_tail(extra in 0usize..100, steps in 1usize..20, batch in 1usize..20) {
        let n = steps * batch + 1 + extra;
        let windows = Windows::new((0..n as u32).collect(), BatchShape { steps, batch_size: batch }).unwrap();
        let batches: Vec<Batch> = windows.iter().collect();
        let track = (n - 1) / batch;
        for (b, walk) in walks(&batches).into_iter().enumerate() {
            prop_assert!(track - walk.len() < steps);
            let ids = (b * track) as u32..(b * track + walk.len()) as u32;
            let expected: Vec<(u32, u32)> = ids.map(|id| (id, id + 1)).collect();
            prop_assert_eq!(walk, expected);
        }
        let whole = |b: &Batch| b.loss_mask.is_none() && (b.sequences.steps, b.sequences.batch_size) == (steps, batch);
        prop_assert!(batches.iter().all(whole));
    }

    #[test]
    fn decoding_undoes_encoding(text in "\\PC{1,40}") {
        let alphabet = Alphabet::from_text(&text).unwrap();
        prop_assert_eq!(alphabet.decode(&alphabet.encode(&text).unwrap()), text);
        prop_assert_eq!(Alphabet::from_characters(&alphabet.characters()).unwrap(), alphabet);
    }
}
