//! How the work of a recurrence and of a product is shared out among the threads of a GPU: tiles, and which is taken
//! where.
//!
//! A tile says nothing about the result but the order of its sums, and nothing at all to the CPU executor.

use super::target::Target;

/// How a recurrence is cut into dispatches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecurrenceMode {
    /// One dispatch a step and product with U, each over the whole batch and both directions.
    PerStep,
    /// One dispatch, in which each workgroup takes one direction of a few sequences from end to end.
    WholeSequence,
}

/// What one workgroup of a recurrence takes, and how its threads share that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tile {
    /// Threads of the workgroup; a multiple of `split`.
    pub threads: u32,
    /// Sequences of one direction, up to [`Tile::MAX_SEQUENCES`]: a weight is loaded once for all of them.
    pub sequences: u32,
    /// Units whose sums a thread makes at once, up to [`Tile::MAX_UNITS`].
    pub units: u32,
    /// Threads that share a sum.
    pub split: u32,
    /// Whether the threads are the lanes of one subgroup, which hand each other what they have loaded. Then there are
    /// [`Tile::LANES`], 8 to 32 sequences by eights, and up to [`Tile::COLUMNS`] sums of each to a lane.
    pub lanes: bool,
}

/// Forwards or backwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// A unit has a sum over H for each of its gates.
    Forward,
    /// A unit has one sum, over G·H.
    Backward,
}

/// The sizes of a recurrence that its tile is chosen by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Work {
    pub way: Way,
    /// G.
    pub gates: usize,
    /// H.
    pub hidden: usize,
    /// B.
    pub batch: usize,
    /// D.
    pub directions: usize,
}

/// Below this many steps a whole sequence is not worth the dispatch that transposes U.
const WHOLE_SEQUENCE_STEPS: usize = 4;

/// Of fewer sequences the lanes of a subgroup would load more than they are worth.
const FEWEST_OF_LANES: usize = 5;

/// Workgroup memory is given in units, so that tiles of nearly the same size are one pipeline.
const FLOATS_A_UNIT: usize = 1024;

impl Tile {
    /// The most sequences of a tile.
    pub const MAX_SEQUENCES: u32 = 8;
    /// The most units of a thread.
    pub const MAX_UNITS: u32 = 4;
    /// The lanes of a subgroup.
    pub const LANES: u32 = 8;
    /// The most sequences of lanes.
    pub const MAX_ROWS: u32 = 32;
    /// The most sums of a sequence that a lane makes.
    pub const COLUMNS: usize = 4;

    /// The numbers of workgroup memory that it needs of G gates and H units: every thread's part of the sums and, for a
    /// whole sequence, what they are over.
    pub fn floats(&self, schedule: RecurrenceMode, way: Way, gates: usize, hidden: usize) -> usize {
        let [threads, sequences, units, split] =
            [self.threads, self.sequences, self.units, self.split].map(|n| n as usize);
        let floats = match (schedule, way) {
            (RecurrenceMode::WholeSequence, Way::Forward) => {
                sequences.saturating_mul(hidden).saturating_mul(1 + split * gates)
            }
            (RecurrenceMode::WholeSequence, Way::Backward) => {
                sequences.saturating_mul(hidden).saturating_mul(gates + split)
            }
            (RecurrenceMode::PerStep, _) if self.lanes => 0,
            (RecurrenceMode::PerStep, Way::Forward) => threads * sequences * units * gates + split,
            (RecurrenceMode::PerStep, Way::Backward) => threads * sequences * units,
        };
        floats.next_multiple_of(FLOATS_A_UNIT)
    }

    /// The tile of a recurrence that fits one workgroup and is small enough to be faster there.
    ///
    /// Every workgroup reads all of U at every step. Up to 2^16 elements (256 KiB) these stay in the caches close to
    /// it, and a step should cost less than a dispatch does: an estimate, not yet measured on hardware. On llvmpipe a
    /// dispatch costs little and a loop around a barrier is slow: measured, B·D·U's elements up to 2^13 are as fast
    /// there at least.
    pub(super) fn whole_sequence(target: &Target, steps: usize, work: &Work) -> Option<Tile> {
        let Work { gates, hidden, batch, directions, .. } = *work;
        let elements = hidden.saturating_mul(hidden).saturating_mul(gates);
        let is_small =
            if target.software { elements.saturating_mul(batch * directions) <= 1 << 13 } else { elements <= 1 << 16 };
        let worth = target.parallel && steps >= WHOLE_SEQUENCE_STEPS && is_small;
        // What fits one way has to fit the other.
        let fits = |way| Tile::whole(target, &Work { way, ..*work });
        if worth { fits(Way::Backward).and_then(|_| fits(Way::Forward)) } else { None }
    }

    /// The tile of a recurrence over whole sequences, if there is one that the target has the memory for.
    ///
    /// As many sequences as leave a workgroup for everyone who could take one. On llvmpipe every load is dear, a sum in
    /// registers is not: of (1, 1) to (8, 4) sequences and sums a thread, (8, 4) was the fastest and 4 to 5 times as
    /// fast as (1, 1); 64 sums are too many for its compiler. For hardware GPUs these are estimates: all threads,
    /// sharing sums where H is small, so that the loads of a step wait side by side.
    pub(super) fn whole(target: &Target, work: &Work) -> Option<Tile> {
        let Work { way, gates, hidden, batch, directions } = *work;
        let fits = |tile: &Tile| {
            tile.floats(RecurrenceMode::WholeSequence, way, gates, hidden) * 4 <= target.workgroup_bytes as usize
        };
        let enough = target.workgroups.min(directions * batch);
        let most = batch.min(8).next_power_of_two() as u32;
        let sequences = [8, 4, 2, 1].into_iter().filter(|s| *s <= most);
        let sequences = sequences.filter(|s| directions * batch.div_ceil(*s as usize) >= enough);
        let mut tiles = sequences.flat_map(|sequences| {
            let (threads, units, split) = if target.software {
                (work.lanes(work.units()).min(64), work.units(), 1)
            } else {
                (256, 1, 256 / work.lanes(1).clamp(32, 256))
            };
            let splits = [8, 4, 2, 1].into_iter().filter(move |s| *s <= split);
            splits.map(move |split| Tile { threads, sequences, units, split, lanes: false })
        });
        tiles.find(fits)
    }

    /// The tile of a recurrence by steps, of at most 16 KiB of workgroup memory.
    ///
    /// On llvmpipe (8, 4) is again the fastest or near it, and threads that share a sum gain nothing. On an NVIDIA H200
    /// 32 threads do, and four sequences, which make twice as many workgroups as eight: backward passes are 2.3 to 3
    /// times as fast as with 16 and eight, forward passes up to 1.6 times (a GRU of B 64 and H 256 loses 0.15).
    pub(super) fn steps(target: &Target, work: &Work) -> Tile {
        let at_most = |most: usize| work.batch.min(most).next_power_of_two() as u32;
        if target.lanes && work.batch >= FEWEST_OF_LANES {
            let sequences = work.batch.next_multiple_of(8).min(Tile::MAX_ROWS as usize) as u32;
            return Tile { threads: Tile::LANES, sequences, units: work.units(), split: 1, lanes: true };
        }
        if target.software {
            let units = work.units();
            let threads = work.lanes(units).min(32);
            // A sum is shared where it is too long for one thread, for which each product may be a few iterations.
            let each = 2 + if work.way == Way::Forward { units as usize * work.gates } else { units as usize };
            let fits = |split: &u32| (work.sum().div_ceil(*split as usize) * each) as u64 <= target.bounds.iterations;
            let mut splits = [1, 2, 4, 8, 16].into_iter().filter(|split| *split <= threads);
            let split = splits.clone().find(fits).or(splits.next_back()).unwrap_or(1);
            return Tile { threads, sequences: at_most(8), units, split, lanes: false };
        }
        let threads = if work.way == Way::Forward { 128 } else { 256 };
        Tile { threads, sequences: at_most(4), units: 1, split: 32, lanes: false }
    }
}

impl Work {
    /// How many units make about 4 sums of a sequence.
    fn units(&self) -> u32 {
        match self.way {
            Way::Forward => (4 / self.gates).clamp(1, Tile::MAX_UNITS as usize) as u32,
            Way::Backward => Tile::MAX_UNITS,
        }
    }

    /// How many products a sum has.
    fn sum(&self) -> usize {
        match self.way {
            Way::Forward => self.hidden,
            Way::Backward => self.gates * self.hidden,
        }
    }

    /// How many threads so many units each are all units: a power of two from 8 to 1024.
    fn lanes(&self, units: u32) -> u32 {
        self.hidden.div_ceil(units as usize).clamp(8, 1024).next_power_of_two() as u32
    }
}

/// The square that one workgroup makes of a matrix product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProductTile {
    /// 32×32.
    Small,
    /// 64×64.
    Large,
    /// 32×32, by the lanes of one subgroup: of operands whose rows are vectors of four.
    Lanes,
}

impl ProductTile {
    /// Sums of more terms carry what rounding takes from them. Up to here they are as exact as those of other programs,
    /// and no slower.
    pub const LONG: usize = 4096;

    /// Its rows, and its columns.
    pub fn side(self) -> usize {
        match self {
            ProductTile::Small | ProductTile::Lanes => 32,
            ProductTile::Large => 64,
        }
    }

    /// The tile of a product whose result is [M, N].
    ///
    /// A large tile costs as much as two small ones on llvmpipe and less than three on SwiftShader: measured. So it is
    /// taken where it does the work of more than two. Hardware is estimated to be as fast: it reads half as much, from
    /// memory and in its loop. But there have to be enough of them for all of a device that has many processors.
    pub(super) fn of(target: &Target, [m, n]: [usize; 2]) -> ProductTile {
        let [small, large] =
            [ProductTile::Small, ProductTile::Large].map(|t| m.div_ceil(t.side()) * n.div_ceil(t.side()));
        let is_large = 2 * large < small && (target.software || large >= target.workgroups);
        if is_large { ProductTile::Large } else { ProductTile::Small }
    }
}
