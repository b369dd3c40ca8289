// step_backward: one time step t of a recurrence's back-propagation over the whole batch; the cell is appended.
//
//   dh_t = upstream_t + Uᵀ·(gradient of r at t + 1), nothing from beyond the last step; it takes upstream_t's place;
//   cell_backward(dh_t) assigns slot t of the gates, the gradient of x, and returns that of r.
//
// in      weight    U [G·H, H] at weight_offset
// in-out  upstream  [T, B, H]: slot t is read and written; slot t - 1 is added to where the cell passes h
// in      history   [T+1, B, H]
// in-out  gates     [T, B, G·H]: slot t + 1 may be read, slot t written; what the cell left there forwards is read
//
// One workgroup a tile of 16 sequences × 16 units, one thread a unit of a sequence; the sum over the G·H gates goes
// through workgroup memory in chunks of 32.

struct Params {
    t: u32,
    steps: u32,
    batch: u32,
    hidden: u32,
    variant: u32,
    weight_offset: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> weight: array<f32>;
@group(0) @binding(2) var<storage, read_write> upstream: array<f32>;
@group(0) @binding(3) var<storage, read> history: array<f32>;
@group(0) @binding(4) var<storage, read_write> gates: array<f32>;

const TILE: u32 = 16u;
const CHUNK: u32 = 32u;
/// One element of padding: the two sequences that a warp reads lie in different banks.
const ROW: u32 = 33u;

var<workgroup> tile_d: array<f32, TILE * ROW>;
var<workgroup> tile_u: array<f32, CHUNK * TILE>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lid: u32,
) {
    let hidden = params.hidden;
    let rows = GATES * hidden;
    let tiles_b = (params.batch + TILE - 1u) / TILE;
    let tiles_j = (hidden + TILE - 1u) / TILE;
    let tile = linear(workgroup, grid);
    if tile / tiles_j >= tiles_b {
        return;
    }
    let first_b = (tile / tiles_j) * TILE;
    let first_j = (tile % tiles_j) * TILE;
    let local_b = lid / TILE;
    let local_j = lid % TILE;
    let b = first_b + local_b;
    let j = first_j + local_j;
    let inside = b < params.batch && j < hidden;

    var dh = 0.0;
    if inside {
        dh = upstream[(params.t * params.batch + b) * hidden + j];
    }

    if params.t + 1u < params.steps {
        let next = (params.t + 1u) * params.batch * rows;
        for (var chunk = 0u; chunk < rows; chunk += CHUNK) {
            for (var i = lid; i < TILE * CHUNK; i += 256u) {
                let row = first_b + i / CHUNK;
                let k = chunk + i % CHUNK;
                var d = 0.0;
                if row < params.batch && k < rows {
                    d = recurrent_gradient(next + row * rows + k);
                }
                tile_d[(i / CHUNK) * ROW + i % CHUNK] = d;
            }
            for (var i = lid; i < CHUNK * TILE; i += 256u) {
                let k = chunk + i / TILE;
                let unit = first_j + i % TILE;
                var u = 0.0;
                if k < rows && unit < hidden {
                    u = weight[params.weight_offset + k * hidden + unit];
                }
                tile_u[i] = u;
            }
            workgroupBarrier();
            for (var k = 0u; k < CHUNK; k += 4u) {
                let d = local_b * ROW + k;
                let u = k * TILE + local_j;
                dh = fma(tile_d[d], tile_u[u], dh);
                dh = fma(tile_d[d + 1u], tile_u[u + TILE], dh);
                dh = fma(tile_d[d + 2u], tile_u[u + 2u * TILE], dh);
                dh = fma(tile_d[d + 3u], tile_u[u + 3u * TILE], dh);
            }
            workgroupBarrier();
        }
    }

    if inside {
        let at = place(params.t, params.steps, b, j, params.batch, hidden);
        upstream[at.unit] = dh;
        let gradient = cell_backward(params.variant, at, dh);
        if PASSES_H && !at.is_first {
            upstream[at.unit - at.slot] += gradient.h_before;
        }
    }
}
