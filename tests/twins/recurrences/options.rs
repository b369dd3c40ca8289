//! What a recurrence's case may have or not, and the combinations that every size is held against.
//!
//! The contract: in the first seven of [`PAIRS`] every two options meet in every combination.

use recurrent::GateActivation;

/// What units keep of their state of the step before.
#[derive(Clone, Copy, Debug)]
pub enum Zoneout {
    None,
    /// Draws, of h or of c or of both.
    Drawn([bool; 2]),
    /// A part of h and of c; backwards, which has no such, draws of both.
    Share([f64; 2]),
}

/// What a recurrence may have or not.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// What gates are of their sums.
    pub gate: GateActivation,
    /// What c is cut off at, of a cell that has one.
    pub clip: Option<f64>,
    pub zoneout: Zoneout,
    /// Whether h is projected; see [`super::Sizes::projected`].
    pub project: bool,
    /// D.
    pub directions: usize,
    /// Whether the one direction is from the last step to the first.
    pub reverse: bool,
    /// Whether the sequences have lengths of their own: of 1, of all steps, and between.
    pub unequal: bool,
    pub bias: bool,
    pub mask: bool,
    /// Backwards, whether the gradient of the initial state is wanted.
    pub to_start: bool,
    /// Steps that were done before, so that some sequences have none left.
    pub skipped: usize,
    /// Slots that the tensors have beyond the window.
    pub spare: usize,
    /// Backwards, whether the gradient of the last state comes from further on; one slot is for that.
    pub carried: bool,
    /// Whether sequences begin anew among the steps.
    pub resets: bool,
}

impl Options {
    /// One direction of sequences of one length, with biases.
    pub const PLAIN: Options = Options {
        gate: GateActivation::Sigmoid,
        clip: None,
        zoneout: Zoneout::None,
        project: false,
        directions: 1,
        reverse: false,
        unequal: false,
        bias: true,
        mask: false,
        to_start: false,
        skipped: 0,
        spare: 0,
        carried: false,
        resets: false,
    };
}

/// The first seven: such that every two of the other options meet in every combination. Then reverse layers, gates,
/// zoneout and resets, which `recurrence_with_every_option` crosses with the rest.
pub const PAIRS: [Options; 22] = [
    Options::PLAIN,
    Options { directions: 2, unequal: true, bias: false, mask: true, to_start: true, ..Options::PLAIN },
    Options { unequal: true, bias: false, to_start: true, skipped: 3, spare: 2, carried: true, ..Options::PLAIN },
    Options { directions: 2, to_start: true, spare: 2, ..Options::PLAIN },
    Options { bias: false, mask: true, skipped: 2, spare: 1, carried: true, ..Options::PLAIN },
    Options { directions: 2, unequal: true, skipped: 2, ..Options::PLAIN },
    Options { unequal: true, mask: true, to_start: true, carried: true, ..Options::PLAIN },
    Options { reverse: true, mask: true, ..Options::PLAIN },
    Options { gate: GateActivation::HardSigmoid, unequal: true, clip: Some(0.3), ..Options::PLAIN },
    Options { gate: GateActivation::SteepHardSigmoid, directions: 2, bias: false, mask: true, ..Options::PLAIN },
    Options { reverse: true, unequal: true, bias: false, to_start: true, spare: 1, clip: Some(0.6), ..Options::PLAIN },
    Options { directions: 2, unequal: true, mask: true, to_start: true, zoneout: BOTH_DRAWN, ..Options::PLAIN },
    Options { reverse: true, spare: 2, zoneout: Zoneout::Drawn([true, false]), ..Options::PLAIN },
    Options {
        unequal: true,
        skipped: 2,
        spare: 1,
        carried: true,
        clip: Some(0.4),
        zoneout: Zoneout::Drawn([false, true]),
        ..Options::PLAIN
    },
    Options { mask: true, to_start: true, clip: Some(0.5), zoneout: BOTH_DRAWN, ..Options::PLAIN },
    Options { directions: 2, unequal: true, zoneout: Zoneout::Share([0.3, 0.6]), ..Options::PLAIN },
    Options { reverse: true, mask: true, clip: Some(0.5), zoneout: Zoneout::Share([0.1, 0.7]), ..Options::PLAIN },
    Options { resets: true, to_start: true, ..Options::PLAIN },
    Options { resets: true, directions: 2, unequal: true, mask: true, to_start: true, spare: 1, ..Options::PLAIN },
    Options { resets: true, reverse: true, bias: false, spare: 2, clip: Some(0.4), ..Options::PLAIN },
    Options { resets: true, unequal: true, skipped: 2, to_start: true, carried: true, spare: 1, ..Options::PLAIN },
    Options { resets: true, mask: true, carried: true, zoneout: BOTH_DRAWN, ..Options::PLAIN },
];

pub const BOTH_DRAWN: Zoneout = Zoneout::Drawn([true, true]);
