// gather_gradient: weight[j, v] = Σ d[r, j]·m(b, v) over the rows r whose token is v, and bias[j] = Σ_r d[r, j];
// assigns every element of both in every slice, zeros where a token does not occur or is `padding`; adds where `skip`
// or `adds` is not 0.
//
// in   d       [R, M] at d_offset, rows d_stride apart
// in   order   [places] row numbers, by token
// in   starts  [I + 1] at starts_offset: the rows of token v are order[starts[v]..starts[v + 1]]
// in   keys    [sites, 2]: m is what dropout draws at b·I + v, read where has_mask is 1; else m is 1
// in   rows    [I] ids, read where has_rows is 1: v is drawn for as the token rows[v] of `tokens`
// out  slices  [S, flat]: [M, I] or, where by_rows is 1, [I, M], at weight_offset and, where has_bias is 1, [M] at
//      bias_offset of every slice
//
// Slice s takes elements ⌊n·s/S⌋ to ⌊n·(s+1)/S⌋ of a token's n rows, and of all R rows for the bias.
// One workgroup a token (I stands for the bias), a block of 32 columns and a slice; 8 groups of threads share its
// rows. Row r is of sequence b = r mod batch. random.wgsl and carry.wgsl are appended. D is f32 or f16.

struct Params {
    rows: u32,
    columns: u32,
    vocabulary: u32,
    slices: u32,
    slice_stride: u32,
    places: u32,
    starts_offset: u32,
    d_offset: u32,
    d_stride: u32,
    weight_offset: u32,
    has_bias: u32,
    bias_offset: u32,
    batch: u32,
    has_mask: u32,
    site: u32,
    threshold: u32,
    kept: f32,
    by_rows: u32,
    has_rows: u32,
    tokens: u32,
    adds: u32,
    padding: u32,
    /// Of the rows that a slice of a token has, `count` from `skip` on.
    skip: u32,
    count: u32,
    zero: u32,
    first_workgroup: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> d: array<D>;
@group(0) @binding(2) var<storage, read> order: array<u32>;
@group(0) @binding(3) var<storage, read> starts: array<u32>;
@group(0) @binding(4) var<storage, read> keys: array<u32>;
@group(0) @binding(5) var<storage, read> rows: array<u32>;
@group(0) @binding(6) var<storage, read_write> slices: array<f32>;

const COLUMNS: u32 = 32u;
const GROUPS: u32 = 8u;

var<workgroup> sums: array<f32, GROUPS * COLUMNS>;

/// d at the place-th row that is summed for v, column j; 0 past the end.
fn element(place: u32, end: u32, j: u32, v: u32) -> f32 {
    let all_rows = v == params.vocabulary;
    if place >= end || j >= params.columns {
        return 0.0;
    }
    var row = place;
    if !all_rows {
        row = order[place];
    }
    if row >= params.rows {
        return 0.0;
    }
    var value = f32(d[params.d_offset + row * params.d_stride + j]);
    if params.has_mask != 0u && !all_rows {
        var token = v;
        if params.has_rows != 0u {
            token = rows[v];
        }
        value *= drawn(params.site, params.threshold, params.kept, row % params.batch * params.tokens + token);
    }
    return value;
}

@compute @workgroup_size(32, 8)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let blocks = (params.columns + COLUMNS - 1u) / COLUMNS;
    let index = linear(workgroup, grid);
    let v = index / blocks;
    let slice = workgroup.z;
    let groups_of_rows = params.vocabulary + params.has_bias;
    if v >= groups_of_rows || slice >= params.slices {
        return;
    }
    let j = (index % blocks) * COLUMNS + local.x;
    let all_rows = v == params.vocabulary;
    var first = 0u;
    var count = params.rows;
    if !all_rows {
        let at = params.starts_offset + v;
        first = min(starts[at], params.places);
        count = min(max(starts[at + 1u], first), params.places) - first;
        count = select(count, 0u, v == params.padding);
    }
    let last = first + slice_start(count, slice + 1u, params.slices);
    let begin = min(first + slice_start(count, slice, params.slices) + params.skip, last);
    let end = begin + min(params.count, last - begin);

    var sum = Sums();
    for (var place = begin + local.y; place < end; place += 4u * GROUPS) {
        sum = plus4(
            sum,
            vec4(
                element(place, end, j, v),
                element(place + GROUPS, end, j, v),
                element(place + 2u * GROUPS, end, j, v),
                element(place + 3u * GROUPS, end, j, v),
            ),
        );
    }
    let at = local.y * COLUMNS + local.x;
    sums[at] = (sum.total.x + sum.total.y) + (sum.total.z + sum.total.w);
    workgroupBarrier();
    for (var groups = GROUPS / 2u; groups > 0u; groups /= 2u) {
        if local.y < groups {
            sums[at] += sums[at + groups * COLUMNS];
        }
        workgroupBarrier();
    }
    if local.y == 0u && j < params.columns {
        var out = params.bias_offset + j;
        if !all_rows {
            let at = select(j * params.vocabulary + v, v * params.columns + j, params.by_rows != 0u);
            out = params.weight_offset + at;
        }
        out += slice * params.slice_stride;
        if params.skip + params.adds > 0u {
            slices[out] += sums[local.x];
        } else {
            slices[out] = sums[local.x];
        }
    }
}
