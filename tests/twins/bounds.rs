//! Operations that are cut into several dispatches: against their twins, against themselves in one dispatch, and where
//! one would be too long for the adapter.

use recurrent::Cell;
use recurrent::internals::plan::{
    Bounds, GatherGradient, Op, PoolKind, ProductTile, RecurrenceMode, Sum, View, WeightGradient, Work,
};
use recurrent::recipe::{Clip, Loss};

use crate::case::Case;
use crate::common::compare::{F32_SUM, Tolerance};
use crate::common::executor::gpu;
use crate::common::random::Random;
use crate::products::{Gathering, Weighting};
use crate::recurrences::{self, PAIRS, Sizes};
use crate::states::{self, Pooling};
use crate::training::Measured;
use crate::{CELLS, PRODUCT_TILES, SCHEDULES, products, tiles, training};

/// So many iterations.
fn iterations(iterations: u64) -> Bounds {
    Bounds { iterations, ..Bounds::HARDWARE }
}

/// As many iterations as a dispatch makes in so many turns of what it goes through.
fn turns(case: &Case, turns: u64) -> Bounds {
    let least = case.iterations(iterations(1));
    let two = (least + 1..).map(|most| case.iterations(iterations(most))).find(|made| *made > least).unwrap();
    iterations(least + (turns - 1) * (two - least))
}

/// So little work that every dispatch is shared by a few.
fn little(flops: u64) -> Bounds {
    Bounds { dispatch: Work { flops, bytes: u64::MAX }, ..Bounds::HARDWARE }
}

/// Holds a case that is cut against its twin and, bit for bit, against itself in one dispatch.
#[track_caller]
fn check_cut(case: &Case, bounds: Bounds) {
    let cut = case.within(bounds);
    assert!(cut.lowered().unwrap().len() > case.lowered().unwrap().len(), "nothing is cut");
    cut.check();
    let [whole, cut] = [case, &cut].map(|case| case.run(gpu()));
    for (got, want) in cut.iter().flatten().zip(whole.iter().flatten()) {
        assert!(
            got.to_bits() == want.to_bits() || (got.is_nan() && want.is_nan()),
            "{got:e}, in one dispatch {want:e}"
        );
    }
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn a_recurrence_that_is_cut_has_the_bits_of_one_that_is_not() {
    let mut random = Random::new(41);
    let schedule = RecurrenceMode::WholeSequence;
    let mut tiles = tiles::tiles(schedule).into_iter().cycle();
    for cell in CELLS {
        for options in PAIRS {
            let tile = tiles.next().unwrap();
            let sizes = Sizes { steps: 5, batch: 3, hidden: 17, cell, schedule, tile, options };
            for count in [1, 2] {
                for case in [recurrences::forward(&mut random, sizes), recurrences::backward(&mut random, sizes)] {
                    check_cut(&case, turns(&case, count));
                }
            }
        }
    }
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn dispatches_share_the_workgroups_of_one() {
    let mut random = Random::new(42);
    for schedule in SCHEDULES {
        for (cell, options) in CELLS.into_iter().zip(PAIRS) {
            let tile = tiles::tiles(schedule)[0];
            let sizes = Sizes { steps: 3, batch: 9, hidden: 37, cell, schedule, tile, options };
            for sizes in sizes.either() {
                check_cut(&recurrences::forward(&mut random, sizes), little(10_000));
                check_cut(&recurrences::backward(&mut random, sizes), little(10_000));
            }
        }
    }
    for tile in PRODUCT_TILES {
        check_cut(&products::matmul(&mut random, [97, 131, 33], [false, true], true, tile), little(200_000));
        let options = Weighting { tile, ..Weighting::PLAIN };
        check_cut(&products::weight_gradient(&mut random, 60, [97, 33], 3, options), little(100_000));
    }
    check_cut(&products::gather(&mut random, [70, 33, 5], Gathering::PLAIN), little(1000));
    check_cut(&products::gather_gradient(&mut random, [70, 33, 5], 2, Gathering::PLAIN), little(1500));
    for loss in [Loss::CrossEntropy, Loss::MeanSquared] {
        check_cut(&training::loss(&mut random, &loss, [10, 70], true, 1.0), little(700));
    }
    check_cut(&training::combine(&mut random, 5000, 3, 1.0, &[]), little(10_000));
    // More shares than workgroups: some are of none.
    check_cut(&products::matmul(&mut random, [40, 40, 16], [false, false], false, ProductTile::Small), little(9000));
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn sums_that_are_cut_go_on_where_they_ended() {
    let mut random = Random::new(43);
    for count in [1, 2] {
        for tile in PRODUCT_TILES {
            for turned in [[false, false], [true, true]] {
                let case = products::matmul(&mut random, [35, 67, 75], turned, true, tile);
                check_cut(&case, turns(&case, count));
            }
            for slices in [1, 3] {
                let options = Weighting { apart: [2, 1], tile, ..Weighting::PLAIN };
                let case = products::weight_gradient(&mut random, 230, [35, 67], slices, options);
                check_cut(&case, turns(&case, count));
            }
        }
    }
    // What is cut here is added up in another order: twins alone.
    let cut = |case: Case, count| {
        let cut = case.within(turns(&case, count));
        assert!(cut.lowered().unwrap().len() > 1, "nothing is cut");
        cut.check();
    };
    for count in [1, 3] {
        for slices in [1, 3] {
            for draw in [false, true] {
                let options = Gathering { draw, ..Gathering::PLAIN };
                cut(products::gather_gradient(&mut random, [4000, 35, 3], slices, options), count);
                let rows = Gathering { adds: slices > 1, padding: Some(1), ..Gathering::ROWS };
                cut(products::gather_gradient(&mut random, [4000, 35, 3], slices, rows), count);
            }
        }
        cut(products::normalize_weight_gradient(&mut random, [4000, 37], 2), count);
        for fresh in [false, true] {
            cut(states::start_gradient(&mut random, [4, 100, 7], &[0, 2], (fresh, Some(3))), count);
        }
        for (directions, skipped) in [(1, 0), (2, 0), (1, 3)] {
            for kind in [PoolKind::Last, PoolKind::Mean, PoolKind::LastRow, PoolKind::FirstRow, PoolKind::Max] {
                let sizes = Pooling { kind, directions, steps: 60, batch: 3, hidden: 5, skipped, spare: 1 };
                cut(states::pool(&mut random, sizes), count);
            }
        }
        for magnitude in [1.0, 1e-30, 1e30] {
            cut(states::trace(&mut random, [3, 40, 37], 2, magnitude), count);
        }
    }
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn rows_of_a_loss_that_are_long() {
    let mut random = Random::new(44);
    for loss in [Loss::CrossEntropy, Loss::MeanSquared] {
        for columns in [1 << 14, (1 << 14) + 1, 40_000] {
            training::loss(&mut random, &loss, [3, columns], true, 1.0).check();
        }
    }
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn sums_of_blocks() {
    let mut random = Random::new(45);
    for rows in [1, 255, 256, 257, Sum::BLOCK - 1, Sum::BLOCK, Sum::BLOCK + 1, 3 * Sum::BLOCK + 77] {
        let mut case = Case::new(format!("sum of {rows}"));
        let from = case.real("from", &[rows], random.reals(rows, 1.0));
        let blocks = rows.div_ceil(Sum::BLOCK);
        let to = case.out("to", &[blocks], std::iter::once(0..blocks), F32_SUM);
        case.with(Op::Sum(Sum { from, to })).check();
    }
}

/// Each kernel at nearly as many iterations as the shortest-breathed adapter makes, 65,535: what is counted is what is
/// made, or the last of them would be missing there.
#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn iterations_are_counted_as_the_adapter_makes_them() {
    let mut random = Random::new(46);
    let most = iterations(65_000);
    let check = |case: Case| {
        let iterations = case.iterations(most);
        assert!((40_000..=65_000).contains(&iterations), "{iterations} iterations");
        let case = case.within(most);
        assert_eq!(case.lowered().unwrap().len(), 1, "one dispatch");
        case.check();
    };
    for cell in [Cell::Lstm, crate::GRU_BEFORE] {
        let schedule = RecurrenceMode::WholeSequence;
        for tile in [tiles::tiles(schedule)[3], tiles::tiles(schedule)[1]] {
            let options = PAIRS[1];
            let sizes = |steps| Sizes { steps, batch: 2, hidden: 12, cell, schedule, tile, options };
            // One that settles: else roundings would grow to any size.
            let settling = |random: &mut Random, sizes: Sizes| {
                let (gates, u) = (sizes.steps * 2 * 2 * 12 * cell.gates(), 2 * 12 * 12 * cell.gates());
                let (gates, u) = (random.reals(gates, 1.0), random.reals(u, 0.1));
                recurrences::forward_of(random, sizes, gates, u, Tolerance { relative: 1e-4, floor: 1.0, least: 1.0 })
            };
            for of in [&settling as &dyn Fn(&mut Random, Sizes) -> Case, &recurrences::backward] {
                // As many steps as take so many iterations.
                let of_some = |steps| of(&mut Random::new(1), sizes(steps)).iterations(Bounds::NONE);
                let each = (of_some(20) - of_some(10)) / 10;
                let mut case = of(&mut random, sizes((64_000 / each) as usize));
                // Roundings of so many steps add up; a step that is missing is off by its whole size.
                for name in ["gates", "history", "cells", "recurrent", "operand", "upstream"] {
                    case.widen(name, Tolerance { relative: 1e-3, floor: 1.0, least: 1.0 });
                }
                check(case);
            }
        }
    }
    let sum = Tolerance { relative: 1e-4, floor: 1.0, least: 1.0 };
    let mut product = products::matmul(&mut random, [2, 3, 57_000], [false, true], false, ProductTile::Small);
    product.widen("out", sum);
    check(product);
    let mut case = products::gather_gradient(&mut random, [2_000_000, 1, 1], 1, Gathering::PLAIN);
    case.widen("slices", sum);
    check(case);
    let mut case = states::start_gradient(&mut random, [1, 64_000, 2], &[0], (true, None));
    case.widen("slices", sum);
    check(case);
    let (kind, directions) = (PoolKind::Mean, 1);
    check(states::pool(
        &mut random,
        Pooling { kind, directions, steps: 64_000, batch: 2, hidden: 3, skipped: 0, spare: 0 },
    ));
    check(states::trace(&mut random, [1, 1, 32_000 * 256], 1, 1.0));
    check(training::loss(&mut random, &Loss::CrossEntropy, [1, 5_500_000], true, 1.0));
}

/// Sums of ten million equal terms, of which f32 alone loses a tenth.
#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn sums_of_ten_million_terms_are_exact_to_a_millionth() {
    const TERMS: usize = 10_000_000;
    let term = f64::from(0.1f32);
    let near = |what: &str, got: f64, want: f64| {
        let error = (got / want - 1.0).abs();
        assert!(error <= 1e-6, "{what}: {got}, expected {want}: off by {error:e}");
    };
    let ones = |len: usize| vec![1.0; len];

    // dᵀ·x and the bias of it, in as many slices as a plan cuts so many rows into.
    let mut case = Case::new("weight gradient".into());
    let [d, x] = [("d", vec![term; TERMS]), ("x", ones(TERMS))]
        .map(|(name, values)| View::new(case.real(name, &[TERMS], values), 0, TERMS, 1));
    let slices = case.out("slices", &[16, 2], std::iter::once(0..32), F32_SUM);
    let tile = ProductTile::Small;
    let op = WeightGradient { d, x, slices, weight: 0, bias: Some(1), tile };
    let got = case.with(Op::WeightGradient(op)).run(gpu());
    let sum = |at: usize| got[0].chunks(2).map(|slice| slice[at] as f32).sum::<f32>();
    near("weight", sum(0).into(), TERMS as f64 * term);
    near("bias", sum(1).into(), TERMS as f64 * term);

    // The rows of one token.
    let mut case = Case::new("gather gradient".into());
    let d = View::new(case.real("d", &[TERMS], vec![term; TERMS]), 0, TERMS, 1);
    let order = case.ids("order", (0..TERMS as u32).collect());
    let starts = case.ids("starts", vec![0, TERMS as u32]);
    let slices = case.out("slices", &[1, 2], std::iter::once(0..2), F32_SUM);
    let op = GatherGradient {
        d,
        order,
        starts,
        part: 0,
        slices,
        weight: 0,
        table: None,
        bias: Some(1),
        draw: None,
        batch: 1,
    };
    let got = case.with(Op::GatherGradient(op)).run(gpu());
    near("columns of W", got[0][0], TERMS as f64 * term);
    near("their bias", got[0][1], TERMS as f64 * term);

    // The losses of all positions.
    let mut case = Case::new("sum".into());
    let from = case.real("from", &[TERMS], vec![term; TERMS]);
    let blocks = TERMS.div_ceil(Sum::BLOCK);
    let to = case.out("to", &[blocks], std::iter::once(0..blocks), F32_SUM);
    let sums = case.with(Op::Sum(Sum { from, to })).run(gpu()).remove(0);
    near("blocks", sums.iter().sum(), TERMS as f64 * term);
    let given = Measured { row_loss: sums, partials: None, clip: Clip::None, slot: 0, finite: true };
    near("loss", training::measure("ten million", given).run(gpu())[0][0], TERMS as f64 * term);
}
