// remaining_lengths: left[b] = max(lengths[b] - skipped, 0), how many of the steps from `skipped` on are valid;
// assigns.
//
// in   lengths  [B]
// out  left     [B]
//
// One thread a sequence.

struct Params {
    batch: u32,
    skipped: u32,
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
    if i >= params.batch {
        return;
    }
    left[i] = max(lengths[i], params.skipped) - params.skipped;
}
