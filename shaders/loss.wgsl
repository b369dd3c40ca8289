// loss: the driver of the losses. row_loss[r] = loss_weights[r] / divisor · l(y[r], target[r]), each position's part
// of the mean; assigns. Where with_gradient is 1 the outputs become s · loss_weights[r] / divisor · ∂l/∂y. The file of
// a loss, which is appended, says what l and its gradient are, and what its targets are (binding 2).
//
// in-out  outputs        y [R, O] at outputs_offset
// in      targets        [R] class ids below O, or [R, N] numbers
// in      loss_weights   [R], at least 0; or where weighs_numbers is 1 [R, N] and in the stead of [R] ones. What has a
//                        weight of 0 has no loss and an exact zero as its gradient, whatever it holds
// in      step_params    StepParams: the divisor
// in      loss_scale     LossScale: the factor s, read where has_loss_scale is 1; else s is 1
// in      loss_settings  what the loss's file says; anything where it has none
// out     row_loss       [R]
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
    numbers: u32,
    weighs_numbers: u32,
    zero: u32,
    first_workgroup: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> outputs: array<f32>;
@group(0) @binding(3) var<storage, read> loss_weights: array<f32>;
@group(0) @binding(4) var<storage, read> step_params: StepParams;
@group(0) @binding(5) var<storage, read> loss_scale: LossScale;
@group(0) @binding(6) var<storage, read> loss_settings: array<f32>;
@group(0) @binding(7) var<storage, read_write> row_loss: array<f32>;

/// 64, or 256 for long rows.
override THREADS: u32 = 64u;

/// A position: its number, where its outputs begin, whether it counts, and by what its gradient is multiplied.
struct Row {
    row: u32,
    first: u32,
    counts: bool,
    scale: f32,
}

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
    var weight = 1.0;
    if params.weighs_numbers == 0u {
        weight = loss_weights[row];
    }
    let counts = weight != 0.0;
    let part = weight / step_params.divisor;
    var scaled = part;
    if params.has_loss_scale != 0u {
        scaled *= loss_scale.factor;
    }
    let loss = of_row(lid, Row(row, params.outputs_offset + row * params.columns, counts, scaled));
    if lid == 0u {
        row_loss[row] = select(0.0, part * loss, counts);
    }
}

/// Puts the gradient in the place of an output.
fn put_gradient(row: Row, at: u32, slope: f32) {
    if params.with_gradient != 0u {
        outputs[at] = select(0.0, row.scale * slope, row.counts);
    }
}
