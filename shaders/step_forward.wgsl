// step_forward: one time step t of a recurrence over the whole batch; the cell is appended.
//
//   r = U·h_(t-1) + b_U,  h_t = cell_forward(x, r, h_(t-1)); assigns slot t + 1 of the history.
//
// in      weight   U [G·H, H] at weight_offset
// in      bias     b_U [G·H] at bias_offset
// in-out  gates    [T, B, G·H]: x = W·x_t + b_W; what the cell leaves there
// in-out  history  [T+1, B, H]: slot t is read, slot t + 1 written
//
// One workgroup a tile of 16 sequences × 16 units, one thread a unit of a sequence with all its gates; the sum over
// the H units before goes through workgroup memory in chunks of 32.

struct Params {
    t: u32,
    steps: u32,
    batch: u32,
    hidden: u32,
    variant: u32,
    weight_offset: u32,
    bias_offset: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> weight: array<f32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read_write> gates: array<f32>;
@group(0) @binding(4) var<storage, read_write> history: array<f32>;

const TILE: u32 = 16u;
const CHUNK: u32 = 32u;
/// One element of padding keeps the reads down a column in different banks.
const ROW: u32 = 33u;

var<workgroup> tile_h: array<f32, TILE * ROW>;
var<workgroup> tile_u: array<f32, GATES * TILE * ROW>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lid: u32,
) {
    let hidden = params.hidden;
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
    // The slot of h_(t-1).
    let before = params.t * params.batch * hidden;

    var x: array<f32, GATES>;
    var r: array<f32, GATES>;
    if inside {
        let at = (params.t * params.batch + b) * GATES * hidden;
        for (var g = 0u; g < GATES; g += 1u) {
            x[g] = gates[at + g * hidden + j];
            r[g] = bias[params.bias_offset + g * hidden + j];
        }
    }

    let column = lid % CHUNK;
    for (var chunk = 0u; chunk < hidden; chunk += CHUNK) {
        let k = chunk + column;
        for (var y = lid / CHUNK; y < TILE; y += 256u / CHUNK) {
            var h = 0.0;
            if first_b + y < params.batch && k < hidden {
                h = history[before + (first_b + y) * hidden + k];
            }
            tile_h[y * ROW + column] = h;
            for (var g = 0u; g < GATES; g += 1u) {
                var u = 0.0;
                if first_j + y < hidden && k < hidden {
                    u = weight[params.weight_offset + (g * hidden + first_j + y) * hidden + k];
                }
                tile_u[(g * TILE + y) * ROW + column] = u;
            }
        }
        workgroupBarrier();
        for (var k = 0u; k < CHUNK; k += 4u) {
            let at = local_b * ROW + k;
            let h0 = tile_h[at];
            let h1 = tile_h[at + 1u];
            let h2 = tile_h[at + 2u];
            let h3 = tile_h[at + 3u];
            for (var g = 0u; g < GATES; g += 1u) {
                let u = (g * TILE + local_j) * ROW + k;
                var sum = fma(h0, tile_u[u], r[g]);
                sum = fma(h1, tile_u[u + 1u], sum);
                sum = fma(h2, tile_u[u + 2u], sum);
                r[g] = fma(h3, tile_u[u + 3u], sum);
            }
        }
        workgroupBarrier();
    }

    if inside {
        let at = place(params.t, params.steps, b, j, params.batch, hidden);
        history[at.unit + at.slot] = cell_forward(params.variant, at, x, r, history[at.unit]);
    }
}
