//! The recurrence forwards and backwards, of every cell and in either schedule: cases of any size.

use recurrent::plan::{Op, Recurrence, RecurrenceSchedule, TensorId};
use recurrent::{Activation, Cell};

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
    pub schedule: RecurrenceSchedule,
}

impl Sizes {
    fn start(&self, direction: &str) -> Case {
        let Sizes { steps, batch, hidden, cell, schedule } = self;
        Case::new(format!("{direction}, T {steps}, B {batch}, H {hidden}, {cell:?}, {schedule:?}"))
    }

    /// B·H, a slot of h; G·H, rows of U; and T·B·G·H, all gates.
    fn counts(&self) -> (usize, usize, usize) {
        let rows = self.cell.gates() * self.hidden;
        (self.batch * self.hidden, rows, self.steps * self.batch * rows)
    }
}

/// U so that a step neither shrinks nor grows much what comes in.
fn recurrent_weights(random: &mut Random, sizes: &Sizes) -> Vec<f64> {
    let hidden = sizes.hidden;
    random.reals(sizes.counts().1 * hidden, 1.5 / (hidden as f64).sqrt())
}

/// Slot 0 drawn, to be kept as it is, and the others to be written.
fn from_slot_0(case: &mut Case, name: &str, random: &mut Random, sizes: &Sizes, tolerance: Tolerance) -> TensorId {
    let first = sizes.counts().0;
    let shape = [sizes.steps + 1, sizes.batch, sizes.hidden];
    let mut slots = random.reals(first, 1.0);
    let len = (sizes.steps + 1) * first;
    slots.resize(len, f64::NAN);
    case.in_out(name, &shape, slots, vec![(0..first, EXACT), (first..len, tolerance)])
}

/// h_1 to h_T, and what the cell keeps, from the state before and W·x + b_W.
pub fn forward(random: &mut Random, sizes: Sizes) -> Case {
    let gates = random.reals(sizes.counts().2, 1.0);
    let weights = recurrent_weights(random, &sizes);
    forward_of(random, sizes, gates, weights, F32_RECURRENCE)
}

/// The same of given gates and given U.
pub fn forward_of(random: &mut Random, sizes: Sizes, gates: Vec<f64>, u: Vec<f64>, tolerance: Tolerance) -> Case {
    let Sizes { steps, batch, hidden, cell, schedule } = sizes;
    let (_, rows, len) = sizes.counts();
    let mut case = sizes.start("forward");
    let turned = (0..hidden * rows).map(|at| u[at % rows * hidden + at / rows]).collect();
    let weight = case.matrix("weight", rows, hidden, u);
    let weight_transposed = Some(case.matrix("weight_transposed", hidden, rows, turned));
    let bias = case.matrix("bias", 1, rows, random.reals(rows, 0.3));
    let shape = [steps, batch, rows];
    let gates = match cell {
        Cell::Elman(_) => case.real("gates", &shape, gates),
        _ => case.in_out("gates", &shape, gates, vec![(0..len, tolerance)]),
    };
    let history = from_slot_0(&mut case, "history", random, &sizes, tolerance);
    let memory = match cell {
        Cell::Lstm => Some(from_slot_0(&mut case, "cells", random, &sizes, tolerance)),
        Cell::Gru => Some(case.out("recurrent", &shape, std::iter::once(0..len), tolerance)),
        _ => None,
    };
    case.with(Op::Forward(Recurrence {
        cell,
        steps,
        batch,
        hidden,
        weight,
        weight_transposed,
        bias,
        gates,
        history,
        memory,
        schedule,
    }))
}

/// The gradients of the pre-activations from those of h_1 to h_T.
pub fn backward(random: &mut Random, sizes: Sizes) -> Case {
    let Sizes { steps, batch, hidden, cell, schedule } = sizes;
    let (slot, rows, len) = sizes.counts();
    let mut case = sizes.start("backward");
    let weights = recurrent_weights(random, &sizes);
    let weight = case.matrix("weight", rows, hidden, weights);
    let mut slots = random.reals((steps + 1) * slot, 1.0);
    match cell {
        // Of relu about half are zeros; h_0 is not read.
        Cell::Elman(activation) => {
            if activation == Activation::Relu {
                slots.iter_mut().for_each(|h| *h = h.max(0.0));
            }
            slots[..slot].fill(f64::NAN);
        }
        // Of a GRU h_T is not read, of an LSTM no h at all.
        Cell::Gru => slots[steps * slot..].fill(f64::NAN),
        _ => slots.fill(f64::NAN),
    }
    let history = case.real("history", &[steps + 1, batch, hidden], slots);
    let above = random.reals(steps * slot, 1.0);
    let upstream = case.in_out("upstream", &[steps, batch, hidden], above, vec![(0..steps * slot, F32_RECURRENCE)]);
    let shape = [steps, batch, rows];
    let all = vec![(0..len, F32_RECURRENCE)];
    let gates = match cell {
        Cell::Elman(_) => case.out("gates", &shape, std::iter::once(0..len), F32_RECURRENCE),
        _ => case.in_out("gates", &shape, random.reals(len, 1.0), all.clone()),
    };
    let memory = match cell {
        Cell::Lstm => {
            let c = random.reals((steps + 1) * slot, 1.0);
            let kept = vec![(0..slot, EXACT), (slot..c.len(), F32_RECURRENCE)];
            Some(case.in_out("cells", &[steps + 1, batch, hidden], c, kept))
        }
        Cell::Gru => {
            // Only the candidate's part is read.
            let mut u = random.reals(len, 1.0);
            u.chunks_exact_mut(rows).for_each(|row| row[..2 * hidden].fill(f64::NAN));
            Some(case.in_out("recurrent", &shape, u, all))
        }
        _ => None,
    };
    // Only forwards reads a bias.
    let bias = case.matrix("bias", 1, rows, vec![f64::NAN; rows]);
    let recurrence = Recurrence {
        cell,
        steps,
        batch,
        hidden,
        weight,
        weight_transposed: None,
        bias,
        gates,
        history,
        memory,
        schedule,
    };
    case.with(Op::Backward { recurrence, upstream })
}
