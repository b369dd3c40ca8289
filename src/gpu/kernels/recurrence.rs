//! From a recurrence to the dispatches of its drivers, `step_*.wgsl` and `sequence_*.wgsl`.
//!
//! The contract: a recurrence whose tensors and tile do not fit together is an error, and nothing here knows a cell but
//! by its record.

use super::{
    Command, Kernel,
    drivers::{Drivers, Params, drivers},
    launch::{check_len, check_min_len, contiguous_offset, dispatch, parts, tile_count, to_u32, with_constants},
};
use crate::error::{Error, Result};
use crate::model::Saved;
use crate::plan::{
    BackwardRecurrence, Cut, Hold, Plan, Projection, Recurrence, RecurrenceMode, TensorId, Tile, View, Way,
};

/// The step before the first: where the gradient of the initial state is summed.
const INITIAL_STATE: u32 = u32::MAX;

/// The parameters of a recurrence, once its tensors are known to have its sizes.
fn check(plan: &Plan, op: &Recurrence) -> Result<Params> {
    if !(1..=2).contains(&op.directions) || op.steps == 0 {
        let (directions, steps) = (op.directions, op.steps);
        return Err(Error::Config(format!(
            "a recurrence has {directions} directions and {steps} steps, expected 1 or 2 and at least 1"
        )));
    }
    if op.reverse && op.directions == 2 {
        return Err(Error::Config("a reverse recurrence has 2 directions, expected 1".to_owned()));
    }
    let (gates, width) = (op.directions.saturating_mul(op.rows()), op.width());
    let (slots, h_width) = (op.slots(), op.state_width(0));
    check_min_len(plan, op.gates, op.steps, &[op.batch, gates])?;
    // With the start's, and of a second state that of its gradient.
    let slots = op.resets.map_or(slots, |start| slots.max(start.saturating_add(1)));
    let of_second = slots.saturating_add(usize::from(op.resets.is_some()));
    check_min_len(plan, op.history, slots, &[op.batch, h_width])?;
    match op.resets {
        None => check_len(plan, op.lengths, &[op.batch])?,
        Some(start) if start > op.slots() => check_min_len(plan, op.lengths, op.steps + 2, &[op.batch])?,
        Some(start) => {
            let slots = op.slots();
            return Err(Error::Config(format!(
                "a start lies in slot {start}, expected it behind the {slots} of steps"
            )));
        }
    }
    op.dropout_mask.map_or(Ok(()), |mask| check_min_len(plan, mask, op.batch, &[h_width]))?;
    let masks = bound_masks(op);
    if op.masks().any(|other| other != masks) {
        return Err(Error::Config("what dropout and zoneout drew lies in several tensors, expected one".to_owned()));
    }
    if op.zoneout[1] != Hold::None && op.cell.saved() != Saved::State {
        return Err(Error::Config(format!("the cell {} has no c that zoneout could keep", op.cell.name())));
    }
    let offset = |kind: usize| match op.zoneout[kind].drawn() {
        None => Ok(0),
        Some(drawn) => contiguous_offset(plan, "zoneout", drawn, [op.steps * op.batch, op.state_width(kind)]),
    };
    let [zoneout_h, zoneout_c] = [offset(0)?, offset(1)?];
    let projected_offset = op.projection.map_or(Ok(0), |projection| check_projection(plan, op, &projection))?;
    match (op.cell.saved(), op.saved) {
        (Saved::None, None) => {}
        (Saved::State, Some(c)) => check_min_len(plan, c, of_second, &[op.batch, width])?,
        (Saved::Recurrent, Some(u)) => check_min_len(plan, u, op.steps, &[op.batch, gates])?,
        (Saved::Operand, Some(s)) => check_min_len(plan, s, op.steps, &[op.batch, width])?,
        (saved, given) => {
            let (cell, given) = (op.cell.name(), if given.is_some() { "one" } else { "none" });
            return Err(Error::Config(format!("the cell {cell} keeps {saved:?} beside its gates, {given} is given")));
        }
    }
    match op.peepholes {
        Some(peepholes) if op.cell.has_peepholes() => check_min_len(plan, peepholes, 3, &[width])?,
        None if !op.cell.has_peepholes() => {}
        given => {
            let (cell, given) = (op.cell.name(), if given.is_some() { "are" } else { "are not" });
            return Err(Error::Config(format!("peepholes of the cell {cell} {given} given")));
        }
    }
    Ok(Params {
        steps: to_u32(op.steps)?,
        batch: to_u32(op.batch)?,
        hidden: to_u32(op.hidden)?,
        operand: to_u32(op.operand())?,
        projected_offset,
        directions: to_u32(op.directions)?,
        reverse: if op.reverse { 0 } else { 1 },
        variant: op.cell.variant(),
        has_mask: u32::from(op.dropout_mask.is_some()),
        zoneout_h,
        zoneout_c,
        start: to_u32(op.resets.unwrap_or(0))?,
        ..Params::default()
    })
}

/// What is bound as the tensor of masks: something must be where there is none.
fn bound_masks(op: &Recurrence) -> TensorId {
    op.masks().next().unwrap_or(op.lengths)
}

/// Where what is projected starts, once it is known to be that of a recurrence that can have a projection.
fn check_projection(plan: &Plan, op: &Recurrence, Projection { projected, .. }: &Projection) -> Result<u32> {
    if op.cell.saved() != Saved::State || op.schedule != RecurrenceMode::PerStep {
        let name = op.cell.name();
        return Err(Error::Config(format!(
            "a recurrence with a projection is of the cell {name} and goes {:?}, expected a cell with a second state, \
             by steps",
            op.schedule
        )));
    }
    behind(plan, op, (op.history, op.slots()), ("history", projected), op.width())
}

/// Where a view `[T·B, cols]` starts that lies behind the slots of a tensor of this name.
fn behind(
    plan: &Plan,
    op: &Recurrence,
    (tensor, slots): (TensorId, usize),
    (name, view): (&str, &View),
    cols: usize,
) -> Result<u32> {
    let slots = slots.saturating_mul(op.batch).saturating_mul(op.state_width(0));
    if view.tensor != tensor || view.offset < slots {
        return Err(Error::Config(format!(
            "what is projected lies at {} of a tensor, expected it behind the {slots} elements of the {name}",
            view.offset
        )));
    }
    contiguous_offset(plan, "projected", view, [op.steps.saturating_mul(op.batch), cols])
}

/// What each dispatch of a step is, in order: the product, by its number, and what the projection is to it.
fn dispatches(op: &Recurrence) -> impl Iterator<Item = (u32, u32)> + Clone {
    let first = u32::from(op.projection.is_some());
    let of_cell = (0..op.cell.products() as u32).map(move |product| (product, first));
    of_cell.chain(op.projection.map(|_| (0, PROJECTED)))
}

/// What the projection is to its own dispatch.
const PROJECTED: u32 = 2;

/// W_hr, and where it starts.
fn projection_weight(plan: &Plan, op: &Recurrence) -> Result<Option<(TensorId, u32)>> {
    let Some(Projection { size, weight, .. }) = op.projection else { return Ok(None) };
    let offset = contiguous_offset(plan, "projection", &weight, [op.directions.saturating_mul(size), op.hidden])?;
    Ok(Some((weight.tensor, offset)))
}

/// The constants of a dispatch one way, and its workgroups where it makes sums of so many units.
fn tiled(op: &Recurrence, way: Way, made: usize) -> Result<([u32; 10], u64)> {
    let Tile { threads, sequences, units, split, lanes } = op.tile;
    let known = (1..=Tile::MAX_SEQUENCES).contains(&sequences) && (1..=Tile::MAX_UNITS).contains(&units);
    let columns = units as usize * if way == Way::Forward { op.cell.gates() } else { 1 };
    let known = match (lanes, op.schedule) {
        (false, _) => known && split > 0 && threads > 0 && threads % split == 0,
        (true, RecurrenceMode::PerStep) => {
            (threads, split) == (Tile::LANES, 1)
                && (1..=Tile::MAX_ROWS).contains(&sequences)
                && sequences.is_multiple_of(Tile::LANES)
                && (1..=Tile::COLUMNS).contains(&columns)
        }
        (true, RecurrenceMode::WholeSequence) => false,
    };
    if !known {
        return Err(Error::Config(format!("a recurrence has no tile {:?}", op.tile)));
    }
    let floats = to_u32(op.tile.floats(op.schedule, way, op.cell.gates(), op.hidden))?;
    let across = match op.schedule {
        RecurrenceMode::PerStep => tile_count(made, (threads / split * units) as usize),
        RecurrenceMode::WholeSequence => 1,
    };
    let workgroups = op.directions as u64 * tile_count(op.batch, sequences as usize) * across;
    let (gate, clip) = (op.gate_activation.variant(), op.cell_clip.map_or(0, |bound| (bound as f32).to_bits()));
    // 1, which no rate is, says that there are draws.
    let [zoneout_h, zoneout_c] = op.zoneout.map(|hold| match hold {
        Hold::None => 0,
        Hold::Drawn(_) => 1f32.to_bits(),
        Hold::Share(rate) => (rate as f32).to_bits(),
    });
    let resets = u32::from(op.resets.is_some());
    Ok(([threads, sequences, units, split, floats, gate, clip, zoneout_h, zoneout_c, resets], workgroups))
}

/// The kernel of one step, by who makes its sums.
fn by_tile(tile: Tile, threads: &'static Kernel, lanes: &'static Kernel) -> &'static Kernel {
    if tile.lanes { lanes } else { threads }
}

pub(super) fn forward(plan: &Plan, op: &Recurrence, cut: Cut) -> Result<Vec<Command>> {
    let params = check(plan, op)?;
    let drivers: &'static Drivers = drivers(op.cell);
    let rows = op.directions * op.rows();
    let bias_offset = op.bias.map_or(Ok(0), |bias| contiguous_offset(plan, "bias", &bias, [1, rows]))?;
    let params = Params { bias_offset, has_bias: u32::from(op.bias.is_some()), ..params };
    // Something must be bound where there is no bias or mask.
    let tensors = |weight: TensorId| {
        let bias = op.bias.map_or(weight, |bias| bias.tensor);
        let mut tensors = vec![weight, bias, op.gates, op.history, op.lengths, bound_masks(op)];
        tensors.extend(op.saved);
        tensors.extend(op.peepholes);
        tensors
    };
    match op.schedule {
        RecurrenceMode::PerStep => {
            let weight_offset = contiguous_offset(plan, "weight", &op.weight, [rows, op.operand()])?;
            let of_projection = projection_weight(plan, op)?;
            let run = |step, (product, projection)| {
                let own = of_projection.filter(|_| projection == PROJECTED);
                let (weight, weight_offset) = own.unwrap_or((op.weight.tensor, weight_offset));
                let (made, masked) = if own.is_some() { (op.operand(), 0) } else { (op.hidden, params.has_mask) };
                let (constants, workgroups) = tiled(op, Way::Forward, made)?;
                let (tile, of_cell) = constants.split_at(5);
                let constants = [tile, &[masked, projection], of_cell].concat();
                let params = Params { step, product, weight_offset, ..params };
                let kernel = by_tile(op.tile, &drivers.step_forward, &drivers.lanes_forward);
                let command = dispatch(plan, kernel, tensors(weight), &params, workgroups, 1)?;
                Ok(with_constants(command, &constants))
            };
            (0..params.steps)
                .flat_map(|step| dispatches(op).map(move |of| (step, of)))
                .map(|(s, of)| run(s, of))
                .collect()
        }
        RecurrenceMode::WholeSequence => {
            let transposed = op.weight_transposed.ok_or_else(|| {
                Error::Config("a recurrence over a whole sequence has no transposed weight".to_owned())
            })?;
            let weight_offset = contiguous_offset(plan, "weight_transposed", &transposed, [op.hidden, rows])?;
            let params = Params { weight_offset, ..params };
            let (constants, workgroups) = tiled(op, Way::Forward, op.hidden)?;
            let kernel = &drivers.sequence_forward;
            let run = |(first, count): (usize, usize)| {
                let params = Params { begin: to_u32(first)?, end: to_u32(first + count)?, ..params };
                let command = dispatch(plan, kernel, tensors(transposed.tensor), &params, workgroups, 1)?;
                Ok(with_constants(command, &constants))
            };
            parts(cut, op.steps).map(run).collect()
        }
    }
}

pub(super) fn backward(
    plan: &Plan,
    BackwardRecurrence { recurrence: op, upstream, projected, to_start, carried }: &BackwardRecurrence,
    cut: Cut,
) -> Result<Vec<Command>> {
    let (upstream, to_start, carried) = (*upstream, *to_start, *carried);
    let params = check(plan, op)?;
    let drivers: &'static Drivers = drivers(op.cell);
    let slots = op.slots().saturating_add(usize::from(carried));
    let slots = op.resets.map_or(slots, |start| slots.max(start.saturating_add(1)));
    check_min_len(plan, upstream, slots, &[op.batch, op.state_width(0)])?;
    if let (Saved::State, Some(c)) = (op.cell.saved(), op.saved) {
        check_min_len(plan, c, slots, &[op.batch, op.width()])?;
    }
    if carried && op.is_reverse(op.directions - 1) {
        return Err(Error::Config(
            "gradients are carried to a recurrence that reads forwards, this one has a reverse direction".to_owned(),
        ));
    }
    let weight_offset = contiguous_offset(plan, "weight", &op.weight, [op.directions * op.rows(), op.operand()])?;
    let params = Params { weight_offset, carried: u32::from(carried), ..params };
    if op.zoneout.iter().any(|hold| matches!(hold, Hold::Share(_))) {
        return Err(Error::Config("a gradient goes back through what zoneout drew, not through its mean".to_owned()));
    }
    if projected.is_some() != (op.projection.is_some() && op.zoneout[0] != Hold::None) {
        let given = if projected.is_some() { "one" } else { "none" };
        return Err(Error::Config(format!(
            "of what is projected {given} has a gradient of its own, expected one with a projection and zoneout of h"
        )));
    }
    let of_width = op.state_width(0);
    let projected_offset =
        projected.map_or(Ok(0), |view| behind(plan, op, (upstream, slots), ("upstream", &view), of_width))?;
    let params = Params { projected_offset, ..params };
    let tensors = |weight: TensorId| {
        let mut tensors = vec![weight, upstream, op.history, op.gates, op.lengths, bound_masks(op)];
        tensors.extend(op.saved);
        tensors.extend(op.peepholes);
        tensors
    };
    if let Some(peepholes) = op.peepholes {
        // The row of the peepholes themselves, and those behind it.
        let (rows, row) = (op.steps * op.batch, op.peephole_row());
        check_min_len(plan, peepholes, 1, &[rows.saturating_mul(row).saturating_add(row - 1)])?;
    }
    match op.schedule {
        RecurrenceMode::PerStep => {
            let of_projection = projection_weight(plan, op)?;
            let steps = (0..params.steps).rev().flat_map(|step| dispatches(op).map(move |of| (step, of)));
            let run = |(step, (product, projection))| {
                let own = of_projection.filter(|_| projection == PROJECTED);
                let (weight, weight_offset) = own.unwrap_or((op.weight.tensor, weight_offset));
                // The other way round: U makes gradients of h, and W_hr the cell's.
                let (made, has_mask) = if own.is_some() { (op.hidden, 0) } else { (op.operand(), params.has_mask) };
                let (constants, workgroups) = tiled(op, Way::Backward, made)?;
                let (tile, of_cell) = constants.split_at(5);
                let constants = [tile, &[projection], of_cell].concat();
                let params = Params { step, product, weight_offset, has_mask, ..params };
                let kernel = by_tile(op.tile, &drivers.step_backward, &drivers.lanes_backward);
                let command = dispatch(plan, kernel, tensors(weight), &params, workgroups, 1)?;
                Ok(with_constants(command, &constants))
            };
            let start = to_start.then(|| dispatches(op).next()).flatten().map(|of| (INITIAL_STATE, of));
            steps.chain(start).map(run).collect()
        }
        RecurrenceMode::WholeSequence => {
            let (constants, workgroups) = tiled(op, Way::Backward, op.hidden)?;
            let kernel = &drivers.sequence_backward;
            let run = |(first, count): (usize, usize)| {
                let to_start = u32::from(to_start && first == 0);
                let params = Params { to_start, begin: to_u32(first)?, end: to_u32(first + count)?, ..params };
                let command = dispatch(plan, kernel, tensors(op.weight.tensor), &params, workgroups, 1)?;
                Ok(with_constants(command, &constants))
            };
            parts(cut, op.steps).rev().map(run).collect()
        }
    }
}
