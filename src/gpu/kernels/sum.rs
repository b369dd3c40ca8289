//! `sum.wgsl`: the first stage of a long sum.
//!
//! The contract: one workgroup a block, and every sum in a fixed order.

use super::{
    Command, Kernel,
    launch::{check_len, dispatch, params, read, shader, tensor, tile_count, to_u32, write},
};
use crate::error::Result;
use crate::plan::{Plan, Sum};

params!(Params { rows: u32 });

pub(super) static SUM: Kernel = Kernel::new::<Params>(
    "sum",
    &[shader!("sum.wgsl"), shader!("reduce.wgsl"), shader!("math.wgsl")],
    &[read("source"), write("to")],
);

pub(super) fn sum(plan: &Plan, op: &Sum) -> Result<Command> {
    let rows = tensor(plan, op.from)?.len();
    check_len(plan, op.to, &[rows.div_ceil(Sum::BLOCK)])?;
    dispatch(plan, &SUM, vec![op.from, op.to], &Params { rows: to_u32(rows)? }, tile_count(rows, Sum::BLOCK), 1)
}
