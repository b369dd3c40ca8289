//! The drivers of a recurrence, `step_*.wgsl` and `sequence_*.wgsl`, each compiled with every cell.
//!
//! The contract: a driver knows of a cell only its number of gates and its two pointwise functions, so another cell is
//! another WGSL file and another line here.

use super::{
    Command, Kernel,
    launch::{ENTRY, dispatch, holds, number, params, place, read, shader, tiles, write},
};
use crate::error::{Error, Result};
use crate::model::{Cell, CellMemory};
use crate::plan::{Plan, Recurrence, RecurrenceSchedule, TensorId};

params!(StepForwardParams {
    t: u32,
    steps: u32,
    batch: u32,
    hidden: u32,
    variant: u32,
    weight_offset: u32,
    bias_offset: u32
});

params!(StepBackwardParams { t: u32, steps: u32, batch: u32, hidden: u32, variant: u32, weight_offset: u32 });

params!(SequenceForwardParams {
    steps: u32,
    batch: u32,
    hidden: u32,
    variant: u32,
    turned_offset: u32,
    bias_offset: u32,
});

params!(SequenceBackwardParams { steps: u32, batch: u32, hidden: u32, variant: u32, weight_offset: u32 });

/// The kernels of one cell.
pub(super) struct Drivers {
    pub(super) step_forward: Kernel,
    pub(super) step_backward: Kernel,
    pub(super) sequence_forward: Kernel,
    pub(super) sequence_backward: Kernel,
}

macro_rules! driver {
    ($driver:literal, $cell:literal, $params:ty, $bindings:expr) => {
        Kernel {
            name: concat!($driver, "_", $cell),
            entry: ENTRY,
            source: &[
                shader!(concat!($driver, ".wgsl")),
                shader!(concat!($cell, ".wgsl")),
                shader!("place.wgsl"),
                shader!("math.wgsl"),
            ],
            bindings: $bindings,
            workgroup: [256, 1, 1],
            params: <$params>::FIELDS,
            params_size: <$params>::SIZE,
        }
    };
}

macro_rules! drivers {
    ($cell:literal $(, $memory:literal)?) => {
        Drivers {
            step_forward: driver!(
                "step_forward",
                $cell,
                StepForwardParams,
                &[read("weight"), read("bias"), write("gates"), write("history") $(, write($memory))?]
            ),
            step_backward: driver!(
                "step_backward",
                $cell,
                StepBackwardParams,
                &[read("weight"), write("upstream"), read("history"), write("gates") $(, write($memory))?]
            ),
            sequence_forward: driver!(
                "sequence_forward",
                $cell,
                SequenceForwardParams,
                &[read("turned"), read("bias"), write("gates"), write("history") $(, write($memory))?]
            ),
            sequence_backward: driver!(
                "sequence_backward",
                $cell,
                SequenceBackwardParams,
                &[read("weight"), write("upstream"), read("history"), write("gates") $(, write($memory))?]
            ),
        }
    };
}

pub(super) static ELMAN: Drivers = drivers!("elman");
pub(super) static LSTM: Drivers = drivers!("lstm", "memory");
pub(super) static GRU: Drivers = drivers!("gru", "memory");

fn drivers(cell: Cell) -> &'static Drivers {
    match cell {
        Cell::Elman(_) => &ELMAN,
        Cell::Lstm => &LSTM,
        Cell::Gru => &GRU,
    }
}

/// Sequences, and units, of the tile that a workgroup of a step takes.
const TILE: usize = 16;

/// G·H, once the tensors are known to have the recurrence's sizes.
fn check(plan: &Plan, op: &Recurrence) -> Result<usize> {
    let rows = op.cell.gates().saturating_mul(op.hidden);
    holds(plan, op.gates, &[op.steps, op.batch, rows])?;
    holds(plan, op.history, &[op.steps.saturating_add(1), op.batch, op.hidden])?;
    match (op.cell.memory(), op.memory) {
        (CellMemory::None, None) => {}
        (CellMemory::State, Some(c)) => holds(plan, c, &[op.steps.saturating_add(1), op.batch, op.hidden])?,
        (CellMemory::Recurrent, Some(u)) => holds(plan, u, &[op.steps, op.batch, rows])?,
        _ => return Err(Error::Config(format!("the tensor that a cell of kind {} keeps", op.cell.name()))),
    }
    Ok(rows)
}

pub(super) fn forward(plan: &Plan, op: &Recurrence) -> Result<Vec<Command>> {
    let rows = check(plan, op)?;
    let (steps, batch, hidden) = (number(op.steps)?, number(op.batch)?, number(op.hidden)?);
    let variant = op.cell.variant();
    let bias_offset = place(plan, "bias", &op.bias, [1, rows])?;
    match op.schedule {
        RecurrenceSchedule::Steps => {
            let weight_offset = place(plan, "weight", &op.weight, [rows, op.hidden])?;
            let step = |t| {
                let params = StepForwardParams { t, steps, batch, hidden, variant, weight_offset, bias_offset };
                let mut tensors = vec![op.weight.tensor, op.bias.tensor, op.gates, op.history];
                tensors.extend(op.memory);
                let workgroups = tiles(op.batch, TILE) * tiles(op.hidden, TILE);
                dispatch(&drivers(op.cell).step_forward, tensors, &params, workgroups, 1)
            };
            (0..steps).map(step).collect()
        }
        RecurrenceSchedule::Whole => {
            let turned = op.weight_transposed.ok_or_else(|| {
                Error::Config("a recurrence over a whole sequence has no transposed weight".to_owned())
            })?;
            let turned_offset = place(plan, "weight_transposed", &turned, [op.hidden, rows])?;
            let params = SequenceForwardParams { steps, batch, hidden, variant, turned_offset, bias_offset };
            let mut tensors = vec![turned.tensor, op.bias.tensor, op.gates, op.history];
            tensors.extend(op.memory);
            let kernel = &drivers(op.cell).sequence_forward;
            Ok(vec![dispatch(kernel, tensors, &params, u64::from(batch), 1)?])
        }
    }
}

pub(super) fn backward(plan: &Plan, op: &Recurrence, upstream: TensorId) -> Result<Vec<Command>> {
    let rows = check(plan, op)?;
    holds(plan, upstream, &[op.steps, op.batch, op.hidden])?;
    let (steps, batch, hidden) = (number(op.steps)?, number(op.batch)?, number(op.hidden)?);
    let variant = op.cell.variant();
    let weight_offset = place(plan, "weight", &op.weight, [rows, op.hidden])?;
    let mut tensors = vec![op.weight.tensor, upstream, op.history, op.gates];
    tensors.extend(op.memory);
    match op.schedule {
        RecurrenceSchedule::Steps => {
            let step = |t| {
                let params = StepBackwardParams { t, steps, batch, hidden, variant, weight_offset };
                let workgroups = tiles(op.batch, TILE) * tiles(op.hidden, TILE);
                dispatch(&drivers(op.cell).step_backward, tensors.clone(), &params, workgroups, 1)
            };
            (0..steps).rev().map(step).collect()
        }
        RecurrenceSchedule::Whole => {
            let params = SequenceBackwardParams { steps, batch, hidden, variant, weight_offset };
            let kernel = &drivers(op.cell).sequence_backward;
            Ok(vec![dispatch(kernel, tensors, &params, u64::from(batch), 1)?])
        }
    }
}
