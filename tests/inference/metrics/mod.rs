//! What is measured of a network, against scikit-learn's and jiwer's numbers, cut into parts, and at its edges.
//!
//! `scripts/metric_fixtures.py` made the numbers and says what is in them.

mod binary;
mod classification;
mod language;
mod refusals;
mod regression;

use std::fmt::Debug;

use rand::RngExt;
use rand::seq::SliceRandom;
use recurrent::metrics::{ConfusionMatrix, RegressionErrors};
use recurrent::{
    Batch, BatchShape, Config, Device, HeadTargets, InputKind, Model, Pool, Predictor, Recurrent, Sequences, Targets,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::common::compare::{METRICS, assert_close};
use crate::common::whole::rng;

/// The cases of one metric.
fn cases(name: &str) -> Vec<Value> {
    let all: Value = serde_json::from_str(include_str!("../../fixtures/metrics.json")).unwrap();
    let cases = all[name].as_array().unwrap().clone();
    assert!(!cases.is_empty());
    cases
}

/// A member of a case.
fn of<T: DeserializeOwned>(case: &Value, name: &str) -> T {
    serde_json::from_value(case[name].clone()).unwrap_or_else(|error| panic!("{name}: {error} in {case}"))
}

/// Whether what is there is the same, and what is there is close.
#[track_caller]
fn close(what: &str, got: &[Option<f64>], want: &[Option<f64>]) {
    let there = |values: &[Option<f64>]| values.iter().map(Option::is_some).collect::<Vec<_>>();
    assert_eq!(there(got), there(want), "{what}: got {got:?}, want {want:?}");
    let (got, want): (Vec<f64>, Vec<f64>) =
        (got.iter().flatten().copied().collect(), want.iter().flatten().copied().collect());
    if !want.is_empty() {
        assert_close(what, &got, &want, METRICS);
    }
}

/// An accumulator under test: how one is made, given rows, merged, and read.
struct Metric<M, A, S> {
    new: M,
    /// Adds rows by their numbers; `None` is one that does not count, to be filled with what no row may have.
    add: A,
    said: S,
}

impl<M: Clone + Debug, N: Fn() -> M, A: Fn(&mut M, &[Option<usize>]), S: Fn(&M) -> Vec<Option<f64>>> Metric<N, A, S> {
    /// Rows in any order, in any parts, and among rows that do not count, say the same.
    #[track_caller]
    fn holds(&self, rows: usize, merge: impl Fn(&mut M, &M) -> recurrent::Result<()>) -> Vec<Option<f64>> {
        let mut rows: Vec<Option<usize>> = (0..rows).map(Some).collect();
        let mut whole = (self.new)();
        (self.add)(&mut whole, &rows);
        let want = (self.said)(&whole);
        let mut rng = rng(7);
        for _ in 0..4 {
            rows.shuffle(&mut rng);
            let (first, rest) = rows.split_at(rng.random_range(0..=rows.len()));
            let (second, third) = rest.split_at(rng.random_range(0..=rest.len()));
            let mut parts: Vec<M> = Vec::new();
            for part in [first, &[], second, third] {
                // Every other row does not count; the empty part has nothing that does.
                let among: Vec<Option<usize>> = part.iter().flat_map(|row| [*row, None]).chain([None]).collect();
                let mut own = (self.new)();
                (self.add)(&mut own, &among);
                parts.push(own);
            }
            let mut all = (self.new)();
            parts.iter().for_each(|part| merge(&mut all, part).unwrap());
            close("in parts", &(self.said)(&all), &want);
        }
        want
    }
}

/// Of rows, some of which do not count, their values and the mask; without one where all count.
fn picked<T: Clone>(rows: &[Option<usize>], values: &[T], width: usize, other: &T) -> Vec<T> {
    let row = |row: &Option<usize>| match row {
        Some(row) => values[row * width..(row + 1) * width].to_vec(),
        None => vec![other.clone(); width],
    };
    rows.iter().flat_map(row).collect()
}

fn mask(rows: &[Option<usize>]) -> Option<Vec<bool>> {
    rows.contains(&None).then(|| rows.iter().map(Option::is_some).collect())
}

#[test]
fn what_counts_of_a_batch_is_what_its_loss_counts() {
    let config = Config::new(InputKind::Tokens(5)).layer(Recurrent::gru(6)).head("tags", 3).pool(Pool::Last).outputs(2);
    let shape = BatchShape { steps: 3, batch_size: 2 };
    let sequences = Sequences::tokens(shape, vec![0, 1, 2, 3, 4, 0]).with_lengths(vec![3, 1]);
    let tags = vec![2, 0, 1, 9, 0, 9]; // of padding no tag at all
    let head = HeadTargets::new("tags", tags.clone()).with_loss_mask(vec![false, true, true, true, true, true]);
    let batch = Batch::new(sequences, Targets::Classes(vec![1, 0])).with_head(head);
    assert_eq!(batch.counted(&config), [true, true], "the last of a sequence counts however short it is");
    let counted = batch.counted_of_head(&config, "tags").unwrap();
    assert_eq!(counted, [false, true, true, false, true, false]);
    assert_eq!(batch.counted_of_head(&config, "others"), None);
    let masked = batch.clone().with_loss_mask(vec![false, true]);
    assert_eq!(masked.counted(&config), [false, true]);
    assert_eq!(masked.count(&config), 1);

    let model = Model::new(config.clone()).unwrap();
    let answer = Predictor::new(&Device::cpu(), &model).unwrap().run(&batch.sequences).unwrap();
    let outputs = answer.head("tags").unwrap();
    let likeliest = |r: usize| (0..3).max_by(|a, b| outputs[r * 3 + a].total_cmp(&outputs[r * 3 + b])).unwrap();
    let mut confusion = ConfusionMatrix::new(3).unwrap();
    confusion.add_outputs(&tags, outputs, Some(&counted)).unwrap();
    let mut by_hand = vec![0; 9];
    [1, 2, 4].into_iter().for_each(|r| by_hand[tags[r] as usize * 3 + likeliest(r)] += 1);
    assert_eq!(confusion.counts(), by_hand);

    // Of several outputs a row, each as often as the row.
    let numbers: Vec<bool> = counted.into_iter().flat_map(|counts| std::iter::repeat_n(counts, 3)).collect();
    let mut errors = RegressionErrors::new();
    errors.add(&[0.0; 18], outputs, Some(&numbers)).unwrap();
    assert_eq!(errors.count(), 9);
}
