// loss: the driver of the losses. row_loss[r] = loss_mask[r] / divisor · l(y[r], target[r]), each position's part of
// the mean; assigns. Where with_gradient is 1 the outputs become s · loss_mask[r] / divisor · ∂l/∂y. The file of a
// loss, which is appended, says what l, its gradient and the divisor are, and what its targets are (binding 2).
//
// in-out  outputs      y [R, O] at outputs_offset
// in      targets      [R] class ids below O, or [R, O] numbers
// in      loss_mask    [R], 0 or 1; a row of loss_mask 0 gives exact zeros, whatever it holds
// in      step_params  StepParams: the number of positions that count
// in      loss_scale   LossScale: the factor s, read where has_loss_scale is 1; else s is 1
// out     row_loss     [R]
//
// One workgroup a row; carry.wgsl and records.wgsl are appended too. A thread reads and overwrites the same elements,
// and what a loss reads of other threads' it has read before its last barrier: nothing is overwritten before it is
// read.

struct Params {
    rows: u32,
    columns: u32,
    outputs_offset: u32,
    with_gradient: u32,
    has_loss_scale: u32,
    zero: u32,
    first_workgroup: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> outputs: array<f32>;
@group(0) @binding(3) var<storage, read> loss_mask: array<f32>;
@group(0) @binding(4) var<storage, read> step_params: StepParams;
@group(0) @binding(5) var<storage, read> loss_scale: LossScale;
@group(0) @binding(6) var<storage, read_write> row_loss: array<f32>;

/// 64, or 256 for long rows.
override THREADS: u32 = 64u;

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lid: u32,
) {
    let row = linear(workgroup, grid);
    if row >= params.rows {
        return;
    }
    let first = params.outputs_offset + row * params.columns;
    let counts = loss_mask[row] != 0.0;
    let part = loss_mask[row] / divisor();
    let found = over_row(lid, row, first);
    if lid == 0u {
        row_loss[row] = select(0.0, part * found.loss, counts);
    }
    if params.with_gradient != 0u {
        var scaled = part;
        if params.has_loss_scale != 0u {
            scaled *= loss_scale.factor;
        }
        for (var o = lid; o < params.columns; o += THREADS) {
            outputs[first + o] = select(0.0, scaled * gradient(found, row, o, outputs[first + o]), counts);
        }
    }
}
