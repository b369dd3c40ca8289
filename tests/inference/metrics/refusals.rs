//! What is refused, in which words, and that it leaves what was measured before as it was.

use std::fmt::Debug;

use recurrent::metrics::{
    Auroc, ConfusionMatrix, Coverage, ErrorRate, Mase, MultiLabelF1, Perplexity, PinballLoss, RegressionErrors,
    TopKAccuracy,
};
use recurrent::{Error, Result};

#[track_caller]
fn says(error: &Error, expected: &str) {
    assert!(error.to_string().contains(expected), "{error}");
}

/// A call that is refused changes nothing.
#[track_caller]
fn refused<M: Clone + Debug + PartialEq>(before: &M, call: impl Fn(&mut M) -> Result<()>, expected: &str) {
    let mut after = before.clone();
    says(&call(&mut after).unwrap_err(), expected);
    assert_eq!(&after, before);
}

#[test]
fn a_matrix_refuses_what_it_cannot_count() {
    says(&ConfusionMatrix::new(0).unwrap_err(), "the number of classes is 0");
    let error = ConfusionMatrix::new(1 << (usize::BITS / 2)).unwrap_err();
    assert!(matches!(error, Error::OutOfMemory(_)), "{error}");
    let mut matrix = ConfusionMatrix::new(3).unwrap();
    matrix.add(&[0, 1], &[0, 2], None).unwrap();
    says(&matrix.clone().with_names(["a", "b"]).unwrap_err(), "names has shape [2], expected [3]");
    refused(&matrix, |m| m.add(&[0, 1], &[0], None), "predicted has shape [1], expected [2]");
    refused(&matrix, |m| m.add(&[0, 1], &[0, 1], Some(&[true])), "mask has shape [1], expected [2]");
    refused(&matrix, |m| m.add(&[0, 3], &[0, 1], None), "targets[1] is id 3, but there are 3 classes");
    refused(&matrix, |m| m.add(&[0, 1], &[0, 9], Some(&[false, true])), "predicted[1] is id 9");
    refused(&matrix, |m| m.add_outputs(&[0], &[0.5; 4], None), "outputs has shape [4], expected [1, 3]");
    refused(&matrix, |m| m.add_outputs(&[0, 7], &[0.5; 6], None), "targets[1] is id 7");
    let bad = [0.0, 1.0, 2.0, 3.0, f32::NAN, 5.0];
    refused(&matrix, |m| m.add_outputs(&[0, 1], &bad, None), "outputs[4] is NaN, expected a finite number");
    let other = ConfusionMatrix::new(2).unwrap();
    refused(&matrix, |m| m.merge(&other), "the other accumulator's number of classes is 2, expected 3");
    let named = ConfusionMatrix::new(3).unwrap().with_names(["0", "1", "two"]).unwrap();
    refused(&matrix, |m| m.merge(&named), r#"class 2 is "two", expected "2""#);
}

#[test]
fn the_k_likeliest_are_from_1_to_all() {
    says(&TopKAccuracy::new(1, 0).unwrap_err(), "the number of classes is 0");
    for k in [0, 4] {
        says(&TopKAccuracy::new(k, 3).unwrap_err(), &format!("k is {k}, expected 1 to the 3 classes"));
    }
    let mut top = TopKAccuracy::new(2, 3).unwrap();
    top.add(&[1], &[0.1, 0.2, 0.3], None).unwrap();
    refused(&top, |m| m.add(&[0], &[0.5; 2], None), "outputs has shape [2], expected [1, 3]");
    refused(&top, |m| m.add(&[0], &[0.5; 3], Some(&[])), "mask has shape [0], expected [1]");
    refused(&top, |m| m.add(&[3], &[0.5; 3], None), "targets[0] is id 3");
    // Of the class itself, and of another.
    for at in 0..3 {
        let mut outputs = [0.5, 0.5, 0.5, 0.5, 0.5, 0.5];
        outputs[3 + at] = f64::INFINITY;
        refused(&top, |m| m.add(&[0, 1], &outputs, None), &format!("outputs[{}] is inf", 3 + at));
    }
    refused(&top, |m| m.merge(&TopKAccuracy::new(1, 3).unwrap()), "k is 1, expected 2");
    refused(&top, |m| m.merge(&TopKAccuracy::new(2, 4).unwrap()), "number of classes is 4, expected 3");
}

#[test]
fn scores_are_finite_and_as_many_as_targets() {
    let mut auroc = Auroc::new();
    auroc.add(&[true, false], &[0.5, 0.1], None).unwrap();
    refused(&auroc, |m| m.add(&[true], &[0.5, 0.5], None), "scores has shape [2], expected [1]");
    refused(&auroc, |m| m.add(&[true], &[0.5], Some(&[true; 2])), "mask has shape [2], expected [1]");
    refused(&auroc, |m| m.add(&[true, false], &[0.5, f64::NAN], None), "scores[1] is NaN");
}

#[test]
fn labels_and_their_threshold_are_checked() {
    says(&MultiLabelF1::new(0, 0.5).unwrap_err(), "the number of labels is 0");
    says(&MultiLabelF1::new(2, f64::NAN).unwrap_err(), "the threshold is NaN");
    let mut f1 = MultiLabelF1::new(2, 0.5).unwrap();
    f1.add(&[true, false], &[0.7, 0.7], None).unwrap();
    refused(&f1, |m| m.add(&[true; 3], &[0.5; 3], None), "targets has shape [3], expected [1, 2]");
    refused(&f1, |m| m.add(&[true; 2], &[0.5; 3], None), "outputs has shape [3], expected [1, 2]");
    refused(&f1, |m| m.add(&[true; 2], &[0.5; 2], Some(&[true; 2])), "mask has shape [2], expected [1]");
    refused(&f1, |m| m.add(&[true; 2], &[0.5, f32::INFINITY], None), "outputs[1] is inf");
    refused(&f1, |m| m.merge(&MultiLabelF1::new(3, 0.5).unwrap()), "number of labels is 3, expected 2");
    refused(&f1, |m| m.merge(&MultiLabelF1::new(2, 0.4).unwrap()), "threshold is 0.4, expected 0.5");
}

#[test]
fn numbers_are_finite_and_so_are_their_sums() {
    let mut errors = RegressionErrors::new();
    errors.add(&[1.0, 2.0], &[1.0, 1.0], None).unwrap();
    refused(&errors, |m| m.add(&[1.0], &[1.0; 2], None), "forecasts has shape [2], expected [1]");
    refused(&errors, |m| m.add(&[1.0], &[1.0], Some(&[true; 2])), "mask has shape [2], expected [1]");
    refused(&errors, |m| m.add(&[1.0, f32::NAN], &[1.0; 2], None), "targets[1] is NaN");
    refused(&errors, |m| m.add(&[1.0; 2], &[f64::INFINITY, 1.0], None), "forecasts[0] is inf");
    refused(&errors, |m| m.add(&[0.0], &[1e200], None), "the sum of squared errors is inf");
    refused(&errors, |m| m.add(&[1e200], &[1e200], None), "squared distances of targets from their mean is inf");
    refused(&errors, |m| m.add(&[-f64::MAX], &[f64::MAX], None), "the sum of absolute errors is inf");
    let mut large = RegressionErrors::new();
    large.add(&[0.0], &[1.2e154], None).unwrap();
    refused(&large, |m| m.merge(&large), "the sum of squared errors is inf");
}

#[test]
fn a_scale_needs_a_series_that_changes() {
    says(&Mase::new(&[1.0, 2.0], 0).unwrap_err(), "the period is 0");
    says(&Mase::new(&[1.0, 2.0], 2).unwrap_err(), "the training part has 2 values, expected more than the period's 2");
    says(&Mase::new(&[1.0, f32::NAN], 1).unwrap_err(), "train[1] is NaN");
    says(&Mase::new(&[1.0, 2.0, 1.0, 2.0], 2).unwrap_err(), "repeats itself after 2 steps");
    says(&Mase::new(&[-f64::MAX, f64::MAX], 1).unwrap_err(), "the sum of the naive forecast's errors is inf");
    let mut mase = Mase::new(&[0.0, 1e-200], 1).unwrap();
    mase.add(&[0.0], &[1e-200], None).unwrap();
    refused(&mase, |m| m.add(&[1.0], &[1.0; 2], None), "forecasts has shape [2], expected [1]");
    refused(&mase, |m| m.add(&[f64::NAN], &[1.0], None), "targets[0] is NaN");
    refused(&mase, |m| m.add(&[1.0], &[f64::NAN], None), "forecasts[0] is NaN");
    refused(&mase, |m| m.add(&[1.0], &[1.0], Some(&[])), "mask has shape [0], expected [1]");
    refused(&mase, |m| m.add(&[0.0], &[1e200], None), "the sum of scaled errors is inf");
}

#[test]
fn quantiles_lie_between_0_and_1() {
    for quantile in [0.0, 1.0, -0.1, f64::NAN] {
        says(&PinballLoss::new(quantile).unwrap_err(), &format!("the quantile is {quantile}, expected"));
    }
    let mut loss = PinballLoss::new(0.5).unwrap();
    loss.add(&[0.0], &[1.0], None).unwrap();
    refused(&loss, |m| m.add(&[1.0], &[1.0; 2], None), "forecasts has shape [2], expected [1]");
    refused(&loss, |m| m.add(&[1.0], &[f32::NAN], None), "forecasts[0] is NaN");
    refused(&loss, |m| m.add(&[f32::NAN], &[1.0], None), "targets[0] is NaN");
    refused(&loss, |m| m.add(&[1.0], &[1.0], Some(&[])), "mask has shape [0], expected [1]");
    refused(&loss, |m| m.add(&[f64::MAX], &[-f64::MAX], None), "the sum of losses is inf");
    refused(&loss, |m| m.merge(&PinballLoss::new(0.6).unwrap()), "quantile is 0.6, expected 0.5");
}

#[test]
fn a_band_has_two_finite_ends() {
    let mut coverage = Coverage::new();
    coverage.add(&[0.5], &[0.0], &[1.0], None).unwrap();
    refused(&coverage, |m| m.add(&[1.0], &[1.0; 2], &[1.0], None), "lower has shape [2], expected [1]");
    refused(&coverage, |m| m.add(&[1.0], &[1.0], &[1.0; 2], None), "upper has shape [2], expected [1]");
    refused(&coverage, |m| m.add(&[1.0], &[1.0], &[1.0], Some(&[])), "mask has shape [0], expected [1]");
    refused(&coverage, |m| m.add(&[f32::NAN], &[1.0], &[1.0], None), "targets[0] is NaN");
    refused(&coverage, |m| m.add(&[1.0], &[f32::NAN], &[1.0], None), "lower[0] is NaN");
    refused(&coverage, |m| m.add(&[1.0], &[1.0], &[f32::NAN], None), "upper[0] is NaN");
}

#[test]
fn a_mean_loss_is_finite() {
    let mut perplexity = Perplexity::new();
    perplexity.add(1.0, 2).unwrap();
    refused(&perplexity, |m| m.add(f64::NAN, 1), "the mean loss is NaN, expected a finite number of nats");
    refused(&perplexity, |m| m.add(f64::MAX, 2), "the sum of nats is inf");
}

#[test]
fn more_than_a_u64_counts_is_refused() {
    fn doubled<M: Clone + Debug + PartialEq>(mut one: M, merge: fn(&mut M, &M) -> Result<()>) -> M {
        for _ in 0..63 {
            let same = one.clone();
            merge(&mut one, &same).unwrap();
        }
        refused(&one, |m| merge(m, &one), "9223372036854775808");
        one
    }
    let mut matrix = ConfusionMatrix::new(2).unwrap();
    matrix.add(&[1], &[1], None).unwrap();
    assert_eq!(doubled(matrix, ConfusionMatrix::merge).f1_macro(), Some(1.0));
    let mut top = TopKAccuracy::new(1, 1).unwrap();
    top.add(&[0], &[0.5], None).unwrap();
    assert_eq!(doubled(top, TopKAccuracy::merge).value(), Some(1.0));
    let mut f1 = MultiLabelF1::new(2, 0.5).unwrap();
    f1.add(&[true, true], &[0.7, 0.7], None).unwrap();
    assert_eq!(doubled(f1, MultiLabelF1::merge).f1_micro(), Some(1.0));
    let mut errors = RegressionErrors::new();
    errors.add(&[1.0], &[3.0], None).unwrap();
    assert_eq!(doubled(errors, RegressionErrors::merge).rmse(), Some(2.0));
    let mut mase = Mase::new(&[0.0, 1.0], 1).unwrap();
    mase.add(&[1.0], &[3.0], None).unwrap();
    assert_eq!(doubled(mase, Mase::merge).value(), Some(2.0));
    let mut loss = PinballLoss::new(0.5).unwrap();
    loss.add(&[1.0], &[3.0], None).unwrap();
    assert_eq!(doubled(loss, PinballLoss::merge).value(), Some(1.0));
    let mut coverage = Coverage::new();
    coverage.add(&[1.0], &[0.0], &[2.0], None).unwrap();
    assert_eq!(doubled(coverage, Coverage::merge).value(), Some(1.0));
    let mut perplexity = Perplexity::new();
    perplexity.add(1.0, 1).unwrap();
    assert_eq!(doubled(perplexity, Perplexity::merge).nats(), Some(1.0));
    let mut rate = ErrorRate::new();
    rate.add([0], [1]).unwrap();
    assert_eq!(doubled(rate, ErrorRate::merge).value(), Some(1.0));
}
