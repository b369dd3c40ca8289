// matmul: out[m, n] = Σ_k A(m, k)·B(k, n) (+ bias[n]); assigns.
//
// in   a      A(m, k) = a[a_offset + m·a_row + k·a_col]; a transposition is a choice of strides
// in   b      B(k, n) = b[b_offset + k·b_row + n·b_col]
// in   bias   [N] at bias_offset, read where has_bias is 1
// out  out    [M, N] at out_offset
//
// The K axis is cut into `slices`: slice s sums rows ⌊K·s/S⌋ to ⌊K·(s+1)/S⌋ and writes slice_stride·s further on.
// Where has_sum is 1, Σ_k A(m, k) of each slice is also written: [M] at sum_offset + slice_stride·s.
//
// Each workgroup makes a tile of 32×32, each of its 8×8 threads 4×4 of it in registers; K goes through workgroup
// memory in chunks of 16. The next chunk is loaded into registers before this one is used, so that the wait overlaps.

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
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;

const TILE: u32 = 32u;
const CHUNK: u32 = 16u;
/// Vectors of four in a row of a tile, one of them padding: it keeps the stores of a warp in different banks.
const ROW: u32 = 9u;

// Both k by k, so that a thread reads its four rows of A, and its four columns of B, as one vector.
var<workgroup> tile_a: array<vec4<f32>, CHUNK * ROW>;
var<workgroup> tile_b: array<vec4<f32>, CHUNK * ROW>;

// Without a branch: sixteen of them in a row, inlined, are more than some drivers' compilers can bear. What lies
// outside is read from the first element and replaced by zero.

fn load_a(m: u32, k: u32, k_end: u32) -> f32 {
    let inside = (m < params.m) & (k < k_end);
    return select(0.0, a[params.a_offset + select(0u, m * params.a_row + k * params.a_col, inside)], inside);
}

fn load_b(k: u32, n: u32, k_end: u32) -> f32 {
    let inside = (n < params.n) & (k < k_end);
    return select(0.0, b[params.b_offset + select(0u, k * params.b_row + n * params.b_col, inside)], inside);
}

fn load_a4(m: u32, k: u32, k_end: u32) -> vec4<f32> {
    return vec4(load_a(m, k, k_end), load_a(m + 1u, k, k_end), load_a(m + 2u, k, k_end), load_a(m + 3u, k, k_end));
}

fn load_b4(k: u32, n: u32, k_end: u32) -> vec4<f32> {
    return vec4(load_b(k, n, k_end), load_b(k, n + 1u, k_end), load_b(k, n + 2u, k_end), load_b(k, n + 3u, k_end));
}

/// Which (k, vector) of a tile an element number from 0 to 127 is: neighbouring threads walk the axis of stride 1.
fn place(element: u32, along_k: bool) -> vec2<u32> {
    if along_k {
        return vec2(element % CHUNK, element / CHUNK);
    }
    return vec2(element / 8u, element % 8u);
}

fn store(m: u32, n: u32, slice: u32, value: vec4<f32>) {
    if m < params.m {
        let at = params.out_offset + slice * params.slice_stride + m * params.n + n;
        if n < params.n {
            out[at] = value.x;
        }
        if n + 1u < params.n {
            out[at + 1u] = value.y;
        }
        if n + 2u < params.n {
            out[at + 2u] = value.z;
        }
        if n + 3u < params.n {
            out[at + 3u] = value.w;
        }
    }
}

fn bias_at(n: u32) -> f32 {
    if params.has_bias != 0u && n < params.n {
        return bias[params.bias_offset + n];
    }
    return 0.0;
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lid: u32,
) {
    let tiles_m = (params.m + TILE - 1u) / TILE;
    let tiles_n = (params.n + TILE - 1u) / TILE;
    let tile = linear(workgroup, grid);
    let slice = workgroup.z;
    let tile_m = tile / tiles_n;
    if tile_m >= tiles_m || slice >= params.slices {
        return;
    }
    let first_m = tile_m * TILE;
    let first_n = (tile % tiles_n) * TILE;
    let k_begin = slice_start(params.k, slice, params.slices);
    let k_end = slice_start(params.k, slice + 1u, params.slices);
    let summing = params.has_sum != 0u && first_n == 0u;

    let a0 = place(lid, params.a_col == 1u);
    let a1 = place(lid + 64u, params.a_col == 1u);
    let b0 = place(lid, params.b_row == 1u);
    let b1 = place(lid + 64u, params.b_row == 1u);
    let row = lid / 8u;
    let column = lid % 8u;

    var acc0 = vec4(0.0);
    var acc1 = vec4(0.0);
    var acc2 = vec4(0.0);
    var acc3 = vec4(0.0);
    var sum = vec4(0.0);
    var next_a0 = load_a4(first_m + 4u * a0.y, k_begin + a0.x, k_end);
    var next_a1 = load_a4(first_m + 4u * a1.y, k_begin + a1.x, k_end);
    var next_b0 = load_b4(k_begin + b0.x, first_n + 4u * b0.y, k_end);
    var next_b1 = load_b4(k_begin + b1.x, first_n + 4u * b1.y, k_end);

    for (var chunk = k_begin; chunk < k_end; chunk += CHUNK) {
        tile_a[a0.x * ROW + a0.y] = next_a0;
        tile_a[a1.x * ROW + a1.y] = next_a1;
        tile_b[b0.x * ROW + b0.y] = next_b0;
        tile_b[b1.x * ROW + b1.y] = next_b1;
        workgroupBarrier();

        // Past the last chunk these load nothing: every k is at or beyond k_end.
        let after = chunk + CHUNK;
        next_a0 = load_a4(first_m + 4u * a0.y, after + a0.x, k_end);
        next_a1 = load_a4(first_m + 4u * a1.y, after + a1.x, k_end);
        next_b0 = load_b4(after + b0.x, first_n + 4u * b0.y, k_end);
        next_b1 = load_b4(after + b1.x, first_n + 4u * b1.y, k_end);

        for (var k = 0u; k < CHUNK; k += 2u) {
            let left = tile_a[k * ROW + row];
            let right = tile_b[k * ROW + column];
            acc0 = fma(vec4(left.x), right, acc0);
            acc1 = fma(vec4(left.y), right, acc1);
            acc2 = fma(vec4(left.z), right, acc2);
            acc3 = fma(vec4(left.w), right, acc3);
            let left_too = tile_a[(k + 1u) * ROW + row];
            let right_too = tile_b[(k + 1u) * ROW + column];
            acc0 = fma(vec4(left_too.x), right_too, acc0);
            acc1 = fma(vec4(left_too.y), right_too, acc1);
            acc2 = fma(vec4(left_too.z), right_too, acc2);
            acc3 = fma(vec4(left_too.w), right_too, acc3);
            if summing {
                sum += left + left_too;
            }
        }
        workgroupBarrier();
    }

    let m = first_m + 4u * row;
    let n = first_n + 4u * column;
    let added = vec4(bias_at(n), bias_at(n + 1u), bias_at(n + 2u), bias_at(n + 3u));
    store(m, n, slice, acc0 + added);
    store(m + 1u, n, slice, acc1 + added);
    store(m + 2u, n, slice, acc2 + added);
    store(m + 3u, n, slice, acc3 + added);
    if summing && column == 0u {
        let at = params.sum_offset + slice * params.slice_stride + m;
        for (var i = 0u; i < 4u && m + i < params.m; i += 1u) {
            out[at + i] = sum[i];
        }
    }
}
