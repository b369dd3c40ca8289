// sequence_forward: a whole recurrence, one workgroup a sequence from end to end; the cell is appended.
//
//   for t = 1..T: r = U·h_(t-1) + b_U,  h_t = cell_forward(x, r, h_(t-1)); assigns slots 1 to T of the history.
//
// in      turned   Uᵀ [H, G·H] at turned_offset, so that neighbouring threads read neighbouring elements
// in      bias     b_U [G·H] at bias_offset
// in-out  gates    [T, B, G·H]: x = W·x_t + b_W; what the cell leaves there
// in-out  history  [T+1, B, H]: slot 0 is read, the others written
//
// H <= 1024 and G·H <= 2048; the plan sees to it. Where there are more threads than outputs they share each sum.

struct Params {
    steps: u32,
    batch: u32,
    hidden: u32,
    variant: u32,
    turned_offset: u32,
    bias_offset: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> turned: array<f32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read_write> gates: array<f32>;
@group(0) @binding(4) var<storage, read_write> history: array<f32>;

const THREADS: u32 = 256u;

/// h_(t-1), then unit by unit h_t.
var<workgroup> h: array<f32, 1024>;
/// Group q's part of the sum of output o at q·width + o.
var<workgroup> sums: array<f32, 2048>;

/// Σ h[k]·Uᵀ[k, column] over k from begin to end, eight loads on their way at a time.
fn partial_sum(column: u32, begin: u32, end: u32, rows: u32) -> f32 {
    var sum = vec4(0.0);
    var at = params.turned_offset + begin * rows + column;
    var k = begin;
    for (; k + 8u <= end; k += 8u) {
        let near = vec4(turned[at], turned[at + rows], turned[at + 2u * rows], turned[at + 3u * rows]);
        let far = vec4(turned[at + 4u * rows], turned[at + 5u * rows], turned[at + 6u * rows], turned[at + 7u * rows]);
        sum = fma(vec4(h[k], h[k + 1u], h[k + 2u], h[k + 3u]), near, sum);
        sum = fma(vec4(h[k + 4u], h[k + 5u], h[k + 6u], h[k + 7u]), far, sum);
        at += 8u * rows;
    }
    for (; k < end; k += 1u) {
        sum.x = fma(h[k], turned[at], sum.x);
        at += rows;
    }
    return (sum.x + sum.y) + (sum.z + sum.w);
}

/// x of unit j of a sequence's step, whose gates start at `at`.
fn load_x(at: u32, j: u32) -> array<f32, GATES> {
    var x: array<f32, GATES>;
    if j < params.hidden {
        for (var g = 0u; g < GATES; g += 1u) {
            x[g] = gates[at + g * params.hidden + j];
        }
    }
    return x;
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lid: u32,
) {
    let b = linear(workgroup, grid);
    if b >= params.batch {
        return;
    }
    let hidden = params.hidden;
    let rows = GATES * hidden;
    var width = 32u;
    while width < rows && width < THREADS {
        width *= 2u;
    }
    let groups = THREADS / width;
    let group = lid / width;
    let begin = slice_start(hidden, group, groups);
    let end = slice_start(hidden, group + 1u, groups);

    for (var j = lid; j < hidden; j += THREADS) {
        h[j] = history[b * hidden + j];
    }
    workgroupBarrier();

    for (var t = 0u; t < params.steps; t += 1u) {
        let at = (t * params.batch + b) * rows;
        // This thread's first unit's, so that the wait overlaps the sums.
        var x = load_x(at, lid);
        for (var column = lid % width; column < rows; column += width) {
            sums[group * width + column] = partial_sum(column, begin, end, rows);
        }
        workgroupBarrier();
        for (var j = lid; j < hidden; j += THREADS) {
            if j != lid {
                x = load_x(at, j);
            }
            var r: array<f32, GATES>;
            for (var g = 0u; g < GATES; g += 1u) {
                r[g] = bias[params.bias_offset + g * hidden + j];
                for (var q = 0u; q < groups; q += 1u) {
                    r[g] += sums[q * width + g * hidden + j];
                }
            }
            let unit = place(t, params.steps, b, j, params.batch, hidden);
            let new_h = cell_forward(params.variant, unit, x, r, h[j]);
            h[j] = new_h;
            history[unit.unit + unit.slot] = new_h;
        }
        workgroupBarrier();
    }
}
