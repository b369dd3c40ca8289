// remaining_lengths: left[0, b] = max(lengths[0, b] - skipped, 0), how many of the steps from `skipped` on are valid,
// and left[t, b] = lengths[skipped + t, b], whether a sequence begins anew at a step, 0 behind the last; assigns.
//
// in   lengths  [B], or with resets [T+2, B]: `len` elements
// out  left     [B], or of fewer steps: left_len elements
//
// One thread an element.

struct Params {
    batch: u32,
    skipped: u32,
    len: u32,
    left_len: u32,
    first_workgroup: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> lengths: array<u32>;
@group(0) @binding(2) var<storage, read_write> left: array<u32>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lid: u32,
) {
    let i = linear(workgroup, grid) * 256u + lid;
    if i >= params.left_len {
        return;
    }
    if i < params.batch {
        left[i] = max(lengths[i], params.skipped) - params.skipped;
        return;
    }
    let at = i + params.skipped * params.batch;
    left[i] = select(0u, lengths[min(at, params.len - 1u)], at < params.len);
}
