//! Which tiles a plan takes where: from the sizes of the work and from what the device is.

use recurrent::internals::plan::{BackwardRecurrence, Op, Plan, ProductTile, RecurrenceMode, Target, Tile};
use recurrent::{Cell, Config, Directions, InputKind};

use crate::{plan, train};

/// A software adapter of two threads.
const SOFTWARE: Target = Target { binding_bytes: u64::MAX, software: true, workgroups: 2, ..Target::webgpu() };

/// The tile forwards and that backwards.
fn tiles(config: &Config, batch: usize, target: &Target) -> (RecurrenceMode, [Tile; 2]) {
    let plan = plan(config, train(), 8, batch, target);
    let forward = plan.stages().iter().find_map(|s| if let Op::Forward(r) = &s.op { Some(r.clone()) } else { None });
    let backward = plan.stages().iter().find_map(|s| match &s.op {
        Op::Backward(BackwardRecurrence { recurrence, .. }) => Some(recurrence.clone()),
        _ => None,
    });
    let (forward, backward) = (forward.unwrap(), backward.unwrap());
    assert_eq!(forward.schedule, backward.schedule);
    (forward.schedule, [forward.tile, backward.tile])
}

fn sequences(config: &Config, batch: usize, target: &Target) -> [u32; 2] {
    tiles(config, batch, target).1.map(|tile| tile.sequences)
}

#[test]
fn a_workgroup_takes_more_sequences_where_there_are_more_than_fill_the_device() {
    let config = Config::elman(InputKind::Dense(3), 64, 3);
    let target = Target::webgpu();
    assert_eq!(tiles(&config, 1, &target).0, RecurrenceMode::WholeSequence);
    for (batch, expected) in [(1, 1), (128, 1), (254, 1), (255, 2), (256, 2), (512, 4), (1024, 8), (5000, 8)] {
        assert_eq!(sequences(&config, batch, &target), [expected; 2], "B {batch}");
    }
    // Two directions are twice as many workgroups.
    let both = config.with_directions(Directions::Bidirectional);
    assert_eq!(sequences(&both, 128, &target), [2, 2]);
}

#[test]
fn a_tile_of_a_whole_sequence_fits_the_workgroup_s_memory() {
    let config = Config::of_cell(Cell::Lstm, InputKind::Dense(3), 128, 3);
    // H + 4·H numbers for a sequence forwards, 4·H + H backwards.
    assert_eq!(sequences(&config, 5000, &Target::webgpu()), [4, 4]);
    assert_eq!(sequences(&config, 5000, &Target { workgroup_bytes: 32 << 10, ..Target::webgpu() }), [8, 8]);
}

#[test]
fn a_software_adapter_goes_by_steps_unless_they_are_small() {
    let config = Config::elman(InputKind::Dense(3), 64, 3);
    assert_eq!(tiles(&config, 2, &SOFTWARE).0, RecurrenceMode::WholeSequence);
    assert_eq!(tiles(&config, 3, &SOFTWARE).0, RecurrenceMode::PerStep);
    // A workgroup for each of its threads, as long as there are sequences.
    let small = Config::elman(InputKind::Dense(3), 8, 3);
    for (batch, expected) in [(1, 1), (2, 1), (3, 2), (4, 2), (7, 4), (16, 8), (64, 8)] {
        assert_eq!(sequences(&small, batch, &SOFTWARE), [expected; 2], "B {batch}");
    }
}

#[test]
fn a_step_leaves_no_sequence_of_its_tile_idle() {
    let steps = |gates_of: Config, batch| {
        let (schedule, tiles) = tiles(&gates_of, batch, &Target { workgroup_bytes: 0, ..Target::webgpu() });
        assert_eq!(schedule, RecurrenceMode::PerStep);
        tiles.map(|tile| tile.sequences)
    };
    for (batch, elman, lstm) in [(1, [1, 1], [1, 1]), (2, [2, 2], [2, 2]), (3, [4, 4], [4, 4]), (64, [4, 4], [4, 4])] {
        assert_eq!(steps(Config::elman(InputKind::Dense(3), 300, 3), batch), elman, "B {batch}");
        assert_eq!(steps(Config::lstm(InputKind::Dense(3), 300, 3), batch), lstm, "B {batch}");
    }
}

/// The tile of the product of the inputs, [8·B, 4]·[4, H].
fn of_inputs(hidden: usize, batch: usize, target: &Target) -> ProductTile {
    let plan: Plan = plan(&Config::elman(InputKind::Dense(4), hidden, 3), train(), 8, batch, target);
    plan.stages().iter().find_map(|s| if let Op::MatMul(op) = &s.op { Some(op.tile) } else { None }).unwrap()
}

#[test]
fn a_product_takes_large_tiles_where_they_are_full_and_enough() {
    use ProductTile::{Large, Small};
    // It has to be more than half full.
    for (hidden, batch, expected) in [(64, 8, Large), (33, 8, Large), (32, 8, Small), (33, 4, Small), (33, 12, Large)] {
        assert_eq!(of_inputs(hidden, batch, &SOFTWARE), expected, "H {hidden}, B {batch}");
    }
    // 8·256 rows are 32 tiles down, so that H makes 128 of them from 193 on.
    for (hidden, expected) in [(128, Small), (192, Small), (193, Large), (256, Large)] {
        assert_eq!(of_inputs(hidden, 256, &Target::webgpu()), expected, "H {hidden}");
    }
}

#[test]
fn lanes_are_taken_where_there_are_sequences_and_vectors_of_four() {
    let lanes = Target { lanes: true, ..SOFTWARE };
    let tile = |sequences, units| Tile { threads: 8, sequences, units, split: 1, lanes: true };
    let lstm = Config::lstm(InputKind::Dense(4), 64, 3);
    for (batch, sequences) in [(5, 8), (8, 8), (9, 16), (17, 24), (32, 32), (33, 32), (1000, 32)] {
        let found = tiles(&lstm, batch, &lanes);
        assert_eq!(found, (RecurrenceMode::PerStep, [tile(sequences, 1), tile(sequences, 4)]), "B {batch}");
    }
    assert!(tiles(&lstm, 4, &lanes).1.iter().all(|tile| !tile.lanes), "of four sequences");
    assert_eq!(tiles(&Config::elman(InputKind::Dense(4), 64, 3), 8, &lanes).1, [tile(8, 4); 2]);
    for (hidden, expected) in [(64, ProductTile::Lanes), (4, ProductTile::Lanes), (66, ProductTile::Large)] {
        assert_eq!(of_inputs(hidden, 8, &lanes), expected, "H {hidden}");
    }
    // Nowhere else.
    assert!(tiles(&lstm, 32, &SOFTWARE).1.iter().all(|tile| !tile.lanes));
    assert_ne!(of_inputs(64, 8, &Target::webgpu()), ProductTile::Lanes);
}
