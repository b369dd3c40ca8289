//! The recurrence forwards and backwards, in either schedule: cases of any size.

use recurrent::plan::{Op, Recurrence, RecurrenceSchedule};
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
    pub activation: Activation,
    pub schedule: RecurrenceSchedule,
}

impl Sizes {
    fn start(&self, direction: &str) -> Case {
        let Sizes { steps, batch, hidden, activation, schedule } = self;
        Case::new(format!("{direction}, T {steps}, B {batch}, H {hidden}, {activation:?}, {schedule:?}"))
    }
}

/// U so that a step neither shrinks nor grows much what comes in.
fn recurrent_weights(random: &mut Random, hidden: usize) -> Vec<f64> {
    random.reals(hidden * hidden, 1.5 / (hidden as f64).sqrt())
}

/// h_1 to h_T from h_0 and W·x + b_W.
pub fn forward(random: &mut Random, sizes: Sizes) -> Case {
    let gates = random.reals(sizes.steps * sizes.batch * sizes.hidden, 1.0);
    let weights = recurrent_weights(random, sizes.hidden);
    forward_of(random, sizes, gates, weights, F32_RECURRENCE)
}

/// The same of given gates and given U.
pub fn forward_of(random: &mut Random, sizes: Sizes, gates: Vec<f64>, u: Vec<f64>, tolerance: Tolerance) -> Case {
    let Sizes { steps, batch, hidden, activation, schedule } = sizes;
    let mut case = sizes.start("forward");
    let turned = (0..hidden * hidden).map(|at| u[at % hidden * hidden + at / hidden]).collect();
    let weight = case.matrix("weight", hidden, hidden, u);
    let weight_transposed = Some(case.matrix("weight_transposed", hidden, hidden, turned));
    let bias = case.matrix("bias", 1, hidden, random.reals(hidden, 0.3));
    let gates = case.real("gates", &[steps, batch, hidden], gates);
    let (first, len) = (batch * hidden, (steps + 1) * batch * hidden);
    let mut slots = vec![f64::NAN; len];
    slots[..first].copy_from_slice(&random.reals(first, 1.0));
    let shape = [steps + 1, batch, hidden];
    let history = case.in_out("history", &shape, slots, vec![(0..first, EXACT), (first..len, tolerance)]);
    let cell = Cell::Elman(activation);
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
        schedule,
    }))
}

/// The gradients of the pre-activations from those of h_1 to h_T.
pub fn backward(random: &mut Random, sizes: Sizes) -> Case {
    let Sizes { steps, batch, hidden, activation, schedule } = sizes;
    let mut case = sizes.start("backward");
    let weight = case.matrix("weight", hidden, hidden, recurrent_weights(random, hidden));
    let len = steps * batch * hidden;
    // Of relu about half are zeros; h_0 is not read.
    let mut slots = vec![f64::NAN; batch * hidden];
    slots.extend(
        random.reals(len, 1.0).into_iter().map(|h| if activation == Activation::Relu { h.max(0.0) } else { h }),
    );
    let history = case.real("history", &[steps + 1, batch, hidden], slots);
    let upstream = case.real("upstream", &[steps, batch, hidden], random.reals(len, 1.0));
    let gates = case.out("gates", &[steps, batch, hidden], std::iter::once(0..len), F32_RECURRENCE);
    // Only forwards reads a bias.
    let bias = case.matrix("bias", 1, hidden, vec![f64::NAN; hidden]);
    let cell = Cell::Elman(activation);
    let recurrence =
        Recurrence { cell, steps, batch, hidden, weight, weight_transposed: None, bias, gates, history, schedule };
    case.with(Op::Backward { recurrence, upstream })
}
