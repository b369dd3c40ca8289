//! `loss.wgsl` with a loss's functions appended: each position's part of the mean loss, and its gradient in place.
//!
//! The contract: all have the same bindings and parameters, so a loss is a choice of kernel.

use super::{
    Binding, Command, Kernel,
    launch::{check_len, contiguous_offset, dispatch, params, read, shader, to_u32, with_constants, write},
};
use crate::error::Result;
use crate::plan::{LossGradient, LossScale, Plan, StepParams};
use crate::recipe::{Loss, TargetKind, losses};

params!(Params { rows: u32, columns: u32, outputs_offset: u32, with_gradient: u32, has_loss_scale: u32, zero: u32 });

const BINDINGS: &[Binding] = &[
    write("outputs"),
    read("targets"),
    read("loss_mask"),
    read("step_params").record(StepParams::RECORD),
    read("loss_scale").record(LossScale::RECORD),
    write("row_loss"),
];

macro_rules! kernels {
    ($($loss:ident: $pattern:pat,)*) => {
        $(
            #[allow(non_upper_case_globals, reason = "it is called as the file of the loss")]
            static $loss: Kernel = Kernel::new::<Params>(
                stringify!($loss),
                &[
                    shader!("loss.wgsl"),
                    shader!(concat!(stringify!($loss), ".wgsl")),
                    shader!("records.wgsl"),
                    shader!("carry.wgsl"),
                    shader!("reduce.wgsl"),
                    shader!("math.wgsl"),
                ],
                BINDINGS,
            )
            .workgroup([64, 1, 1])
            .constants(&["THREADS"]);
        )*

        /// Every loss's.
        pub(super) fn kernels() -> impl Iterator<Item = &'static Kernel> {
            [$(&$loss),*].into_iter()
        }

        fn kernel(loss: Loss) -> &'static Kernel {
            match loss { $($pattern => &$loss,)* }
        }
    };
}
losses!(kernels);

pub(super) fn loss(plan: &Plan, op: &LossGradient) -> Result<Command> {
    let (rows, columns) = (op.outputs.rows, op.outputs.cols);
    match op.loss.targets() {
        TargetKind::Classes => check_len(plan, op.targets, &[rows])?,
        TargetKind::Values => check_len(plan, op.targets, &[rows, columns])?,
    }
    check_len(plan, op.loss_mask, &[rows])?;
    check_len(plan, op.step_params, &[StepParams::LEN])?;
    check_len(plan, op.row_loss, &[rows])?;
    op.loss_scale.map_or(Ok(()), |loss_scale| check_len(plan, loss_scale, &[LossScale::LEN]))?;
    let params = Params {
        rows: to_u32(rows)?,
        columns: to_u32(columns)?,
        outputs_offset: contiguous_offset(plan, "outputs", &op.outputs, [rows, columns])?,
        with_gradient: u32::from(op.gradient),
        has_loss_scale: u32::from(op.loss_scale.is_some()),
        zero: 0,
    };
    // Something must be bound where nothing is scaled.
    let loss_scale = op.loss_scale.unwrap_or(op.step_params);
    let tensors = vec![op.outputs.tensor, op.targets, op.loss_mask, op.step_params, loss_scale, op.row_loss];
    let command = dispatch(plan, kernel(op.loss), tensors, &params, rows as u64, 1)?;
    Ok(with_constants(command, &[to_u32(op.threads())?]))
}
