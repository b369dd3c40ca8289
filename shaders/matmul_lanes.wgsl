// matmul_lanes: out[m, n] = Σ_k A(m, k)·B(k, n) (+ bias[n]); assigns. As matmul.wgsl, of operands whose rows are
// vectors of four, for subgroups of eight lanes; lanes.wgsl is appended.
//
// in   a     A(m, k) = a[a_offset + m·a_row + k·a_col], of which one stride is 1
// in   b     B(k, n) = b[b_offset + k·b_row + n·b_col], of which one stride is 1
// in   bias  [N] at bias_offset, read where has_bias is 1
// out  out   [M, N] at out_offset
//
// Strides other than 1, offsets, N and the axis of A that has stride 1 are multiples of 4, and so is where a slice or a
// dispatch begins along K where K has stride 1. Slices, `skip` and `count`, RESUMES and the sums are those of
// matmul.wgsl; where has_sum is 1 M has stride 1.
//
// Each workgroup is one subgroup and makes a tile of 32×32, each of its lanes 4 columns. In a round of four rows along
// K a lane loads four vectors of A and four of B, and nothing twice.
//
// A, B and Out are f32 or f16, in which the buffers are kept; all sums are made in f32.

struct Params {
    m: u32,
    n: u32,
    k: u32,
    a_offset: u32,
    a_row: u32,
    a_col: u32,
    b_offset: u32,
    b_row: u32,
    b_col: u32,
    has_bias: u32,
    bias_offset: u32,
    out_offset: u32,
    slices: u32,
    slice_stride: u32,
    has_sum: u32,
    sum_offset: u32,
    skip: u32,
    count: u32,
    zero: u32,
    first_workgroup: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<vec4<A>>;
@group(0) @binding(2) var<storage, read> b: array<vec4<B>>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<B>>;
@group(0) @binding(4) var<storage, read_write> out: array<vec4<Out>>;

override RESUMES: u32 = 0u;
const SIDE: u32 = 32u;

/// The vectors, or the first numbers of all, the second and so on.
fn turned(m: mat4x4<f32>, turns: bool) -> mat4x4<f32> {
    let t = transpose(m);
    return mat4x4(
        select(m[0], t[0], turns),
        select(m[1], t[1], turns),
        select(m[2], t[2], turns),
        select(m[3], t[3], turns),
    );
}

/// What this lane has of A: at each of k to k + 3 a number of each group of eight rows.
fn load_a(lane: u32, first_m: u32, k: u32) -> mat4x4<f32> {
    let along_k = params.a_col == 1u;
    var at: vec4<u32>;
    let steps = vec4(0u, 1u, 2u, 3u);
    if along_k {
        at = min(first_m + lane + 8u * steps, vec4(params.m - 1u)) * params.a_row + k;
    } else {
        at = min(k + steps, vec4(params.k - 1u)) * params.a_col + min(first_m + 4u * lane, params.m - 4u);
    }
    at = (at + params.a_offset) / 4u;
    let loaded = mat4x4(vec4<f32>(a[at.x]), vec4<f32>(a[at.y]), vec4<f32>(a[at.z]), vec4<f32>(a[at.w]));
    return turned(loaded, along_k);
}

/// What this lane has of B: at each of k to k + 3 a number of each of its four columns.
fn load_b(lane: u32, first_n: u32, k: u32) -> mat4x4<f32> {
    let along_k = params.b_row == 1u;
    var at: vec4<u32>;
    let steps = vec4(0u, 1u, 2u, 3u);
    let n = min(first_n + 4u * lane, params.n - 4u);
    if along_k {
        at = (n + steps) * params.b_col + k;
    } else {
        at = min(k + steps, vec4(params.k - 1u)) * params.b_row + n;
    }
    at = (at + params.b_offset) / 4u;
    let loaded = mat4x4(vec4<f32>(b[at.x]), vec4<f32>(b[at.y]), vec4<f32>(b[at.z]), vec4<f32>(b[at.w]));
    return turned(loaded, along_k);
}

@compute @workgroup_size(8)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let tiles_m = (params.m + SIDE - 1u) / SIDE;
    let tiles_n = (params.n + SIDE - 1u) / SIDE;
    let tile = linear(workgroup, grid);
    let slice = workgroup.z;
    let tile_m = tile / tiles_n;
    if tile_m >= tiles_m || slice >= params.slices {
        return;
    }
    let first_m = tile_m * SIDE;
    let first_n = (tile % tiles_n) * SIDE;
    let slice_end = slice_start(params.k, slice + 1u, params.slices);
    let k_begin = min(slice_start(params.k, slice, params.slices) + params.skip, slice_end);
    let k_end = k_begin + min(params.count, slice_end - k_begin);

    let column = first_n + 4u * lane;
    let along_k = params.a_col == 1u;
    let out_at = params.out_offset + slice * params.slice_stride;
    let row = first_m + 4u * lane;
    let summing = params.has_sum != 0u && first_n == 0u && row < params.m;
    let sum_at = (params.sum_offset + slice * params.slice_stride + row) / 4u;
    var s0: Eight;
    var s1: Eight;
    var s2: Eight;
    var s3: Eight;
    var sum = vec4(0.0);
    if RESUMES != 0u {
        s0 = load_eight(first_m, 0u, column, out_at);
        s1 = load_eight(first_m, 1u, column, out_at);
        s2 = load_eight(first_m, 2u, column, out_at);
        s3 = load_eight(first_m, 3u, column, out_at);
        if summing {
            sum = vec4<f32>(out[sum_at]);
        }
    }
    for (var k = k_begin; k < k_end; k += 4u) {
        var left = load_a(lane, first_m, k);
        let right = load_b(lane, first_n, k);
        // Past the end are other slices' rows.
        let inside = k + vec4(0u, 1u, 2u, 3u) < vec4(k_end);
        left = mat4x4(
            select(vec4(0.0), left[0], inside.x),
            select(vec4(0.0), left[1], inside.y),
            select(vec4(0.0), left[2], inside.z),
            select(vec4(0.0), left[3], inside.w),
        );
        sum += left[0] + left[1] + left[2] + left[3];
        s0 = add(add(add(add(s0, left[0].x, right[0]), left[1].x, right[1]), left[2].x, right[2]), left[3].x, right[3]);
        s1 = add(add(add(add(s1, left[0].y, right[0]), left[1].y, right[1]), left[2].y, right[2]), left[3].y, right[3]);
        s2 = add(add(add(add(s2, left[0].z, right[0]), left[1].z, right[1]), left[2].z, right[2]), left[3].z, right[3]);
        s3 = add(add(add(add(s3, left[0].w, right[0]), left[1].w, right[1]), left[2].w, right[2]), left[3].w, right[3]);
    }

    let is_inside = column < params.n;
    var added = vec4(0.0);
    if params.has_bias != 0u && params.skip + params.count >= params.k && is_inside {
        added = vec4<f32>(bias[(params.bias_offset + column) / 4u]);
    }
    // As many groups as have a row: a bound that is no constant keeps drivers from writing them out.
    let groups = select(4u, min((params.m - first_m + 7u) / 8u, 4u), along_k);
    for (var g = 0u; g < groups; g += 1u) {
        let sums = one_of(g, s0, s1, s2, s3);
        if is_inside {
            store(row_of(first_m, g, 0u), column, out_at, sums.r0 + added);
            store(row_of(first_m, g, 1u), column, out_at, sums.r1 + added);
            store(row_of(first_m, g, 2u), column, out_at, sums.r2 + added);
            store(row_of(first_m, g, 3u), column, out_at, sums.r3 + added);
            store(row_of(first_m, g, 4u), column, out_at, sums.r4 + added);
            store(row_of(first_m, g, 5u), column, out_at, sums.r5 + added);
            store(row_of(first_m, g, 6u), column, out_at, sums.r6 + added);
            store(row_of(first_m, g, 7u), column, out_at, sums.r7 + added);
        }
    }
    if summing {
        out[sum_at] = vec4<Out>(sum);
    }
}

/// Row i of a group: of one along K eight side by side, else every fourth.
fn row_of(first_m: u32, g: u32, i: u32) -> u32 {
    return first_m + select(4u * i + g, 8u * g + i, params.a_col == 1u);
}

/// Assigns four columns of a row, if that is inside.
fn store(m: u32, n: u32, out_at: u32, sums: vec4<f32>) {
    if m < params.m {
        out[(out_at + m * params.n + n) / 4u] = vec4<Out>(sums);
    }
}

/// What the dispatch before left of a row, or of the first where it is outside.
fn load(m: u32, n: u32, out_at: u32) -> vec4<f32> {
    let is_inside = m < params.m && n < params.n;
    return vec4<f32>(out[(out_at + select(0u, m * params.n + n, is_inside)) / 4u]);
}

fn load_eight(first_m: u32, g: u32, n: u32, out_at: u32) -> Eight {
    return Eight(
        load(row_of(first_m, g, 0u), n, out_at),
        load(row_of(first_m, g, 1u), n, out_at),
        load(row_of(first_m, g, 2u), n, out_at),
        load(row_of(first_m, g, 3u), n, out_at),
        load(row_of(first_m, g, 4u), n, out_at),
        load(row_of(first_m, g, 5u), n, out_at),
        load(row_of(first_m, g, 6u), n, out_at),
        load(row_of(first_m, g, 7u), n, out_at),
    );
}
