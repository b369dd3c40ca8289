// ctc_states: the two recursions of connectionist temporal classification (Graves et al. 2006), and each sequence's
// part of the mean loss; assigns.
//
// in      outputs       y [T·B, O] at outputs_offset
// in      log_sums      [T·B]: ln Σ_o exp(y[o])
// in      labels        [B, 1 + 2·L]: how many labels a sequence has, these, and their places ordered by label
// in      lengths       [B]
// in      loss_weights  [B], at least 0; of a sequence that has 0 nothing is written but its row_loss, which is 0
// in      step_params   StepParams: the divisor
// in-out  states        [ways, B, slots, 2·L + 4]: see below
// out     row_loss      [B]: loss_weights[b] / divisor · −ln p(labels | y)
//
// A sequence of `count` labels has 2·count + 1 states: its labels, with a blank before, between and behind them. State
// s is entered from s, s - 1 and, where s is a label other than that of s - 2, from there. Forwards
//     a_t(s) = y_t(label of s) + ln Σ_(s' that enter s) exp(a_(t-1)(s')) - shift_(t-1),   shift_t = max_s a_t(s),
// and backwards the same of the sequence and its labels read from their ends. What a shift takes away is added up
// beside the states, so that these stay near 0 however long the sequence is: behind the states of a step lie its shift,
// Σ_t (log_sums - shift), and what rounding took from that sum.
//
// One workgroup a sequence and way; of steps `begin` to `end` in its own order, going on from what is there. Where
// slots are fewer than T a step takes the place of an earlier one. carry.wgsl, records.wgsl and reduce.wgsl are
// appended.

struct Params {
    batch: u32,
    columns: u32,
    outputs_offset: u32,
    blank: u32,
    labels: u32,
    steps: u32,
    slots: u32,
    ways: u32,
    begin: u32,
    end: u32,
    zero: u32,
    first_workgroup: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> outputs: array<f32>;
@group(0) @binding(2) var<storage, read> log_sums: array<f32>;
@group(0) @binding(3) var<storage, read> labels: array<u32>;
@group(0) @binding(4) var<storage, read> lengths: array<u32>;
@group(0) @binding(5) var<storage, read> loss_weights: array<f32>;
@group(0) @binding(6) var<storage, read> step_params: StepParams;
@group(0) @binding(7) var<storage, read_write> states: array<f32>;
@group(0) @binding(8) var<storage, read_write> row_loss: array<f32>;

/// 64, or 256 for long targets.
override THREADS: u32 = 64u;

/// The logarithm of no probability at all: far below that of any path, and finite.
const NONE: f32 = -1e30;

/// The output that state s says: a blank, or the label of the sequence whose labels begin at `first`.
fn symbol(first: u32, s: u32) -> u32 {
    // Of the last blank there is no label.
    let label = labels[min(first + s / 2u, first + max(params.labels, 1u) - 1u)];
    return min(select(params.blank, label, s % 2u == 1u), params.columns - 1u);
}

/// ln (eᵃ + eᵇ + eᶜ).
fn log_sum(a: f32, b: f32, c: f32) -> f32 {
    let top = max(a, max(b, c));
    return top + log(exp(a - top) + exp(b - top) + exp(c - top));
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lid: u32,
) {
    let index = linear(workgroup, grid);
    if index >= params.ways * params.batch {
        return;
    }
    let b = index % params.batch;
    let is_backward = index >= params.batch;
    let row = b * (1u + 2u * params.labels);
    let count = min(labels[row], params.labels);
    let first = row + min(1u, params.labels);
    let all = 2u * count + 1u;
    let weight = loss_weights[b];
    let length = select(0u, min(lengths[b], params.steps), weight != 0.0);
    let last = max(length, 1u) - 1u;
    let width = 2u * params.labels + 4u;
    let base = index * params.slots * width;
    let tail = width - 3u;

    if lid == 0u && length == 0u && !is_backward {
        row_loss[b] = 0.0;
    }
    // Where the part before this one ended, if there was one.
    let before = min(max(params.begin, 1u) - 1u, last);
    let held = base + select(before, last - before, is_backward) % params.slots * width + tail;
    var shift = select(0.0, states[held], params.begin > 0u);
    var sum = Sum(select(0.0, states[held + 1u], params.begin > 0u), select(0.0, states[held + 2u], params.begin > 0u));

    for (var step = params.begin; step < params.end; step += 1u) {
        let counts = step < length;
        let at = min(step, last);
        let time = select(at, last - at, is_backward);
        let previous = max(at, 1u) - 1u;
        let now = base + time % params.slots * width;
        let past = base + select(previous, last - previous, is_backward) % params.slots * width;
        let y = params.outputs_offset + (time * params.batch + b) * params.columns;
        // Chosen, for no loop here may branch on the step.
        let upto = select(0u, all, counts);
        var largest = -0x1.fffffep+127f;
        for (var j = lid; j < upto; j += THREADS) {
            let s = select(j, all - 1u - j, is_backward);
            let said = symbol(first, s);
            let other = symbol(first, select(max(s, 2u) - 2u, min(s + 2u, all - 1u), is_backward));
            let skips = j > 1u && j % 2u == 1u && other != said;
            let one = select(NONE, states[past + max(j, 1u) - 1u], j > 0u);
            let two = select(NONE, states[past + max(j, 2u) - 2u], skips);
            let entered = log_sum(states[past + j], one, two) - shift;
            let value = outputs[y + said] + select(entered, select(NONE, 0.0, j < 2u), step == 0u);
            states[now + j] = value;
            largest = max(largest, value);
        }
        storageBarrier();
        let top = reduce_max(lid, largest);
        let next = plus(sum, log_sums[time * params.batch + b] - top);
        sum.total = select(sum.total, next.total, counts);
        sum.excess = select(sum.excess, next.excess, counts);
        shift = select(shift, top, counts);
        if lid == 0u && counts {
            states[now + tail] = shift;
            states[now + tail + 1u] = sum.total;
            states[now + tail + 2u] = sum.excess;
            if step == last && !is_backward {
                let label = select(NONE, states[now + max(all, 2u) - 2u], all > 1u);
                let ends = log_sum(states[now + all - 1u], label, NONE);
                row_loss[b] = weight / step_params.divisor * (sum.total - (ends - shift));
            }
        }
    }
}
