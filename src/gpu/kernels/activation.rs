//! `activate.wgsl` and `activate_gradient.wgsl`: the functions around a dense layer's sums.
//!
//! The contract: the number of a function is that of [`Activation::variant`](crate::model::Activation), in both.

use super::{
    Command, Kernel,
    launch::{contiguous_offset, dispatch, params, read, shader, tile_count, to_u32, write},
};
use crate::error::Result;
use crate::plan::{Activate, ActivateGradient, Plan};

params!(ActivateParams { kind: u32, len: u32, offset: u32 });

pub(super) static ACTIVATE: Kernel = Kernel::new::<ActivateParams>(
    "activate",
    &[shader!("activate.wgsl"), shader!("activation.wgsl"), shader!("math.wgsl")],
    &[write("x").of("X")],
);

params!(ActivateGradientParams { kind: u32, len: u32, kept_offset: u32, d_offset: u32 });

pub(super) static ACTIVATE_GRADIENT: Kernel = Kernel::new::<ActivateGradientParams>(
    "activate_gradient",
    &[shader!("activate_gradient.wgsl"), shader!("activation.wgsl"), shader!("math.wgsl")],
    &[read("kept").of("Kept"), write("d").of("D")],
);

pub(super) fn activate(plan: &Plan, Activate { activation, x }: &Activate) -> Result<Command> {
    let params = ActivateParams {
        kind: activation.variant(),
        len: to_u32(x.len())?,
        offset: contiguous_offset(plan, "x", x, [x.rows, x.cols])?,
    };
    dispatch(plan, &ACTIVATE, vec![x.tensor], &params, tile_count(x.len(), 256), 1)
}

pub(super) fn activate_gradient(plan: &Plan, op: &ActivateGradient) -> Result<Command> {
    let ActivateGradient { activation, kept, d } = op;
    let shape = [d.rows, d.cols];
    let params = ActivateGradientParams {
        kind: activation.variant(),
        len: to_u32(d.len())?,
        kept_offset: contiguous_offset(plan, "kept", kept, shape)?,
        d_offset: contiguous_offset(plan, "d", d, shape)?,
    };
    dispatch(plan, &ACTIVATE_GRADIENT, vec![kept.tensor, d.tensor], &params, tile_count(d.len(), 256), 1)
}
