// gradient_norms: the norm of dL/dh_t over all sequences that have a step t, for every step and direction; assigns its
// part of two rows, or one, of the trace. Of the B·H elements of a norm it takes `count` from `begin` on, and joins
// them to those before.
//
// in   upstream    [T+D, B, D·H]: dL/dh_t at slot t + 1
// in   lengths     [B]: a sequence has the steps below its own
// in   loss_scale  LossScale: what the gradient was multiplied by; read where `scaled` is not 0
// out  trace       [ΣD, all]: from row `row`, column `first`
//
// norm = √Σg², or where that sum is very large or small M·√Σ (g/M)² with M the largest magnitude, so that it neither
// overflows nor underflows before the gradient does.
// What is not finite comes through. One workgroup a step and direction; records.wgsl is appended. Upstream is f32 or
// f16.

struct Params {
    steps: u32,
    directions: u32,
    batch: u32,
    hidden: u32,
    row: u32,
    first: u32,
    all: u32,
    scaled: u32,
    begin: u32,
    count: u32,
    zero: u32,
    first_workgroup: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> upstream: array<Upstream>;
@group(0) @binding(2) var<storage, read> lengths: array<u32>;
@group(0) @binding(3) var<storage, read> loss_scale: LossScale;
@group(0) @binding(4) var<storage, read_write> trace: array<f32>;

const THREADS: u32 = 256u;
/// Sums of squares between these have lost nothing.
const MIN_SQUARES: f32 = 1e-30;
const MAX_SQUARES: f32 = 1e+30;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lid: u32,
) {
    let number = linear(workgroup, grid);
    if number >= params.steps * params.directions {
        return;
    }
    let t = number % params.steps;
    let direction = number / params.steps;
    let width = params.directions * params.hidden;
    let slot = (t + 1u) * params.batch * width + direction * params.hidden;
    let end = params.begin + params.count;

    var plain = Sum();
    var largest = 0.0;
    var broken = 0.0;
    // The sum of what is not finite is not finite.
    var poison = 0.0;
    for (var i = params.begin + lid; i < end; i += THREADS) {
        let b = i / params.hidden;
        if t < lengths[b] {
            let g = f32(upstream[slot + b * width + i % params.hidden]);
            if is_finite_bits(g) {
                plain = plus(plain, g * g);
                largest = max(largest, abs(g));
            } else {
                broken = 1.0;
                poison += g;
            }
        }
    }
    let squares = reduce_sum(lid, plain.total);
    let m = reduce_max(lid, largest);
    let any_broken = reduce_max(lid, broken);
    let all_poison = reduce_sum(lid, poison);

    let is_safe = squares > MIN_SQUARES && squares < MAX_SQUARES;
    var sum = Sum();
    if !is_safe && m > 0.0 && any_broken == 0.0 {
        for (var i = params.begin + lid; i < end; i += THREADS) {
            let b = i / params.hidden;
            if t < lengths[b] {
                let scaled = ratio(f32(upstream[slot + b * width + i % params.hidden]), m);
                sum = plus(sum, scaled * scaled);
            }
        }
    }
    var norm = select(m * sqrt(reduce_sum(lid, sum.total)), sqrt(squares), is_safe);
    if params.scaled != 0u {
        norm *= loss_scale.inverse;
    }
    if lid == 0u {
        let at = (params.row + direction) * params.all + params.first + t;
        let part = select(norm, all_poison, any_broken != 0.0);
        if params.begin == 0u {
            trace[at] = part;
        } else {
            trace[at] = joined(trace[at], part);
        }
    }
}

/// The norm of two parts of known norms.
fn joined(a: f32, b: f32) -> f32 {
    let m = max(a, b);
    if !is_finite_bits(a) || !is_finite_bits(b) || m == 0.0 {
        return a + b;
    }
    let x = ratio(a, m);
    let y = ratio(b, m);
    return m * sqrt(x * x + y * y);
}
