// transpose: out[j, i] = input[i, j]; assigns.
//
// in   input  [M, N] at input_offset
// out  out    [N, M] at out_offset
//
// Tiles of 32×32 turn over in workgroup memory, so that reads and writes both walk along rows. Stored is f32 or f16.

struct Params {
    m: u32,
    n: u32,
    input_offset: u32,
    out_offset: u32,
    first_workgroup: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<Stored>;
@group(0) @binding(2) var<storage, read_write> out: array<Stored>;

const TILE: u32 = 32u;
/// One column of padding keeps the reads down a column in different banks.
const ROW: u32 = 33u;

var<workgroup> tile: array<Stored, TILE * ROW>;

@compute @workgroup_size(32, 8)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let tiles_m = (params.m + TILE - 1u) / TILE;
    let tiles_n = (params.n + TILE - 1u) / TILE;
    let index = linear(workgroup, grid);
    if index / tiles_n >= tiles_m {
        return;
    }
    let first_i = (index / tiles_n) * TILE;
    let first_j = (index % tiles_n) * TILE;
    for (var y = local.y; y < TILE; y += 8u) {
        let i = first_i + y;
        let j = first_j + local.x;
        if i < params.m && j < params.n {
            tile[y * ROW + local.x] = input[params.input_offset + i * params.n + j];
        }
    }
    workgroupBarrier();
    for (var y = local.y; y < TILE; y += 8u) {
        let i = first_i + local.x;
        let j = first_j + y;
        if i < params.m && j < params.n {
            out[params.out_offset + j * params.m + i] = tile[local.x * ROW + y];
        }
    }
}
