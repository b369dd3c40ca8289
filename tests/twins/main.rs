//! Every kernel against its twin: plans of one operation over sizes around the borders of tiles, on random data,
//! whatever may not be read and whatever must be written poisoned with NaN.
//!
//! Tiles are 32 or 64 wide for products, 32 for transpositions, 16 deep along a product's sum, as given for a
//! recurrence, 64 threads for a loss, 256 for an update, and 2048 elements for a block of the norm.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../common/mod.rs"]
mod common;

mod bounds;
mod case;
mod ctc;
mod faults;
mod halves;
mod lanes;
mod losses;
mod masks;
mod products;
mod recurrences;
mod resets;
mod states;
mod tiles;
mod training;
mod updates;

use recurrent::internals::cpu;
use recurrent::internals::plan::{Op, PoolKind, ProductTile, RecurrenceMode};
use recurrent::recipe::{Clip, Loss};
use recurrent::{Activation, Cell, Join, Reset};

use common::executor::gpu;
use common::random::Random;
use products::{Gathering, Weighting};
use recurrences::{Options, Sizes};
use states::Pooling;
use training::Measured;

/// Around a tile of 32, and a prime.
const TILES: [usize; 5] = [1, 31, 32, 33, 37];
/// Either way of a recurrence.
const SCHEDULES: [RecurrenceMode; 2] = [RecurrenceMode::PerStep, RecurrenceMode::WholeSequence];
/// Tiles of products.
const PRODUCT_TILES: [ProductTile; 2] = [ProductTile::Small, ProductTile::Large];
const TANH: Cell = Cell::Elman(Activation::Tanh);
const RELU: Cell = Cell::Elman(Activation::Relu);
const GRU: Cell = Cell::Gru(Reset::AfterProduct);
const GRU_BEFORE: Cell = Cell::Gru(Reset::BeforeProduct);
const CELLS: [Cell; 7] = [TANH, RELU, Cell::Lstm, GRU, GRU_BEFORE, Cell::Cifg, Cell::PeepholeLstm];
/// The functions of a dense layer that change anything.
const ACTIVATIONS: [Activation; 5] =
    [Activation::Tanh, Activation::Relu, Activation::Sigmoid, Activation::Gelu, Activation::Softplus];
/// More workgroups than one dimension of a grid has.
const BEYOND_A_GRID: usize = 65_535 + 3;

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn matmul() {
    let mut random = Random::new(1);
    for m in TILES {
        for n in TILES {
            for k in [1, 15, 16, 17, 33, 37] {
                for turned in [[false, false], [false, true], [true, false], [true, true]] {
                    let tile = ProductTile::Small;
                    products::matmul(&mut random, [m, n, k], turned, (m + n + k) % 2 == 0, tile).check();
                }
            }
        }
    }
    products::matmul(&mut random, [97, 101, 103], [false, true], true, ProductTile::Small).check();
    for m in [1, 33, 63, 64, 65, 97] {
        for n in [1, 31, 64, 65, 131] {
            for k in [1, 16, 17, 37] {
                for turned in [[false, false], [false, true], [true, false], [true, true]] {
                    let tile = ProductTile::Large;
                    products::matmul(&mut random, [m, n, k], turned, (m + n + k) % 2 == 0, tile).check();
                }
            }
        }
    }
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn transpose_copies_and_zero() {
    let mut random = Random::new(2);
    for m in TILES {
        for n in [1, 31, 32, 33, 37, 97] {
            products::transpose(&mut random, m, n).check();
            states::copy(&mut random, m, n).check();
            states::copy_columns(&mut random, [m, n], 0, n).check();
            states::copy_columns(&mut random, [m, n], 3, 1).check();
            states::zero(m * n).check();
        }
    }
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn gather() {
    let mut random = Random::new(3);
    for sizes in [[1, 1, 1], [1, 255, 2], [1, 256, 3], [257, 1, 5], [37, 31, 65], [64, 32, 1], [13, 97, 101]] {
        products::gather(&mut random, sizes, Gathering::PLAIN).check();
        for (bias, draw, first) in [(false, false, 5), (true, true, 0), (false, true, 1)] {
            products::gather(&mut random, sizes, Gathering { bias, draw, first, ..Gathering::PLAIN }).check();
            products::gather(&mut random, sizes, Gathering { draw, first, ..Gathering::ROWS }).check();
            products::gather(&mut random, sizes, Gathering { draw, apart: 1 + first, ..Gathering::ROWS }).check();
        }
    }
    // More rows than a thread of the twin takes, of a batch that does not divide them.
    products::gather(&mut random, [521, 3, 7], Gathering { draw: true, ..Gathering::PLAIN }).check();
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn weight_gradient() {
    let mut random = Random::new(4);
    for (m, n) in [(1, 1), (31, 33), (32, 32), (33, 1), (1, 37), (37, 65), (64, 63), (65, 129)] {
        for rows in [1, 15, 16, 17, 64, 97] {
            // With more slices than rows, some are sums of nothing.
            for slices in [1, 2, 3, 16] {
                for tile in PRODUCT_TILES {
                    let options = Weighting { tile, ..Weighting::PLAIN };
                    products::weight_gradient(&mut random, rows, [m, n], slices, options).check();
                }
            }
        }
    }
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn weight_gradient_of_columns() {
    let mut random = Random::new(15);
    for sizes in [[1, 1], [31, 33], [33, 32], [37, 65]] {
        for rows in [1, 17, 97] {
            for (bias, apart) in [(false, [0, 0]), (true, [1, 0]), (false, [0, 5]), (true, [37, 3])] {
                for tile in PRODUCT_TILES {
                    let options = Weighting { bias, apart, tile };
                    products::weight_gradient(&mut random, rows, sizes, 2, options).check();
                }
            }
        }
    }
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn gather_gradient() {
    let mut random = Random::new(5);
    for (width, tokens) in [(1, 1), (31, 2), (32, 65), (33, 3), (37, 7), (65, 37)] {
        for rows in [1, 7, 32, 33, 97, 260] {
            for slices in [1, 2, 3, 16] {
                let sizes = [rows, width, tokens];
                products::gather_gradient(&mut random, sizes, slices, Gathering::PLAIN).check();
                let options = Gathering { bias: slices == 2, draw: slices != 1, ..Gathering::PLAIN };
                products::gather_gradient(&mut random, sizes, slices, options).check();
                for (adds, padding) in [(false, None), (true, None), (false, Some(0)), (true, Some(tokens - 1))] {
                    let apart = if adds { 0 } else { rows % 4 };
                    let options = Gathering { adds, padding, draw: slices == 2, apart, ..Gathering::ROWS };
                    products::gather_gradient(&mut random, sizes, slices, options).check();
                }
                let options = Gathering { wanted: Some(3), draw: slices != 2, ..Gathering::ROWS };
                products::gather_gradient(&mut random, sizes, slices, options).check();
            }
        }
    }
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn masks() {
    let mut random = Random::new(16);
    for sizes in [[1, 1], [1, 255], [1, 256], [257, 1], [37, 31], [12usize, 97]] {
        let [rows, _] = sizes;
        for (rate, period) in [(0.0, 1), (0.4, rows), (0.999, rows.div_ceil(3)), (1e-9, 1)] {
            for with_input in [false, true] {
                masks::check_bits(&masks::mask(&mut random, sizes, period, rate, with_input));
            }
        }
    }
    // From a row on that is not the first of those with the same masks.
    for (first, period) in [(1, 37), (36, 37), (50, 37), (5, 100)] {
        let mask = masks::mask(&mut random, [37, 31], period, 0.4, true);
        masks::check_bits(&mask.changed(|op| {
            let Op::Dropout(mask) = op else { panic!("{op:?}") };
            mask.first = first;
        }));
    }
    // Whatever the rate: what is kept is one number for all executors.
    for rate in [0.1, 1.0 / 3.0, 0.5, 0.7, 0.99] {
        masks::check_bits(&masks::mask(&mut random, [61, 67], 61, rate, true));
    }
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn remaining_lengths() {
    for batch in [1, 2, 255, 256, 257, 1000] {
        for skipped in [0, 1, 3] {
            let [got, want] = [
                states::remaining(gpu(), &mut Random::new(19), batch, skipped),
                states::remaining(cpu::Executor::<f64>::new(), &mut Random::new(19), batch, skipped),
            ];
            let mut lengths = Random::new(19).ids(batch, 5 + skipped + 1).into_iter().zip(got.iter().zip(&want));
            let is_right = |(length, (got, want)): (u32, (&f64, &f64))| match length.saturating_sub(skipped as u32) {
                // 0 / 0, of which drivers make what they like, but no number above 0.
                0 => !(got.is_finite() && *got > 0.0) && want.is_nan(),
                left => (got * f64::from(left) - 1.0).abs() < 1e-6 && (want * f64::from(left) - 1.0).abs() < 1e-12,
            };
            assert!(lengths.all(is_right), "B {batch}, {skipped} skipped: {got:?} and {want:?}");
        }
    }
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn starts() {
    let mut random = Random::new(17);
    for fresh in [false, true] {
        for sizes in [[1, 1, 1], [1, 3, 85], [2, 1, 128], [4, 7, 37], [6, 5, 8], [1, 257, 1]] {
            states::start(&mut random, sizes, fresh).check();
        }
        for sizes in [[1, 1, 1], [2, 3, 255], [3, 1, 256], [4, 7, 257], [9, 37, 31]] {
            let last = sizes[0] - 1;
            for at in [vec![0], vec![last], vec![0, last], vec![last, 0]] {
                states::start_gradient(&mut random, sizes, &at, (fresh, None)).check();
            }
            // Behind the others.
            let [slots, batch, hidden] = sizes;
            states::start_gradient(&mut random, [slots + 2, batch, hidden], &[0], (fresh, Some(slots + 1))).check();
        }
    }
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn starts_of_sequences_within_a_window() {
    let mut random = Random::new(31);
    for is_learned in [false, true] {
        for sizes in [[1, 1], [3, 85], [2, 128], [5, 37], [257, 1]] {
            resets::start(&mut random, sizes, is_learned).check();
        }
    }
    for sizes in [[1, 1, 1], [2, 3, 5], [7, 1, 37], [5, 4, 16], [300, 1, 1]] {
        for (directions, reverse) in [(1, false), (2, false), (1, true)] {
            resets::before(&mut random, sizes, directions, reverse).check();
        }
    }
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn traces() {
    let mut random = Random::new(29);
    for sizes in [[1, 1, 1], [3, 1, 255], [2, 4, 64], [7, 5, 37], [40, 3, 9], [2, 300, 2]] {
        for directions in [1, 2] {
            // Squares of the largest and the smallest go beyond f32.
            for magnitude in [1.0, 1e25, 1e-25] {
                states::trace(&mut random, sizes, directions, magnitude).check();
            }
        }
    }
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn activations() {
    let mut random = Random::new(23);
    for activation in ACTIVATIONS.into_iter().chain([Activation::Identity]) {
        for len in [1, 255, 256, 257, 1000] {
            products::activate(&mut random, activation, len, 3e38).check();
            products::activate_gradient(&mut random, activation, len, 3e38).check();
        }
    }
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn accumulations() {
    let mut random = Random::new(31);
    for [m, n] in [[1, 1], [1, 255], [16, 16], [257, 3]] {
        states::accumulate(&mut random, m, n).check();
    }
}

const JOINS: [Join; 3] = [Join::Sum, Join::Mean, Join::Product];

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn joins() {
    let mut random = Random::new(37);
    for join in JOINS {
        for [m, n] in [[1, 1], [1, 127], [1, 128], [1, 129], [1, 255], [16, 16], [257, 3], [37, 31]] {
            states::join(&mut random, join, m, n).check();
            states::join_gradient(&mut random, join, m, n).check();
        }
    }
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn norms() {
    let mut random = Random::new(29);
    for sizes in [[1, 1], [3, 2], [1, 63], [2, 64], [37, 65], [300, 33], [5, 257]] {
        for epsilon in [1e-5, 0.1] {
            products::normalize(&mut random, sizes, epsilon).check();
        }
        products::normalize_gradient(&mut random, sizes).check();
        for slices in [1, 2, 16] {
            products::normalize_weight_gradient(&mut random, sizes, slices).check();
        }
    }
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn pools() {
    let mut random = Random::new(18);
    for kind in [PoolKind::Last, PoolKind::Mean, PoolKind::LastRow, PoolKind::FirstRow, PoolKind::Max] {
        for directions in [1, 2] {
            for (steps, batch, hidden) in [(1, 1, 1), (1, 3, 85), (2, 2, 64), (5, 7, 37), (37, 2, 5), (3, 255, 1)] {
                for (skipped, spare) in [(0, 0), (0, 3), (4, 1)] {
                    let sizes = Pooling { kind, directions, steps, batch, hidden, skipped, spare };
                    states::pool(&mut random, sizes).check();
                }
                for spare in [0, 2] {
                    let sizes = Pooling { kind, directions, steps, batch, hidden, skipped: 0, spare };
                    let gradient = states::pool_gradient(&mut random, sizes);
                    gradient.check();
                    // Of steps with others before them.
                    let later = gradient.changed(|op| {
                        let Op::PoolGradient(op) = op else { panic!("{op:?}") };
                        op.skipped = 2;
                    });
                    later.check();
                }
            }
        }
    }
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn combine() {
    let mut random = Random::new(11);
    for flat in [1, 255, 256, 257, 2047, 2048, 2049, 4097, 5003] {
        for slices in [1, 2, 16] {
            training::combine(&mut random, flat, slices, 1.0, &[]).check();
        }
    }
    // Squares that would overflow or vanish in f32, and zeros.
    for bound in [1e30, 1e-25, 0.0] {
        training::combine(&mut random, 2049, 3, bound, &[]).check();
    }
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        training::combine(&mut random, 4097, 2, 1.0, &[(4096, value)]).check();
        training::combine(&mut random, 4097, 2, 1.0, &[(4097 + 5, value), (2047, value)]).check();
        training::combine(&mut random, 1, 1, 1.0, &[(0, value)]).check();
    }
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn combine_onto_what_is_there() {
    let mut random = Random::new(15);
    for flat in [1, 257, 2049, 5003] {
        for count in [1.0, 16.0] {
            let there = random.reals(flat, 1.0);
            training::combine_onto(&mut random, there.clone(), true, [count, 1.0], &[]).check();
            let anew = training::combine_onto(&mut random, there, false, [count, 1.0], &[]);
            anew.check();
            let there = random.reals(flat, 1.0);
            training::combine_apart(&mut random, there, false, [count, 1.0], &[], [13, 2]).check();
            for adds in [false, true] {
                training::combine_segment(&mut random, flat, count as usize, adds).check();
            }
        }
    }
    // What is not finite in one window of a step stays so, with whatever sign the next one comes.
    for value in [f64::NAN, f64::INFINITY] {
        let there = random.reals(300, 1.0);
        training::combine_onto(&mut random, there, true, [2.0, 1.0], &[(300 + 5, value)]).check();
    }
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn measure_of_windows_of_one_step() {
    let mut random = Random::new(16);
    for (before, more) in [(None, true), (Some(0.75), true), (Some(0.75), false)] {
        for clip in [Clip::None, Clip::Norm(0.5)] {
            let partials = Some(training::partials(&mut random, 3, 2.0));
            let given = Measured { row_loss: vec![0.5; 300], partials, clip, slot: 7, finite: true };
            training::measure_onto("a part", given, before, more).check();
        }
    }
    for before in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let partials = Some(training::partials(&mut random, 3, 2.0));
        let given = Measured { row_loss: vec![0.5; 3], partials, clip: Clip::None, slot: 7, finite: false };
        training::measure_onto("after a loss that is not finite", given, Some(before), false).check();
    }
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn measure() {
    let mut random = Random::new(12);
    let by_value = [Clip::Value(0.1), Clip::Value(1e6)];
    for clip in [Clip::None, Clip::Norm(0.5), Clip::Norm(1e6), Clip::Normalize(5.0)].into_iter().chain(by_value) {
        for (rows, blocks) in [(1, 1), (255, 2), (256, 255), (257, 256), (1000, 257), (3, 1000)] {
            for slot in [0, 1, 1023] {
                let row_loss = random.reals(rows, 1.0).iter().map(|v| v.abs()).collect();
                let partials = Some(training::partials(&mut random, blocks, 2.0));
                let given = Measured { row_loss, partials, clip, slot, finite: true };
                training::measure(&format!("{rows} rows, {blocks} blocks"), given).check();
            }
        }
    }
    let row_loss = vec![0.5; 300];
    let given = Measured { row_loss, partials: None, clip: Clip::None, slot: 9, finite: true };
    training::measure("without a gradient", given).check();
    for rows in [Some(5), Some(300)] {
        for table in [1, 2] {
            training::measure_table(&mut random, rows, table).check();
        }
    }
    training::measure_table(&mut random, None, 0).check();
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn measure_at_the_ends_of_f32() {
    let flagged = |name: &str, loss: f64, partials: &[f64], clip: Clip, finite: bool| {
        let given = Measured { row_loss: vec![0.25, loss], partials: Some(partials.to_vec()), clip, slot: 2, finite };
        training::measure(name, given).check();
    };
    let one = [1.0, 2.0, 1.0];
    for clip in [Clip::None, Clip::Norm(0.5), Clip::Normalize(5.0)] {
        flagged("of large gradients", 0.5, &[1e30, 1000.0, 1.0, 1e-30, 7.0, 1.0], clip, true);
        flagged("of small gradients", 0.5, &[1e-25, 1000.0, 1.0, 1e-30, 7.0, 1.0], clip, true);
        flagged("of no gradient", 0.5, &[0.0, 0.0, 1.0], clip, true);
        flagged("of a gradient that is not finite", 0.5, &[1.0, 2.0, 1.0, 1.0, 2.0, 0.0], clip, false);
        flagged("of a loss that is NaN", f64::NAN, &one, clip, false);
        flagged("of a loss that is infinite", f64::INFINITY, &one, clip, false);
    }
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn a_norm_beyond_f32_is_flagged() {
    let (partials, clip) = (Some(vec![3e38, 1000.0, 1.0]), Clip::Norm(0.5));
    let given = Measured { row_loss: vec![0.5], partials, clip, slot: 0, finite: false };
    let case = training::measure("of a norm beyond f32", given);
    for metrics in [case.run(gpu()), case.run(cpu::Executor::<f32>::new())] {
        assert_eq!(metrics[0][3], 0.0);
    }
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn grids_of_more_workgroups_than_one_dimension_has() {
    let mut random = Random::new(14);
    products::matmul(&mut random, [32 * BEYOND_A_GRID, 1, 1], [false, false], true, ProductTile::Small).check();
    products::transpose(&mut random, 32 * BEYOND_A_GRID, 1).check();
    products::gather_gradient(&mut random, [50, 1, BEYOND_A_GRID], 1, Gathering::PLAIN).check();
    training::loss(&mut random, &Loss::CrossEntropy, [BEYOND_A_GRID, 3], true, 4.0).check();
    for schedule in SCHEDULES {
        let tile = tiles::tiles(schedule)[0];
        let (batch, options) = (tile.sequences as usize * BEYOND_A_GRID, Options::PLAIN);
        let sizes = Sizes { steps: 1, batch, hidden: 1, cell: TANH, schedule, tile, options };
        recurrences::forward(&mut random, sizes).check();
        recurrences::backward(&mut random, sizes).check();
    }
}
