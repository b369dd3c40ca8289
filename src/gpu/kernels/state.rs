//! `copy.wgsl`, `accumulate.wgsl`, `remaining_lengths.wgsl`, `initial_state.wgsl` and `initial_state_gradient.wgsl`:
//! copies and sums of rows, and where sequences begin and end.
//!
//! The contract: one thread an element, and every sum in a fixed order.

use super::{
    Command, Kernel,
    launch::{
        check_len, contiguous_offset, dispatch, matrix, offset_in_bounds, params, parts, read, shader, strided_offset,
        tensor, tile_count, to_u32, write,
    },
};
use crate::error::{Error, Result};
use crate::plan::{Accumulate, CopyView, Cut, InitialState, InitialStateGradient, Plan, RemainingLengths, TensorId};

params!(CopyParams { rows: u32, columns: u32, source_offset: u32, source_stride: u32, to_offset: u32, to_stride: u32 });

pub(super) static COPY: Kernel = Kernel::new::<CopyParams>(
    "copy",
    &[shader!("copy.wgsl"), shader!("math.wgsl")],
    &[read("source").of("Source"), write("to").of("To")],
);

params!(AccumulateParams { len: u32, y_offset: u32, x_offset: u32 });

pub(super) static ACCUMULATE: Kernel = Kernel::new::<AccumulateParams>(
    "accumulate",
    &[shader!("accumulate.wgsl"), shader!("math.wgsl")],
    &[read("y").of("Y"), write("x").of("X")],
);

params!(RemainingLengthsParams { batch: u32, skipped: u32, len: u32, left_len: u32 });

pub(super) static REMAINING_LENGTHS: Kernel = Kernel::new::<RemainingLengthsParams>(
    "remaining_lengths",
    &[shader!("remaining_lengths.wgsl"), shader!("math.wgsl")],
    &[read("lengths"), write("left")],
);

params!(InitialStateParams { states: u32, batch: u32, columns: u32, learned_offset: u32, state_offset: u32 });

pub(super) static INITIAL_STATE: Kernel = Kernel::new::<InitialStateParams>(
    "initial_state",
    &[shader!("initial_state.wgsl"), shader!("math.wgsl")],
    &[read("learned").of("Learned"), read("fresh"), write("state")],
);

params!(InitialStateGradientParams {
    batch: u32,
    hidden: u32,
    columns: u32,
    first_slot: u32,
    second_slot: u32,
    weight_offset: u32,
    first: u32,
    count: u32,
    zero: u32,
    has_resets: u32,
    reset_slot: u32,
});

pub(super) static INITIAL_STATE_GRADIENT: Kernel = Kernel::new::<InitialStateGradientParams>(
    "initial_state_gradient",
    &[shader!("initial_state_gradient.wgsl"), shader!("carry.wgsl"), shader!("math.wgsl")],
    &[read("source").of("Source"), read("fresh"), write("slices")],
);

pub(super) fn copy(plan: &Plan, CopyView { from, to }: &CopyView) -> Result<Command> {
    let shape @ [rows, columns] = [to.rows, to.cols];
    if plan.copies_bytes(from, to) {
        contiguous_offset(plan, "from", from, shape)?;
        contiguous_offset(plan, "to", to, shape)?;
        return Ok(Command::Copy { from: *from, to: *to });
    }
    let params = CopyParams {
        rows: to_u32(rows)?,
        columns: to_u32(columns)?,
        source_offset: strided_offset(plan, "from", from, shape)?,
        source_stride: to_u32(from.stride)?,
        to_offset: strided_offset(plan, "to", to, shape)?,
        to_stride: to_u32(to.stride)?,
    };
    dispatch(plan, &COPY, vec![from.tensor, to.tensor], &params, tile_count(rows * columns, 256), 1)
}

pub(super) fn accumulate(plan: &Plan, Accumulate { x, y }: &Accumulate) -> Result<Command> {
    let shape = [x.rows, x.cols];
    let params = AccumulateParams {
        len: to_u32(x.len())?,
        y_offset: contiguous_offset(plan, "y", y, shape)?,
        x_offset: contiguous_offset(plan, "x", x, shape)?,
    };
    dispatch(plan, &ACCUMULATE, vec![y.tensor, x.tensor], &params, tile_count(x.len(), 256), 1)
}

pub(super) fn remaining_lengths(plan: &Plan, op: &RemainingLengths) -> Result<Command> {
    let lengths = tensor(plan, op.lengths)?;
    let (batch, left) = (lengths.shape.last().copied().unwrap_or(1), tensor(plan, op.out)?);
    if left.shape.len() != lengths.shape.len() || left.shape.last() != Some(&batch) {
        return Err(Error::shape(&left.name, &lengths.shape, &[left.len()]));
    }
    let params = RemainingLengthsParams {
        batch: to_u32(batch)?,
        skipped: to_u32(op.skipped)?,
        len: to_u32(lengths.len())?,
        left_len: to_u32(left.len())?,
    };
    dispatch(plan, &REMAINING_LENGTHS, vec![op.lengths, op.out], &params, tile_count(left.len(), 256), 1)
}

pub(super) fn initial_state(plan: &Plan, op: &InitialState) -> Result<Command> {
    let [states, columns] = [op.learned.rows, op.learned.cols];
    let batch = op.state.rows / states.max(1);
    check_len(plan, op.fresh, &[1])?;
    let params = InitialStateParams {
        states: to_u32(states)?,
        batch: to_u32(batch)?,
        columns: to_u32(columns)?,
        learned_offset: contiguous_offset(plan, "learned", &op.learned, [states, columns])?,
        state_offset: contiguous_offset(plan, "state", &op.state, [states * batch, columns])?,
    };
    let tensors = vec![op.learned.tensor, op.fresh, op.state.tensor];
    dispatch(plan, &INITIAL_STATE, tensors, &params, tile_count(op.state.len(), 256), 1)
}

pub(super) fn initial_state_gradient(plan: &Plan, op: &InitialStateGradient, cut: Cut) -> Result<Vec<Command>> {
    let [slots, batch, columns] = history(plan, op.from)?;
    let (first, second) = match *op.slots.as_slice() {
        [first] => (first, first),
        [first, second] => (first, second),
        _ => {
            let given = op.slots.len();
            return Err(Error::Config(format!("an initial state has {given} slots, expected 1 or 2, one a direction")));
        }
    };
    offset_in_bounds("a slot", first.max(second).max(op.resets.unwrap_or(0)), [1, 1], slots)?;
    check_len(plan, op.fresh, &[1])?;
    let params = InitialStateGradientParams {
        batch: to_u32(batch)?,
        hidden: to_u32(columns / op.slots.len())?,
        columns: to_u32(columns)?,
        first_slot: to_u32(first)?,
        second_slot: to_u32(second)?,
        has_resets: u32::from(op.resets.is_some()),
        reset_slot: to_u32(op.resets.unwrap_or(0))?,
        weight_offset: offset_in_bounds("weight", op.weight, [1, columns], matrix(plan, op.slices)?[1])?,
        ..InitialStateGradientParams::default()
    };
    let run = |(first, count): (usize, usize)| {
        let params = InitialStateGradientParams { first: to_u32(first)?, count: to_u32(count)?, ..params };
        dispatch(
            plan,
            &INITIAL_STATE_GRADIENT,
            vec![op.from, op.fresh, op.slices],
            &params,
            tile_count(columns, 256),
            1,
        )
    };
    parts(cut, batch).map(run).collect()
}

/// The sizes of a tensor of three dimensions.
fn history(plan: &Plan, id: TensorId) -> Result<[usize; 3]> {
    let tensor = tensor(plan, id)?;
    <[usize; 3]>::try_from(tensor.shape.as_slice()).map_err(|_| {
        Error::Config(format!("tensor `{}` has shape {:?}, expected three dimensions", tensor.name, tensor.shape))
    })
}
