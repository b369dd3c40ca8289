// ctc_gradient: the outputs become the gradient of the loss of ctc_states.wgsl: s · loss_weights[b] / divisor ·
// (softmax(y)[o] − Σ_(states i whose label is o) γ(i)), with γ(i) the probability of being in state i at this step,
// given the labels; zeros behind the end of a sequence and of one whose weight is 0, whatever it holds.
//
// in-out  outputs       y [T·B, O] at outputs_offset
// in      log_sums      [T·B]: ln Σ_o exp(y[o])
// in      labels        [B, 1 + 2·L]: how many labels a sequence has, these, and their places ordered by label
// in      lengths       [B]
// in      loss_weights  [B]
// in      step_params   StepParams: the divisor
// in      loss_scale    LossScale: the factor s, read where has_loss_scale is 1; else s is 1
// in-out  states        [2, B, T, 2·L + 4], as ctc_states.wgsl leaves them, of both ways; those forwards become
//                       γ times their sum
//
// γ is softmax over the states of a(i) + b(i) − y(label of i), for both a and b have y. One workgroup a row of outputs;
// states of one label are added up in their order by one thread. carry.wgsl, records.wgsl and reduce.wgsl are appended.

struct Params {
    rows: u32,
    batch: u32,
    columns: u32,
    outputs_offset: u32,
    blank: u32,
    labels: u32,
    has_loss_scale: u32,
    zero: u32,
    first_workgroup: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> outputs: array<f32>;
@group(0) @binding(2) var<storage, read> log_sums: array<f32>;
@group(0) @binding(3) var<storage, read> labels: array<u32>;
@group(0) @binding(4) var<storage, read> lengths: array<u32>;
@group(0) @binding(5) var<storage, read> loss_weights: array<f32>;
@group(0) @binding(6) var<storage, read> step_params: StepParams;
@group(0) @binding(7) var<storage, read> loss_scale: LossScale;
@group(0) @binding(8) var<storage, read_write> states: array<f32>;

/// 64, or 256 for long targets or rows.
override THREADS: u32 = 64u;

/// Label number `at` of the sequence whose labels begin at `first`.
fn label(first: u32, at: u32) -> u32 {
    return min(labels[min(first + at, first + max(params.labels, 1u) - 1u)], params.columns - 1u);
}

/// Where the at-th of the labels in order stands.
fn place(first: u32, at: u32, count: u32) -> u32 {
    return min(labels[first + params.labels + min(at, count - 1u)], count - 1u);
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lid: u32,
) {
    let row = linear(workgroup, grid);
    if row >= params.rows {
        return;
    }
    let b = row % params.batch;
    let time = row / params.batch;
    let labels_row = b * (1u + 2u * params.labels);
    let first = labels_row + min(1u, params.labels);
    let weight = loss_weights[b];
    let counts = weight != 0.0 && time < lengths[b];
    let count = select(0u, min(labels[labels_row], params.labels), counts);
    let all = select(0u, 2u * count + 1u, counts);
    let width = 2u * params.labels + 4u;
    let steps = params.rows / params.batch;
    let forwards = (b * steps + time) * width;
    let backwards = ((params.batch + b) * steps + time) * width;
    let y = params.outputs_offset + row * params.columns;

    var largest = -0x1.fffffep+127f;
    for (var i = lid; i < all; i += THREADS) {
        let said = select(params.blank, label(first, i / 2u), i % 2u == 1u);
        // Read backwards, the states are counted from their end.
        let joint = states[forwards + i] + (states[backwards + all - 1u - i] - outputs[y + said]);
        states[forwards + i] = joint;
        largest = max(largest, joint);
    }
    let top = reduce_max(lid, largest);
    var sum = Sum();
    var blanks = Sum();
    for (var i = lid; i < all; i += THREADS) {
        let part = exp(states[forwards + i] - top);
        states[forwards + i] = part;
        sum = plus(sum, part);
        blanks = plus(blanks, select(0.0, part, i % 2u == 0u));
    }
    let total = reduce_sum(lid, sum.total);
    let of_blank = reduce_sum(lid, blanks.total) / total;
    var scale = weight / step_params.divisor;
    if params.has_loss_scale != 0u {
        scale *= loss_scale.factor;
    }
    storageBarrier();
    let log_sum = log_sums[row];
    for (var o = lid; o < params.columns; o += THREADS) {
        let softmax = exp(outputs[y + o] - log_sum);
        outputs[y + o] = select(0.0, scale * (softmax - select(0.0, of_blank, o == params.blank)), counts);
    }
    storageBarrier();
    for (var i = lid; i < count; i += THREADS) {
        let said = label(first, place(first, i, count));
        // The first of its label adds up all of them.
        if i == 0u || label(first, place(first, i - 1u, count)) != said {
            var of_label = Sum();
            for (var j = i; j < count; j += 1u) {
                let at = place(first, j, count);
                if label(first, at) != said {
                    break;
                }
                of_label = plus(of_label, states[forwards + 2u * at + 1u]);
            }
            outputs[y + said] -= scale * (of_label.total / total);
        }
    }
}
