//! Planted faults: a plan with one operation replaced by a wrong one is told from the right one by the same comparison.

use recurrent::plan::{Clip, Loss, Op, Optimizer, Recurrence};
use recurrent::{Activation, Cell};

use crate::case::Case;
use crate::common::executor::gpu;
use crate::common::random::Random;
use crate::recurrences::{self, Sizes};
use crate::training::{self, Measured};
use crate::{SCHEDULES, products};

/// The case passes as it is, and fails with the operation changed and with none.
#[track_caller]
fn seen(case: &Case, fault: impl FnOnce(&mut Op)) {
    case.check();
    assert!(case.compare(&case.changed(fault).run(gpu())).is_err(), "a planted fault was not seen");
    assert!(case.compare(&case.without_operation().run(gpu())).is_err(), "a missing operation was not seen");
}

/// What is done to the fields of one kind of operation.
macro_rules! fault {
    ($variant:ident, $op:ident => $change:expr) => {
        |op: &mut Op| match op {
            Op::$variant($op) => $change,
            other => panic!("{other:?}"),
        }
    };
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn faults_in_products_are_seen() {
    let mut random = Random::new(20);
    let matmul = products::matmul(&mut random, [33, 33, 33], [false, true], true);
    seen(&matmul, fault!(MatMul, op => op.transpose_b = false));
    seen(&matmul, fault!(MatMul, op => op.bias = None));
    seen(&matmul, fault!(MatMul, op => op.out.offset += 1));
    let transpose = products::transpose(&mut random, 33, 33);
    seen(&transpose, |op| {
        let Op::Transpose(right) = op else { panic!("{op:?}") };
        *op = Op::Copy { from: right.input, to: right.out };
    });
    // The margins around what is written would be zeros too.
    let copy = products::copy(&mut random, 3, 5);
    seen(&copy, |op| {
        let Op::Copy { to, .. } = op else { panic!("{op:?}") };
        *op = Op::Zero { tensor: to.tensor };
    });
    let gather = products::gather(&mut random, 7, 5, 3);
    seen(&gather, fault!(Gather, op => op.weight.offset -= 1));
    let weight_gradient = products::weight_gradient(&mut random, 50, 33, 33, 2);
    seen(&weight_gradient, fault!(WeightGradient, op => std::mem::swap(&mut op.d, &mut op.x)));
    seen(&weight_gradient, fault!(WeightGradient, op => op.bias += 1));
    let gather_gradient = products::gather_gradient(&mut random, 50, 5, 7, 2);
    seen(&gather_gradient, fault!(GatherGradient, op => op.weight += 1));
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn faults_in_recurrences_are_seen() {
    let mut random = Random::new(21);
    let relu = Cell::Elman(Activation::Relu);
    for schedule in SCHEDULES {
        let sizes = Sizes { steps: 3, batch: 2, hidden: 17, cell: Cell::Elman(Activation::Tanh), schedule };
        let forward = recurrences::forward(&mut random, sizes);
        seen(&forward, fault!(Forward, op => op.cell = relu));
        seen(&forward, fault!(Forward, op => op.bias.offset += 1));
        seen(
            &forward,
            fault!(Forward, op => {
                // U where its transposition is needed, and the other way round.
                let turned = op.weight_transposed.replace(op.weight).unwrap();
                op.weight = turned;
            }),
        );
        let backward = recurrences::backward(&mut random, sizes);
        let recurrence = |change: fn(&mut Recurrence)| {
            move |op: &mut Op| {
                let Op::Backward { recurrence, .. } = op else { panic!("{op:?}") };
                change(recurrence);
            }
        };
        seen(&backward, recurrence(|op| op.cell = Cell::Elman(Activation::Relu)));
        seen(&backward, recurrence(|op| op.weight.offset -= 1));
        for cell in [Cell::Lstm, Cell::Gru] {
            let forward = recurrences::forward(&mut random, Sizes { cell, ..sizes });
            seen(&forward, fault!(Forward, op => op.bias.offset += 1));
            let backward = recurrences::backward(&mut random, Sizes { cell, ..sizes });
            seen(&backward, recurrence(|op| op.weight.offset -= 1));
        }
    }
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn faults_in_training_are_seen() {
    let mut random = Random::new(22);
    for loss in [Loss::CrossEntropy, Loss::MeanSquared] {
        let case = training::loss(&mut random, loss, [37, 5], true, 2.0);
        seen(&case, fault!(LossGradient, op => op.gradient = false));
    }
    let combine = training::combine(&mut random, 2049, 2, 1.0, &[]);
    seen(&combine, |op| {
        let Op::Combine(right) = op else { panic!("{op:?}") };
        *op = Op::Zero { tensor: right.gradients };
    });
    let partials = Some(training::partials(&mut random, 3, 2.0));
    let given = Measured { row_loss: vec![0.5; 9], partials, clip: Clip::Norm(0.5), slot: 3, finite: true };
    let measure = training::measure("nine rows", given);
    seen(&measure, fault!(Measure, op => op.clip = Clip::None));
    seen(&measure, fault!(Measure, op => op.partials = None));
    let adam = training::update(&mut random, Optimizer::adam_w(0.01), Clip::Value(0.25), 257, true);
    seen(&adam, fault!(Update, op => op.clip = Clip::None));
    seen(&adam, fault!(Update, op => op.optimizer = Optimizer::adam()));
    seen(&adam, fault!(Update, op => op.moments.swap(0, 1)));
    let sgd = training::update(&mut random, Optimizer::sgd(0.9), Clip::None, 257, true);
    seen(&sgd, fault!(Update, op => op.optimizer = Optimizer::rms_prop()));
}
