//! What is so or is not: the area under the ROC curve and F1 of several labels.

use recurrent::metrics::{Auroc, MultiLabelF1};

use super::{Metric, cases, close, mask, of, picked};

#[test]
fn the_area_is_scikit_learns() {
    for case in cases("auroc") {
        let (targets, scores): (Vec<bool>, Vec<f64>) = (of(&case, "targets"), of(&case, "scores"));
        let metric = Metric {
            new: Auroc::new,
            add: |m: &mut Auroc, rows: &[Option<usize>]| {
                let (is, scores) = (picked(rows, &targets, 1, &true), picked(rows, &scores, 1, &f64::NAN));
                m.add(&is, &scores, mask(rows).as_deref()).unwrap();
            },
            said: |m: &Auroc| vec![m.value(), Some(m.count() as f64)],
        };
        close("auroc", &metric.holds(targets.len(), Auroc::merge), &[of(&case, "value"), Some(targets.len() as f64)]);
    }
}

#[test]
fn the_area_at_its_edges() {
    let area = |targets: &[bool], scores: &[f32]| {
        let mut auroc = Auroc::new();
        auroc.add(targets, scores, None).unwrap();
        auroc.value()
    };
    assert_eq!(area(&[], &[]), None);
    assert_eq!(area(&[true, true], &[0.0, 1.0]), None);
    assert_eq!(area(&[false], &[0.0]), None);
    assert_eq!(area(&[true, false, true, false, false], &[0.5; 5]), Some(0.5), "all are equal");
    assert_eq!(area(&[true, false], &[-0.0, 0.0]), Some(0.5), "so are the zeros");
    assert_eq!(area(&[true, false], &[0.0, -0.0]), Some(0.5));
    assert_eq!(area(&[false, true, true], &[-f32::MAX, 0.0, f32::MAX]), Some(1.0));
    assert_eq!(area(&[true, false, false], &[-f32::MAX, 0.0, f32::MAX]), Some(0.0));
    let mut masked = Auroc::new();
    masked.add(&[true, false], &[f32::NAN, f32::INFINITY], Some(&[false; 2])).unwrap();
    assert_eq!((masked.count(), masked.value()), (0, None));
}

fn said(m: &MultiLabelF1) -> Vec<Option<f64>> {
    [m.f1_micro(), m.f1_macro(), Some(m.count() as f64)].into_iter().chain(m.f1()).collect()
}

#[test]
fn f1_of_labels_is_scikit_learns() {
    for case in cases("multi_label") {
        let (labels, threshold): (usize, f64) = (of(&case, "labels"), of(&case, "threshold"));
        let (targets, outputs): (Vec<bool>, Vec<f64>) = (of(&case, "targets"), of(&case, "outputs"));
        let metric = Metric {
            new: || MultiLabelF1::new(labels, threshold).unwrap(),
            add: |m: &mut MultiLabelF1, rows: &[Option<usize>]| {
                let (is, outputs) = (picked(rows, &targets, labels, &true), picked(rows, &outputs, labels, &f64::NAN));
                m.add(&is, &outputs, mask(rows).as_deref()).unwrap();
            },
            said,
        };
        let rows = targets.len() / labels;
        let one = [of(&case, "f1_micro"), of(&case, "f1_macro"), Some(rows as f64)];
        let want: Vec<Option<f64>> = one.into_iter().chain(of::<Vec<Option<f64>>>(&case, "f1")).collect();
        assert!(want.contains(&None), "the case has a label that does not occur");
        close("multi-label", &metric.holds(rows, MultiLabelF1::merge), &want);
    }
}

#[test]
fn labels_at_their_edges() {
    let mut f1 = MultiLabelF1::new(2, 0.0).unwrap();
    f1.add::<f32>(&[], &[], None).unwrap();
    f1.add(&[true, false], &[f32::NAN, 1.0], Some(&[false])).unwrap();
    assert_eq!(said(&f1), [None, None, Some(0.0), None, None]);
    // Rows that have no label and are predicted to have none count, and say nothing of F1; the threshold is not above
    // itself.
    f1.add(&[false, false], &[-1.0, 0.0], None).unwrap();
    assert_eq!(said(&f1), [None, None, Some(1.0), None, None]);
    f1.add(&[false, true], &[1.0, -1.0], None).unwrap();
    assert_eq!(said(&f1), [Some(0.0), Some(0.0), Some(2.0), Some(0.0), Some(0.0)]);
}
