//! `log_sums.wgsl`, `ctc_states.wgsl` and `ctc_gradient.wgsl`: connectionist temporal classification.
//!
//! The contract: a sequence's recursion is one workgroup's each way, however long it is; a dispatch of some of its
//! steps goes on from what the one before left.

use super::{
    Command, Kernel,
    launch::{check_len, contiguous_offset, dispatch, params, parts, read, shader, to_u32, with_constants, write},
};
use crate::error::Result;
use crate::plan::{Ctc, CtcGradient, CtcStates, Cut, LogSums, LossScale, Plan, StepParams};

params!(LogSumsParams { rows: u32, columns: u32, outputs_offset: u32, zero: u32 });

pub(super) static LOG_SUMS: Kernel = Kernel::new::<LogSumsParams>(
    "log_sums",
    &[shader!("log_sums.wgsl"), shader!("carry.wgsl"), shader!("reduce.wgsl"), shader!("math.wgsl")],
    &[read("outputs"), write("out")],
)
.workgroup([64, 1, 1])
.constants(&["THREADS"]);

params!(StatesParams {
    batch: u32,
    columns: u32,
    outputs_offset: u32,
    blank: u32,
    labels: u32,
    steps: u32,
    slots: u32,
    ways: u32,
    begin: u32,
    end: u32,
    zero: u32,
});

pub(super) static CTC_STATES: Kernel = Kernel::new::<StatesParams>(
    "ctc_states",
    &[
        shader!("ctc_states.wgsl"),
        shader!("records.wgsl"),
        shader!("carry.wgsl"),
        shader!("reduce.wgsl"),
        shader!("math.wgsl"),
    ],
    &[
        read("outputs"),
        read("log_sums"),
        read("labels"),
        read("lengths"),
        read("loss_weights"),
        read("step_params").record(StepParams::RECORD),
        write("states"),
        write("row_loss"),
    ],
)
.workgroup([64, 1, 1])
.constants(&["THREADS"]);

params!(GradientParams {
    rows: u32,
    batch: u32,
    columns: u32,
    outputs_offset: u32,
    blank: u32,
    labels: u32,
    has_loss_scale: u32,
    zero: u32,
});

pub(super) static CTC_GRADIENT: Kernel = Kernel::new::<GradientParams>(
    "ctc_gradient",
    &[
        shader!("ctc_gradient.wgsl"),
        shader!("records.wgsl"),
        shader!("carry.wgsl"),
        shader!("reduce.wgsl"),
        shader!("math.wgsl"),
    ],
    &[
        write("outputs"),
        read("log_sums"),
        read("labels"),
        read("lengths"),
        read("loss_weights"),
        read("step_params").record(StepParams::RECORD),
        read("loss_scale").record(LossScale::RECORD),
        write("states"),
    ],
)
.workgroup([64, 1, 1])
.constants(&["THREADS"]);

pub(super) fn log_sums(plan: &Plan, op: &LogSums) -> Result<Command> {
    let (rows, columns) = (op.outputs.rows, op.outputs.cols);
    check_len(plan, op.out, &[rows])?;
    let params = LogSumsParams {
        rows: to_u32(rows)?,
        columns: to_u32(columns)?,
        outputs_offset: contiguous_offset(plan, "outputs", &op.outputs, [rows, columns])?,
        zero: 0,
    };
    let command = dispatch(plan, &LOG_SUMS, vec![op.outputs.tensor, op.out], &params, rows as u64, 1)?;
    Ok(with_constants(command, &[to_u32(op.threads())?]))
}

/// Checks that the tensors of a loss are of one size, with so many ways and slots of its states.
fn check(plan: &Plan, ctc: &Ctc, [ways, slots]: [usize; 2]) -> Result<()> {
    let (batch, labels) = (ctc.batch(plan), ctc.labels(plan));
    check_len(plan, ctc.log_sums, &[ctc.outputs.rows])?;
    check_len(plan, ctc.log_sums, &[ctc.steps(plan), batch])?;
    check_len(plan, ctc.labels, &[batch, 1 + 2 * labels])?;
    check_len(plan, ctc.loss_weights, &[batch])?;
    check_len(plan, ctc.step_params, &[StepParams::LEN])?;
    check_len(plan, ctc.states, &[ways, batch, slots, ctc.width(plan)])
}

pub(super) fn ctc_states(plan: &Plan, op: &CtcStates, cut: Cut) -> Result<Vec<Command>> {
    let (ctc, steps, batch) = (&op.ctc, op.ctc.steps(plan), op.ctc.batch(plan));
    let (rows, columns) = (ctc.outputs.rows, ctc.outputs.cols);
    check(plan, ctc, [op.ways(), op.slots(plan)])?;
    check_len(plan, op.row_loss, &[batch])?;
    let params = StatesParams {
        batch: to_u32(batch)?,
        columns: to_u32(columns)?,
        outputs_offset: contiguous_offset(plan, "outputs", &ctc.outputs, [rows, columns])?,
        blank: to_u32(ctc.blank)?,
        labels: to_u32(ctc.labels(plan))?,
        steps: to_u32(steps)?,
        slots: to_u32(op.slots(plan))?,
        ways: to_u32(op.ways())?,
        ..StatesParams::default()
    };
    let run = |(first, length): (usize, usize)| {
        let params = StatesParams { begin: to_u32(first)?, end: to_u32(first + length)?, ..params };
        let tensors = vec![
            ctc.outputs.tensor,
            ctc.log_sums,
            ctc.labels,
            ctc.lengths,
            ctc.loss_weights,
            ctc.step_params,
            ctc.states,
            op.row_loss,
        ];
        let command = dispatch(plan, &CTC_STATES, tensors, &params, (op.ways() * batch) as u64, 1)?;
        Ok(with_constants(command, &[to_u32(op.threads(plan))?]))
    };
    parts(cut, steps).map(run).collect()
}

pub(super) fn ctc_gradient(plan: &Plan, op: &CtcGradient) -> Result<Command> {
    let (ctc, batch) = (&op.ctc, op.ctc.batch(plan));
    let (rows, columns) = (ctc.outputs.rows, ctc.outputs.cols);
    check(plan, ctc, [2, ctc.steps(plan)])?;
    op.loss_scale.map_or(Ok(()), |loss_scale| check_len(plan, loss_scale, &[LossScale::LEN]))?;
    let params = GradientParams {
        rows: to_u32(rows)?,
        batch: to_u32(batch)?,
        columns: to_u32(columns)?,
        outputs_offset: contiguous_offset(plan, "outputs", &ctc.outputs, [rows, columns])?,
        blank: to_u32(ctc.blank)?,
        labels: to_u32(ctc.labels(plan))?,
        has_loss_scale: u32::from(op.loss_scale.is_some()),
        zero: 0,
    };
    let tensors = vec![
        ctc.outputs.tensor,
        ctc.log_sums,
        ctc.labels,
        ctc.lengths,
        ctc.loss_weights,
        ctc.step_params,
        // Something must be bound where nothing is scaled.
        op.loss_scale.unwrap_or(ctc.step_params),
        ctc.states,
    ];
    let command = dispatch(plan, &CTC_GRADIENT, tensors, &params, rows as u64, 1)?;
    Ok(with_constants(command, &[to_u32(op.threads(plan))?]))
}
