// mean_squared: row_loss[r] = loss_mask[r] / (count·O) · Σ_o (y[r, o] − target[r, o])², each position's part of the
// mean; assigns. Where with_gradient is 1 the outputs become s · 2·loss_mask[r] / (count·O) · (y − target).
//
// in-out  outputs      y [R, O] at outputs_offset
// in      targets      [R, O]
// in      loss_mask    [R], 0 or 1; a row of loss_mask 0 gives exact zeros, whatever it holds
// in      step_params  StepParams: the number of positions that count
// in      loss_scale   LossScale: the factor s, read where has_loss_scale is 1; else s is 1
// out     row_loss     [R]
//
// One workgroup a row; carry.wgsl and records.wgsl are appended.

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
@group(0) @binding(2) var<storage, read> targets: array<f32>;
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
    let first = row * params.columns;
    let counts = loss_mask[row] != 0.0;
    let part = loss_mask[row] / (step_params.positions * f32(params.columns));

    var scaled = part;
    if params.has_loss_scale != 0u {
        scaled *= loss_scale.factor;
    }
    var sum = Sum();
    for (var o = lid; o < params.columns; o += THREADS) {
        let at = params.outputs_offset + first + o;
        let difference = outputs[at] - targets[first + o];
        sum = plus(sum, difference * difference);
        if params.with_gradient != 0u {
            outputs[at] = select(0.0, 2.0 * scaled * difference, counts);
        }
    }
    let total = reduce_sum(lid, sum.total);
    if lid == 0u {
        row_loss[row] = select(0.0, part * total, counts);
    }
}
