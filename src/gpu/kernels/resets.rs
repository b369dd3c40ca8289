//! `start_state.wgsl` and `states_before.wgsl`: what a recurrence with resets needs beside itself.
//!
//! The contract: one thread an element; every element of what is written is assigned.

use super::{
    Command, Kernel,
    launch::{check_min_len, contiguous_offset, dispatch, params, read, shader, tile_count, to_u32, write},
};
use crate::error::{Error, Result};
use crate::plan::{Plan, StartState, StatesBefore};

params!(StartStateParams { batch: u32, columns: u32, learned_offset: u32, state_offset: u32, has_learned: u32 });

pub(super) static START_STATE: Kernel = Kernel::new::<StartStateParams>(
    "start_state",
    &[shader!("start_state.wgsl"), shader!("math.wgsl")],
    &[read("learned").of("Learned"), write("state").of("State")],
);

params!(StatesBeforeParams {
    steps: u32,
    batch: u32,
    columns: u32,
    directions: u32,
    reverse: u32,
    start: u32,
    before_offset: u32,
});

pub(super) static STATES_BEFORE: Kernel = Kernel::new::<StatesBeforeParams>(
    "states_before",
    &[shader!("states_before.wgsl"), shader!("math.wgsl")],
    &[read("history").of("History"), read("lengths"), write("before").of("Before")],
);

pub(super) fn start_state(plan: &Plan, StartState { learned, parameters, to }: &StartState) -> Result<Command> {
    if learned.is_some_and(|learned| learned.tensor != *parameters) {
        return Err(Error::Config("a learned start lies in another tensor than the parameters".to_owned()));
    }
    let params = StartStateParams {
        batch: to_u32(to.rows)?,
        columns: to_u32(to.cols)?,
        learned_offset: learned.map_or(Ok(0), |learned| contiguous_offset(plan, "learned", &learned, [1, to.cols]))?,
        state_offset: contiguous_offset(plan, "state", to, [to.rows, to.cols])?,
        has_learned: u32::from(learned.is_some()),
    };
    dispatch(plan, &START_STATE, vec![*parameters, to.tensor], &params, tile_count(to.len(), 256), 1)
}

pub(super) fn states_before(plan: &Plan, op: &StatesBefore) -> Result<Command> {
    if op.steps == 0 || !(1..=2).contains(&op.directions) || (op.reverse && op.directions == 2) {
        return Err(Error::Config(format!(
            "states of {} directions and {} steps, expected 1 or 2 and at least 1",
            op.directions, op.steps
        )));
    }
    let (batch, columns) = (op.out.rows / op.steps, op.out.cols);
    check_min_len(plan, op.history, op.start.saturating_add(1), &[batch, columns])?;
    check_min_len(plan, op.lengths, op.steps + 2, &[batch])?;
    let params = StatesBeforeParams {
        steps: to_u32(op.steps)?,
        batch: to_u32(batch)?,
        columns: to_u32(columns)?,
        directions: to_u32(op.directions)?,
        reverse: if op.reverse { 0 } else { 1 },
        start: to_u32(op.start)?,
        before_offset: contiguous_offset(plan, "before", &op.out, [op.steps * batch, columns])?,
    };
    let tensors = vec![op.history, op.lengths, op.out.tensor];
    dispatch(plan, &STATES_BEFORE, tensors, &params, tile_count(op.out.len(), 256), 1)
}
