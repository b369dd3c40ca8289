// sequence_forward: a whole recurrence, one workgroup a direction of a sequence from end to end; the cell and
// recurrence.wgsl are appended.
//
//   for every step: r = U·(m ⊙ h_(t-1)) + b_U,  h_t = cell_forward(x, r, h_(t-1)); assigns slots 1 to T of the history.
//   Of a cell with two products, cell_operand between them makes what takes h_(t-1)'s place in the second.
//
// in      turned   Uᵀ [H, D·G·H] at weight_offset, so that neighbouring threads read neighbouring elements
// in      bias     b_U [D·G·H] at bias_offset, read where has_bias is 1
// in-out  gates    [T, B, D·G·H]: x = W·x_t + b_W; what the cell leaves there
// in-out  history  [T+D, B, D·H]: the initial state is read, the other slots written
// in      lengths  [B]
// in      mask     m [B, D·H], read where has_mask is 1
//
// H <= 1024 and G·H <= 2048; the plan sees to it. Where there are more threads than outputs they share each sum.

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> turned: array<f32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read_write> gates: array<f32>;
@group(0) @binding(4) var<storage, read_write> history: array<f32>;
@group(0) @binding(5) var<storage, read> lengths: array<u32>;
@group(0) @binding(6) var<storage, read> mask: array<f32>;

const THREADS: u32 = 256u;

/// What the next product is over: m ⊙ h_(t-1), then unit by unit m ⊙ h_t.
var<workgroup> operand: array<f32, 1024>;
/// Group q's part of the sum of output o at q·width + o.
var<workgroup> sums: array<f32, 2048>;

/// Σ operand[k]·Uᵀ[k, column] over k from begin to end, eight loads on their way at a time.
fn partial_sum(column: u32, begin: u32, end: u32, stride: u32) -> f32 {
    var sum = vec4(0.0);
    var at = params.weight_offset + begin * stride + column;
    var k = begin;
    for (; k + 8u <= end; k += 8u) {
        let near = vec4(turned[at], turned[at + stride], turned[at + 2u * stride], turned[at + 3u * stride]);
        let far = vec4(
            turned[at + 4u * stride],
            turned[at + 5u * stride],
            turned[at + 6u * stride],
            turned[at + 7u * stride],
        );
        sum = fma(vec4(operand[k], operand[k + 1u], operand[k + 2u], operand[k + 3u]), near, sum);
        sum = fma(vec4(operand[k + 4u], operand[k + 5u], operand[k + 6u], operand[k + 7u]), far, sum);
        at += 8u * stride;
    }
    for (; k < end; k += 1u) {
        sum.x = fma(operand[k], turned[at], sum.x);
        at += stride;
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

/// How the threads share a product of so many outputs: as many as there are, up to all threads, work on one part of K.
fn width_of(outputs: u32) -> u32 {
    var width = 32u;
    while width < outputs && width < THREADS {
        width *= 2u;
    }
    return width;
}

/// The sums of columns first to first + outputs, each group's part of them.
fn product(lid: u32, first: u32, outputs: u32, stride: u32) {
    let width = width_of(outputs);
    let groups = THREADS / width;
    let group = lid / width;
    let begin = slice_start(params.hidden, group, groups);
    let end = slice_start(params.hidden, group + 1u, groups);
    for (var column = lid % width; column < outputs; column += width) {
        sums[group * width + column] = partial_sum(first + column, begin, end, stride);
    }
}

/// Output o of a product of so many, of gate g of unit j, with its bias.
fn sum_of(d: u32, o: u32, outputs: u32, g: u32, j: u32) -> f32 {
    let width = width_of(outputs);
    var sum = 0.0;
    if params.has_bias != 0u {
        sum = bias[params.bias_offset + (d * GATES + g) * params.hidden + j];
    }
    for (var q = 0u; q < THREADS / width; q += 1u) {
        sum += sums[q * width + o];
    }
    return sum;
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lid: u32,
) {
    let sequence = linear(workgroup, grid);
    let b = sequence / params.directions;
    let d = sequence % params.directions;
    if b >= params.batch {
        return;
    }
    let hidden = params.hidden;
    let stride = params.directions * GATES * hidden;
    let first_column = d * GATES * hidden;
    let first_outputs = FIRST_GATES * hidden;

    for (var j = lid; j < hidden; j += THREADS) {
        operand[j] = history[units_at(slot_of(0xffffffffu, d), b, d) + j] * mask_at(b, d, j);
    }
    workgroupBarrier();

    for (var step = 0u; step < params.steps; step += 1u) {
        let at = gates_at(time_of(step, d), b, d);
        // This thread's first unit's, so that the wait overlaps the sums.
        var x = load_x(at, lid);
        product(lid, first_column, first_outputs, stride);
        workgroupBarrier();
        if FIRST_GATES < GATES {
            for (var j = lid; j < hidden; j += THREADS) {
                var r: array<f32, GATES>;
                for (var g = 0u; g < FIRST_GATES; g += 1u) {
                    r[g] = sum_of(d, g * hidden + j, first_outputs, g, j);
                }
                let unit = place(step, b, d, j);
                let made = cell_operand(params.variant, unit, load_x(at, j), r, history[unit.before]);
                operand[j] = made * mask_at(b, d, j);
            }
            workgroupBarrier();
            product(lid, first_column + first_outputs, (GATES - FIRST_GATES) * hidden, stride);
            workgroupBarrier();
        }
        for (var j = lid; j < hidden; j += THREADS) {
            if j != lid {
                x = load_x(at, j);
            }
            // Of the last product; a cell of two keeps what it needs of the first.
            var r: array<f32, GATES>;
            if FIRST_GATES < GATES {
                for (var g = FIRST_GATES; g < GATES; g += 1u) {
                    r[g] = sum_of(d, (g - FIRST_GATES) * hidden + j, (GATES - FIRST_GATES) * hidden, g, j);
                }
            } else {
                for (var g = 0u; g < GATES; g += 1u) {
                    r[g] = sum_of(d, g * hidden + j, first_outputs, g, j);
                }
            }
            let unit = place(step, b, d, j);
            let h_before = history[unit.before];
            let new_h = select(h_before, cell_forward(params.variant, unit, x, r, h_before), unit.counts);
            operand[j] = new_h * mask_at(b, d, j);
            history[unit.now] = new_h;
        }
        workgroupBarrier();
    }
}
