// step_forward: one step of a recurrence, every direction over the whole batch; the cell and recurrence.wgsl are appended.
//
//   r = U·(m ⊙ h_(t-1)) + b_U,  h_t = cell_forward(x, r, h_(t-1)); assigns a slot of the history. Of a cell with two
//   products the first dispatch ends with cell_operand, whose result takes h_(t-1)'s place in the second.
//
// in      weight   U [D·G·H, H] at weight_offset
// in      bias     b_U [D·G·H] at bias_offset, read where has_bias is 1
// in-out  gates    [T, B, D·G·H]: x = W·x_t + b_W; what the cell leaves there
// in-out  history  [T+D, B, D·H]: the slot before the step is read, the slot after it written
// in      lengths  [B]
// in      mask     m [B, D·H], read where has_mask is 1
//
// One workgroup a tile of 16 sequences × 16 units, one thread a unit of a sequence with all its gates; the sum over
// the H units before goes through workgroup memory in chunks of 32.

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> weight: array<f32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read_write> gates: array<f32>;
@group(0) @binding(4) var<storage, read_write> history: array<f32>;
@group(0) @binding(5) var<storage, read> lengths: array<u32>;
@group(0) @binding(6) var<storage, read> mask: array<f32>;

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
    let d = tile / (tiles_b * tiles_j);
    if d >= params.directions {
        return;
    }
    let first_b = (tile / tiles_j % tiles_b) * TILE;
    let first_j = (tile % tiles_j) * TILE;
    let local_b = lid / TILE;
    let local_j = lid % TILE;
    let b = first_b + local_b;
    let j = first_j + local_j;
    let inside = b < params.batch && j < hidden;

    // The gates of this product and what its sums are over.
    var first_gate = 0u;
    var end_gate = FIRST_GATES;
    var operand_row = slot_of(params.step - 1u, d);
    if FIRST_GATES < GATES && params.product == 1u {
        first_gate = FIRST_GATES;
        end_gate = GATES;
        operand_row = time_of(params.step, d);
    }
    let u_offset = params.weight_offset + d * GATES * hidden * hidden;

    var x: array<f32, GATES>;
    var r: array<f32, GATES>;
    if inside {
        let at = gates_at(time_of(params.step, d), b, d) + j;
        for (var g = first_gate; g < end_gate; g += 1u) {
            x[g] = gates[at + g * hidden];
            if params.has_bias != 0u {
                r[g] = bias[params.bias_offset + (d * GATES + g) * hidden + j];
            }
        }
    }

    let column = lid % CHUNK;
    for (var chunk = 0u; chunk < hidden; chunk += CHUNK) {
        let k = chunk + column;
        for (var y = lid / CHUNK; y < TILE; y += 256u / CHUNK) {
            var h = 0.0;
            if first_b + y < params.batch && k < hidden {
                let at = units_at(operand_row, first_b + y, d) + k;
                if FIRST_GATES < GATES && params.product == 1u {
                    h = operand_at(at);
                } else {
                    h = history[at];
                }
                h *= mask_at(first_b + y, d, k);
            }
            tile_h[y * ROW + column] = h;
            for (var g = first_gate; g < end_gate; g += 1u) {
                var u = 0.0;
                if first_j + y < hidden && k < hidden {
                    u = weight[u_offset + (g * hidden + first_j + y) * hidden + k];
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
            for (var g = first_gate; g < end_gate; g += 1u) {
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
        let at = place(params.step, b, d, j);
        let h_before = history[at.before];
        if FIRST_GATES < GATES && params.product == 0u {
            cell_operand(params.variant, at, x, r, h_before);
        } else {
            let h = cell_forward(params.variant, at, x, r, h_before);
            history[at.now] = select(h_before, h, at.counts);
        }
    }
}
