// pool: one row for each sequence from the rows of steps `first` to first + steps of T; assigns, but goes on with what
// is there where steps were done before.
//
// in      rows     [T·B, N] at rows_offset
// in      lengths  [B]
// in-out  out      [B, N] at out_offset
// in-out  excess   [B, N]: by how much a mean is too large so far, or of which step a maximum is
//
// Kind 0 is each direction's last state, 1 the mean over the valid steps, 2 the row of the last of these, 3 that of the
// first step, 4 the maximum; `skipped` steps come before these. One thread an element, its sum in order. Rows is f32 or
// f16. carry.wgsl is appended.

struct Params {
    kind: u32,
    /// Those of the rows, T.
    all: u32,
    first: u32,
    steps: u32,
    skipped: u32,
    batch: u32,
    hidden: u32,
    columns: u32,
    rows_offset: u32,
    out_offset: u32,
    zero: u32,
    first_workgroup: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> rows: array<Rows>;
@group(0) @binding(2) var<storage, read> lengths: array<u32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;
@group(0) @binding(4) var<storage, read_write> excess: array<f32>;

fn is_nan_bits(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lid: u32,
) {
    let i = linear(workgroup, grid) * 256u + lid;
    let step = params.batch * params.columns;
    if i >= step {
        return;
    }
    let at = params.rows_offset + i;
    let to = params.out_offset + i;
    let length = lengths[i / params.columns];
    let before = params.skipped + params.first;
    let valid = min(max(length, before) - before, params.steps);
    if params.kind == 0u {
        let last = select(params.all - 1u, 0u, i % params.columns >= params.hidden);
        out[to] = f32(rows[at + last * step]);
    } else if params.kind == 1u {
        var sum = Sum();
        for (var t = 0u; t < valid; t += 1u) {
            sum = plus(sum, f32(rows[at + (params.first + t) * step]));
        }
        var mean = Sum(sum.total / f32(length), 0.0);
        if before > 0u {
            mean = plus(Sum(out[to], excess[i]), mean.total);
        }
        out[to] = mean.total;
        excess[i] = mean.excess;
    } else if params.kind == 2u {
        if length > before && length <= before + params.steps {
            out[to] = f32(rows[at + (length - 1u - params.skipped) * step]);
        }
    } else if params.kind == 3u {
        if before == 0u {
            out[to] = f32(rows[at]);
        }
    } else {
        // A NaN is above all numbers, so that divergence shows.
        var most = 0.0;
        var of_step = 0u;
        var any = before > 0u;
        var changed = false;
        if any {
            most = out[to];
        }
        for (var t = 0u; t < valid; t += 1u) {
            let value = f32(rows[at + (params.first + t) * step]);
            if !any || (!is_nan_bits(most) && (value > most || is_nan_bits(value))) {
                most = value;
                of_step = before + t;
                changed = true;
            }
            any = true;
        }
        if changed {
            out[to] = most;
            excess[i] = f32(of_step);
        }
    }
}
