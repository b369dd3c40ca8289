//! What the lanes of a subgroup make, against the twins; where an adapter's subgroups are others it is refused.
//!
//! The contract: sizes lie around the tile, and what an operation may not read is NaN, as in every case.

use recurrent::internals::plan::{Bounds, Op, ProductTile, RecurrenceMode, Tile};
use recurrent::{Cell, Error};

use crate::CELLS;
use crate::case::Case;
use crate::common::compare::{F16_RECURRENCE, F16_ROUNDING};
use crate::common::executor::gpu;
use crate::common::random::Random;
use crate::halves::OF_RECURRENCE;
use crate::products::{self, Weighting};
use crate::recurrences::{self, BOTH_DRAWN, Options, PAIRS, Sizes, Zoneout};

/// Checks a case where the adapter has lanes, and that it is refused where it has none.
#[track_caller]
fn check(case: &Case) {
    if gpu().gpu().target().lanes {
        return case.check();
    }
    let refused = case.prepared().unwrap_err();
    assert!(matches!(refused, Error::Unsupported { .. }), "{refused}");
}

const TURNED: [[bool; 2]; 4] = [[false, false], [false, true], [true, false], [true, true]];
const TILE: ProductTile = ProductTile::Lanes;

/// Whether the rows of these operands are vectors of four.
fn is_of_fours([m, n, k]: [usize; 3], [ta, tb]: [bool; 2]) -> bool {
    let (a, b) = (if ta { m } else { k }, if tb { k } else { n });
    [a, b, n].iter().all(|cols| cols % 4 == 0)
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn products_of_lanes() {
    let mut random = Random::new(71);
    let mut seen = 0;
    for m in [1, 4, 7, 8, 9, 28, 31, 32, 33, 36, 64, 97, 100] {
        for n in [4, 28, 32, 36, 68] {
            for k in [1, 3, 4, 5, 8, 36, 37] {
                for turned in TURNED.into_iter().filter(|turned| is_of_fours([m, n, k], *turned)) {
                    check(&products::matmul(&mut random, [m, n, k], turned, (m + n + k) % 2 == 0, TILE));
                    seen += 1;
                }
            }
        }
    }
    assert!(seen > 500, "{seen} products");
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn weight_gradients_of_lanes() {
    let mut random = Random::new(72);
    for sizes in [[4, 4], [28, 36], [32, 32], [36, 4], [64, 100]] {
        for rows in [1, 2, 3, 4, 5, 15, 64, 97] {
            // With more slices than rows, some are sums of nothing.
            for slices in [1, 2, 3, 16] {
                for (bias, apart) in [(true, [0, 0]), (false, [4, 0]), (true, [8, 12])] {
                    let options = Weighting { bias, apart, tile: TILE };
                    check(&products::weight_gradient(&mut random, rows, sizes, slices, options));
                }
            }
        }
    }
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn products_of_lanes_in_turns() {
    let mut random = Random::new(73);
    let check_cut = |case: Case| {
        for iterations in [40, 60] {
            let cut = case.within(Bounds { iterations, ..Bounds::NONE });
            assert!(cut.lowered().unwrap().len() > 1, "nothing is cut");
            check(&cut);
            if gpu().gpu().target().lanes {
                // What is not assigned is NaN.
                let bits = |case: &Case| case.run(gpu()).concat().into_iter().map(f64::to_bits).collect::<Vec<_>>();
                assert!(bits(&cut) == bits(&case), "sums are made in another order, {iterations} iterations a part");
            }
        }
    };
    for turned in TURNED {
        check_cut(products::matmul(&mut random, [36, 68, 100], turned, true, TILE));
    }
    for slices in [1, 3] {
        let options = Weighting { tile: TILE, ..Weighting::PLAIN };
        check_cut(products::weight_gradient(&mut random, 230, [36, 68], slices, options));
    }
}

#[test]
#[cfg_attr(no_f16, ignore = "RECURRENT_ADAPTER=none or RECURRENT_F16=none")]
fn lanes_in_half_precision() {
    let mut random = Random::new(74);
    for names in [&["a"][..], &["b", "bias"], &["out"], &["a", "b", "bias", "out"]] {
        for turned in TURNED {
            check(&products::matmul(&mut random, [36, 68, 36], turned, true, TILE).in_half(names, F16_ROUNDING));
        }
    }
    for cell in CELLS {
        let sizes = sizes(cell, 4 / cell.gates() as u32, 8, [9, 11]);
        for case in [recurrences::forward(&mut random, sizes), recurrences::backward(&mut random, sizes)] {
            let mut case = case.in_half(&OF_RECURRENCE, F16_RECURRENCE);
            // In 32 bits, but made of what has been rounded.
            ["cells", "peepholes"].into_iter().for_each(|name| case.widen(name, F16_RECURRENCE));
            check(&case);
        }
    }
}

/// A recurrence by lanes of B and H.
fn sizes(cell: Cell, units: u32, sequences: u32, [batch, hidden]: [usize; 2]) -> Sizes {
    let tile = Tile { threads: Tile::LANES, sequences, units, split: 1, lanes: true };
    Sizes { steps: 3, batch, hidden, cell, schedule: RecurrenceMode::PerStep, tile, options: Options::PLAIN }
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn recurrences_of_lanes() {
    let mut random = Random::new(75);
    let mut options = PAIRS.into_iter().cycle();
    for cell in CELLS {
        // What is between the fewest and the most of one cell.
        let all = if cell == Cell::Lstm { &[8, 16, 24, 32][..] } else { &[8, 32] };
        for &sequences in all {
            for (units, forward) in [(4 / cell.gates() as u32, true), (4, false)] {
                let (batch, hidden) = (sequences as usize, 8 * units as usize);
                for [batch, hidden] in [[1, hidden - 1], [batch, hidden], [batch + 1, hidden + 3]] {
                    let options = options.next().unwrap();
                    let sizes = Sizes { options, ..sizes(cell, units, sequences, [batch, hidden]) };
                    for sizes in sizes.either() {
                        check(&match forward {
                            true => recurrences::forward(&mut random, sizes),
                            false => recurrences::backward(&mut random, sizes),
                        });
                    }
                }
            }
        }
    }
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn recurrences_of_lanes_with_every_option() {
    let mut random = Random::new(76);
    for cell in CELLS {
        for number in 0..24 {
            let [unequal, bias, mask] = [1, 2, 4].map(|bit| number & bit != 0);
            let (directions, reverse) = [(1, false), (2, false), (1, true)][number / 8];
            let zoneout = [BOTH_DRAWN, Zoneout::Drawn([false, true]), Zoneout::Share([0.3, 0.6])][number % 3];
            for options in [
                Options { directions, reverse, unequal, bias, mask, ..Options::PLAIN },
                Options { directions, reverse, unequal, bias, mask, zoneout, to_start: true, ..Options::PLAIN },
            ] {
                for sizes in (Sizes { options, ..sizes(cell, 1, 8, [9, 18]) }).either() {
                    check(&recurrences::forward(&mut random, sizes));
                    check(&recurrences::backward(&mut random, sizes));
                }
            }
        }
    }
}

#[test]
fn a_tile_of_lanes_that_does_not_suit_is_an_error() {
    let mut random = Random::new(77);
    for sizes in [[8, 7, 8], [8, 8, 7], [8, 8, 4100]] {
        let case = products::matmul(&mut random, sizes, [false, true], false, TILE);
        assert!(matches!(case.lowered(), Err(Error::Config(_))), "{sizes:?}");
    }
    let case = products::matmul(&mut random, [8, 8, 8], [false, true], false, TILE);
    let apart = case.changed(|op| {
        let Op::MatMul(op) = op else { panic!("{op:?}") };
        op.a.offset += 1;
    });
    assert!(matches!(apart.lowered(), Err(Error::Config(_))), "an offset of one");
    for (units, sequences) in [(2, 8), (1, 7), (1, 40), (0, 8)] {
        let case = recurrences::forward(&mut random, sizes(Cell::Lstm, units, sequences, [9, 9]));
        assert!(matches!(case.lowered(), Err(Error::Config(_))), "{units}, {sequences}");
    }
}
