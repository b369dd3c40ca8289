// step_metrics: loss, gradient norm before clipping, clip scale and finite flag (1 or 0), into this step's row of a
// table of the metrics; assigns that row alone.
//
// carry.wgsl and records.wgsl are appended.
//
// in      row_loss     [R]: the loss is their sum, and what the row says already where the step accumulates; not read
//                      where there are `losses`, of which it is the sum
// in      partials     [blocks] of NormPartial, from reduce_gradients; not read where blocks is 0: the norm is then 0
//                      and the scale 1
// in      step_params  StepParams: the row of the metrics, accumulate, more_windows
// in-out  metrics      [1 + losses, slots] of MetricsRow, or more tables, of which the one from `first_slot` on is
//                      meant
//
// norm = M·√Σ s_i·(m_i/M)² with M the largest m_i, which overflows only where the norm itself does.
// Where the step has more windows to come the flag is 0: there is no update yet.
// clip: 0 leaves the scale at 1; 1 scales a norm above `bound` down to it; 2 scales any norm to it; 3 says how much
// smaller a largest magnitude above `bound` is made, which the optimiser does.

struct Params {
    rows: u32,
    blocks: u32,
    slots: u32,
    first_slot: u32,
    losses: u32,
    clip: u32,
    bound: f32,
    zero: u32,
    first_workgroup: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> row_loss: array<f32>;
@group(0) @binding(2) var<storage, read> partials: array<NormPartial>;
@group(0) @binding(3) var<storage, read> step_params: StepParams;
@group(0) @binding(4) var<storage, read_write> metrics: array<MetricsRow>;

const THREADS: u32 = 256u;
/// Added to a norm that is divided by, as PyTorch does.
const CLIP_EPSILON: f32 = 1e-6;
/// Normalising makes short gradients grow; this keeps the scale finite.
const LARGEST_SCALE: f32 = 3e38;

fn clip_scale(norm: f32, largest: f32) -> f32 {
    if params.clip == 1u {
        return min(1.0, params.bound / (norm + CLIP_EPSILON));
    }
    // A gradient of zero has no direction to be scaled along.
    if params.clip == 2u && norm > 0.0 {
        return min(params.bound / norm, LARGEST_SCALE);
    }
    if params.clip == 3u && largest > params.bound {
        return params.bound / largest;
    }
    return 1.0;
}

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lid: u32) {
    var part = Sum();
    for (var r = lid; r < params.rows; r += THREADS) {
        part = plus(part, row_loss[r]);
    }
    let sum_of_rows = reduce_sum(lid, part.total);

    var largest = 0.0;
    var broken = 0.0;
    for (var i = lid; i < params.blocks; i += THREADS) {
        largest = max(largest, partials[i].largest);
        broken = max(broken, 1.0 - partials[i].is_finite);
    }
    let m = reduce_max(lid, largest);
    let any_broken = reduce_max(lid, broken);

    var sum = Sum();
    if m > 0.0 {
        for (var i = lid; i < params.blocks; i += THREADS) {
            let scaled = ratio(partials[i].largest, m);
            sum = plus(sum, partials[i].squares * scaled * scaled);
        }
    }
    let norm = m * sqrt(reduce_sum(lid, sum.total));

    let slot = u32(step_params.metrics_row);
    if lid == 0u && slot < params.slots {
        var loss = sum_of_rows;
        if params.losses > 0u {
            for (var i = 1u; i <= params.losses; i += 1u) {
                loss += metrics[i * params.slots + slot].loss;
            }
        } else if step_params.accumulate != 0.0 {
            loss += metrics[params.first_slot + slot].loss;
        }
        let finite = any_broken == 0.0 && is_finite_bits(loss) && is_finite_bits(norm);
        let updates = select(0.0, 1.0, finite && step_params.more_windows == 0.0);
        metrics[params.first_slot + slot] = MetricsRow(loss, norm, clip_scale(norm, m), updates);
    }
}
