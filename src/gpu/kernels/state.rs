//! `copy.wgsl`, `remaining.wgsl`, `start.wgsl`, `start_gradient.wgsl`, `pool.wgsl` and `pool_gradient.wgsl`: where sequences begin and end.
//!
//! The contract: one thread an element, and every sum in a fixed order.

use super::{
    Command, Kernel,
    launch::{
        ENTRY, dispatch, holds, inside, matrix, number, params, parts, place, reaches, read, shader, strided, tensor,
        tiles, write,
    },
};
use crate::error::{Error, Result};
use crate::plan::{Cut, Plan, Pool, PoolGradient, PoolKind, Remaining, Start, StartGradient, TensorId, View};

params!(CopyParams { rows: u32, columns: u32, source_offset: u32, source_stride: u32, to_offset: u32, to_stride: u32 });

pub(super) static COPY: Kernel = Kernel {
    name: "copy",
    entry: ENTRY,
    source: &[shader!("copy.wgsl"), shader!("math.wgsl")],
    bindings: &[read("source").of("Source"), write("to").of("To")],
    workgroup: [256, 1, 1],
    constants: &[],
    params: CopyParams::FIELDS,
    params_size: CopyParams::SIZE,
};

params!(RemainingParams { batch: u32, skipped: u32 });

pub(super) static REMAINING: Kernel = Kernel {
    name: "remaining",
    entry: ENTRY,
    source: &[shader!("remaining.wgsl"), shader!("math.wgsl")],
    bindings: &[read("lengths"), write("left")],
    workgroup: [256, 1, 1],
    constants: &[],
    params: RemainingParams::FIELDS,
    params_size: RemainingParams::SIZE,
};

params!(StartParams { states: u32, batch: u32, columns: u32, learned_offset: u32 });

pub(super) static START: Kernel = Kernel {
    name: "start",
    entry: ENTRY,
    source: &[shader!("start.wgsl"), shader!("math.wgsl")],
    bindings: &[read("learned").of("Learned"), read("fresh"), write("state")],
    workgroup: [256, 1, 1],
    constants: &[],
    params: StartParams::FIELDS,
    params_size: StartParams::SIZE,
};

params!(StartGradientParams {
    batch: u32,
    hidden: u32,
    columns: u32,
    first_slot: u32,
    second_slot: u32,
    weight_offset: u32,
    first: u32,
    count: u32,
    zero: u32,
});

pub(super) static START_GRADIENT: Kernel = Kernel {
    name: "start_gradient",
    entry: ENTRY,
    source: &[shader!("start_gradient.wgsl"), shader!("carry.wgsl"), shader!("math.wgsl")],
    bindings: &[read("source").of("Source"), read("fresh"), write("slices")],
    workgroup: [256, 1, 1],
    constants: &[],
    params: StartGradientParams::FIELDS,
    params_size: StartGradientParams::SIZE,
};

params!(PoolParams {
    kind: u32,
    all: u32,
    first: u32,
    steps: u32,
    skipped: u32,
    batch: u32,
    hidden: u32,
    columns: u32,
    out_offset: u32,
    zero: u32,
});

pub(super) static POOL: Kernel = Kernel {
    name: "pool",
    entry: ENTRY,
    source: &[shader!("pool.wgsl"), shader!("carry.wgsl"), shader!("math.wgsl")],
    bindings: &[read("history").of("History"), read("lengths"), write("out"), write("excess")],
    workgroup: [256, 1, 1],
    constants: &[],
    params: PoolParams::FIELDS,
    params_size: PoolParams::SIZE,
};

params!(PoolGradientParams {
    kind: u32,
    steps: u32,
    skipped: u32,
    batch: u32,
    hidden: u32,
    columns: u32,
    d_offset: u32,
});

pub(super) static POOL_GRADIENT: Kernel = Kernel {
    name: "pool_gradient",
    entry: ENTRY,
    source: &[shader!("pool_gradient.wgsl"), shader!("math.wgsl")],
    bindings: &[read("d"), read("lengths"), write("upstream").of("Upstream")],
    workgroup: [256, 1, 1],
    constants: &[],
    params: PoolGradientParams::FIELDS,
    params_size: PoolGradientParams::SIZE,
};

pub(super) fn copy(plan: &Plan, from: &View, to: &View) -> Result<Command> {
    let shape @ [rows, columns] = [to.rows, to.cols];
    if plan.copies_bytes(from, to) {
        place(plan, "from", from, shape)?;
        place(plan, "to", to, shape)?;
        return Ok(Command::Copy { from: *from, to: *to });
    }
    let params = CopyParams {
        rows: number(rows)?,
        columns: number(columns)?,
        source_offset: strided(plan, "from", from, shape)?,
        source_stride: number(from.stride)?,
        to_offset: strided(plan, "to", to, shape)?,
        to_stride: number(to.stride)?,
    };
    dispatch(plan, &COPY, vec![from.tensor, to.tensor], &params, tiles(rows * columns, 256), 1)
}

pub(super) fn remaining(plan: &Plan, op: &Remaining) -> Result<Command> {
    let batch = tensor(plan, op.lengths)?.len();
    holds(plan, op.out, &[batch])?;
    let params = RemainingParams { batch: number(batch)?, skipped: number(op.skipped)? };
    dispatch(plan, &REMAINING, vec![op.lengths, op.out], &params, tiles(batch, 256), 1)
}

pub(super) fn start(plan: &Plan, op: &Start) -> Result<Command> {
    let [states, columns] = [op.learned.rows, op.learned.cols];
    let len = tensor(plan, op.state)?.len();
    let batch = len / (states * columns).max(1);
    holds(plan, op.state, &[states, batch, columns])?;
    holds(plan, op.fresh, &[1])?;
    let params = StartParams {
        states: number(states)?,
        batch: number(batch)?,
        columns: number(columns)?,
        learned_offset: place(plan, "learned", &op.learned, [states, columns])?,
    };
    dispatch(plan, &START, vec![op.learned.tensor, op.fresh, op.state], &params, tiles(len, 256), 1)
}

pub(super) fn start_gradient(plan: &Plan, op: &StartGradient, cut: Cut) -> Result<Vec<Command>> {
    let [slots, batch, columns] = history(plan, op.from)?;
    let (first, second) = match *op.slots.as_slice() {
        [first] => (first, first),
        [first, second] => (first, second),
        _ => {
            let given = op.slots.len();
            return Err(Error::Config(format!("an initial state has {given} slots, expected 1 or 2, one a direction")));
        }
    };
    inside("a slot", first.max(second), [1, 1], slots)?;
    holds(plan, op.fresh, &[1])?;
    let params = StartGradientParams {
        batch: number(batch)?,
        hidden: number(columns / op.slots.len())?,
        columns: number(columns)?,
        first_slot: number(first)?,
        second_slot: number(second)?,
        weight_offset: inside("weight", op.weight, [1, columns], matrix(plan, op.slices)?[1])?,
        ..StartGradientParams::default()
    };
    let run = |(first, count): (usize, usize)| {
        let params = StartGradientParams { first: number(first)?, count: number(count)?, ..params };
        dispatch(plan, &START_GRADIENT, vec![op.from, op.fresh, op.slices], &params, tiles(columns, 256), 1)
    };
    parts(cut, batch).map(run).collect()
}

pub(super) fn pool(plan: &Plan, op: &Pool, cut: Cut) -> Result<Vec<Command>> {
    let (batch, columns) = (op.out.rows, op.out.cols);
    reaches(plan, op.history, op.steps.saturating_add(op.directions), &[batch, columns])?;
    holds(plan, op.lengths, &[batch])?;
    holds(plan, op.excess, &[batch, columns])?;
    let params = PoolParams {
        kind: kind(op.kind),
        all: number(op.steps)?,
        skipped: number(op.skipped)?,
        batch: number(batch)?,
        hidden: number(columns / op.directions.max(1))?,
        columns: number(columns)?,
        out_offset: place(plan, "out", &op.out, [batch, columns])?,
        ..PoolParams::default()
    };
    let run = |(first, steps): (usize, usize)| {
        let params = PoolParams { first: number(first)?, steps: number(steps)?, ..params };
        let tensors = vec![op.history, op.lengths, op.out.tensor, op.excess];
        dispatch(plan, &POOL, tensors, &params, tiles(batch * columns, 256), 1)
    };
    parts(cut, op.steps).map(run).collect()
}

pub(super) fn pool_gradient(plan: &Plan, op: &PoolGradient) -> Result<Command> {
    let (batch, columns) = (op.d.rows, op.d.cols);
    reaches(plan, op.upstream, op.steps.saturating_add(op.directions), &[batch, columns])?;
    holds(plan, op.lengths, &[batch])?;
    let params = PoolGradientParams {
        kind: kind(op.kind),
        steps: number(op.steps)?,
        skipped: number(op.skipped)?,
        batch: number(batch)?,
        hidden: number(columns / op.directions.max(1))?,
        columns: number(columns)?,
        d_offset: place(plan, "d", &op.d, [batch, columns])?,
    };
    let tensors = vec![op.d.tensor, op.lengths, op.upstream];
    dispatch(plan, &POOL_GRADIENT, tensors, &params, tiles(op.steps * batch * columns, 256), 1)
}

/// As the shaders count them.
fn kind(kind: PoolKind) -> u32 {
    match kind {
        PoolKind::Last => 0,
        PoolKind::Mean => 1,
    }
}

/// The sizes of a tensor of three dimensions.
fn history(plan: &Plan, id: TensorId) -> Result<[usize; 3]> {
    let tensor = tensor(plan, id)?;
    <[usize; 3]>::try_from(tensor.shape.as_slice()).map_err(|_| {
        Error::Config(format!("tensor `{}` has shape {:?}, expected three dimensions", tensor.name, tensor.shape))
    })
}
