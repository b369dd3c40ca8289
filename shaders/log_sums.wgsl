// log_sums: out[r] = ln Σ_o exp(y[r, o]); assigns.
//
// in   outputs  y [R, O] at outputs_offset
// out  out      [R]
//
// One workgroup a row. carry.wgsl and reduce.wgsl are appended.

struct Params {
    rows: u32,
    columns: u32,
    outputs_offset: u32,
    zero: u32,
    first_workgroup: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> outputs: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

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
    // The lowest finite number: every thread has a maximum, those past the last column too.
    var largest = -0x1.fffffep+127f;
    for (var o = lid; o < params.columns; o += THREADS) {
        largest = max(largest, outputs[first + o]);
    }
    let shift = reduce_max(lid, largest);
    var sum = Sum();
    for (var o = lid; o < params.columns; o += THREADS) {
        sum = plus(sum, exp(outputs[first + o] - shift));
    }
    let total = reduce_sum(lid, sum.total);
    if lid == 0u {
        out[row] = shift + log(total);
    }
}
