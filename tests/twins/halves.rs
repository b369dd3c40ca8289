//! The kernels in half precision: the same cases with f16 tensors, in every variant, against the same twins.
//!
//! What is read has been rounded beforehand, so that what is left is the rounding of what is written.

use half::f16;
use recurrent::Error;
use recurrent::internals::gpu::kernels::lower;
use recurrent::internals::plan::{
    CopyView, DType, Lifetime, MatMul, Op, Phase, Plan, PoolKind, ProductTile, UpdateLossScale, View,
};
use recurrent::recipe::{Loss, Optimizer};

use crate::common::compare::{F16_RECURRENCE, F16_ROUNDING};
use crate::common::executor::{Execute, gpu};
use crate::common::random::Random;
use crate::products::{self, Gathering, Weighting};
use crate::recurrences::{self, PAIRS, Sizes};
use crate::resets;
use crate::states::{self, Pooling};
use crate::tiles::tiles;
use crate::{ACTIVATIONS, CELLS, JOINS, PRODUCT_TILES, SCHEDULES, masks, training};

/// Every choice of some of these groups of names.
fn choices<'a>(groups: &[&[&'a str]]) -> Vec<Vec<&'a str>> {
    let chosen = |number: usize| (0..groups.len()).filter(move |bit| number >> bit & 1 == 1);
    (1..1 << groups.len()).map(|number| chosen(number).flat_map(|bit| groups[bit].to_vec()).collect()).collect()
}

#[test]
#[cfg_attr(no_f16, ignore = "RECURRENT_ADAPTER=none or RECURRENT_F16=none")]
fn products_in_half_precision() {
    let mut random = Random::new(31);
    for (number, names) in choices(&[&["a"], &["b", "bias"], &["out"]]).into_iter().enumerate() {
        for tile in PRODUCT_TILES {
            for sizes in [[1, 1, 1], [31, 33, 17], [33, 65, 16], [65, 31, 37], [64, 64, 15]] {
                let turned = [number % 2 == 0, sizes[0] % 2 == 0];
                products::matmul(&mut random, sizes, turned, true, tile).in_half(&names, F16_ROUNDING).check();
            }
        }
    }
    for names in choices(&[&["d"], &["x"]]) {
        for tile in PRODUCT_TILES {
            for (sizes, rows, apart) in [([33, 32], 17, [0, 0]), ([37, 65], 97, [1, 3]), ([1, 1], 1, [0, 1])] {
                let options = Weighting { tile, apart, ..Weighting::PLAIN };
                let case = products::weight_gradient(&mut random, rows, sizes, 2, options);
                case.in_half(&names, F16_ROUNDING).check();
            }
        }
    }
    for (m, n) in [(1, 1), (31, 33), (32, 32), (37, 97)] {
        products::transpose(&mut random, m, n).in_half(&["input", "out"], F16_ROUNDING).check();
    }
}

#[test]
#[cfg_attr(no_f16, ignore = "RECURRENT_ADAPTER=none or RECURRENT_F16=none")]
fn gatherings_and_masks_in_half_precision() {
    let mut random = Random::new(32);
    for names in choices(&[&["weight", "bias"], &["out"]]) {
        for sizes in [[1, 1, 1], [1, 255, 2], [37, 31, 65], [13, 97, 101]] {
            for options in
                [Gathering::PLAIN, Gathering { bias: false, draw: true, first: 1, ..Gathering::PLAIN }, Gathering::ROWS]
            {
                products::gather(&mut random, sizes, options).in_half(&names, F16_ROUNDING).check();
            }
        }
    }
    for sizes in [[1, 1, 1], [33, 31, 65], [97, 33, 7]] {
        for slices in [1, 3] {
            let case = products::gather_gradient(&mut random, sizes, slices, Gathering::PLAIN);
            case.in_half(&["d"], F16_ROUNDING).check();
        }
    }
    for names in choices(&[&["input"], &["out"]]) {
        for sizes in [[1, 1], [1, 255], [37, 31]] {
            masks::mask(&mut random, sizes, 1, 0.4, true).in_half(&names, F16_ROUNDING).check();
        }
    }
}

#[test]
#[cfg_attr(no_f16, ignore = "RECURRENT_ADAPTER=none or RECURRENT_F16=none")]
fn states_in_half_precision() {
    let mut random = Random::new(33);
    for names in choices(&[&["from"], &["to"]]) {
        for (m, n) in [(1, 1), (1, 3), (31, 33), (37, 7)] {
            states::copy(&mut random, m, n).in_half(&names, F16_ROUNDING).check();
            states::copy_columns(&mut random, [m, n], 3, 2).in_half(&names, F16_ROUNDING).check();
        }
    }
    // Of an odd number the last word is half a number.
    for len in [1, 2, 255, 1001] {
        states::zero(len).in_half(&["tensor"], F16_ROUNDING).check();
    }
    for fresh in [false, true] {
        states::start(&mut random, [4, 7, 37], fresh).in_half(&["learned"], F16_ROUNDING).check();
        for at in [vec![0], vec![2, 0]] {
            states::start_gradient(&mut random, [3, 5, 37], &at, (fresh, None))
                .in_half(&["from"], F16_ROUNDING)
                .check();
        }
    }
    for is_learned in [false, true] {
        for names in choices(&[&["parameters"], &["state"]]) {
            resets::start(&mut random, [5, 37], is_learned).in_half(&names, F16_ROUNDING).check();
        }
    }
    resets::before(&mut random, [4, 3, 37], 2, false).in_half(&["history", "before"], F16_ROUNDING).check();
    for directions in [1, 2] {
        states::trace(&mut random, [5, 3, 37], directions, 1.0).in_half(&["upstream"], F16_ROUNDING).check();
    }
    states::accumulate(&mut random, 37, 65).in_half(&["x", "y"], F16_ROUNDING).check();
    for join in JOINS {
        for names in choices(&[&["rows"], &["out"]]) {
            states::join(&mut random, join, 37, 31).in_half(&names, F16_ROUNDING).check();
        }
        for names in choices(&[&["d"], &["out"]]) {
            states::join_gradient(&mut random, join, 37, 31).in_half(&names, F16_ROUNDING).check();
        }
    }
    for sizes in [[1, 1], [37, 65]] {
        products::normalize(&mut random, sizes, 0.1).in_half(&["x", "weights", "out"], F16_RECURRENCE).check();
        products::normalize_gradient(&mut random, sizes).in_half(&["x", "gain", "d"], F16_RECURRENCE).check();
        products::normalize_weight_gradient(&mut random, sizes, 3).in_half(&["x", "d"], F16_RECURRENCE).check();
    }
    for activation in ACTIVATIONS {
        products::activate(&mut random, activation, 300, 6e4).in_half(&["x"], F16_ROUNDING).check();
        products::activate_gradient(&mut random, activation, 300, 6e4).in_half(&["kept", "d"], F16_ROUNDING).check();
    }
    for kind in [PoolKind::Last, PoolKind::Mean, PoolKind::LastRow, PoolKind::FirstRow, PoolKind::Max] {
        for (directions, steps, batch, hidden) in [(1, 1, 1, 1), (2, 5, 7, 37), (1, 37, 2, 5)] {
            let sizes = Pooling { kind, directions, steps, batch, hidden, skipped: 0, spare: 1 };
            states::pool(&mut random, sizes).in_half(&["history"], F16_ROUNDING).check();
            states::pool_gradient(&mut random, sizes).in_half(&["upstream"], F16_ROUNDING).check();
        }
    }
}

/// What a recurrence keeps in f16.
pub const OF_RECURRENCE: [&str; 9] =
    ["weight", "weight_transposed", "projection", "bias", "gates", "history", "upstream", "recurrent", "operand"];

#[test]
#[cfg_attr(no_f16, ignore = "RECURRENT_ADAPTER=none or RECURRENT_F16=none")]
fn recurrences_in_half_precision() {
    let mut random = Random::new(34);
    for schedule in SCHEDULES {
        let mut options = PAIRS.into_iter().cycle();
        // Those of hardware and of software.
        for (number, tile) in tiles(schedule).into_iter().step_by(3).enumerate() {
            let (sequences, units) = (tile.sequences as usize, (tile.threads / tile.split * tile.units) as usize);
            for cell in CELLS {
                let options = options.next().unwrap();
                let (batch, hidden) = [(sequences + 1, units + 1), (sequences.max(2) - 1, units - 1)][number % 2];
                let sizes = Sizes { steps: 3, batch, hidden, cell, schedule, tile, options };
                let cases = sizes.either().flat_map(|sizes| {
                    [recurrences::forward(&mut random, sizes), recurrences::backward(&mut random, sizes)]
                });
                for case in cases {
                    let mut case = case.in_half(&OF_RECURRENCE, F16_RECURRENCE);
                    // In 32 bits, but made of what has been rounded.
                    ["cells", "peepholes"].into_iter().for_each(|name| case.widen(name, F16_RECURRENCE));
                    case.check();
                }
            }
        }
    }
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn losses_and_gradients_that_are_scaled() {
    let mut random = Random::new(35);
    for loss in [Loss::CrossEntropy, Loss::MeanSquared] {
        for (sizes, gradient) in [([37, 65], true), ([2, 1], true), ([37, 64], false)] {
            training::scaled_loss(&mut random, &loss, sizes, gradient, 1024.0).check();
        }
    }
    for flat in [1, 2049] {
        training::scaled_combine(&mut random, flat, 3, 1024.0).check();
    }
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn rescaling() {
    let last = UpdateLossScale::INTERVAL as f64 - 1.0;
    let [least, most] = [UpdateLossScale::MIN_SCALE, UpdateLossScale::MAX_SCALE].map(f64::from);
    for (scale, finite_before, finite, want) in [
        (65536.0, 0.0, true, [65536.0, 1.0]),
        (65536.0, last - 1.0, true, [65536.0, last]),
        (65536.0, last, true, [131_072.0, 0.0]),
        (65536.0, last, false, [32768.0, 0.0]),
        (most, last, true, [most, 0.0]),
        (0.5 * most, last, true, [most, 0.0]),
        (least, 3.0, false, [least, 0.0]),
        (2.0 * least, 3.0, false, [least, 0.0]),
    ] {
        for more in [false, true] {
            let case = training::rescale([scale, finite_before], finite, more);
            case.check();
            let loss_scale = &case.run(gpu())[0];
            let [want, count] = if more { [scale, finite_before] } else { want };
            assert_eq!(loss_scale[..], [want, 1.0 / want, count], "{scale}, {finite_before}, {finite}, more {more}");
        }
    }
}

/// The numbers as they come out of an f16 tensor into which a kernel has copied them.
fn rounded_by_a_kernel(values: &[f64]) -> Vec<f64> {
    let mut plan = Plan::empty();
    let from = plan.tensor("from", &[values.len()], DType::F32, Lifetime::Scratch).unwrap();
    let to = plan.tensor("to", &[values.len()], DType::F16, Lifetime::Scratch).unwrap();
    let view = |tensor| View::new(tensor, 0, 1, values.len());
    plan.push(Phase::Forward, Op::Copy(CopyView { from: view(from), to: view(to) }));
    let mut executor = gpu();
    let id = Execute::prepare(&mut executor, plan);
    Execute::write(&mut executor, id, from, values);
    Execute::run(&mut executor, id);
    Execute::read(&mut executor, id, to)
}

#[test]
#[cfg_attr(no_f16, ignore = "RECURRENT_ADAPTER=none or RECURRENT_F16=none")]
fn a_kernel_rounds_to_a_neighbour_and_lets_overflow_and_nan_be_seen() {
    let values = Random::new(36).reals(1001, 1.0);
    let scaled: Vec<f64> = values.iter().enumerate().map(|(i, v)| v * 10f64.powi(i as i32 % 9 - 4)).collect();
    for (got, value) in rounded_by_a_kernel(&scaled).iter().zip(&scaled) {
        let nearest = f16::from_f64(*value);
        let neighbours = [nearest.to_bits().wrapping_sub(1), nearest.to_bits(), nearest.to_bits() + 1];
        let is_near = neighbours.iter().any(|bits| f16::from_bits(*bits).to_f64() == *got);
        // A driver may take numbers below 2⁻¹⁴, which have fewer digits, for 0.
        assert!(is_near || (*got == 0.0 && value.abs() < 6.2e-5), "{value:e} became {got:e}");
    }
    let beyond = rounded_by_a_kernel(&[1e5, -1e5, 1e30, f64::INFINITY, f64::NAN]);
    assert!(beyond.iter().all(|v| !v.is_finite()), "the flag of a step is made of what is not finite: {beyond:?}");
}

#[test]
fn a_tensor_of_16_bits_where_no_variant_takes_one_is_an_error() {
    let lowered = |elements: [DType; 4]| {
        let mut plan = Plan::empty();
        let [a, b, bias, out] = [("a", 64), ("b", 64), ("bias", 8), ("out", 64)].map(|(name, len)| {
            let at = plan.tensors().len();
            plan.tensor(name, &[len], elements[at], Lifetime::Scratch).unwrap()
        });
        let [a, b, out] = [a, b, out].map(|tensor| View::new(tensor, 0, 8, 8));
        let bias = Some(View::new(bias, 0, 1, 8));
        let tile = ProductTile::Small;
        let op = MatMul { a, transpose_a: false, b, transpose_b: false, bias, out, tile };
        plan.push(Phase::Forward, Op::MatMul(op));
        lower(&plan).map(drop)
    };
    let (half, real) = (DType::F16, DType::F32);
    assert!(lowered([half, real, real, half]).is_ok());
    assert!(lowered([real, half, half, real]).is_ok());
    let Err(Error::Config(message)) = lowered([real, half, real, real]) else { panic!("a mixture is taken") };
    assert!(message.contains("`bias`") && message.contains("matmul"), "{message}");

    let case = training::update(&mut Random::new(37), Optimizer::adam(), recurrent::Clip::None, 5, true);
    let Err(Error::Config(message)) = case.in_half(&["first"], F16_ROUNDING).lowered() else {
        panic!("moments of 16 bits are taken")
    };
    assert!(message.contains("`first`") && message.contains("adam"), "{message}");
}
