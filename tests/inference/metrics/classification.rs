//! One class of several: the confusion matrix and the k likeliest.

use recurrent::metrics::{ConfusionMatrix, TopKAccuracy};

use super::{Metric, cases, close, mask, of, picked};

fn said(m: &ConfusionMatrix) -> Vec<Option<f64>> {
    let one = [m.accuracy(), m.f1_macro(), Some(m.count() as f64)];
    one.into_iter().chain(m.precision()).chain(m.recall()).chain(m.f1()).collect()
}

#[test]
fn a_matrix_says_what_scikit_learn_says() {
    for case in cases("confusion") {
        let classes: usize = of(&case, "classes");
        let (targets, predicted): (Vec<u32>, Vec<u32>) = (of(&case, "targets"), of(&case, "predicted"));
        let mut matrix = ConfusionMatrix::new(classes).unwrap();
        matrix.add(&targets, &predicted, None).unwrap();
        assert_eq!(matrix.counts(), of::<Vec<u64>>(&case, "counts"));
        assert_eq!(matrix.count(), targets.len() as u64);
        close("precision", &matrix.precision(), &of::<Vec<_>>(&case, "precision"));
        close("recall", &matrix.recall(), &of::<Vec<_>>(&case, "recall"));
        close("f1", &matrix.f1(), &of::<Vec<_>>(&case, "f1"));
        for name in ["accuracy", "f1_micro"] {
            close(name, &[matrix.accuracy()], &[of(&case, name)]);
        }
        close("f1_macro", &[matrix.f1_macro()], &[of(&case, "f1_macro")]);

        let by_ids = Metric {
            new: || ConfusionMatrix::new(classes).unwrap(),
            add: |m: &mut ConfusionMatrix, rows: &[Option<usize>]| {
                let [is, said] = [&targets, &predicted].map(|ids| picked(rows, ids, 1, &u32::MAX));
                m.add(&is, &said, mask(rows).as_deref()).unwrap();
            },
            said,
        };
        let want = by_ids.holds(targets.len(), ConfusionMatrix::merge);
        // The same by outputs of which the predicted class has the largest.
        let one_hot =
            |class: &u32| (0..classes as u32).map(|id| if id == *class { -1.0 } else { -1.5 }).collect::<Vec<f32>>();
        let outputs: Vec<f32> = predicted.iter().flat_map(one_hot).collect();
        let by_outputs = Metric {
            add: |m: &mut ConfusionMatrix, rows: &[Option<usize>]| {
                let (is, outputs) = (picked(rows, &targets, 1, &7_000), picked(rows, &outputs, classes, &f32::NAN));
                m.add_outputs(&is, &outputs, mask(rows).as_deref()).unwrap();
            },
            new: by_ids.new,
            said,
        };
        assert_eq!(by_outputs.holds(targets.len(), ConfusionMatrix::merge), want);
    }
}

#[test]
fn where_nothing_was_counted_there_is_no_result() {
    let mut matrix = ConfusionMatrix::new(2).unwrap();
    matrix.add(&[], &[], None).unwrap();
    matrix.add(&[5, 6], &[7, 0], Some(&[false; 2])).unwrap();
    matrix.add_outputs(&[5], &[f64::NAN, f64::INFINITY], Some(&[false])).unwrap();
    assert_eq!(said(&matrix), [vec![None, None, Some(0.0)], vec![None; 6]].concat());
    // One class alone.
    matrix.add(&[1; 4], &[1; 4], None).unwrap();
    assert_eq!((matrix.precision(), matrix.recall()), (vec![None, Some(1.0)], vec![None, Some(1.0)]));
    assert_eq!((matrix.accuracy(), matrix.f1_macro()), (Some(1.0), Some(1.0)));
    // A class that is there and never predicted, and the other way round, have F1, of 0.
    matrix.add(&[0], &[1], None).unwrap();
    assert_eq!((matrix.precision()[0], matrix.recall()[0], matrix.f1()[0]), (None, Some(0.0), Some(0.0)));
}

#[test]
fn of_equal_outputs_the_matrix_takes_the_first_and_the_k_likeliest_the_last() {
    let outputs = [0.5, 0.5, 0.2, 0.0, -0.0, -1.0];
    let mut matrix = ConfusionMatrix::new(3).unwrap();
    matrix.add_outputs(&[1, 1], &outputs, None).unwrap();
    assert_eq!(matrix.counts(), [0, 0, 0, 2, 0, 0, 0, 0, 0]);
    for (target, k, want) in [(1, 1, 1.0), (0, 1, 0.0), (0, 2, 1.0), (2, 2, 0.0), (2, 3, 1.0)] {
        let mut top = TopKAccuracy::new(k, 3).unwrap();
        top.add(&[target; 2], &outputs, None).unwrap();
        assert_eq!(top.value(), Some(want), "{target} among {k}");
    }
}

#[test]
fn a_matrix_is_printed_as_a_table() {
    let mut matrix = ConfusionMatrix::new(2).unwrap();
    matrix.add(&[0, 0, 1], &[1, 1, 1], None).unwrap();
    assert_eq!(matrix.to_string(), "is \\ said    0    1\n        0    ·    2\n        1    ·    1");
    let matrix = matrix.with_names(["no", "it may be"]).unwrap();
    assert_eq!(matrix.names(), ["no", "it may be"]);
    let want = "is \\ said        no it may be\n       no         ·         2\nit may be         ·         1";
    assert_eq!(matrix.to_string(), want);
    // Large counts do not run into each other.
    let mut many = ConfusionMatrix::new(1).unwrap();
    many.add(&[0; 4], &[0; 4], None).unwrap();
    for _ in 0..18 {
        many.merge(&many.clone()).unwrap();
    }
    assert_eq!(many.to_string(), "is \\ said       0\n        0 1048576");
}

#[test]
fn the_k_likeliest_are_scikit_learns() {
    for case in cases("top_k") {
        let (classes, k): (usize, usize) = (of(&case, "classes"), of(&case, "k"));
        let (targets, outputs): (Vec<u32>, Vec<f64>) = (of(&case, "targets"), of(&case, "outputs"));
        let metric = Metric {
            new: || TopKAccuracy::new(k, classes).unwrap(),
            add: |m: &mut TopKAccuracy, rows: &[Option<usize>]| {
                let (is, outputs) = (picked(rows, &targets, 1, &99), picked(rows, &outputs, classes, &f64::NAN));
                m.add(&is, &outputs, mask(rows).as_deref()).unwrap();
            },
            said: |m: &TopKAccuracy| vec![m.value(), Some(m.count() as f64)],
        };
        let got = metric.holds(targets.len(), TopKAccuracy::merge);
        close("top k", &got, &[of(&case, "value"), Some(targets.len() as f64)]);
    }
    assert_eq!(TopKAccuracy::new(1, 1).unwrap().value(), None);
}
