//! What a recurrence with resets needs beside itself: cases of any size.

use recurrent::internals::plan::{Op, StartState, StatesBefore, View};

use crate::case::Case;
use crate::common::compare::EXACT;
use crate::common::random::Random;

/// The state that sequences begin anew from: a learned row for each of them, or zeros.
pub fn start(random: &mut Random, [batch, width]: [usize; 2], is_learned: bool) -> Case {
    let mut case = Case::new(format!("start state, B {batch}, {width} wide, learned {is_learned}"));
    // What is not read is NaN.
    let row = if is_learned { random.reals(width, 1.0) } else { vec![f64::NAN; width] };
    let parameters = case.real("parameters", &[width + 5], [vec![f64::NAN; 3], row, vec![f64::NAN; 2]].concat());
    let learned = is_learned.then(|| View::new(parameters, 3, 1, width));
    let state = case.out("state", &[7 + batch * width + 2], std::iter::once(7..7 + batch * width), EXACT);
    case.with(Op::StartState(StartState { learned, parameters, to: View::new(state, 7, batch, width) }))
}

/// The state before every step, in whichever slot it lies.
pub fn before(random: &mut Random, [steps, batch, hidden]: [usize; 3], directions: usize, reverse: bool) -> Case {
    let mut case =
        Case::new(format!("states before, T {steps}, B {batch}, H {hidden}, D {directions}, reverse {reverse}"));
    let (width, slots) = (directions * hidden, steps + if reverse { 2 } else { directions });
    // Behind one for what is carried.
    let start = slots + 1;
    let history = case.real("history", &[start + 1, batch, width], random.reals((start + 1) * batch * width, 1.0));
    let flags = random.ids((steps + 1) * batch, 3).into_iter().map(|drawn| u32::from(drawn == 0));
    let lengths = case.ids("lengths", vec![steps as u32; batch].into_iter().chain(flags).collect());
    let len = steps * batch * width;
    let out = case.out("before", &[len + 3], std::iter::once(2..2 + len), EXACT);
    let out = View::new(out, 2, steps * batch, width);
    case.with(Op::StatesBefore(StatesBefore { history, start, lengths, directions, reverse, steps, out }))
}
