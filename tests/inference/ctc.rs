//! What outputs at every step say: decoding and alignment against all paths counted one by one.

use std::collections::BTreeMap;

use recurrent::{BatchShape, ctc};

use crate::common::random::Random;
use crate::common::whole::refuses;

/// Of every path of `[T, O]` logits what it says, by outputs, and the logarithm of its probability.
fn paths(logits: &[f32], outputs: usize) -> impl Iterator<Item = (Vec<usize>, f64)> {
    let steps = logits.len() / outputs;
    (0..outputs.pow(steps as u32)).map(move |number| {
        let path: Vec<usize> = (0..steps).map(|t| number / outputs.pow(t as u32) % outputs).collect();
        let ln_p = path
            .iter()
            .zip(logits.chunks(outputs))
            .map(|(o, row)| f64::from(row[*o]) - row.iter().map(|y| f64::from(*y).exp()).sum::<f64>().ln());
        let ln_p = ln_p.sum();
        (path, ln_p)
    })
}

fn said(path: &[usize], blank: usize) -> Vec<u32> {
    let changes = (0..path.len()).filter(|&t| t == 0 || path[t] != path[t - 1]);
    changes.map(|t| path[t]).filter(|&o| o != blank).map(|o| o as u32).collect()
}

fn logits(random: &mut Random, steps: usize, outputs: usize) -> Vec<f32> {
    random.reals(steps * outputs, 2.0).into_iter().map(|y| y as f32).collect()
}

#[test]
fn a_wide_beam_finds_every_sequence_with_its_probability() {
    let mut random = Random::new(31);
    for (steps, outputs, blank) in [(1, 2, 0), (3, 3, 0), (5, 3, 2), (4, 4, 1)] {
        let logits = logits(&mut random, steps, outputs);
        let mut all: BTreeMap<Vec<u32>, f64> = BTreeMap::new();
        for (path, ln_p) in paths(&logits, outputs) {
            *all.entry(said(&path, blank)).or_default() += ln_p.exp();
        }
        let found = ctc::prefix_beam(&logits, outputs, blank as u32, 10_000).unwrap();
        assert_eq!(found.len(), all.len());
        assert!(found.windows(2).all(|pair| pair[0].1 >= pair[1].1), "{found:?}");
        for (labels, ln_p) in &found {
            assert!((ln_p - all[labels].ln()).abs() < 1e-9, "{labels:?}: {ln_p}, not {}", all[labels].ln());
        }
        // A narrow one finds fewer, of which none is likelier than it is.
        let narrow = ctc::prefix_beam(&logits, outputs, blank as u32, 2).unwrap();
        assert!(narrow.len() <= 2 && narrow.iter().all(|(labels, ln_p)| *ln_p <= all[labels].ln() + 1e-9));
    }
}

/// Where many paths say the same a beam finds it, and the likeliest output of each step does not.
#[test]
fn a_beam_finds_what_is_likelier_than_the_likeliest_path() {
    // Two steps of 0.6 blank and 0.4 label: the empty sequence has 0.36, the label 0.64.
    let row = [0.6f32.ln(), 0.4f32.ln()];
    let two = [row, row].concat();
    assert!(ctc::greedy(&two, 2, 0).unwrap().is_empty());
    let found = ctc::prefix_beam(&two, 2, 0, 4).unwrap();
    assert_eq!(found[0].0, [1]);
    assert!((found[0].1.exp() - 0.64).abs() < 1e-6 && (found[1].1.exp() - 0.36).abs() < 1e-6, "{found:?}");
}

#[test]
fn the_greedy_labels_are_those_of_the_likeliest_path() {
    let mut random = Random::new(32);
    for (steps, outputs, blank) in [(6, 3, 0), (5, 4, 3), (7, 2, 1)] {
        let logits = logits(&mut random, steps, outputs);
        let (best, _) = paths(&logits, outputs).max_by(|(_, a), (_, b)| a.total_cmp(b)).unwrap();
        assert_eq!(ctc::greedy(&logits, outputs, blank as u32).unwrap(), said(&best, blank));
    }
    assert!(ctc::greedy(&[], 3, 0).unwrap().is_empty());
}

#[test]
fn an_alignment_is_the_likeliest_path_that_says_the_labels() {
    let mut random = Random::new(33);
    for (steps, outputs, blank, labels) in [
        (1, 3, 0, vec![2]),
        (6, 3, 0, vec![1, 2]),
        (6, 3, 2, vec![0, 0, 1]),
        (7, 2, 0, vec![1, 1, 1]),
        (5, 4, 1, vec![]),
        (6, 4, 3, vec![0, 1, 2, 0, 1, 2]),
    ] {
        for _ in 0..5 {
            let logits = logits(&mut random, steps, outputs);
            let saying = paths(&logits, outputs).filter(|(path, _)| said(path, blank) == labels);
            let (best, ln_p) = saying.max_by(|(_, a), (_, b)| a.total_cmp(b)).unwrap();
            let alignment = ctc::align(&logits, outputs, blank as u32, &labels).unwrap();
            assert!((alignment.log_probability - ln_p).abs() < 1e-9, "{alignment:?} {ln_p}");
            let path: Vec<usize> =
                alignment.steps.iter().map(|label| label.map_or(blank, |at| labels[at] as usize)).collect();
            assert_eq!(path, best);
            let spans = alignment.spans();
            assert_eq!(spans.len(), labels.len());
            for (at, span) in spans.iter().enumerate() {
                assert!(alignment.steps[span.clone()].iter().all(|label| *label == Some(at)), "{alignment:?}");
            }
        }
    }
    let nothing = ctc::align(&[], 2, 0, &[]).unwrap();
    assert!(nothing.steps.is_empty() && nothing.log_probability == 0.0);
}

#[test]
fn rows_are_those_of_one_sequence() {
    let shape = BatchShape { steps: 3, batch_size: 2 };
    let outputs: Vec<f32> = (0..12).map(|v| v as f32).collect();
    assert_eq!(ctc::rows_of(&outputs, shape, 2, (1, 2)).unwrap(), [2.0, 3.0, 6.0, 7.0]);
    refuses(ctc::rows_of(&outputs, shape, 3, (0, 1)), &["outputs", "[3, 2, 3]", "[12]"]);
    refuses(ctc::rows_of(&outputs, shape, 2, (2, 1)), &["sequence 2", "3 of 2"]);
    refuses(ctc::rows_of(&outputs, shape, 2, (0, 4)), &["4 steps of sequence 0"]);
}

#[test]
fn what_cannot_be_decoded_is_refused() {
    let rows = [0.0f32, 1.0, 2.0, 0.0, 1.0, 2.0];
    refuses(ctc::greedy(&rows[..5], 3, 0), &["5 logits", "3 outputs"]);
    refuses(ctc::greedy(&rows, 3, 3), &["the blank is output 3", "there are 3"]);
    refuses(ctc::greedy(&[], 0, 0), &["the blank is output 0", "there are 0"]);
    refuses(ctc::prefix_beam(&[0.0, f32::NAN, 0.0], 3, 0, 4), &["logits[1] is NaN"]);
    refuses(ctc::prefix_beam(&rows, 3, 0, 0), &["0 prefixes wide"]);
    refuses(ctc::align(&rows, 3, 0, &[1, 0]), &["labels[1] is id 0", "the blank 0"]);
    refuses(ctc::align(&rows, 3, 0, &[3]), &["labels[0] is id 3", "3 outputs"]);
    refuses(ctc::align(&rows, 3, 0, &[1, 1]), &["2 labels take 3 steps", "there are 2"]);
}
