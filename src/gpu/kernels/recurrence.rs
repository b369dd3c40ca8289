//! The drivers of a recurrence, `step_*.wgsl` and `sequence_*.wgsl`, each compiled with every cell.
//!
//! The contract: a driver knows of a cell only its numbers of gates and its pointwise functions, so another cell is
//! another WGSL file and another line in the table of cells.

use super::{
    Binding, Command, Kernel,
    launch::{ENTRY, dispatch, holds, number, params, place, reaches, read, shader, tiles, write},
};
use crate::error::{Error, Result};
use crate::model::{Cell, CellMemory, Record, cells, table};
use crate::plan::{Plan, Recurrence, RecurrenceSchedule, TensorId};

params!(Params {
    step: u32,
    product: u32,
    steps: u32,
    batch: u32,
    hidden: u32,
    directions: u32,
    variant: u32,
    weight_offset: u32,
    bias_offset: u32,
    has_bias: u32,
    has_mask: u32,
    to_start: u32,
});

/// The kernels of one cell.
struct Drivers {
    step_forward: Kernel,
    step_backward: Kernel,
    sequence_forward: Kernel,
    sequence_backward: Kernel,
}

/// A driver's buffers; the seventh is there for a cell that keeps something.
const fn bindings(record: &Record, all: &'static [Binding; 7]) -> &'static [Binding] {
    if matches!(record.memory, CellMemory::None) { all.split_at(6).0 } else { all }
}

/// A driver's WGSL in pieces; the last is there for a cell of one product.
const fn source(record: &Record, all: &'static [&'static str; 5]) -> &'static [&'static str] {
    if record.first_gates == record.gates { all } else { all.split_at(4).0 }
}

macro_rules! driver {
    ($driver:literal, $cell:ident, $bindings:expr) => {
        Kernel {
            name: concat!($driver, "_", stringify!($cell)),
            entry: ENTRY,
            source: source(
                &cells::$cell::RECORD,
                &[
                    shader!(concat!($driver, ".wgsl")),
                    shader!(concat!(stringify!($cell), ".wgsl")),
                    shader!("recurrence.wgsl"),
                    shader!("math.wgsl"),
                    shader!("one_product.wgsl"),
                ],
            ),
            bindings: bindings(&cells::$cell::RECORD, $bindings),
            workgroup: [256, 1, 1],
            params: Params::FIELDS,
            params_size: Params::SIZE,
        }
    };
}

const LENGTHS: Binding = read("lengths");
const MASK: Binding = read("mask");
const MEMORY: Binding = write("memory");

macro_rules! drivers {
    ($($cell:ident: $pattern:pat,)*) => {
        fn drivers(cell: Cell) -> &'static Drivers {
            match cell { $($pattern => &$cell::DRIVERS,)* }
        }

        /// Every cell's drivers.
        pub(super) fn kernels() -> impl Iterator<Item = &'static Kernel> {
            [$(&$cell::DRIVERS,)*].into_iter().flat_map(|d: &'static Drivers| {
                [&d.step_forward, &d.step_backward, &d.sequence_forward, &d.sequence_backward]
            })
        }

        $(mod $cell {
            use super::*;

            pub(super) static DRIVERS: Drivers = Drivers {
                step_forward: driver!(
                    "step_forward",
                    $cell,
                    &[read("weight"), read("bias"), write("gates"), write("history"), LENGTHS, MASK, MEMORY]
                ),
                step_backward: driver!(
                    "step_backward",
                    $cell,
                    &[read("weight"), write("upstream"), read("history"), write("gates"), LENGTHS, MASK, MEMORY]
                ),
                sequence_forward: driver!(
                    "sequence_forward",
                    $cell,
                    &[read("turned"), read("bias"), write("gates"), write("history"), LENGTHS, MASK, MEMORY]
                ),
                sequence_backward: driver!(
                    "sequence_backward",
                    $cell,
                    &[read("weight"), write("upstream"), read("history"), write("gates"), LENGTHS, MASK, MEMORY]
                ),
            };
        })*
    };
}
table!(drivers);

/// Sequences, and units, of the tile that a workgroup of a step takes.
const TILE: usize = 16;

/// The step before the first: where the gradient of the initial state is summed.
const START: u32 = u32::MAX;

/// The parameters of a recurrence, once its tensors are known to have its sizes.
fn check(plan: &Plan, op: &Recurrence) -> Result<Params> {
    if !(1..=2).contains(&op.directions) || op.steps == 0 {
        let (directions, steps) = (op.directions, op.steps);
        return Err(Error::Config(format!(
            "a recurrence has {directions} directions and {steps} steps, expected 1 or 2 and at least 1"
        )));
    }
    let (gates, width) = (op.directions.saturating_mul(op.rows()), op.width());
    let slots = op.steps.saturating_add(op.directions);
    reaches(plan, op.gates, op.steps, &[op.batch, gates])?;
    reaches(plan, op.history, slots, &[op.batch, width])?;
    holds(plan, op.lengths, &[op.batch])?;
    op.mask.map_or(Ok(()), |mask| holds(plan, mask, &[op.batch, width]))?;
    match (op.cell.memory(), op.memory) {
        (CellMemory::None, None) => {}
        (CellMemory::State, Some(c)) => reaches(plan, c, slots, &[op.batch, width])?,
        (CellMemory::Recurrent, Some(u)) => reaches(plan, u, op.steps, &[op.batch, gates])?,
        (CellMemory::Operand, Some(s)) => reaches(plan, s, op.steps, &[op.batch, width])?,
        (memory, given) => {
            let (cell, given) = (op.cell.name(), if given.is_some() { "one" } else { "none" });
            return Err(Error::Config(format!("the cell {cell} keeps {memory:?} beside its gates, {given} is given")));
        }
    }
    Ok(Params {
        step: 0,
        product: 0,
        steps: number(op.steps)?,
        batch: number(op.batch)?,
        hidden: number(op.hidden)?,
        directions: number(op.directions)?,
        variant: op.cell.variant(),
        weight_offset: 0,
        bias_offset: 0,
        has_bias: 0,
        has_mask: u32::from(op.mask.is_some()),
        to_start: 0,
    })
}

/// The products of a cell's step.
fn products(op: &Recurrence) -> std::ops::Range<u32> {
    0..op.cell.products() as u32
}

fn workgroups(op: &Recurrence) -> u64 {
    op.directions as u64 * tiles(op.batch, TILE) * tiles(op.hidden, TILE)
}

pub(super) fn forward(plan: &Plan, op: &Recurrence) -> Result<Vec<Command>> {
    let params = check(plan, op)?;
    let rows = op.directions * op.rows();
    let bias_offset = op.bias.map_or(Ok(0), |bias| place(plan, "bias", &bias, [1, rows]))?;
    let params = Params { bias_offset, has_bias: u32::from(op.bias.is_some()), ..params };
    // Something must be bound where there is no bias or mask.
    let tensors = |weight: TensorId| {
        let (bias, mask) = (op.bias.map_or(weight, |bias| bias.tensor), op.mask.unwrap_or(weight));
        let mut tensors = vec![weight, bias, op.gates, op.history, op.lengths, mask];
        tensors.extend(op.memory);
        tensors
    };
    match op.schedule {
        RecurrenceSchedule::Steps => {
            let weight_offset = place(plan, "weight", &op.weight, [rows, op.hidden])?;
            let run = |step, product| {
                let params = Params { step, product, weight_offset, ..params };
                dispatch(&drivers(op.cell).step_forward, tensors(op.weight.tensor), &params, workgroups(op), 1)
            };
            (0..params.steps)
                .flat_map(|step| products(op).map(move |product| (step, product)))
                .map(|(s, p)| run(s, p))
                .collect()
        }
        RecurrenceSchedule::Whole => {
            let turned = op.weight_transposed.ok_or_else(|| {
                Error::Config("a recurrence over a whole sequence has no transposed weight".to_owned())
            })?;
            let weight_offset = place(plan, "weight_transposed", &turned, [op.hidden, rows])?;
            let params = Params { weight_offset, ..params };
            let kernel = &drivers(op.cell).sequence_forward;
            Ok(vec![dispatch(kernel, tensors(turned.tensor), &params, (op.directions * op.batch) as u64, 1)?])
        }
    }
}

pub(super) fn backward(plan: &Plan, op: &Recurrence, upstream: TensorId, to_start: bool) -> Result<Vec<Command>> {
    let params = check(plan, op)?;
    holds(plan, upstream, &[op.steps.saturating_add(op.directions), op.batch, op.width()])?;
    let weight_offset = place(plan, "weight", &op.weight, [op.directions * op.rows(), op.hidden])?;
    let params = Params { weight_offset, ..params };
    let mask = op.mask.unwrap_or(op.weight.tensor);
    let mut tensors = vec![op.weight.tensor, upstream, op.history, op.gates, op.lengths, mask];
    tensors.extend(op.memory);
    match op.schedule {
        RecurrenceSchedule::Steps => {
            let steps = (0..params.steps).rev().flat_map(|step| products(op).map(move |product| (step, product)));
            let run = |(step, product)| {
                let params = Params { step, product, ..params };
                dispatch(&drivers(op.cell).step_backward, tensors.clone(), &params, workgroups(op), 1)
            };
            steps.chain(to_start.then_some((START, 0))).map(run).collect()
        }
        RecurrenceSchedule::Whole => {
            let params = Params { to_start: u32::from(to_start), ..params };
            let kernel = &drivers(op.cell).sequence_backward;
            Ok(vec![dispatch(kernel, tensors, &params, (op.directions * op.batch) as u64, 1)?])
        }
    }
}
