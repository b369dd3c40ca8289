//! `matmul.wgsl`: every matrix product, those of the weight gradients included.
//!
//! The contract: a transposition is a choice of strides, and a weight gradient is dᵀ·x with the rows cut into slices. A
//! dispatch that takes up where another ended sums in the same order.

use super::{
    Command, Kernel,
    launch::{
        contiguous_offset, dispatch, matrix, offset_in_bounds, params, parts, read, shader, strided_offset, tile_count,
        to_u32, with_constants, write,
    },
};
use crate::error::{Error, Result};
use crate::plan::{Cut, MatMul, Plan, ProductTile, TensorId, View, WeightGradient};

params!(Params {
    m: u32,
    n: u32,
    k: u32,
    a_offset: u32,
    a_row: u32,
    a_col: u32,
    b_offset: u32,
    b_row: u32,
    b_col: u32,
    has_bias: u32,
    bias_offset: u32,
    out_offset: u32,
    slices: u32,
    slice_stride: u32,
    has_sum: u32,
    sum_offset: u32,
    skip: u32,
    count: u32,
    zero: u32,
});

pub(super) static MATMUL: Kernel = Kernel::new::<Params>(
    "matmul",
    &[shader!("matmul.wgsl"), shader!("carry.wgsl"), shader!("math.wgsl")],
    &[read("a").of("A"), read("b").of("B"), read("bias").of("B"), write("out").of("Out")],
)
.workgroup([64, 1, 1])
.constants(&["SQUARES", "LONG", "RESUMES"]);

pub(super) static MATMUL_LANES: Kernel = Kernel::new::<Params>(
    "matmul_lanes",
    &[shader!("matmul_lanes.wgsl"), shader!("lanes.wgsl"), shader!("math.wgsl")],
    MATMUL.bindings,
)
.workgroup([8, 1, 1])
.lanes()
.constants(&["RESUMES"]);

/// The sizes of op(view) and its strides from row to row and from column to column.
fn transposed(view: &View, transpose: bool) -> Result<([usize; 2], [u32; 2])> {
    let stride = to_u32(view.cols)?;
    Ok(if transpose { ([view.cols, view.rows], [1, stride]) } else { ([view.rows, view.cols], [stride, 1]) })
}

/// The dispatches of a product [M, N] in tiles, one after another along K.
fn tiled(
    plan: &Plan,
    tensors: Vec<TensorId>,
    params: &Params,
    tile: ProductTile,
    slices: usize,
    cut: Cut,
) -> Result<Vec<Command>> {
    let side = tile.side();
    let [m, n, k] = [params.m, params.n, params.k].map(|size| size as usize);
    let squares = to_u32(side / ProductTile::Small.side())?;
    let is_long = k.div_ceil(slices) > ProductTile::LONG;
    let part = |(skip, count): (usize, usize)| {
        let params = Params { skip: to_u32(skip)?, count: to_u32(count)?, ..*params };
        let workgroups = tile_count(m, side) * tile_count(n, side);
        let resumes = u32::from(skip > 0);
        let (kernel, constants): (_, &[u32]) = match tile {
            ProductTile::Lanes => (&MATMUL_LANES, &[resumes]),
            ProductTile::Small | ProductTile::Large => (&MATMUL, &[squares, u32::from(is_long), resumes]),
        };
        Ok(with_constants(dispatch(plan, kernel, tensors.clone(), &params, workgroups, slices)?, constants))
    };
    parts(cut, k.div_ceil(slices)).map(part).collect()
}

/// Checks that a tile can make what it is to make.
fn check(tile: ProductTile, suits_lanes: impl FnOnce() -> bool) -> Result<()> {
    if tile != ProductTile::Lanes || suits_lanes() {
        return Ok(());
    }
    Err(Error::Config(
        "a product is to be made by lanes, expected rows of vectors of four and no long sum (ProductTile::Lanes)"
            .to_owned(),
    ))
}

pub(super) fn matmul(plan: &Plan, op: &MatMul, cut: Cut) -> Result<Vec<Command>> {
    check(op.tile, || op.suits_lanes())?;
    let ([m, k], [a_row, a_col]) = transposed(&op.a, op.transpose_a)?;
    let ([_, n], [b_row, b_col]) = transposed(&op.b, op.transpose_b)?;
    let b_shape = if op.transpose_b { [n, k] } else { [k, n] };
    let params = Params {
        m: to_u32(m)?,
        n: to_u32(n)?,
        k: to_u32(k)?,
        a_offset: contiguous_offset(plan, "a", &op.a, [op.a.rows, op.a.cols])?,
        a_row,
        a_col,
        b_offset: contiguous_offset(plan, "b", &op.b, b_shape)?,
        b_row,
        b_col,
        has_bias: u32::from(op.bias.is_some()),
        bias_offset: op.bias.map_or(Ok(0), |bias| contiguous_offset(plan, "bias", &bias, [1, n]))?,
        out_offset: contiguous_offset(plan, "out", &op.out, [m, n])?,
        slices: 1,
        slice_stride: 0,
        has_sum: 0,
        sum_offset: 0,
        ..Params::default()
    };
    // Something must be bound where there is no bias.
    let bias = op.bias.map_or(op.b.tensor, |bias| bias.tensor);
    let tensors = vec![op.a.tensor, op.b.tensor, bias, op.out.tensor];
    tiled(plan, tensors, &params, op.tile, 1, cut)
}

pub(super) fn weight_gradient(plan: &Plan, op: &WeightGradient, cut: Cut) -> Result<Vec<Command>> {
    check(op.tile, || op.suits_lanes(plan))?;
    let (m, n, rows) = (op.d.cols, op.x.cols, op.d.rows);
    let [slices, flat] = matrix(plan, op.slices)?;
    let params = Params {
        m: to_u32(m)?,
        n: to_u32(n)?,
        k: to_u32(rows)?,
        a_offset: strided_offset(plan, "d", &op.d, [rows, m])?,
        a_row: 1,
        a_col: to_u32(op.d.stride)?,
        b_offset: strided_offset(plan, "x", &op.x, [rows, n])?,
        b_row: to_u32(op.x.stride)?,
        b_col: 1,
        has_bias: 0,
        bias_offset: 0,
        out_offset: offset_in_bounds("weight", op.weight, [m, n], flat)?,
        slices: to_u32(slices)?,
        slice_stride: to_u32(flat)?,
        has_sum: u32::from(op.bias.is_some()),
        sum_offset: op.bias.map_or(Ok(0), |bias| offset_in_bounds("bias", bias, [1, m], flat))?,
        ..Params::default()
    };
    let tensors = vec![op.d.tensor, op.x.tensor, op.x.tensor, op.slices];
    tiled(plan, tensors, &params, op.tile, slices, cut)
}
