//! `loss.wgsl` with a loss's function appended: each position's part of the mean loss, and its gradient in place.
//!
//! The contract: all have the same bindings and parameters, so a loss is a choice of kernel.

use super::{
    Binding, Command, Kernel,
    launch::{check_len, contiguous_offset, dispatch, params, read, shader, to_u32, with_constants, write},
};
use crate::error::{Error, Result};
use crate::plan::{LossGradient, LossKind, LossScale, Plan, StepParams};
use crate::recipe::{TargetKind, losses};

params!(Params {
    rows: u32,
    columns: u32,
    outputs_offset: u32,
    with_gradient: u32,
    has_loss_scale: u32,
    numbers: u32,
    weighs_numbers: u32,
    zero: u32,
});

const BINDINGS: &[Binding] = &[
    write("outputs"),
    read("targets"),
    read("loss_weights"),
    read("step_params").record(StepParams::RECORD),
    read("loss_scale").record(LossScale::RECORD),
    read("loss_settings"),
    write("row_loss"),
];

/// The kernel of a loss, from the file that it is called as and what else is appended to the driver.
macro_rules! kernel {
    ($loss:ident $($more:literal)?) => {
        #[allow(non_upper_case_globals, reason = "it is called as the file of the loss")]
        static $loss: Kernel = Kernel::new::<Params>(
            stringify!($loss),
            &[
                shader!("loss.wgsl"),
                $(shader!($more),)?
                shader!(concat!(stringify!($loss), ".wgsl")),
                shader!("softplus.wgsl"),
                shader!("gamma.wgsl"),
                shader!("records.wgsl"),
                shader!("carry.wgsl"),
                shader!("reduce.wgsl"),
                shader!("math.wgsl"),
            ],
            BINDINGS,
        )
        .workgroup([64, 1, 1])
        .constants(&["THREADS"]);
    };
}

macro_rules! kernels {
    (elements { $($element:ident: $of_element:ident,)* } rows { $($row:ident: $of_row:ident,)* }) => {
        $(kernel!($element "elements.wgsl");)*
        $(kernel!($row);)*

        /// Every loss's.
        pub(super) fn kernels() -> impl Iterator<Item = &'static Kernel> {
            [$(&$element,)* $(&$row),*].into_iter()
        }

        /// `None` of one that has operations of its own.
        fn kernel(loss: LossKind) -> Option<&'static Kernel> {
            match loss {
                $(LossKind::$of_element => Some(&$element),)*
                $(LossKind::$of_row => Some(&$row),)*
                LossKind::Ctc => None,
            }
        }
    };
}
losses!(kernels);

pub(super) fn loss(plan: &Plan, op: &LossGradient) -> Result<Command> {
    let Some(kernel) = kernel(op.loss) else {
        return Err(Error::Config(format!("the loss {:?} has no kernel; expected operations of its own", op.loss)));
    };
    let (rows, columns) = (op.outputs.rows, op.outputs.cols);
    let (numbers, weighs_numbers) = (op.numbers(plan), op.is_elementwise(plan));
    match op.loss.record().targets {
        TargetKind::Classes | TargetKind::Sequences => check_len(plan, op.targets, &[rows])?,
        TargetKind::Values => check_len(plan, op.targets, &[rows, numbers])?,
    }
    check_len(plan, op.loss_weights, &[rows, if weighs_numbers { numbers } else { 1 }])?;
    check_len(plan, op.step_params, &[StepParams::LEN])?;
    check_len(plan, op.row_loss, &[rows])?;
    op.loss_scale.map_or(Ok(()), |loss_scale| check_len(plan, loss_scale, &[LossScale::LEN]))?;
    let params = Params {
        rows: to_u32(rows)?,
        columns: to_u32(columns)?,
        outputs_offset: contiguous_offset(plan, "outputs", &op.outputs, [rows, columns])?,
        with_gradient: u32::from(op.gradient),
        has_loss_scale: u32::from(op.loss_scale.is_some()),
        numbers: to_u32(numbers)?,
        weighs_numbers: u32::from(weighs_numbers),
        zero: 0,
    };
    // Something must be bound where nothing is scaled or set.
    let [loss_scale, settings] = [op.loss_scale, op.settings].map(|tensor| tensor.unwrap_or(op.step_params));
    let (outputs, weights) = (op.outputs.tensor, op.loss_weights);
    let tensors = vec![outputs, op.targets, weights, op.step_params, loss_scale, settings, op.row_loss];
    let command = dispatch(plan, kernel, tensors, &params, rows as u64, 1)?;
    Ok(with_constants(command, &[to_u32(op.threads())?]))
}
