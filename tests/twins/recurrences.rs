//! The recurrence forwards and backwards, of every cell, with every option and in either schedule: cases of any size.

use std::ops::Range;

use recurrent::internals::plan::{BackwardRecurrence, Hold, Op, Recurrence, RecurrenceMode, TensorId, Tile, View};
use recurrent::{Activation, Cell, GateActivation, Reset};

use crate::case::Case;
use crate::common::compare::{EXACT, F32_RECURRENCE, Tolerance};
use crate::common::random::Random;

/// What a recurrence's case is made of.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    pub steps: usize,
    pub batch: usize,
    pub hidden: usize,
    pub cell: Cell,
    pub schedule: RecurrenceMode,
    pub tile: Tile,
    pub options: Options,
}

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
}

impl Options {
    /// One direction of sequences of one length, with biases.
    pub const PLAIN: Options = Options {
        gate: GateActivation::Sigmoid,
        clip: None,
        zoneout: Zoneout::None,
        directions: 1,
        reverse: false,
        unequal: false,
        bias: true,
        mask: false,
        to_start: false,
        skipped: 0,
        spare: 0,
        carried: false,
    };
}

/// The first seven: such that every two of the other options meet in every combination. Then reverse layers, gates and
/// zoneout, which `recurrence_with_every_option` crosses with the rest.
pub const PAIRS: [Options; 17] = [
    Options::PLAIN,
    Options {
        gate: GateActivation::Sigmoid,
        clip: None,
        zoneout: Zoneout::None,
        directions: 2,
        reverse: false,
        unequal: true,
        bias: false,
        mask: true,
        to_start: true,
        skipped: 0,
        spare: 0,
        carried: false,
    },
    Options {
        gate: GateActivation::Sigmoid,
        clip: None,
        zoneout: Zoneout::None,
        directions: 1,
        reverse: false,
        unequal: true,
        bias: false,
        mask: false,
        to_start: true,
        skipped: 3,
        spare: 2,
        carried: true,
    },
    Options {
        gate: GateActivation::Sigmoid,
        clip: None,
        zoneout: Zoneout::None,
        directions: 2,
        reverse: false,
        unequal: false,
        bias: true,
        mask: false,
        to_start: true,
        skipped: 0,
        spare: 2,
        carried: false,
    },
    Options {
        gate: GateActivation::Sigmoid,
        clip: None,
        zoneout: Zoneout::None,
        directions: 1,
        reverse: false,
        unequal: false,
        bias: false,
        mask: true,
        to_start: false,
        skipped: 2,
        spare: 1,
        carried: true,
    },
    Options {
        gate: GateActivation::Sigmoid,
        clip: None,
        zoneout: Zoneout::None,
        directions: 2,
        reverse: false,
        unequal: true,
        bias: true,
        mask: false,
        to_start: false,
        skipped: 2,
        spare: 0,
        carried: false,
    },
    Options {
        gate: GateActivation::Sigmoid,
        clip: None,
        zoneout: Zoneout::None,
        directions: 1,
        reverse: false,
        unequal: true,
        bias: true,
        mask: true,
        to_start: true,
        skipped: 0,
        spare: 0,
        carried: true,
    },
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
];

pub const BOTH_DRAWN: Zoneout = Zoneout::Drawn([true, true]);

impl Sizes {
    fn start(&self, direction: &str) -> Case {
        let Sizes { steps, batch, hidden, cell, schedule, tile, options } = self;
        Case::new(format!(
            "{direction}, T {steps}, B {batch}, H {hidden}, {cell:?}, {schedule:?}, {tile:?}, {options:?}"
        ))
    }

    /// B·D·H, a slot of h.
    fn slot(&self) -> usize {
        self.batch * self.width()
    }

    /// D·H.
    fn width(&self) -> usize {
        self.options.directions * self.hidden
    }

    /// D·G·H, rows of U.
    fn rows(&self) -> usize {
        self.cell.gates() * self.width()
    }

    /// T·B·D·G·H, all gates.
    fn gates(&self) -> usize {
        self.steps * self.batch * self.rows()
    }

    /// Slots 1 to T of a history.
    fn inner(&self) -> Range<usize> {
        self.slot()..(self.steps + 1) * self.slot()
    }

    /// Where the initial states lie in a history: slot 0 and, of the reverse direction, slot T + 1. Nobody reads the
    /// halves that are the other direction's.
    fn initial(&self) -> Vec<Range<usize>> {
        let Options { directions, reverse, .. } = self.options;
        if directions == 1 {
            let slot = if reverse { self.steps + 1 } else { 0 };
            return std::iter::once(slot * self.slot()..(slot + 1) * self.slot()).collect();
        }
        let half = |slot: usize, d: usize| {
            (0..self.batch).map(move |b| {
                let start = slot * self.slot() + b * self.width() + d * self.hidden;
                start..start + self.hidden
            })
        };
        half(0, 0).chain(half(self.steps + 1, 1)).collect()
    }

    /// The shape of a history.
    fn history(&self) -> [usize; 3] {
        let Options { directions, reverse, spare, carried, .. } = self.options;
        [self.steps + if reverse { 2 } else { directions } + usize::from(carried) + spare, self.batch, self.width()]
    }

    /// Where the gradient of a last state lies that comes from further on.
    fn later(&self) -> Option<Range<usize>> {
        self.options.carried.then(|| (self.steps + 1) * self.slot()..(self.steps + 2) * self.slot())
    }

    /// The shape of the gates.
    fn gates_shape(&self) -> [usize; 3] {
        [self.steps + self.options.spare, self.batch, self.rows()]
    }

    fn lengths(&self, random: &mut Random) -> Vec<u32> {
        let end = self.options.skipped + self.steps;
        if !self.options.unequal {
            return vec![self.steps as u32; self.batch];
        }
        // One of 1, one of all steps, the others drawn. Where steps were skipped some ended before these.
        let drawn = random.ids(self.batch, end).into_iter().map(|length| length + 1);
        let lengths = drawn.enumerate().map(|(b, drawn)| [1, end as u32].get(b).copied().unwrap_or(drawn));
        lengths.map(|length| length.saturating_sub(self.options.skipped as u32)).collect()
    }

    /// What the next tensors of both directions of a recurrence are: U, b_U, lengths and mask.
    fn common(&self, random: &mut Random, case: &mut Case, tensors: &Tensors) -> Recurrence {
        let Sizes { steps, batch, hidden, cell, schedule, tile, options } = *self;
        let rows = self.rows();
        let Tensors { gates, history, saved, ref u, forward } = *tensors;
        let turned: Vec<f64> = (0..hidden * rows).map(|at| u[at % rows * hidden + at / rows]).collect();
        let weight = case.matrix("weight", rows, hidden, u.clone());
        // Only forwards reads a bias or U transposed.
        let weight_transposed = forward.then(|| case.matrix("weight_transposed", hidden, rows, turned));
        let of_bias = if forward { random.reals(rows, 0.3) } else { vec![f64::NAN; rows] };
        let bias = options.bias.then(|| case.matrix("bias", 1, rows, of_bias));
        let has_c = matches!(cell, Cell::Lstm | Cell::Cifg | Cell::PeepholeLstm);
        let (mask, zoneout) = self.masks(random, case, forward, has_c);
        let lengths = self.lengths(random);
        // For a fault to be planted.
        case.ids("longer", lengths.iter().map(|length| length + 1).collect());
        let lengths = case.ids("lengths", lengths);
        Recurrence {
            cell,
            gate_activation: options.gate,
            cell_clip: options.clip.filter(|_| has_c),
            zoneout,
            directions: options.directions,
            reverse: options.reverse,
            steps,
            batch,
            hidden,
            lengths,
            weight,
            weight_transposed,
            bias,
            dropout_mask: mask,
            gates,
            history,
            saved,
            peepholes: (cell == Cell::PeepholeLstm).then(|| self.peepholes(random, case, forward)),
            schedule,
            tile,
        }
    }
}

impl Sizes {
    /// w_ci, w_cf and w_co, and behind them what is written backwards; others for a fault to be planted.
    fn peepholes(&self, random: &mut Random, case: &mut Case, forward: bool) -> TensorId {
        let (own, row) = (3 * self.width(), 3 * self.width() + 1);
        let written = if forward { 0 } else { self.steps * self.batch * row };
        let len = own + written + self.options.spare * self.batch * row;
        let mut assigned = vec![(0..own, EXACT)];
        if !forward {
            assigned.push((own..own + written, F32_RECURRENCE));
        }
        let others = drawn_in(random, len, std::slice::from_ref(&(0..own)));
        case.real("other_peepholes", &[len], others);
        let values = drawn_in(random, len, std::slice::from_ref(&(0..own)));
        case.in_out("peepholes", &[len], values, assigned)
    }

    /// The mask of dropout and what zoneout keeps: what is drawn lies in one tensor, as of a longer window.
    fn masks(&self, random: &mut Random, case: &mut Case, forward: bool, has_c: bool) -> (Option<TensorId>, [Hold; 2]) {
        let Sizes { steps, batch, options: Options { mask, zoneout, spare, .. }, .. } = *self;
        let is_held = |kind: usize| kind == 0 || has_c;
        let drawn = match zoneout {
            Zoneout::Drawn(drawn) => drawn,
            Zoneout::Share(_) if !forward => [true; 2],
            Zoneout::None | Zoneout::Share(_) => [false; 2],
        };
        let kept = |random: &mut Random, len| random.mask(len).iter().map(|m| m * 1.5).collect::<Vec<f64>>();
        let mut values = if mask { kept(random, self.slot()) } else { Vec::new() };
        let begins = [0, 1].map(|kind| {
            (drawn[kind] && is_held(kind)).then(|| {
                let begin = values.len();
                values.extend(kept(random, steps * self.slot()));
                values.extend(vec![f64::NAN; spare * self.slot()]);
                begin
            })
        });
        let tensor =
            (!values.is_empty()).then(|| case.real("mask", &[values.len() / self.width(), self.width()], values));
        let hold = |kind: usize| match (zoneout, begins[kind], tensor) {
            (_, Some(begin), Some(tensor)) => Hold::Drawn(View::new(tensor, begin, steps * batch, self.width())),
            (Zoneout::Share(rates), ..) if forward && is_held(kind) => Hold::Share(rates[kind]),
            _ => Hold::None,
        };
        (tensor.filter(|_| mask), [hold(0), hold(1)])
    }
}

/// What forwards and backwards differ in.
struct Tensors {
    gates: TensorId,
    history: TensorId,
    saved: Option<TensorId>,
    u: Vec<f64>,
    forward: bool,
}

/// U so that a step neither shrinks nor grows much what comes in.
fn recurrent_weights(random: &mut Random, sizes: &Sizes) -> Vec<f64> {
    let hidden = sizes.hidden;
    random.reals(sizes.rows() * hidden, 1.5 / (hidden as f64).sqrt())
}

/// NaN, but for some ranges, which are drawn.
fn drawn_in(random: &mut Random, len: usize, ranges: &[Range<usize>]) -> Vec<f64> {
    let mut values = vec![f64::NAN; len];
    ranges.iter().for_each(|range| values[range.clone()].copy_from_slice(&random.reals(range.len(), 1.0)));
    values
}

/// The initial states drawn, to be kept as they are, and slots 1 to T to be written.
fn from_initial(case: &mut Case, name: &str, random: &mut Random, sizes: &Sizes, tolerance: Tolerance) -> TensorId {
    let shape = sizes.history();
    let initial = sizes.initial();
    let slots = drawn_in(random, shape.iter().product(), &initial);
    let mut assigned: Vec<_> = initial.into_iter().map(|range| (range, EXACT)).collect();
    assigned.push((sizes.inner(), tolerance));
    case.in_out(name, &shape, slots, assigned)
}

/// h_1 to h_T, and what the cell keeps, from the state before and W·x + b_W.
pub fn forward(random: &mut Random, sizes: Sizes) -> Case {
    // Hard ones reach both ends.
    let largest = if sizes.options.gate == GateActivation::Sigmoid { 1.0 } else { 4.0 };
    let gates = random.reals(sizes.gates(), largest);
    let weights = recurrent_weights(random, &sizes);
    forward_of(random, sizes, gates, weights, F32_RECURRENCE)
}

/// The same of given gates and given U.
pub fn forward_of(random: &mut Random, sizes: Sizes, mut gates: Vec<f64>, u: Vec<f64>, tolerance: Tolerance) -> Case {
    let mut case = sizes.start("forward");
    let (shape, len) = (sizes.gates_shape(), sizes.gates());
    gates.resize(shape.iter().product(), f64::NAN);
    let gates = match sizes.cell {
        Cell::Elman(_) => case.real("gates", &shape, gates),
        _ => case.in_out("gates", &shape, gates, vec![(0..len, tolerance)]),
    };
    let history = from_initial(&mut case, "history", random, &sizes, tolerance);
    let saved = match sizes.cell {
        Cell::Lstm | Cell::Cifg | Cell::PeepholeLstm => {
            Some(from_initial(&mut case, "cells", random, &sizes, tolerance))
        }
        Cell::Gru(Reset::AfterProduct) => Some(case.out("recurrent", &shape, std::iter::once(0..len), tolerance)),
        Cell::Gru(Reset::BeforeProduct) => {
            let shape = [shape[0], sizes.batch, sizes.width()];
            Some(case.out("operand", &shape, std::iter::once(0..sizes.steps * sizes.slot()), tolerance))
        }
        _ => None,
    };
    let op = sizes.common(random, &mut case, &Tensors { gates, history, saved, u, forward: true });
    case.with(Op::Forward(op))
}

/// The gradients of the pre-activations from those of h_1 to h_T.
pub fn backward(random: &mut Random, sizes: Sizes) -> Case {
    let mut case = sizes.start("backward");
    let (len, inner) = (sizes.gates(), sizes.inner());
    let u = recurrent_weights(random, &sizes);
    let history = history_backwards(random, &sizes);
    let history = case.real("history", &sizes.history(), history);

    // Gradients from above are in ±1, and the initial state's is a sum of such.
    let tolerance = Tolerance { least: 1.0, ..F32_RECURRENCE };
    let shape = sizes.history();
    let read: Vec<_> = std::iter::once(inner.clone()).chain(sizes.later()).collect();
    let above = drawn_in(random, shape.iter().product(), &read);
    let mut assigned = vec![(inner.clone(), F32_RECURRENCE)];
    assigned.extend(sizes.later().map(|range| (range, EXACT)));
    assigned.extend(sizes.initial().into_iter().map(|range| (range, tolerance)));
    let upstream = case.in_out("upstream", &shape, above, assigned);

    let shape = sizes.gates_shape();
    let left = |random: &mut Random| {
        let mut left = random.reals(len, 1.0);
        left.resize(shape.iter().product(), f64::NAN);
        left
    };
    let gates = match sizes.cell {
        Cell::Elman(_) => case.out("gates", &shape, std::iter::once(0..len), F32_RECURRENCE),
        _ => case.in_out("gates", &shape, left(random), vec![(0..len, F32_RECURRENCE)]),
    };
    let saved = match sizes.cell {
        Cell::Lstm | Cell::Cifg | Cell::PeepholeLstm => {
            let shape = sizes.history();
            let initial = sizes.initial();
            let read: Vec<_> = initial.iter().cloned().chain([inner.clone()]).chain(sizes.later()).collect();
            let c = drawn_in(random, shape.iter().product(), &read);
            let mut kept: Vec<_> = initial.into_iter().chain(sizes.later()).map(|range| (range, EXACT)).collect();
            kept.push((inner, F32_RECURRENCE));
            Some(case.in_out("cells", &shape, c, kept))
        }
        Cell::Gru(Reset::AfterProduct) => {
            // Only the candidates' part is read.
            let (mut u, hidden) = (left(random), sizes.hidden);
            u.chunks_exact_mut(3 * hidden).for_each(|row| row[..2 * hidden].fill(f64::NAN));
            Some(case.in_out("recurrent", &shape, u, vec![(0..len, F32_RECURRENCE)]))
        }
        // It is for the gradient of U alone.
        Cell::Gru(Reset::BeforeProduct) => {
            Some(case.out("operand", &[shape[0], sizes.batch, sizes.width()], [], F32_RECURRENCE))
        }
        _ => None,
    };
    let recurrence = sizes.common(random, &mut case, &Tensors { gates, history, saved, u, forward: false });
    let Options { to_start, carried, .. } = sizes.options;
    case.with(Op::Backward(BackwardRecurrence { recurrence, upstream, to_start, carried }))
}

/// What a cell reads of the history backwards; the rest is NaN.
fn history_backwards(random: &mut Random, sizes: &Sizes) -> Vec<f64> {
    let (slot, steps, inner) = (sizes.slot(), sizes.steps, sizes.inner());
    let len = sizes.history().iter().product();
    match sizes.cell {
        // h_1 to h_T; of relu about half are zeros.
        Cell::Elman(activation) => {
            let mut slots = drawn_in(random, len, &[inner]);
            if activation == Activation::Relu {
                slots.iter_mut().filter(|h| !h.is_nan()).for_each(|h| *h = h.max(0.0));
            }
            slots
        }
        // h_0 to h_(T-1).
        Cell::Gru(_) => {
            let mut slots = drawn_in(random, len, &[sizes.initial(), vec![inner]].concat());
            let last = |at: usize| match at % sizes.width() / sizes.hidden {
                0 if !sizes.options.reverse => at / slot == steps,
                _ => at / slot == 1,
            };
            (0..len).filter(|at| last(*at)).for_each(|at| slots[at] = f64::NAN);
            slots
        }
        // Nothing.
        _ => vec![f64::NAN; len],
    }
}
