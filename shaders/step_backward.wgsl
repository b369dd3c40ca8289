// step_backward: one step of a recurrence's back-propagation, every direction over the whole batch; the cell and
// recurrence.wgsl are appended.
//
//   dh_t = upstream_t + m ⊙ Uᵀ·(gradient of r one step later), nothing from beyond the last step; it takes upstream_t's
//   place; cell_backward(dh_t) assigns the step's gates, the gradient of x, and returns that of r. Of a cell with two
//   products a second dispatch hands m ⊙ Uᵀ·(gradient of the second's sums at this step) to cell_operand_backward.
//
// in      weight    U [D·G·H, H] at weight_offset
// in-out  upstream  [T+D, B, D·H]: the slot after the step is read and written, the slot before it added to where h passes
//                   around U (assigned at the first step)
// in      history   [T+D, B, D·H]
// in-out  gates     [T, B, D·G·H]: the step after may be read, this one is written; what the cell left there is read
// in      lengths   [B]
// in      mask      m [B, D·H], read where has_mask is 1
//
// One workgroup a tile of 16 sequences × 16 units, one thread a unit of a sequence; the sum over the G·H gates goes
// through workgroup memory in chunks of 32.

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> weight: array<f32>;
@group(0) @binding(2) var<storage, read_write> upstream: array<f32>;
@group(0) @binding(3) var<storage, read> history: array<f32>;
@group(0) @binding(4) var<storage, read_write> gates: array<f32>;
@group(0) @binding(5) var<storage, read> lengths: array<u32>;
@group(0) @binding(6) var<storage, read> mask: array<f32>;

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

    // The first product's sums are those of the step after, the second's of this one.
    var begin = 0u;
    var end = FIRST_GATES * hidden;
    var of_step = params.step + 1u;
    if FIRST_GATES < GATES && params.product == 1u {
        begin = FIRST_GATES * hidden;
        end = rows;
        of_step = params.step;
    }
    let u_offset = params.weight_offset + d * rows * hidden;

    var sum = 0.0;
    if of_step < params.steps {
        let time = time_of(of_step, d);
        for (var chunk = begin; chunk < end; chunk += CHUNK) {
            for (var i = lid; i < TILE * CHUNK; i += 256u) {
                let row = first_b + i / CHUNK;
                let k = chunk + i % CHUNK;
                var dr = 0.0;
                if row < params.batch && k < end {
                    dr = recurrent_gradient(gates_at(time, row, d) + k);
                }
                tile_d[(i / CHUNK) * ROW + i % CHUNK] = dr;
            }
            for (var i = lid; i < CHUNK * TILE; i += 256u) {
                let k = chunk + i / TILE;
                let unit = first_j + i % TILE;
                var u = 0.0;
                if k < end && unit < hidden {
                    u = weight[u_offset + k * hidden + unit];
                }
                tile_u[i] = u;
            }
            workgroupBarrier();
            for (var k = 0u; k < CHUNK; k += 4u) {
                let dr = local_b * ROW + k;
                let u = k * TILE + local_j;
                sum = fma(tile_d[dr], tile_u[u], sum);
                sum = fma(tile_d[dr + 1u], tile_u[u + TILE], sum);
                sum = fma(tile_d[dr + 2u], tile_u[u + 2u * TILE], sum);
                sum = fma(tile_d[dr + 3u], tile_u[u + 3u * TILE], sum);
            }
            workgroupBarrier();
        }
    }

    if inside {
        sum *= mask_at(b, d, j);
        let now = units_at(slot_of(params.step, d), b, d) + j;
        if FIRST_GATES < GATES && params.product == 1u {
            let at = place(params.step, b, d, j);
            upstream[at.before] += cell_operand_backward(params.variant, at, sum).h_before;
            return;
        }
        let dh = upstream[now] + sum;
        upstream[now] = dh;
        if params.step < params.steps {
            let at = place(params.step, b, d, j);
            let gradient = cell_backward(params.variant, at, select(0.0, dh, at.counts));
            let passed = select(dh, gradient.h_before, at.counts);
            if at.is_first {
                upstream[at.before] = passed;
            } else if PASSES_H || !at.counts {
                upstream[at.before] += passed;
            }
        }
    }
}
