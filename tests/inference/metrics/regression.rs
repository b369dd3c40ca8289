//! How far forecasts are off: of numbers, against a naive forecast, of quantiles, and of bands.

use recurrent::metrics::{Coverage, Mase, PinballLoss, RegressionErrors};

use super::{Metric, cases, close, mask, of, picked};

fn said(m: &RegressionErrors) -> Vec<Option<f64>> {
    vec![m.mae(), m.rmse(), m.mean_error(), m.r_squared(), Some(m.count() as f64)]
}

/// Two lists of a case as rows pick them, and the mask.
type Pair = (Vec<f64>, Vec<f64>, Option<Vec<bool>>);

fn pair(rows: &[Option<usize>], (targets, forecasts): &(Vec<f64>, Vec<f64>)) -> Pair {
    (picked(rows, targets, 1, &f64::NAN), picked(rows, forecasts, 1, &f64::INFINITY), mask(rows))
}

#[test]
fn errors_of_numbers_are_scikit_learns() {
    for case in cases("regression") {
        let given: (Vec<f64>, Vec<f64>) = (of(&case, "targets"), of(&case, "forecasts"));
        let metric = Metric {
            new: RegressionErrors::new,
            add: |m: &mut RegressionErrors, rows: &[Option<usize>]| {
                let (targets, forecasts, mask) = pair(rows, &given);
                m.add(&targets, &forecasts, mask.as_deref()).unwrap();
            },
            said,
        };
        let rows = given.0.len();
        let want = ["mae", "rmse", "mean_error", "r_squared"].map(|name| of(&case, name));
        close("regression", &metric.holds(rows, RegressionErrors::merge), &[&want[..], &[Some(rows as f64)]].concat());
    }
}

#[test]
fn errors_of_numbers_at_their_edges() {
    let mut errors = RegressionErrors::new();
    errors.add::<f32, f32>(&[], &[], None).unwrap();
    errors.add(&[f32::NAN], &[1.0], Some(&[false])).unwrap();
    assert_eq!(said(&errors), [None, None, None, None, Some(0.0)]);
    // Of equal targets there is nothing to explain, in one part or in several.
    errors.add(&[0.1; 7], &[0.2; 7], None).unwrap();
    assert_eq!(errors.r_squared(), None);
    errors.merge(&errors.clone()).unwrap();
    assert_eq!(errors.r_squared(), None);
    // f32 and f64 side by side, and a mean so large that squares would leave nothing of the differences.
    let mut far = RegressionErrors::new();
    far.add(&[1e9, 1e9 + 1.0, 1e9 + 2.0], &[1e9_f32; 3], None).unwrap();
    close("far", &said(&far)[1..4], &[Some((5.0_f64 / 3.0).sqrt()), Some(-1.0), Some(-1.5)]);
    // Of one target, however large.
    let mut one = RegressionErrors::new();
    one.add(&[1e200], &[1e200], None).unwrap();
    errors = RegressionErrors::new();
    errors.merge(&one).unwrap();
    errors.merge(&RegressionErrors::new()).unwrap();
    assert_eq!(said(&errors), [Some(0.0), Some(0.0), Some(0.0), None, Some(1.0)]);
}

#[test]
fn scaled_errors_follow_their_formula() {
    for case in cases("mase") {
        let given: (Vec<f64>, Vec<f64>) = (of(&case, "targets"), of(&case, "forecasts"));
        let (train, period): (Vec<f64>, usize) = (of(&case, "train"), of(&case, "period"));
        let metric = Metric {
            new: || Mase::new(&train, period).unwrap(),
            add: |m: &mut Mase, rows: &[Option<usize>]| {
                let (targets, forecasts, mask) = pair(rows, &given);
                m.add(&targets, &forecasts, mask.as_deref()).unwrap();
            },
            said: |m: &Mase| vec![m.value(), Some(m.scale()), Some(m.count() as f64)],
        };
        let want = [of(&case, "value"), of(&case, "scale"), Some(given.0.len() as f64)];
        close("mase", &metric.holds(given.0.len(), Mase::merge), &want);
    }
    // Of several series, each by its own scale.
    let (mut one, mut other) = (Mase::new(&[0.0, 1.0], 1).unwrap(), Mase::new(&[0.0, 10.0], 1).unwrap());
    one.add(&[0.0], &[2.0], None).unwrap();
    other.add(&[0.0, 0.0], &[10.0, 30.0], None).unwrap();
    one.merge(&other).unwrap();
    assert_eq!((one.value(), one.count(), one.scale()), (Some(2.0), 3, 1.0));
    assert_eq!(Mase::new(&[0.0f32, 1.0], 1).unwrap().value(), None);
}

#[test]
fn the_pinball_loss_is_scikit_learns() {
    for case in cases("pinball") {
        let given: (Vec<f64>, Vec<f64>) = (of(&case, "targets"), of(&case, "forecasts"));
        let quantile: f64 = of(&case, "quantile");
        let metric = Metric {
            new: || PinballLoss::new(quantile).unwrap(),
            add: |m: &mut PinballLoss, rows: &[Option<usize>]| {
                let (targets, forecasts, mask) = pair(rows, &given);
                m.add(&targets, &forecasts, mask.as_deref()).unwrap();
            },
            said: |m: &PinballLoss| vec![m.value(), Some(m.count() as f64)],
        };
        let want = [of(&case, "value"), Some(given.0.len() as f64)];
        close("pinball", &metric.holds(given.0.len(), PinballLoss::merge), &want);
    }
    assert_eq!(PinballLoss::new(0.5).unwrap().value(), None);
}

#[test]
fn coverage_is_the_share_within() {
    for case in cases("coverage") {
        let [targets, lower, upper] = ["targets", "lower", "upper"].map(|name| of::<Vec<f64>>(&case, name));
        let metric = Metric {
            new: Coverage::new,
            add: |m: &mut Coverage, rows: &[Option<usize>]| {
                let [targets, lower, upper] = [&targets, &lower, &upper].map(|all| picked(rows, all, 1, &f64::NAN));
                m.add(&targets, &lower, &upper, mask(rows).as_deref()).unwrap();
            },
            said: |m: &Coverage| vec![m.value(), Some(m.count() as f64)],
        };
        let want = [of(&case, "value"), Some(targets.len() as f64)];
        close("coverage", &metric.holds(targets.len(), Coverage::merge), &want);
    }
    let mut coverage = Coverage::new();
    assert_eq!(coverage.value(), None);
    coverage.add(&[1.0, 2.0, 1.5], &[1.0, 1.0, 2.0], &[2.0, 2.0, 1.0], None).unwrap();
    assert_eq!(coverage.value(), Some(2.0 / 3.0), "on an end is within, and an upside-down band contains nothing");
}
