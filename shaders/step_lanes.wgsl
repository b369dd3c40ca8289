// What the steps of a recurrence by lanes share: where a lane keeps its sums; appended with lanes.wgsl.
//
// A workgroup is one subgroup of eight lanes. A lane loads h, or a gradient, of one of every eight sequences, and the
// weights of up to four columns of its own, and makes the sums of these columns and of all sequences.

/// How many sequences a lane's registers hold sums of.
const MAX_ROWS: u32 = 32u;
const LANES: u32 = 8u;

/// The sums of each lane, a vector a sequence. They take the way through memory, as an index that is no constant makes
/// a choice of every element of what is kept in registers.
var<workgroup> kept: array<vec4<f32>, MAX_ROWS * LANES>;

/// The number of a lane in its subgroup.
fn thread(index: u32) -> u32 {
    return subgroupExclusiveAdd(1u);
}

/// Nothing: a lane reads its own sums alone.
fn sums_are_made() {}

/// Keeps the sums of as many sequences, eight by eight: that number is no constant, so that drivers write nothing out.
fn keep(lid: u32, sequences: u32, s0: Eight, s1: Eight, s2: Eight, s3: Eight) {
    for (var first = 0u; first < sequences; first += LANES) {
        let sums = one_of(first / LANES, s0, s1, s2, s3);
        let at = first * LANES + lid;
        kept[at] = sums.r0;
        kept[at + LANES] = sums.r1;
        kept[at + 2u * LANES] = sums.r2;
        kept[at + 3u * LANES] = sums.r3;
        kept[at + 4u * LANES] = sums.r4;
        kept[at + 5u * LANES] = sums.r5;
        kept[at + 6u * LANES] = sums.r6;
        kept[at + 7u * LANES] = sums.r7;
    }
}
