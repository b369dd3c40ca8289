// matmul: out[m, n] = Σ_k A(m, k)·B(k, n) (+ bias[n]); assigns.
//
// in   a     A(m, k) = a[a_offset + m·a_row + k·a_col]; a transposition is a choice of strides
// in   b     B(k, n) = b[b_offset + k·b_row + n·b_col]
// in   bias  [N] at bias_offset, read where has_bias is 1
// out  out   [M, N] at out_offset
//
// The K axis is cut into `slices`: slice s sums rows ⌊K·s/S⌋ to ⌊K·(s+1)/S⌋ and writes slice_stride·s further on. Of
// every slice a dispatch takes `count` rows from `skip` on: where skip is not 0 it goes on with what is there, and the
// bias is the last's to add. Where has_sum is 1, Σ_k A(m, k) of each slice is also written: [M] at sum_offset +
// slice_stride·s.
//
// Each workgroup makes a tile of 32·SQUARES a side, each of its 8×8 threads SQUARES×SQUARES squares of 4×4 in
// registers; K goes through workgroup memory in chunks of 16. The next chunk is loaded into registers before this one
// is used, so that the wait overlaps. With 4 squares a thread has 4 vectors of workgroup memory for 64 products, with 1
// it has 2 for 16, and reads each of A and B half as often.
//
// Where LONG is 1, a sum carries what rounding takes from it, chunk by chunk; carry.wgsl is appended.
//
// FXC takes long over branches and small operations where so many sums are kept across loops. So loads go four by four
// and without a branch, squares are stored in a loop, and RESUMES, which is 1 where skip is not 0, is a constant.
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
@group(0) @binding(1) var<storage, read> a: array<A>;
@group(0) @binding(2) var<storage, read> b: array<B>;
@group(0) @binding(3) var<storage, read> bias: array<B>;
@group(0) @binding(4) var<storage, read_write> out: array<Out>;

/// 1 or 2.
override SQUARES: u32 = 1u;
override LONG: u32 = 0u;
override RESUMES: u32 = 0u;
const CHUNK: u32 = 16u;
const FOUR: vec4<u32> = vec4(0u, 1u, 2u, 3u);

// Both k by k, so that a thread reads its rows of A, and its columns of B, four as one vector. One vector of padding
// keeps the stores of a warp in different banks.
var<workgroup> tile_a: array<vec4<f32>, CHUNK * (8u * SQUARES + 1u)>;
var<workgroup> tile_b: array<vec4<f32>, CHUNK * (8u * SQUARES + 1u)>;

/// Four vectors by name: an array might be kept in memory.
struct Vectors {
    v0: vec4<f32>,
    v1: vec4<f32>,
    v2: vec4<f32>,
    v3: vec4<f32>,
}

// Without a branch: sixteen of them in a row, inlined, are more than some drivers' compilers can bear. What lies
// outside is read from the first element and replaced by zero.

fn load_a4(m: u32, k: u32, k_end: u32) -> vec4<f32> {
    let rows = m + FOUR;
    let inside = rows < vec4(select(0u, params.m, k < k_end));
    let at = params.a_offset + select(vec4(0u), rows * params.a_row + k * params.a_col, inside);
    return select(vec4(0.0), vec4(f32(a[at.x]), f32(a[at.y]), f32(a[at.z]), f32(a[at.w])), inside);
}

fn load_b4(k: u32, n: u32, k_end: u32) -> vec4<f32> {
    let columns = n + FOUR;
    let inside = columns < vec4(select(0u, params.n, k < k_end));
    let at = params.b_offset + select(vec4(0u), k * params.b_row + columns * params.b_col, inside);
    return select(vec4(0.0), vec4(f32(b[at.x]), f32(b[at.y]), f32(b[at.z]), f32(b[at.w])), inside);
}

/// Which (k, vector) of a tile an element is: neighbouring threads walk the axis of stride 1.
fn place(element: u32, along_k: bool) -> vec2<u32> {
    let width = 8u * SQUARES;
    return select(vec2(element / width, element % width), vec2(element % CHUNK, element / CHUNK), along_k);
}

/// What a thread loads of the chunk of A that starts at k: of 128·SQUARES elements number lid, lid + 64, ….
fn next_a(lid: u32, first_m: u32, k: u32, k_end: u32) -> Vectors {
    let along_k = params.a_col == 1u;
    let p0 = place(lid, along_k);
    let p1 = place(lid + 64u, along_k);
    var next: Vectors;
    next.v0 = load_a4(first_m + 4u * p0.y, k + p0.x, k_end);
    next.v1 = load_a4(first_m + 4u * p1.y, k + p1.x, k_end);
    if SQUARES > 1u {
        let p2 = place(lid + 128u, along_k);
        let p3 = place(lid + 192u, along_k);
        next.v2 = load_a4(first_m + 4u * p2.y, k + p2.x, k_end);
        next.v3 = load_a4(first_m + 4u * p3.y, k + p3.x, k_end);
    }
    return next;
}

/// The same of B.
fn next_b(lid: u32, first_n: u32, k: u32, k_end: u32) -> Vectors {
    let along_k = params.b_row == 1u;
    let p0 = place(lid, along_k);
    let p1 = place(lid + 64u, along_k);
    var next: Vectors;
    next.v0 = load_b4(k + p0.x, first_n + 4u * p0.y, k_end);
    next.v1 = load_b4(k + p1.x, first_n + 4u * p1.y, k_end);
    if SQUARES > 1u {
        let p2 = place(lid + 128u, along_k);
        let p3 = place(lid + 192u, along_k);
        next.v2 = load_b4(k + p2.x, first_n + 4u * p2.y, k_end);
        next.v3 = load_b4(k + p3.x, first_n + 4u * p3.y, k_end);
    }
    return next;
}

/// Where an element of a chunk is shared.
fn slot(element: u32, along_k: bool) -> u32 {
    let at = place(element, along_k);
    return at.x * (8u * SQUARES + 1u) + at.y;
}

/// A square of 4×4 with the products of four rows and four columns added.
fn add(square: Vectors, left: vec4<f32>, right: vec4<f32>) -> Vectors {
    return Vectors(
        fma(vec4(left.x), right, square.v0),
        fma(vec4(left.y), right, square.v1),
        fma(vec4(left.z), right, square.v2),
        fma(vec4(left.w), right, square.v3),
    );
}

/// The sums of a square, of which each carries what it lost.
struct Long {
    v0: Sums,
    v1: Sums,
    v2: Sums,
    v3: Sums,
}

fn plus_square(long: Long, square: Vectors) -> Long {
    return Long(
        plus4(long.v0, square.v0),
        plus4(long.v1, square.v1),
        plus4(long.v2, square.v2),
        plus4(long.v3, square.v3),
    );
}

fn long_of(square: Vectors) -> Long {
    let none = vec4(0.0);
    return Long(Sums(square.v0, none), Sums(square.v1, none), Sums(square.v2, none), Sums(square.v3, none));
}

fn totals(long: Long) -> Vectors {
    return Vectors(long.v0.total, long.v1.total, long.v2.total, long.v3.total);
}

/// What the dispatch before left of a square. What lies outside is read from the thread's own first element.
fn load_square(m: u32, n: u32, slice: u32) -> Vectors {
    var square: Vectors;
    if (m < params.m) & (n < params.n) {
        let at = params.out_offset + slice * params.slice_stride + m * params.n + n;
        square.v0 = load(at, 0u, n, params.n);
        square.v1 = load(at, params.n, n, select(0u, params.n, m + 1u < params.m));
        square.v2 = load(at, 2u * params.n, n, select(0u, params.n, m + 2u < params.m));
        square.v3 = load(at, 3u * params.n, n, select(0u, params.n, m + 3u < params.m));
    }
    return square;
}

fn load_sum(m: u32, slice: u32) -> vec4<f32> {
    var sum = vec4(0.0);
    if m < params.m {
        sum = load(params.sum_offset + slice * params.slice_stride + m, 0u, m, params.m);
    }
    return sum;
}

/// The four elements `further` than `at`, of which the first has number i, as far as their numbers are below `end`.
fn load(at: u32, further: u32, i: u32, end: u32) -> vec4<f32> {
    let inside = i + FOUR < vec4(end);
    let index = at + select(vec4(0u), further + FOUR, inside);
    return select(vec4(0.0), vec4(f32(out[index.x]), f32(out[index.y]), f32(out[index.z]), f32(out[index.w])), inside);
}

fn store_square(m: u32, n: u32, slice: u32, square: Vectors) {
    let added = bias_at(n);
    let at = params.out_offset + slice * params.slice_stride + m * params.n + n;
    store(at, n, select(0u, params.n, m < params.m), square.v0 + added);
    store(at + params.n, n, select(0u, params.n, m + 1u < params.m), square.v1 + added);
    store(at + 2u * params.n, n, select(0u, params.n, m + 2u < params.m), square.v2 + added);
    store(at + 3u * params.n, n, select(0u, params.n, m + 3u < params.m), square.v3 + added);
}

fn store_sum(m: u32, slice: u32, sum: vec4<f32>) {
    store(params.sum_offset + slice * params.slice_stride + m, m, params.m, sum);
}

/// Four elements from `at` on, of which the first has number i, as far as their numbers are below `end`.
fn store(at: u32, i: u32, end: u32, value: vec4<f32>) {
    if i < end {
        out[at] = Out(value.x);
    }
    if i + 1u < end {
        out[at + 1u] = Out(value.y);
    }
    if i + 2u < end {
        out[at + 2u] = Out(value.z);
    }
    if i + 3u < end {
        out[at + 3u] = Out(value.w);
    }
}

/// What is added to columns n to n + 3.
fn bias_at(n: u32) -> vec4<f32> {
    let has_bias = (params.has_bias != 0u) & (params.skip + params.count >= params.k);
    let inside = n + FOUR < vec4(select(0u, params.n, has_bias));
    let at = params.bias_offset + select(vec4(0u), n + FOUR, inside);
    return select(vec4(0.0), vec4(f32(bias[at.x]), f32(bias[at.y]), f32(bias[at.z]), f32(bias[at.w])), inside);
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lid: u32,
) {
    let side = 32u * SQUARES;
    let tiles_m = (params.m + side - 1u) / side;
    let tiles_n = (params.n + side - 1u) / side;
    let tile = linear(workgroup, grid);
    let slice = workgroup.z;
    let tile_m = tile / tiles_n;
    if tile_m >= tiles_m || slice >= params.slices {
        return;
    }
    let first_m = tile_m * side;
    let first_n = (tile % tiles_n) * side;
    let slice_end = slice_start(params.k, slice + 1u, params.slices);
    let k_begin = min(slice_start(params.k, slice, params.slices) + params.skip, slice_end);
    let k_end = k_begin + min(params.count, slice_end - k_begin);
    let summing = params.has_sum != 0u && first_n == 0u;

    let a_along_k = params.a_col == 1u;
    let b_along_k = params.b_row == 1u;
    let row = lid / 8u;
    let column = lid % 8u;
    let m = first_m + 4u * row;
    let n = first_n + 4u * column;

    // Row and column of squares.
    var s00: Vectors;
    var s01: Vectors;
    var s10: Vectors;
    var s11: Vectors;
    var sum0 = vec4(0.0);
    var sum1 = vec4(0.0);
    if RESUMES != 0u {
        s00 = load_square(m, n, slice);
        if SQUARES > 1u {
            s01 = load_square(m, n + 32u, slice);
            s10 = load_square(m + 32u, n, slice);
            s11 = load_square(m + 32u, n + 32u, slice);
        }
        if summing {
            sum0 = load_sum(m, slice);
            if SQUARES > 1u {
                sum1 = load_sum(m + 32u, slice);
            }
        }
    }
    // Where sums are long those of a chunk are made apart.
    var long00: Long;
    var long01: Long;
    var long10: Long;
    var long11: Long;
    var long_sum0: Sums;
    var long_sum1: Sums;
    if LONG != 0u {
        long00 = long_of(s00);
        long01 = long_of(s01);
        long10 = long_of(s10);
        long11 = long_of(s11);
        long_sum0.total = sum0;
        long_sum1.total = sum1;
    }
    var a_next = next_a(lid, first_m, k_begin, k_end);
    var b_next = next_b(lid, first_n, k_begin, k_end);

    for (var chunk = k_begin; chunk < k_end; chunk += CHUNK) {
        tile_a[slot(lid, a_along_k)] = a_next.v0;
        tile_a[slot(lid + 64u, a_along_k)] = a_next.v1;
        tile_b[slot(lid, b_along_k)] = b_next.v0;
        tile_b[slot(lid + 64u, b_along_k)] = b_next.v1;
        if SQUARES > 1u {
            tile_a[slot(lid + 128u, a_along_k)] = a_next.v2;
            tile_a[slot(lid + 192u, a_along_k)] = a_next.v3;
            tile_b[slot(lid + 128u, b_along_k)] = b_next.v2;
            tile_b[slot(lid + 192u, b_along_k)] = b_next.v3;
        }
        workgroupBarrier();
        if LONG != 0u {
            s00 = Vectors();
            s01 = Vectors();
            s10 = Vectors();
            s11 = Vectors();
            sum0 = vec4(0.0);
            sum1 = vec4(0.0);
        }

        // Past the last chunk these load nothing: every k is at or beyond k_end.
        a_next = next_a(lid, first_m, chunk + CHUNK, k_end);
        b_next = next_b(lid, first_n, chunk + CHUNK, k_end);

        for (var k = 0u; k < CHUNK; k += 1u) {
            let at = k * (8u * SQUARES + 1u);
            let left0 = tile_a[at + row];
            let right0 = tile_b[at + column];
            s00 = add(s00, left0, right0);
            var left1: vec4<f32>;
            if SQUARES > 1u {
                left1 = tile_a[at + row + 8u];
                let right1 = tile_b[at + column + 8u];
                s01 = add(s01, left0, right1);
                s10 = add(s10, left1, right0);
                s11 = add(s11, left1, right1);
            }
            if summing {
                sum0 += left0;
                sum1 += left1;
            }
        }
        if LONG != 0u {
            long00 = plus_square(long00, s00);
            long_sum0 = plus4(long_sum0, sum0);
            if SQUARES > 1u {
                long01 = plus_square(long01, s01);
                long10 = plus_square(long10, s10);
                long11 = plus_square(long11, s11);
                long_sum1 = plus4(long_sum1, sum1);
            }
        }
        workgroupBarrier();
    }
    if LONG != 0u {
        s00 = totals(long00);
        s01 = totals(long01);
        s10 = totals(long10);
        s11 = totals(long11);
        sum0 = long_sum0.total;
        sum1 = long_sum1.total;
    }

    for (var square = 0u; square < SQUARES * SQUARES; square += 1u) {
        var sums = s00;
        switch square {
            case 0u: {}
            case 1u: { sums = s01; }
            case 2u: { sums = s10; }
            default: { sums = s11; }
        }
        store_square(m + (square >> 1u) * 32u, n + (square & 1u) * 32u, slice, sums);
    }
    if summing && column == 0u {
        store_sum(m, slice, sum0);
        if SQUARES > 1u {
            store_sum(m + 32u, slice, sum1);
        }
    }
}
