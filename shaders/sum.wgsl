// sum: to[i] = Σ from[r] over block i of 4096 elements; assigns.
//
// in   source  [R]
// out  to      [blocks]
//
// One workgroup a block, each thread's sum in order, then a tree.

struct Params {
    rows: u32,
    first_workgroup: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source: array<f32>;
@group(0) @binding(2) var<storage, read_write> to: array<f32>;

const THREADS: u32 = 256u;
const BLOCK: u32 = 4096u;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lid: u32,
) {
    let block = linear(workgroup, grid);
    if block >= (params.rows + BLOCK - 1u) / BLOCK {
        return;
    }
    let end = min((block + 1u) * BLOCK, params.rows);
    var part = 0.0;
    for (var r = block * BLOCK + lid; r < end; r += THREADS) {
        part += source[r];
    }
    let total = reduce_sum(lid, part);
    if lid == 0u {
        to[block] = total;
    }
}
