//! `transpose.wgsl`: a matrix transposed.
//!
//! The contract: only U needs it, so that the whole-sequence recurrence reads it along rows.

use super::{
    Command, Kernel,
    launch::{contiguous_offset, dispatch, params, read, shader, tile_count, to_u32, write},
};
use crate::error::Result;
use crate::plan::{Plan, Transpose};

params!(Params { m: u32, n: u32, input_offset: u32, out_offset: u32 });

pub(super) static TRANSPOSE: Kernel = Kernel::new::<Params>(
    "transpose",
    &[shader!("transpose.wgsl"), shader!("math.wgsl")],
    &[read("input").of("Stored"), write("out").of("Stored")],
)
.workgroup([32, 8, 1]);

/// The side of the square that a workgroup turns over.
const TILE: usize = 32;

pub(super) fn transpose(plan: &Plan, op: &Transpose) -> Result<Command> {
    let (m, n) = (op.input.rows, op.input.cols);
    let params = Params {
        m: to_u32(m)?,
        n: to_u32(n)?,
        input_offset: contiguous_offset(plan, "input", &op.input, [m, n])?,
        out_offset: contiguous_offset(plan, "out", &op.out, [n, m])?,
    };
    let tensors = vec![op.input.tensor, op.out.tensor];
    dispatch(plan, &TRANSPOSE, tensors, &params, tile_count(m, TILE) * tile_count(n, TILE), 1)
}
