//! The recurrence forwards and backwards, of every cell, with every option and in either schedule: cases of any size.

mod options;

use std::ops::Range;

use recurrent::internals::plan::{
    BackwardRecurrence, Hold, Op, Projection, Recurrence, RecurrenceMode, TensorId, Tile, View,
};
use recurrent::{Activation, Cell, GateActivation, Reset};

use crate::case::Case;
use crate::common::compare::{EXACT, F32_RECURRENCE, Tolerance};
use crate::common::random::Random;
pub use options::{BOTH_DRAWN, Options, PAIRS, Zoneout};

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

impl Sizes {
    fn start(&self, direction: &str) -> Case {
        let Sizes { steps, batch, hidden, cell, schedule, tile, options } = self;
        Case::new(format!(
            "{direction}, T {steps}, B {batch}, H {hidden}, {cell:?}, {schedule:?}, {tile:?}, {options:?}"
        ))
    }

    /// The same with h projected, where that can be.
    pub fn projected(self) -> Option<Sizes> {
        let can = matches!(self.cell, Cell::Lstm | Cell::Cifg) && self.schedule == RecurrenceMode::PerStep;
        can.then_some(Sizes { options: Options { project: true, ..self.options }, ..self })
    }

    /// The same without and, where that can be, with a projection.
    pub fn either(self) -> impl Iterator<Item = Sizes> {
        std::iter::once(self).chain(self.projected())
    }

    /// P, or H where h is not projected.
    fn operand(&self) -> usize {
        if self.options.project { (2 * self.hidden).div_ceil(3) } else { self.hidden }
    }

    /// Whether, backwards, there are draws of h.
    fn draws_h(&self) -> bool {
        matches!(self.options.zoneout, Zoneout::Drawn([true, _]) | Zoneout::Share(_))
    }

    /// B·D·H, with a projection B·D·P: a slot of h; of a second state B·D·H always.
    fn slot(&self, kind: usize) -> usize {
        self.batch * self.options.directions * if kind == 0 { self.operand() } else { self.hidden }
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

    /// Slots 1 to T of a history of a kind of state, 0 being h and 1 c.
    fn inner(&self, kind: usize) -> Range<usize> {
        self.slot(kind)..(self.steps + 1) * self.slot(kind)
    }

    /// Where the initial states lie in a history: slot 0 and, of the reverse direction, slot T + 1. Nobody reads the
    /// halves that are the other direction's.
    fn initial(&self, kind: usize) -> Vec<Range<usize>> {
        let Options { directions, reverse, .. } = self.options;
        let of_slot = self.slot(kind);
        if directions == 1 {
            let slot = if reverse { self.steps + 1 } else { 0 };
            return std::iter::once(slot * of_slot..(slot + 1) * of_slot).collect();
        }
        let half = of_slot / self.batch / 2;
        let half = |slot: usize, d: usize| {
            (0..self.batch).map(move |b| {
                let start = slot * of_slot + (2 * b + d) * half;
                start..start + half
            })
        };
        half(0, 0).chain(half(self.steps + 1, 1)).collect()
    }

    /// The shape of a history.
    fn history(&self, kind: usize) -> [usize; 3] {
        let Options { directions, reverse, spare, carried, .. } = self.options;
        let of_steps = self.steps + if reverse { 2 } else { directions };
        let slots = match self.start_slot() {
            None => of_steps + usize::from(carried),
            Some(start) => start + 1 + kind,
        };
        [slots + spare, self.batch, self.slot(kind) / self.batch]
    }

    /// The slot of the state that sequences begin anew from, where they do: behind one that may be for what is carried.
    fn start_slot(&self) -> Option<usize> {
        let Options { directions, reverse, resets, .. } = self.options;
        resets.then(|| self.steps + if reverse { 2 } else { directions } + 1)
    }

    /// Where that state lies, and behind it its gradient.
    fn starts(&self, kind: usize) -> [Option<Range<usize>>; 2] {
        let slot = |slot: usize| slot * self.slot(kind)..(slot + 1) * self.slot(kind);
        [self.start_slot().map(slot), self.start_slot().map(|start| slot(start + 1))]
    }

    /// Where the gradient of a last state lies that comes from further on.
    fn later(&self, kind: usize) -> Option<Range<usize>> {
        self.options.carried.then(|| (self.steps + 1) * self.slot(kind)..(self.steps + 2) * self.slot(kind))
    }

    /// What is projected, behind the slots of h, and all of that tensor.
    fn behind(&self) -> (Range<usize>, usize) {
        let (start, of_step) = (self.history(0).iter().product::<usize>(), self.batch * self.width());
        (start..start + self.steps * of_step, start + (self.steps + self.options.spare) * of_step)
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

    /// Which sequences begin anew before each step and, where steps go on, before the one after the last.
    fn resets(&self, random: &mut Random, lengths: &[u32]) -> Vec<u32> {
        if !self.options.resets {
            return Vec::new();
        }
        let last = self.steps + usize::from(self.options.carried);
        let drawn = random.ids((self.steps + 1) * self.batch, 3);
        let is_valid = |time: usize, b: usize| time < lengths[b] as usize || time == self.steps;
        let is_there = |at: usize| at / self.batch < last && is_valid(at / self.batch, at % self.batch);
        drawn.into_iter().enumerate().map(|(at, drawn)| u32::from(drawn == 0 && is_there(at))).collect()
    }

    /// What the next tensors of both directions of a recurrence are: U, b_U, lengths and mask.
    fn common(&self, random: &mut Random, case: &mut Case, tensors: &Tensors) -> Recurrence {
        let Sizes { steps, batch, hidden, cell, schedule, tile, options } = *self;
        let rows = self.rows();
        let Tensors { gates, history, saved, ref u, forward } = *tensors;
        let length = self.operand();
        let turned: Vec<f64> = (0..length * rows).map(|at| u[at % rows * length + at / rows]).collect();
        let weight = case.matrix("weight", rows, length, u.clone());
        // Only forwards reads a bias or U transposed.
        let weight_transposed = forward.then(|| case.matrix("weight_transposed", length, rows, turned));
        let projection = options.project.then(|| {
            let rows = options.directions * length;
            let w_hr = random.reals(rows * hidden, 1.5 / (hidden as f64).sqrt());
            let projected = View::new(history, self.behind().0.start, steps * batch, self.width());
            Projection { size: length, weight: case.matrix("projection", rows, hidden, w_hr), projected }
        });
        let of_bias = if forward { random.reals(rows, 0.3) } else { vec![f64::NAN; rows] };
        let bias = options.bias.then(|| case.matrix("bias", 1, rows, of_bias));
        let has_c = matches!(cell, Cell::Lstm | Cell::Cifg | Cell::PeepholeLstm);
        let (mask, zoneout) = self.masks(random, case, forward, has_c);
        let lengths = self.lengths(random);
        let resets = self.resets(random, &lengths);
        // For faults to be planted.
        case.ids("longer", lengths.iter().map(|length| length + 1).chain(resets.iter().copied()).collect());
        case.ids("other_resets", lengths.iter().copied().chain(resets.iter().map(|reset| 1 - reset)).collect());
        let lengths = case.ids("lengths", [lengths, resets].concat());
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
            projection,
            lengths,
            resets: self.start_slot(),
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
        let mut values = if mask { kept(random, self.slot(0)) } else { Vec::new() };
        let begins = [0, 1].map(|kind| {
            (drawn[kind] && is_held(kind)).then(|| {
                let begin = values.len();
                values.extend(kept(random, steps * self.slot(kind)));
                values.extend(vec![f64::NAN; spare * self.slot(kind)]);
                begin
            })
        });
        let tensor = (!values.is_empty()).then(|| case.real("mask", &[values.len()], values));
        let hold = |kind: usize| match (zoneout, begins[kind], tensor) {
            (_, Some(begin), Some(tensor)) => {
                Hold::Drawn(View::new(tensor, begin, steps * batch, self.slot(kind) / batch))
            }
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
    let length = sizes.operand();
    random.reals(sizes.rows() * length, 1.5 / (length as f64).sqrt())
}

/// NaN, but for some ranges, which are drawn.
fn drawn_in(random: &mut Random, len: usize, ranges: &[Range<usize>]) -> Vec<f64> {
    let mut values = vec![f64::NAN; len];
    ranges.iter().for_each(|range| values[range.clone()].copy_from_slice(&random.reals(range.len(), 1.0)));
    values
}

/// The initial states of a kind drawn, to be kept as they are, and slots 1 to T to be written.
fn from_initial(case: &mut Case, kind: usize, random: &mut Random, sizes: &Sizes, tolerance: Tolerance) -> TensorId {
    let mut shape = sizes.history(kind).to_vec();
    let initial = [sizes.initial(kind), Vec::from_iter(sizes.starts(kind)[0].clone())].concat();
    let mut slots = drawn_in(random, shape.iter().product(), &initial);
    let mut assigned: Vec<_> = initial.into_iter().map(|range| (range, EXACT)).collect();
    assigned.push((sizes.inner(kind), tolerance));
    if kind == 0 && sizes.options.project {
        let (written, len) = sizes.behind();
        slots.resize(len, f64::NAN);
        shape = vec![len];
        assigned.push((written, tolerance));
    }
    case.in_out(["history", "cells"][kind], &shape, slots, assigned)
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
    let history = from_initial(&mut case, 0, random, &sizes, tolerance);
    let saved = match sizes.cell {
        Cell::Lstm | Cell::Cifg | Cell::PeepholeLstm => Some(from_initial(&mut case, 1, random, &sizes, tolerance)),
        Cell::Gru(Reset::AfterProduct) => Some(case.out("recurrent", &shape, std::iter::once(0..len), tolerance)),
        Cell::Gru(Reset::BeforeProduct) => {
            let shape = [shape[0], sizes.batch, sizes.width()];
            Some(case.out("operand", &shape, std::iter::once(0..sizes.steps * sizes.slot(0)), tolerance))
        }
        _ => None,
    };
    let op = sizes.common(random, &mut case, &Tensors { gates, history, saved, u, forward: true });
    case.with(Op::Forward(op))
}

/// The gradients of the pre-activations from those of h_1 to h_T.
pub fn backward(random: &mut Random, sizes: Sizes) -> Case {
    let mut case = sizes.start("backward");
    let (len, inner) = (sizes.gates(), sizes.inner(0));
    let u = recurrent_weights(random, &sizes);
    let history = history_backwards(random, &sizes);
    let history = case.real("history", &[history.len()], history);

    // Gradients from above are in ±1, and the initial state's is a sum of such.
    let tolerance = Tolerance { least: 1.0, ..F32_RECURRENCE };
    let shape = sizes.history(0);
    let [start, _] = sizes.starts(0);
    let read: Vec<_> = std::iter::once(inner.clone()).chain(sizes.later(0)).chain(start.clone()).collect();
    let slots: usize = shape.iter().product();
    let mut above = drawn_in(random, slots, &read);
    let mut assigned = vec![(inner.clone(), F32_RECURRENCE)];
    assigned.extend(sizes.later(0).map(|range| (range, EXACT)));
    assigned.extend(sizes.initial(0).into_iter().chain(start).map(|range| (range, tolerance)));
    // What of it goes to W_hr, as of a longer window.
    let own = sizes.options.project && sizes.draws_h();
    if own {
        let written = slots..slots + inner.len();
        above.resize(written.end + sizes.options.spare * sizes.slot(0), f64::NAN);
        assigned.push((written, F32_RECURRENCE));
    }
    let upstream = case.in_out("upstream", &[above.len()], above, assigned);
    let rows = sizes.steps * sizes.batch;
    let projected = own.then(|| View::new(upstream, slots, rows, inner.len() / rows));

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
            let shape = sizes.history(1);
            let (initial, inner, [start, gradient]) = (sizes.initial(1), sizes.inner(1), sizes.starts(1));
            let kept: Vec<_> = initial.into_iter().chain(sizes.later(1)).chain(start).collect();
            let written: Vec<_> = std::iter::once(inner).chain(gradient).collect();
            let c = drawn_in(random, shape.iter().product(), &[kept.clone(), written.clone()].concat());
            let kept = kept.into_iter().map(|range| (range, EXACT));
            let kept = kept.chain(written.into_iter().map(|range| (range, tolerance))).collect();
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
    case.with(Op::Backward(BackwardRecurrence { recurrence, upstream, projected, to_start, carried }))
}

/// What a cell reads of the history backwards; the rest is NaN.
fn history_backwards(random: &mut Random, sizes: &Sizes) -> Vec<f64> {
    let (slot, steps, inner) = (sizes.slot(0), sizes.steps, sizes.inner(0));
    let len = if sizes.options.project { sizes.behind().1 } else { sizes.history(0).iter().product() };
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
            let start = Vec::from_iter(sizes.starts(0)[0].clone());
            let mut slots = drawn_in(random, len, &[sizes.initial(0), vec![inner], start].concat());
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
