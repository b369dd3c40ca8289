//! Planted faults: a plan with one operation replaced by a wrong one is told from the right one by the same comparison.

use recurrent::internals::plan::{
    BackwardRecurrence, CopyView, Hold, Op, PoolKind, ProductTile, Recurrence, TableGradient, View, ZeroTensor,
};
use recurrent::recipe::{Clip, Loss, Optimizer};
use recurrent::{Activation, Cell, GateActivation, Join};

use crate::case::Case;
use crate::common::executor::gpu;
use crate::common::random::Random;
use crate::products::{self, Gathering, Weighting};
use crate::recurrences::{self, BOTH_DRAWN, Options, Sizes, Zoneout};
use crate::resets;
use crate::states::{self, Pooling};
use crate::tiles::tiles;
use crate::training::{self, Measured};
use crate::{ACTIVATIONS, GRU, GRU_BEFORE, SCHEDULES, masks};

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
    let matmul = products::matmul(&mut random, [33, 33, 33], [false, true], true, ProductTile::Large);
    seen(&matmul, fault!(MatMul, op => op.transpose_b = false));
    seen(&matmul, fault!(MatMul, op => op.bias = None));
    seen(&matmul, fault!(MatMul, op => op.out.offset += 1));
    let transpose = products::transpose(&mut random, 33, 33);
    seen(&transpose, |op| {
        let Op::Transpose(right) = op else { panic!("{op:?}") };
        *op = Op::Copy(CopyView { from: right.input, to: right.out });
    });
    // The margins around what is written would be zeros too.
    let copy = states::copy(&mut random, 3, 5);
    seen(&copy, |op| {
        let Op::Copy(CopyView { to, .. }) = op else { panic!("{op:?}") };
        *op = Op::Zero(ZeroTensor { tensor: to.tensor });
    });
    let drawn = Gathering { draw: true, first: 2, ..Gathering::PLAIN };
    let gather = products::gather(&mut random, [7, 5, 3], drawn);
    seen(&gather, fault!(Gather, op => op.weight.offset -= 1));
    let beside = Gathering { apart: 3, ..Gathering::ROWS };
    seen(&products::gather(&mut random, [7, 5, 3], beside), fault!(Gather, op => op.out.stride -= 1));
    let gradient_beside = products::gather_gradient(&mut random, [50, 5, 7], 2, beside);
    seen(&gradient_beside, fault!(GatherGradient, op => op.d.stride -= 1));
    seen(&gather, fault!(Gather, op => op.bias = None));
    seen(&gather, fault!(Gather, op => op.first -= 1));
    seen(&gather, fault!(Gather, op => op.draw = None));
    seen(&gather, fault!(Gather, op => op.batch += 1));
    let apart = Weighting { apart: [2, 0], ..Weighting::PLAIN };
    let weight_gradient = products::weight_gradient(&mut random, 50, [33, 33], 2, apart);
    seen(&weight_gradient, fault!(WeightGradient, op => std::mem::swap(&mut op.d, &mut op.x)));
    seen(&weight_gradient, fault!(WeightGradient, op => op.bias = op.bias.map(|bias| bias + 1)));
    seen(&weight_gradient, fault!(WeightGradient, op => op.d.stride -= 2));
    let gather_gradient = products::gather_gradient(&mut random, [50, 5, 7], 2, drawn);
    let rows = Gathering { padding: Some(3), adds: true, ..Gathering::ROWS };
    let by_rows = products::gather_gradient(&mut random, [50, 5, 7], 2, rows);
    seen(&by_rows, fault!(GatherGradient, op => op.table = None));
    seen(
        &by_rows,
        fault!(GatherGradient, op => op.table = op.table.map(|table| TableGradient { adds: false, ..table })),
    );
    seen(
        &by_rows,
        fault!(GatherGradient, op => op.table = op.table.map(|table| TableGradient { padding: None, ..table })),
    );
    let of_some = Gathering { wanted: Some(3), draw: true, ..Gathering::ROWS };
    let of_some = products::gather_gradient(&mut random, [50, 5, 7], 2, of_some);
    seen(
        &of_some,
        fault!(GatherGradient, op => op.table = op.table.map(|table| TableGradient { rows: None, ..table })),
    );
    let of_rows = products::gather(&mut random, [7, 5, 5], Gathering::ROWS);
    seen(&of_rows, fault!(Gather, op => op.by_rows = false));
    seen(&gather_gradient, fault!(GatherGradient, op => op.weight += 1));
    seen(&gather_gradient, fault!(GatherGradient, op => op.draw = None));
    seen(&gather_gradient, fault!(GatherGradient, op => op.batch += 1));
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn faults_in_masks_and_states_are_seen() {
    let mut random = Random::new(23);
    let mask = masks::mask(&mut random, [6, 50], 3, 0.4, true);
    seen(&mask, fault!(Dropout, op => op.draw.site = 0));
    seen(&mask, fault!(Dropout, op => op.draw.rate = 0.5));
    seen(&mask, fault!(Dropout, op => op.period = 6));
    seen(&mask, fault!(Dropout, op => op.input = None));
    let slices = masks::mask_slices(&mut random, 2, 40, 0.4);
    seen(&slices, fault!(MaskSlices, op => op.weight += 1));
    seen(&slices, fault!(MaskSlices, op => op.draw.site = 0));
    seen(&slices, fault!(MaskSlices, op => op.len -= 1));
    let columns = states::copy_columns(&mut random, [3, 5], 5, 5);
    // The columns of the other direction.
    seen(&columns, |op| {
        let Op::Copy(CopyView { from, .. }) = op else { panic!("{op:?}") };
        from.offset -= 5;
    });
    seen(&columns, |op| {
        let Op::Copy(CopyView { to, .. }) = op else { panic!("{op:?}") };
        to.offset += 5;
    });
    let start = states::start(&mut random, [2, 3, 5], true);
    seen(&start, fault!(InitialState, op => op.learned.offset += 1));
    let start_gradient = states::start_gradient(&mut random, [5, 3, 5], &[0, 3], (true, Some(4)));
    seen(&start_gradient, fault!(InitialStateGradient, op => op.slots.reverse()));
    seen(&start_gradient, fault!(InitialStateGradient, op => op.resets = None));
    let begins = resets::start(&mut random, [3, 5], true);
    seen(&begins, fault!(StartState, op => op.learned = None));
    let before = resets::before(&mut random, [4, 3, 5], 2, false);
    seen(&before, fault!(StatesBefore, op => op.start -= 1));
    seen(&before, fault!(StatesBefore, op => op.directions = 1));
    let trace = states::trace(&mut random, [5, 3, 7], 2, 1.0);
    seen(&trace, fault!(GradientNorms, op => op.directions = 1));
    seen(&trace, fault!(GradientNorms, op => op.first = 0));
    seen(&trace, fault!(GradientNorms, op => op.row = 0));
    seen(&trace, fault!(GradientNorms, op => op.loss_scale = None));
    let sizes = Pooling { kind: PoolKind::Last, directions: 2, steps: 4, batch: 3, hidden: 5, skipped: 0, spare: 0 };
    for directions in [1, 2] {
        let mean = Pooling { kind: PoolKind::Mean, directions, ..sizes };
        seen(&states::pool(&mut random, mean), fault!(Pool, op => op.skipped = 1));
        seen(&states::pool(&mut random, mean), fault!(Pool, op => op.rows.rows -= 3));
        seen(&states::pool(&mut random, mean), fault!(Pool, op => op.kind = PoolKind::Last));
        seen(&states::pool_gradient(&mut random, mean), fault!(PoolGradient, op => op.rows.rows -= 3));
        seen(&states::pool_gradient(&mut random, mean), fault!(PoolGradient, op => op.kind = PoolKind::Last));
    }
    for kind in [PoolKind::LastRow, PoolKind::FirstRow, PoolKind::Max] {
        let sizes = Pooling { kind, directions: 1, ..sizes };
        for other in [PoolKind::Last, PoolKind::Mean] {
            seen(&states::pool(&mut random, sizes), fault!(Pool, op => op.kind = other));
            seen(&states::pool_gradient(&mut random, sizes), fault!(PoolGradient, op => op.kind = other));
        }
    }
    for (join, other) in [(Join::Sum, Join::Mean), (Join::Mean, Join::Sum), (Join::Product, Join::Sum)] {
        seen(&states::join(&mut random, join, 7, 5), fault!(Join, op => op.join = other));
        let gradient = states::join_gradient(&mut random, join, 7, 5);
        seen(&gradient, fault!(JoinGradient, op => (op.join, op.rows) = (other, None)));
    }
    seen(&states::accumulate(&mut random, 7, 5), fault!(Accumulate, op => op.y.offset -= 1));
    let norm = products::normalize(&mut random, [7, 5], 0.1);
    seen(&norm, fault!(Normalize, op => op.epsilon = 0.2));
    seen(&norm, fault!(Normalize, op => op.gain.offset += 1));
    seen(&norm, fault!(Normalize, op => op.bias = op.gain));
    let gradient = products::normalize_gradient(&mut random, [7, 5]);
    seen(&gradient, fault!(NormalizeGradient, op => op.gain.offset -= 1));
    let weights = products::normalize_weight_gradient(&mut random, [7, 5], 2);
    seen(&weights, fault!(NormalizeWeightGradient, op => std::mem::swap(&mut op.gain, &mut op.bias)));
    for activation in ACTIVATIONS {
        seen(
            &products::activate(&mut random, activation, 40, 3e38),
            fault!(Activate, op => op.activation = Activation::Identity),
        );
        let gradient = products::activate_gradient(&mut random, activation, 40, 3e38);
        seen(&gradient, fault!(ActivateGradient, op => op.activation = Activation::Identity));
        seen(&gradient, fault!(ActivateGradient, op => op.kept.offset += 1));
    }
    seen(&states::pool(&mut random, sizes), fault!(Pool, op => op.directions = 1));
    seen(&states::pool_gradient(&mut random, sizes), fault!(PoolGradient, op => op.directions = 1));
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn faults_in_recurrences_are_seen() {
    let mut random = Random::new(21);
    let relu = Cell::Elman(Activation::Relu);
    for schedule in SCHEDULES {
        let sizes = Sizes {
            steps: 3,
            batch: 2,
            hidden: 17,
            cell: Cell::Elman(Activation::Tanh),
            schedule,
            tile: tiles(schedule)[0],
            options: Options::PLAIN,
        };
        let forward = recurrences::forward(&mut random, sizes);
        seen(&forward, fault!(Forward, op => op.cell = relu));
        seen(&forward, fault!(Forward, op => op.bias.iter_mut().for_each(|bias| bias.offset += 1)));
        seen(
            &forward,
            fault!(Forward, op => {
                // U where its transposition is needed, and the other way round.
                let turned = op.weight_transposed.replace(op.weight).unwrap();
                op.weight = turned;
            }),
        );
        let backward = recurrences::backward(&mut random, sizes);
        seen(&backward, recurrence(|op| op.cell = Cell::Elman(Activation::Relu)));
        seen(&backward, recurrence(|op| op.weight.offset -= 1));
        for cell in [Cell::Lstm, GRU, GRU_BEFORE] {
            let forward = recurrences::forward(&mut random, Sizes { cell, ..sizes });
            seen(&forward, fault!(Forward, op => op.bias.iter_mut().for_each(|bias| bias.offset += 1)));
            let backward = recurrences::backward(&mut random, Sizes { cell, ..sizes });
            seen(&backward, recurrence(|op| op.weight.offset -= 1));
        }
    }
}

/// A change of the recurrence that goes backwards.
fn recurrence(change: impl FnOnce(&mut Recurrence)) -> impl FnOnce(&mut Op) {
    move |op: &mut Op| {
        let Op::Backward(BackwardRecurrence { recurrence, .. }) = op else { panic!("{op:?}") };
        change(recurrence);
    }
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn faults_in_a_recurrence_s_options_are_seen() {
    let mut random = Random::new(24);
    for schedule in SCHEDULES {
        for cell in [Cell::Elman(Activation::Tanh), Cell::Lstm, Cell::Cifg, Cell::PeepholeLstm, GRU, GRU_BEFORE] {
            for (directions, reverse) in [(1, false), (2, false), (1, true)] {
                let options = Options { directions, reverse, unequal: true, mask: true, ..Options::PLAIN };
                let options = Options { to_start: true, skipped: 1, ..options };
                let sizes = Sizes { steps: 4, batch: 3, hidden: 17, cell, schedule, tile: tiles(schedule)[1], options };
                let forward = recurrences::forward(&mut random, sizes);
                seen(&forward, fault!(Forward, op => op.dropout_mask = None));
                seen(&forward, fault!(Forward, op => op.bias = None));
                for zoneout in [BOTH_DRAWN, Zoneout::Share([0.2, 0.3])] {
                    let options = Options { zoneout, ..options };
                    zoneout_faults(&mut random, Sizes { options, ..sizes });
                }
                let backward = recurrences::backward(&mut random, sizes);
                if cell.gates() > 1 {
                    seen(&forward, fault!(Forward, op => op.gate_activation = GateActivation::HardSigmoid));
                    seen(&backward, recurrence(|op| op.gate_activation = GateActivation::HardSigmoid));
                }
                if cell.states() > 1 {
                    seen(&forward, fault!(Forward, op => op.cell_clip = Some(0.3)));
                    seen(&backward, recurrence(|op| op.cell_clip = Some(0.3)));
                }
                if cell == Cell::PeepholeLstm {
                    let others = forward.find("other_peepholes");
                    seen(&forward, fault!(Forward, op => op.peepholes = Some(others)));
                }
                let spare = Sizes { options: Options { spare: 1, ..options }, ..sizes };
                if let Some(projected) = spare.projected() {
                    let forward = recurrences::forward(&mut random, projected);
                    seen(&forward, fault!(Forward, op => op.dropout_mask = None));
                    seen(&forward, fault!(Forward, op => op.projection.as_mut().unwrap().weight.offset += 1));
                    seen(&forward, fault!(Forward, op => op.projection.as_mut().unwrap().projected.offset += 1));
                    let longer = forward.find("longer");
                    seen(&forward, fault!(Forward, op => op.lengths = longer));
                    let backward = recurrences::backward(&mut random, projected);
                    seen(&backward, recurrence(|op| op.dropout_mask = None));
                    seen(&backward, recurrence(|op| op.projection.as_mut().unwrap().weight.offset -= 1));
                    seen(&backward, recurrence(|op| op.weight.offset -= 1));
                    let longer = backward.find("longer");
                    seen(&backward, recurrence(move |op| op.lengths = longer));
                    seen(&backward, fault_to_start);
                    for zoneout in [BOTH_DRAWN, Zoneout::Share([0.2, 0.3])] {
                        let options = Options { zoneout, ..projected.options };
                        zoneout_faults(&mut random, Sizes { options, ..projected });
                    }
                }
                let carried = directions == 1 && !reverse;
                let begin_anew = Sizes { options: Options { resets: true, carried, ..options }, ..sizes };
                for sizes in begin_anew.either() {
                    let forward = recurrences::forward(&mut random, sizes);
                    let other = forward.find("other_resets");
                    seen(&forward, fault!(Forward, op => op.lengths = other));
                    let backward = recurrences::backward(&mut random, sizes);
                    let other = backward.find("other_resets");
                    seen(&backward, recurrence(move |op| op.lengths = other));
                }
                let longer = forward.find("longer");
                seen(&forward, fault!(Forward, op => op.lengths = longer));
                // The second direction from a step too early.
                seen(&forward, fault!(Forward, op => op.steps -= 1));
                if directions == 1 && reverse {
                    seen(&forward, fault!(Forward, op => op.reverse = false));
                }
                seen(&backward, recurrence(|op| op.dropout_mask = None));
                let longer = backward.find("longer");
                seen(&backward, recurrence(move |op| op.lengths = longer));
                seen(&backward, fault_to_start);
                if directions == 1 && !reverse {
                    let options = Options { carried: true, ..options };
                    seen(&recurrences::backward(&mut random, Sizes { options, ..sizes }), |op| {
                        let Op::Backward(BackwardRecurrence { carried, .. }) = op else { panic!("{op:?}") };
                        *carried = false;
                    });
                }
            }
        }
    }
}

/// Nothing kept, something else kept, and what another step or state keeps.
fn zoneout_faults(random: &mut Random, sizes: Sizes) {
    let (forward, backward) = (recurrences::forward(random, sizes), recurrences::backward(random, sizes));
    for kind in 0..sizes.cell.states() {
        let other = move |hold: Hold| match hold {
            Hold::None => hold,
            // A row early.
            Hold::Drawn(view) => Hold::Drawn(View { offset: view.offset - view.cols, ..view }),
            Hold::Share(rate) => Hold::Share(rate + 0.1),
        };
        seen(&forward, fault!(Forward, op => op.zoneout[kind] = Hold::None));
        seen(&forward, fault!(Forward, op => op.zoneout[kind] = other(op.zoneout[kind])));
        // Of an h that is projected an error, as it is where the two would change places, which are not as wide.
        if kind > 0 || !sizes.options.project {
            seen(&backward, recurrence(|op| op.zoneout[kind] = Hold::None));
        }
        seen(&backward, recurrence(|op| op.zoneout[kind] = other(op.zoneout[kind])));
    }
    if sizes.options.project {
        seen(&backward, |op| {
            let Op::Backward(BackwardRecurrence { projected: Some(of_made), .. }) = op else { panic!("{op:?}") };
            of_made.offset += of_made.cols;
        });
    } else if sizes.cell.states() > 1 {
        seen(&forward, fault!(Forward, op => op.zoneout.swap(0, 1)));
        seen(&backward, recurrence(|op| op.zoneout.swap(0, 1)));
    }
}

fn fault_to_start(op: &mut Op) {
    let Op::Backward(BackwardRecurrence { to_start, .. }) = op else { panic!("{op:?}") };
    *to_start = false;
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn faults_in_training_are_seen() {
    let mut random = Random::new(22);
    for loss in [Loss::CrossEntropy, Loss::MeanSquared] {
        let case = training::loss(&mut random, &loss, [37, 5], true, 2.0);
        seen(&case, fault!(LossGradient, op => op.gradient = false));
    }
    let combine = training::combine(&mut random, 2049, 2, 1.0, &[]);
    seen(&combine, |op| {
        let Op::ReduceGradients(right) = op else { panic!("{op:?}") };
        *op = Op::Zero(ZeroTensor { tensor: right.gradients });
    });
    let partials = Some(training::partials(&mut random, 3, 2.0));
    let given = Measured { row_loss: vec![0.5; 9], partials, clip: Clip::Norm(0.5), slot: 3, finite: true };
    let measure = training::measure("nine rows", given);
    seen(&measure, fault!(StepMetrics, op => op.clip = Clip::None));
    seen(&measure, fault!(StepMetrics, op => op.partials = None));
    let partials = Some(training::partials(&mut random, 3, 2.0));
    let given = Measured { row_loss: vec![0.5; 9], partials, clip: Clip::Value(0.1), slot: 3, finite: true };
    seen(&training::measure("by value", given), fault!(StepMetrics, op => op.clip = Clip::None));
    let of_head = training::measure_table(&mut random, Some(5), 2);
    seen(&of_head, fault!(StepMetrics, op => op.table = 1));
    seen(&of_head, fault!(StepMetrics, op => op.row_loss = None));
    let adam = training::update(&mut random, Optimizer::adam_w(0.01), Clip::Value(0.25), 257, true);
    seen(&adam, fault!(Update, op => op.clip = Clip::None));
    seen(&adam, fault!(Update, op => op.optimizer = Optimizer::adam()));
    seen(&adam, fault!(Update, op => op.moments.swap(0, 1)));
    let sgd = training::update(&mut random, Optimizer::sgd(0.9), Clip::None, 257, true);
    seen(&sgd, fault!(Update, op => op.optimizer = Optimizer::rms_prop()));
    let by_rows = training::update_rows(&mut random, Optimizer::adam(), Clip::None, [9, 5], &[2, 3, 8], true);
    seen(&by_rows, fault!(Update, op => op.rows = None));
    seen(&by_rows, fault!(Update, op => op.rows.iter_mut().for_each(|rows| rows.offset += 1)));
    seen(&by_rows, fault!(Update, op => op.rows.iter_mut().for_each(|rows| rows.vocabulary = 8)));
    let apart = training::combine_apart(&mut random, vec![f64::NAN; 300], false, [2.0, 1.0], &[], [13, 2]);
    seen(&apart, fault!(ReduceGradients, op => op.first_flag -= 1));
    seen(&apart, fault!(ReduceGradients, op => op.first_block = 1));
}
