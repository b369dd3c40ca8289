//! The loss of label sequences: the twin in f64 against all paths counted one by one, central differences and PyTorch's
//! numbers, and all executors in f32 against these.

use serde::Deserialize;

use recurrent::internals::cpu;
use recurrent::internals::plan::Bounds;

use crate::common::compare::{DIFFERENCES, F64, ORACLE, Tolerance, assert_close};
use crate::common::ctc::Case;
use crate::common::executor::{Execute, gpu};
use crate::common::random::Random;

fn twin(case: &Case, gradient: bool) -> (Vec<f64>, Vec<f64>) {
    case.run(cpu::Executor::<f64>::new(), gradient, Bounds::NONE)
}

/// What a path says: equal outputs side by side made one, and no blanks.
fn said(path: &[usize], blank: usize) -> Vec<u32> {
    let changes = (0..path.len()).filter(|&t| t == 0 || path[t] != path[t - 1]);
    changes.map(|t| path[t]).filter(|&o| o != blank).map(|o| o as u32).collect()
}

/// −ln of the sum of the probabilities of all paths that say a sequence's labels, each path by itself.
fn by_paths(case: &Case, b: usize) -> f64 {
    let (outputs, length) = (case.outputs, case.lengths[b] as usize);
    let row = |t: usize| &case.y[(t * case.batch() + b) * outputs..][..outputs];
    let ln_p = |t: usize, o: usize| row(t)[o] - row(t).iter().map(|y| y.exp()).sum::<f64>().ln();
    let paths = (0..outputs.pow(length as u32)).map(|number| {
        let path: Vec<usize> = (0..length).map(|t| number / outputs.pow(t as u32) % outputs).collect();
        let says = said(&path, case.blank) == case.labels[b];
        if says { path.iter().enumerate().map(|(t, o)| ln_p(t, *o)).sum::<f64>().exp() } else { 0.0 }
    });
    -paths.sum::<f64>().ln()
}

#[test]
fn a_path_says_what_is_left_of_it() {
    assert_eq!(said(&[0, 1, 1, 0, 1, 2, 2, 0], 0), [1, 1, 2]);
    assert_eq!(said(&[1, 1, 2, 0], 1), [2, 0]);
    assert!(said(&[0, 0], 0).is_empty());
}

#[test]
fn the_loss_is_that_of_all_paths_counted_one_by_one() {
    let mut random = Random::new(311);
    let mut lengths = std::collections::BTreeSet::new();
    for [steps, outputs, longest] in [[1, 1, 0], [1, 2, 1], [2, 3, 1], [4, 2, 2], [5, 3, 3], [6, 4, 4], [7, 3, 5]] {
        for blank in [0, outputs - 1] {
            let case = Case::random(&mut random, [steps, 4, outputs], blank, longest, 2.0);
            lengths.extend(case.labels.iter().map(Vec::len));
            for gradient in [false, true] {
                let (losses, _) = twin(&case, gradient);
                let want: Vec<f64> = (0..4).map(|b| case.weights[b] / case.divisor * by_paths(&case, b)).collect();
                assert_close(&format!("{case:?}"), &losses, &want, ORACLE);
            }
        }
    }
    assert!(lengths.len() > 3, "{lengths:?}");
}

#[test]
fn the_gradient_is_the_loss_s_differences() {
    const STEP: f64 = 1e-4;
    let mut random = Random::new(312);
    for [steps, outputs, longest] in [[1, 3, 1], [4, 3, 2], [7, 5, 3], [9, 3, 4]] {
        for blank in [0, outputs - 1] {
            let mut case = Case::random(&mut random, [steps, 3, outputs], blank, longest, 2.0);
            case.labels[1].clear();
            case.weights[2] = 0.0;
            let (_, gradient) = twin(&case, true);
            let differences = (0..case.y.len()).map(|at| {
                let centre = case.y[at];
                let mut moved = |step: f64| {
                    case.y[at] = centre + step;
                    let (losses, _) = twin(&case, false);
                    case.y[at] = centre;
                    losses.iter().sum::<f64>()
                };
                let far = moved(2.0 * STEP) - moved(-2.0 * STEP);
                (8.0 * (moved(STEP) - moved(-STEP)) - far) / (12.0 * STEP)
            });
            let want: Vec<f64> = differences.collect();
            assert_close(&format!("T={steps} O={outputs} blank {blank}"), &gradient, &want, DIFFERENCES);
        }
    }
}

/// What `scripts/ctc_fixtures.py` writes.
#[derive(Deserialize)]
struct Fixture {
    name: String,
    shape: [usize; 3],
    blank: usize,
    y: Vec<f64>,
    labels: Vec<Vec<u32>>,
    lengths: Vec<u32>,
    weights: Vec<f64>,
    divisor: f64,
    value: f64,
    gradient: Vec<f64>,
}

fn check_fixtures<E: Execute>(executor: impl Fn() -> E, tolerance: Tolerance) {
    let fixtures: Vec<Fixture> = serde_json::from_str(include_str!("../fixtures/ctc.json")).unwrap();
    assert!(fixtures.len() >= 10, "{} cases", fixtures.len());
    for Fixture { name, shape, blank, y, labels, lengths, weights, divisor, value, gradient } in fixtures {
        let room = labels.iter().map(Vec::len).max().unwrap();
        let case = Case { outputs: shape[2], blank, y, labels, lengths, weights, divisor, room, scale: None };
        assert_eq!([case.steps(), case.batch()], shape[..2]);
        let of_value = Tolerance { least: value.abs().max(1.0), ..tolerance };
        for with_gradient in [false, true] {
            let (losses, got) = case.run(executor(), with_gradient, Bounds::HARDWARE);
            assert_close(&format!("{name}: loss"), &[losses.iter().sum()], &[value], of_value);
            if with_gradient {
                assert_close(&format!("{name}: gradient"), &got, &gradient, tolerance);
            }
        }
    }
}

/// Some dozens of steps in f32, each of which rounds a state of a few units by 6e-8 of it.
const F32_STATES: Tolerance = Tolerance { relative: 1e-5, floor: 1.0, least: 0.0 };

#[test]
fn the_loss_is_pytorch_s() {
    check_fixtures(cpu::Executor::<f64>::new, Tolerance { floor: 1.0, ..F64 });
}

#[test]
fn the_loss_is_pytorch_s_in_f32() {
    check_fixtures(cpu::Executor::<f32>::new, F32_STATES);
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn the_loss_is_pytorch_s_on_the_adapter() {
    check_fixtures(gpu, F32_STATES);
}
