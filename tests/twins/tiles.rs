//! Recurrences of every cell and schedule against their twins, around the borders of every tile.

use recurrent::internals::cpu;
use recurrent::internals::plan::{RecurrenceMode, Tile, Way};
use recurrent::{Cell, Error, GateActivation};

use crate::common::compare::{EXACT, Tolerance};
use crate::common::executor::gpu;
use crate::common::random::Random;
use crate::recurrences::{self, BOTH_DRAWN, Options, PAIRS, Sizes, Zoneout};
use crate::{CELLS, GRU, GRU_BEFORE, RELU, SCHEDULES, TANH, case};

/// Tiles of a recurrence by steps: those of hardware and of software, and one of no use where everything is uneven.
const STEP_TILES: [Tile; 6] = [
    Tile { threads: 128, sequences: 4, units: 1, split: 32, lanes: false },
    Tile { threads: 128, sequences: 1, units: 1, split: 32, lanes: false },
    Tile { threads: 256, sequences: 4, units: 1, split: 32, lanes: false },
    Tile { threads: 32, sequences: 8, units: 4, split: 1, lanes: false },
    Tile { threads: 32, sequences: 1, units: 4, split: 1, lanes: false },
    Tile { threads: 24, sequences: 2, units: 3, split: 3, lanes: false },
];
/// Tiles of whole sequences.
const WHOLE_TILES: [Tile; 6] = [
    Tile { threads: 256, sequences: 1, units: 1, split: 1, lanes: false },
    Tile { threads: 256, sequences: 2, units: 1, split: 8, lanes: false },
    Tile { threads: 64, sequences: 4, units: 1, split: 1, lanes: false },
    Tile { threads: 16, sequences: 8, units: 4, split: 1, lanes: false },
    Tile { threads: 8, sequences: 1, units: 4, split: 1, lanes: false },
    Tile { threads: 24, sequences: 3, units: 2, split: 3, lanes: false },
];
#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn recurrence_around_the_tiles_of_a_step() {
    let mut random = Random::new(6);
    for schedule in SCHEDULES {
        let mut tiles = tiles(schedule).into_iter().cycle();
        for cell in CELLS {
            let mut options = PAIRS.into_iter().cycle();
            for steps in [1, 2, 5] {
                for (batch, hidden) in
                    [(1, 1), (1, 16), (15, 17), (16, 15), (16, 16), (17, 33), (2, 31), (3, 32), (5, 37), (33, 1)]
                {
                    let options = options.next().unwrap();
                    let tile = tiles.next().unwrap();
                    let sizes = Sizes { steps, batch, hidden, cell, schedule, tile, options };
                    check(&mut random, sizes);
                }
            }
        }
    }
}

/// Checks a recurrence each way that the adapter has the workgroup memory for.
#[track_caller]
fn check(random: &mut Random, sizes: Sizes) {
    let Sizes { tile, schedule, cell, hidden, .. } = sizes;
    let cases = sizes.either().flat_map(|sizes| {
        [(Way::Forward, recurrences::forward(random, sizes)), (Way::Backward, recurrences::backward(random, sizes))]
    });
    for (way, case) in cases {
        if 4 * tile.floats(schedule, way, cell.gates(), hidden) <= gpu().gpu().adapter().workgroup_bytes as usize {
            case.check();
        } else {
            let refused = case.prepared().unwrap_err();
            assert!(matches!(refused, Error::Limit { .. }), "{sizes:?}: {refused}");
        }
    }
}

/// Those of one schedule.
pub fn tiles(schedule: RecurrenceMode) -> [Tile; 6] {
    if schedule == RecurrenceMode::PerStep { STEP_TILES } else { WHOLE_TILES }
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn recurrence_around_the_borders_of_every_tile() {
    let mut random = Random::new(23);
    let mut options = PAIRS.into_iter().cycle();
    for schedule in SCHEDULES {
        for tile in tiles(schedule) {
            let (sequences, units) = (tile.sequences as usize, (tile.threads / tile.split * tile.units) as usize);
            for cell in CELLS {
                for (batch, hidden) in
                    [(sequences + 1, units + 1), (sequences, units), (sequences.max(2) - 1, units - 1)]
                {
                    let options = options.next().unwrap();
                    let sizes = Sizes { steps: 3, batch, hidden, cell, schedule, tile, options };
                    check(&mut random, sizes);
                }
            }
        }
    }
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn a_workgroup_larger_than_the_adapter_s_is_an_error() {
    let schedule = RecurrenceMode::PerStep;
    for (cell, tile, named) in [
        // 128 KiB, and 512 threads.
        (
            Cell::Lstm,
            Tile { threads: 256, sequences: 8, units: 4, split: 1, lanes: false },
            "max_compute_workgroup_storage_size",
        ),
        (
            TANH,
            Tile { threads: 512, sequences: 1, units: 1, split: 1, lanes: false },
            "max_compute_invocations_per_workgroup",
        ),
    ] {
        let sizes = Sizes { steps: 1, batch: 1, hidden: 2, cell, schedule, tile, options: Options::PLAIN };
        let refused = recurrences::forward(&mut Random::new(9), sizes).prepared().unwrap_err();
        let Error::Limit { limit, asked, allowed, .. } = refused else { panic!("{refused}") };
        assert!(limit.contains(named) && asked > allowed, "{limit}: {asked}, {allowed}");
    }
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn recurrence_with_every_option() {
    let mut random = Random::new(19);
    for schedule in SCHEDULES {
        for cell in CELLS {
            for number in 0..24 {
                let [unequal, bias, mask] = [1, 2, 4].map(|bit| number & bit != 0);
                let (directions, reverse) = [(1, false), (2, false), (1, true)][number / 8];
                let options = Options { directions, reverse, unequal, bias, mask, ..Options::PLAIN };
                let sizes = Sizes { steps: 4, batch: 3, hidden: 18, cell, schedule, tile: tiles(schedule)[0], options };
                sizes.either().for_each(|sizes| recurrences::forward(&mut random, sizes).check());
                let carries = directions == 1 && !reverse;
                for (to_start, carried) in [(false, false), (true, false), (false, carries), (true, carries)] {
                    let options = Options { to_start, carried, ..options };
                    let sizes = Sizes { options, ..sizes };
                    sizes.either().for_each(|sizes| recurrences::backward(&mut random, sizes).check());
                }
                for gate in [GateActivation::HardSigmoid, GateActivation::SteepHardSigmoid] {
                    let sizes = Sizes { options: Options { gate, ..options }, ..sizes };
                    recurrences::forward(&mut random, sizes).check();
                    recurrences::backward(&mut random, sizes).check();
                }
                let zoneout = [BOTH_DRAWN, Zoneout::Drawn([false, true]), Zoneout::Share([0.3, 0.6])][number % 3];
                let options = Options { zoneout, to_start: true, carried: carries, ..options };
                for sizes in (Sizes { options, ..sizes }).either() {
                    recurrences::forward(&mut random, sizes).check();
                    recurrences::backward(&mut random, sizes).check();
                }
            }
        }
    }
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn recurrence_around_the_threads_of_a_workgroup() {
    let mut random = Random::new(7);
    let mut options = PAIRS.into_iter().cycle();
    for schedule in SCHEDULES {
        let tile = tiles(schedule)[0];
        for hidden in [63, 64, 65, 127, 128, 129, 255, 256, 257, 521, 1024] {
            let options = options.next().unwrap();
            let sizes = Sizes { steps: 2, batch: 2, hidden, cell: TANH, schedule, tile, options };
            check(&mut random, sizes);
        }
        // G·H around 256 and at the most that a workgroup takes; of two products 2·H, that of the first, as well.
        let of_gru = [85, 86, 128, 129, 257, 682];
        for (cell, sizes) in [(Cell::Lstm, [63, 64, 65, 127, 257, 512]), (GRU, of_gru), (GRU_BEFORE, of_gru)] {
            for hidden in sizes {
                let options = options.next().unwrap();
                let sizes = Sizes { steps: 2, batch: 2, hidden, cell, schedule, tile, options };
                check(&mut random, sizes);
            }
        }
    }
}

/// What the hidden state is after one step of pre-activations `x` with U zero, so that h = act(x + b_U).
fn activated(cell: Cell, schedule: RecurrenceMode, x: &[f64], tolerance: Tolerance) -> case::Case {
    let hidden = x.len();
    let sizes = Sizes { steps: 1, batch: 1, hidden, cell, schedule, tile: tiles(schedule)[0], options: Options::PLAIN };
    recurrences::forward_of(&mut Random::new(8), sizes, x.to_vec(), vec![0.0; hidden * hidden], tolerance)
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn activations_hold_far_from_zero() {
    let ends =
        [-1e30, -1000.0, -100.0, -89.0, -44.0, -20.0, -15.0, -9.0, 9.0, 15.0, 20.0, 44.0, 89.0, 100.0, 1000.0, 1e30];
    for schedule in SCHEDULES {
        for x in ends {
            activated(TANH, schedule, &[x], Tolerance { relative: 1e-6, floor: 0.0, least: 0.0 }).check();
            activated(RELU, schedule, &[x], Tolerance { relative: 1e-6, floor: 0.0, least: 0.0 }).check();
        }
    }
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn a_nan_is_not_hidden_by_an_activation() {
    for schedule in SCHEDULES {
        for cell in [TANH, RELU] {
            let case = activated(cell, schedule, &[1.0, f64::NAN, -1.0], EXACT);
            for history in [case.run(gpu()), case.run(cpu::Executor::<f32>::new())] {
                let is_nan: Vec<bool> = history[0][3..].iter().map(|h| h.is_nan()).collect();
                // With U zero and NaN in h_1 nothing else is touched.
                assert_eq!(is_nan, [false, true, false], "{cell:?}, {schedule:?}");
            }
        }
    }
}
