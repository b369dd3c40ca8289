//! Language: perplexity of losses, and edits.

use rand::RngExt;
use recurrent::metrics::{ErrorRate, Perplexity, edit_distance};

use super::{Metric, cases, close, of};
use crate::common::whole::rng;

#[test]
fn perplexity_of_batches_is_that_of_all_rows() {
    for case in cases("perplexity") {
        let batches: Vec<(f64, usize)> = of(&case, "batches");
        let nats: f64 = of(&case, "nats");
        let metric = Metric {
            new: Perplexity::new,
            // What does not count is a mean over nothing.
            add: |m: &mut Perplexity, rows: &[Option<usize>]| {
                let mean = |row: &Option<usize>| row.map_or((f64::NAN, 0), |row| batches[row]);
                rows.iter().map(mean).for_each(|(mean, positions)| m.add(mean, positions).unwrap());
            },
            said: |m: &Perplexity| vec![m.nats(), m.bits(), m.value(), Some(m.count() as f64)],
        };
        let rows: usize = batches.iter().map(|(_, rows)| rows).sum();
        let want = [nats, nats * std::f64::consts::LOG2_E, nats.exp(), rows as f64].map(Some);
        close("perplexity", &metric.holds(batches.len(), Perplexity::merge), &want);
    }
    let mut perplexity = Perplexity::new();
    assert_eq!((perplexity.nats(), perplexity.bits(), perplexity.value()), (None, None, None));
    perplexity.add((8.0f64).ln(), 3).unwrap();
    close("a uniform guess of eight", &[perplexity.value(), perplexity.bits()], &[Some(8.0), Some(3.0)]);
    perplexity.add(1e6, 3).unwrap();
    assert_eq!(perplexity.value(), Some(f64::INFINITY));
}

#[test]
fn error_rates_are_jiwers() {
    for case in cases("edits") {
        let pairs: Vec<(String, String)> = of(&case, "pairs");
        let metric = Metric {
            new: ErrorRate::new,
            add: |m: &mut ErrorRate, rows: &[Option<usize>]| {
                for (reference, hypothesis) in rows.iter().flatten().map(|row| &pairs[*row]) {
                    m.add(reference.chars(), hypothesis.chars()).unwrap();
                }
            },
            said: |m: &ErrorRate| {
                let counts =
                    [m.hits(), m.substitutions(), m.deletions(), m.insertions()].map(|count| Some(count as f64));
                [&counts[..], &[m.value()]].concat()
            },
        };
        let counts = ["hits", "substitutions", "deletions", "insertions"].map(|name| of(&case, name));
        // jiwer calls the rate of empty references 0, or the number of insertions.
        let has_reference = pairs.iter().any(|(reference, _)| !reference.is_empty());
        let value = has_reference.then(|| of(&case, "value"));
        close(&format!("{pairs:?}"), &metric.holds(pairs.len(), ErrorRate::merge), &[&counts[..], &[value]].concat());
    }
}

/// The distance by its definition.
fn distance(a: &[u8], b: &[u8]) -> usize {
    match (a, b) {
        ([], rest) | (rest, []) => rest.len(),
        ([x, a_rest @ ..], [y, b_rest @ ..]) => {
            let kept = distance(a_rest, b_rest) + usize::from(x != y);
            kept.min(distance(a_rest, b) + 1).min(distance(a, b_rest) + 1)
        }
    }
}

#[test]
fn the_distance_is_that_of_its_definition() {
    let mut rng = rng(3);
    for _ in 0..300 {
        let mut text = || (0..rng.random_range(0..7)).map(|_| rng.random_range(0..3)).collect::<Vec<u8>>();
        let (a, b) = (text(), text());
        let want = distance(&a, &b);
        assert_eq!((edit_distance(&a, &b).unwrap(), edit_distance(&b, &a).unwrap()), (want, want), "{a:?} {b:?}");
        let mut rate = ErrorRate::new();
        rate.add(&a, &b).unwrap();
        assert_eq!((rate.substitutions() + rate.deletions() + rate.insertions()) as usize, want);
        assert_eq!((rate.hits() + rate.substitutions() + rate.insertions()) as usize, b.len());
        assert_eq!((rate.hits() + rate.substitutions() + rate.deletions()) as usize, a.len());
    }
}

#[test]
fn edits_at_their_edges() {
    assert_eq!(edit_distance::<u32>(&[], &[]).unwrap(), 0);
    assert_eq!(edit_distance(&["same"; 9], &["same"; 9]).unwrap(), 0);
    // A NaN is no number, so it equals nothing.
    assert_eq!(edit_distance(&[f32::NAN], &[f32::NAN]).unwrap(), 1);
    let mut rate = ErrorRate::new();
    assert_eq!(rate.value(), None);
    rate.add("".chars(), "ab".chars()).unwrap();
    assert_eq!((rate.value(), rate.insertions()), (None, 2), "of empty references there is no rate");
    rate.add("a".chars(), "a".chars()).unwrap();
    assert_eq!(rate.value(), Some(2.0));
    rate.add(["x", "y"], ["y"]).unwrap();
    assert_eq!((rate.value(), rate.deletions(), rate.hits()), (Some(1.0), 1, 2));
}
