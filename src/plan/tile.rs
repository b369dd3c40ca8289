//! How the work of a recurrence is shared out among the threads of a GPU: the tiles, and which one is taken where.
//!
//! A tile says nothing about the result but the order of its sums, and nothing at all to the CPU executor.

use super::op::Schedule;
use super::target::Target;

/// What one workgroup of a recurrence takes, and how its threads share that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tile {
    /// Threads of the workgroup; a multiple of `split`.
    pub threads: u32,
    /// Sequences of one direction, up to [`Tile::MOST_SEQUENCES`]: a weight is loaded once for all of them.
    pub sequences: u32,
    /// Units whose sums a thread makes at once, up to [`Tile::MOST_UNITS`].
    pub units: u32,
    /// Threads that share a sum.
    pub split: u32,
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

impl Tile {
    /// The most sequences of a tile.
    pub const MOST_SEQUENCES: u32 = 8;
    /// The most units of a thread.
    pub const MOST_UNITS: u32 = 4;

    /// The numbers of workgroup memory that it needs of G gates and H units: every thread's part of the sums and, for a
    /// whole sequence, what they are over.
    pub fn floats(&self, schedule: Schedule, way: Way, gates: usize, hidden: usize) -> usize {
        let [threads, sequences, units, split] =
            [self.threads, self.sequences, self.units, self.split].map(|n| n as usize);
        match (schedule, way) {
            (Schedule::Whole, Way::Forward) => sequences.saturating_mul(hidden).saturating_mul(1 + split * gates),
            (Schedule::Whole, Way::Backward) => sequences.saturating_mul(hidden).saturating_mul(gates + split),
            (Schedule::Steps, Way::Forward) => threads * sequences * units * gates + split,
            (Schedule::Steps, Way::Backward) => threads * sequences * units,
        }
    }

    /// The tile of a recurrence over whole sequences, if there is one that the target has the memory for.
    pub(super) fn whole(target: &Target, work: &Work) -> Option<Tile> {
        let Work { way, gates, hidden, batch, directions } = *work;
        let fits =
            |tile: &Tile| tile.floats(Schedule::Whole, way, gates, hidden) * 4 <= target.workgroup_bytes as usize;
        // The most sequences that leave a workgroup for everyone who could take one.
        let enough = target.workgroups.min(directions * batch);
        let sequences = [8, 4, 2, 1].into_iter().filter(|s| directions * batch.div_ceil(*s as usize) >= enough);
        let mut tiles = sequences.flat_map(|sequences| {
            let (threads, units) = if target.software { (64, work.columns(4)) } else { (256, 1) };
            let across = hidden.div_ceil(units as usize).next_power_of_two();
            let threads = if target.software { threads.min((across as u32).max(8)) } else { threads };
            let most = if target.software { 1 } else { threads / threads.min((across as u32).max(32)) };
            [8, 4, 2, 1].into_iter().filter(move |split| *split <= most).map(move |split| Tile {
                threads,
                sequences,
                units,
                split,
            })
        });
        tiles.find(fits)
    }

    /// The tile of a recurrence by steps.
    pub(super) fn steps(target: &Target, work: &Work) -> Tile {
        let at_most = |most: usize| work.batch.next_power_of_two().min(most) as u32;
        if target.software {
            return Tile { threads: 32, sequences: at_most(8), units: work.columns(4), split: 1 };
        }
        match work.way {
            Way::Forward => {
                let sequences = at_most(if work.gates == 1 { 8 } else { 4 });
                Tile { threads: 128, sequences, units: 1, split: 16 }
            }
            Way::Backward => Tile { threads: 256, sequences: at_most(8), units: 1, split: 16 },
        }
    }
}

impl Work {
    /// How many units a thread takes that is to make so many sums of a sequence.
    fn columns(&self, sums: usize) -> u32 {
        match self.way {
            Way::Forward => (sums / self.gates).clamp(1, Tile::MOST_UNITS as usize) as u32,
            Way::Backward => sums as u32,
        }
    }
}
