//! The loss of label sequences: the kernels against their twins over sizes, whole and in parts of the steps, and where
//! logarithms are far from 0.

use recurrent::internals::cpu;
use recurrent::internals::plan::Bounds;

use crate::common::compare::{Tolerance, assert_close};
use crate::common::ctc::Case;
use crate::common::executor::gpu;
use crate::common::random::Random;

/// The states that matter are within some dozens of units of a step's largest, which is 0; each step rounds them by
/// 6e-8 of that, as its exponentials and its logarithm do, and errors of steps partly cancel. Measured below 1.5e-5.
const STATES: Tolerance = Tolerance { relative: 5e-5, floor: 1.0, least: 0.0 };

#[track_caller]
fn check(case: &Case, tolerance: Tolerance) {
    let what = |gradient| {
        let Case { outputs, blank, labels, lengths, room, .. } = case;
        let labels: Vec<usize> = labels.iter().map(Vec::len).collect();
        format!("T={lengths:?} O={outputs} L={labels:?} of {room}, blank {blank}, gradient {gradient}")
    };
    for gradient in [false, true] {
        let (want_losses, want) = case.run(cpu::Executor::<f64>::new(), gradient, Bounds::NONE);
        let (losses, got) = case.run(gpu(), gradient, Bounds::HARDWARE);
        let of_loss = Tolerance { least: 1.0, ..tolerance };
        assert_close(&format!("{}: losses", what(gradient)), &losses, &want_losses, of_loss);
        assert_close(&format!("{}: outputs", what(gradient)), &got, &want, tolerance);
    }
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn of_sizes_around_a_workgroup() {
    let mut random = Random::new(21);
    for [steps, batch, outputs, longest] in [
        [1, 1, 2, 0],
        [1, 1, 2, 1],
        [1, 3, 1, 0],
        [2, 5, 3, 1],
        [7, 4, 65, 3],
        [70, 2, 64, 31],
        [70, 1, 3, 32],
        [90, 3, 70, 66],
        [140, 2, 63, 127],
        [150, 1, 30, 128],
        [300, 2, 29, 260],
        [5, 2, 300, 2],
    ] {
        for blank in [0, outputs - 1] {
            check(&Case::random(&mut random, [steps, batch, outputs], blank, longest, 3.0), STATES);
        }
    }
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn of_one_label_again_and_again() {
    let mut case = Case::random(&mut Random::new(22), [80, 2, 4], 0, 39, 3.0);
    case.labels = vec![vec![2; 39], vec![3; 20]];
    case.lengths = vec![80, 41];
    check(&case, STATES);
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn with_a_factor_on_the_gradient_and_more_room_than_labels() {
    let mut case = Case::random(&mut Random::new(23), [30, 3, 9], 4, 8, 3.0);
    case.scale = Some(1024.0);
    case.room = 32;
    check(&case, STATES);
    let plain = Case { scale: None, ..case.clone() };
    let [(_, scaled), (_, plain)] = [&case, &plain].map(|case| case.run(gpu(), true, Bounds::HARDWARE));
    assert!(scaled.iter().zip(plain).all(|(scaled, plain)| *scaled == 1024.0 * plain));
}

/// Loss and gradient are exact zeros where a weight is 0 and behind the end, whatever lies there.
#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn what_does_not_count_is_not_looked_at() {
    let mut case = Case::random(&mut Random::new(24), [12, 4, 5], 0, 4, 3.0);
    case.weights[0] = 0.0;
    case.weights[2] = 0.0;
    case.lengths[1] = 9;
    let is_left_out = |at: usize| [0, 2].contains(&(at / 5 % 4)) || (at / 5 % 4 == 1 && at / 20 >= 9);
    (0..case.y.len()).filter(|at| is_left_out(*at)).for_each(|at| case.y[at] = f64::NAN);
    let runs = [
        case.run(gpu(), true, Bounds::HARDWARE),
        case.run(cpu::Executor::<f32>::new(), true, Bounds::NONE),
        case.run(cpu::Executor::<f64>::new(), true, Bounds::NONE),
    ];
    for (losses, gradient) in &runs {
        assert!(losses[0] == 0.0 && losses[2] == 0.0, "{losses:?}");
        assert!((0..case.y.len()).all(|at| !is_left_out(at) || gradient[at] == 0.0), "{gradient:?}");
        assert_close("losses", losses, &runs[2].0, STATES);
        assert_close("gradient", gradient, &runs[2].1, STATES);
    }
    // None counts at all.
    case.weights.fill(0.0);
    case.y.fill(f64::NAN);
    let twin = case.run(cpu::Executor::<f32>::new(), true, Bounds::NONE);
    for (losses, gradient) in [case.run(gpu(), true, Bounds::HARDWARE), twin] {
        assert!(losses.iter().chain(&gradient).all(|v| *v == 0.0), "{losses:?}");
    }
}

/// A number that is none shows in the loss and in the gradient of its sequence, and in no other's: as NaN or, where a
/// driver makes that of its logarithm, as an infinity.
#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn a_nan_shows_where_it_is() {
    let mut case = Case::random(&mut Random::new(25), [6, 3, 4], 0, 2, 3.0);
    case.lengths = vec![6, 6, 6];
    case.labels = vec![vec![1, 2], vec![3], vec![2, 1]];
    case.y[(2 * 3 + 1) * 4 + 2] = f64::NAN;
    let f32_twin = case.run(cpu::Executor::<f32>::new(), true, Bounds::NONE);
    for (losses, gradient) in [case.run(gpu(), true, Bounds::HARDWARE), f32_twin] {
        assert!(!losses[1].is_finite() && losses[0].is_finite() && losses[2].is_finite(), "{losses:?}");
        let broken = |at: usize| at / 4 % 3 == 1;
        assert!((0..gradient.len()).any(|at| broken(at) && !gradient[at].is_finite()), "{gradient:?}");
        assert!((0..gradient.len()).all(|at| broken(at) || gradient[at].is_finite()), "{gradient:?}");
    }
}

/// Logits as far as 10⁴ from 0: their digits are 10⁻³ apart in f32.
#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn of_logits_whose_exponentials_overflow() {
    let mut random = Random::new(26);
    for bound in [100.0, 1e4] {
        let case = Case::random(&mut random, [40, 3, 6], 2, 12, bound);
        let [twin, got] =
            [case.run(cpu::Executor::<f64>::new(), true, Bounds::NONE), case.run(gpu(), true, Bounds::HARDWARE)];
        let spread = Tolerance { relative: 1e-6 * bound, floor: 1.0, least: 1.0 };
        assert_close("losses", &got.0, &twin.0, Tolerance { relative: 1e-6, ..spread });
        assert_close("gradient", &got.1, &twin.1, spread);
    }
    // Of every step one output is sure, and it is the right one, or the wrong one.
    let mut case = Case::random(&mut random, [9, 2, 3], 0, 4, 1.0);
    (case.labels, case.lengths) = (vec![vec![1, 2, 1, 2], vec![1, 2, 1, 2]], vec![9, 9]);
    case.y = (0..9)
        .flat_map(|t| [[0, 1, 0, 2, 0, 1, 0, 2, 0][t], 0])
        .flat_map(|sure| (0..3).map(move |o| if o == sure { 1e4 } else { -1e4 }))
        .collect();
    // Paths that are equally unlikely are 8·10⁴ units from 0, where digits of f32 are 8·10⁻³ apart.
    check(&case, Tolerance { relative: 1e-2, floor: 1.0, least: 1.0 });
    let (losses, _) = case.run(gpu(), true, Bounds::HARDWARE);
    let (want, _) = case.run(cpu::Executor::<f64>::new(), false, Bounds::NONE);
    assert_close("losses", &losses, &want, Tolerance { relative: 1e-6, floor: 0.0, least: 1.0 });
    assert!(losses[0] == 0.0 && losses[1] > 8e3, "{losses:?}");
}

/// In parts of so few steps as bounds of so few iterations leave, bit for bit.
#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn parts_of_the_steps_are_the_whole() {
    let mut random = Random::new(27);
    for longest in [5, 40] {
        let case = Case::random(&mut random, [97, 3, 20], 0, longest, 3.0);
        for gradient in [false, true] {
            let whole = case.run(gpu(), gradient, Bounds::HARDWARE);
            for iterations in [120, 400] {
                let parts = case.run(gpu(), gradient, Bounds { iterations, ..Bounds::HARDWARE });
                assert_eq!(parts, whole, "{iterations} iterations, {longest} labels, gradient {gradient}");
            }
        }
    }
}
