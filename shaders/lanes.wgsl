// Sums of eight rows in four columns a lane, for kernels whose workgroup is one subgroup of eight lanes; appended to
// them.
//
// Where a CPU computes, a load is a loop over the lanes: on llvmpipe it costs as much as thirty multiplications of all
// of them, even where all read the same number. So no two lanes load the same, and what one has loaded it hands to all.

/// The sums of eight rows.
struct Eight {
    r0: vec4<f32>,
    r1: vec4<f32>,
    r2: vec4<f32>,
    r3: vec4<f32>,
    r4: vec4<f32>,
    r5: vec4<f32>,
    r6: vec4<f32>,
    r7: vec4<f32>,
}

/// The sums with the products added of one number of each row, which the lane of that number has, and one of each of
/// this lane's columns.
fn add(sums: Eight, left: f32, right: vec4<f32>) -> Eight {
    return Eight(
        fma(vec4(subgroupBroadcast(left, 0u)), right, sums.r0),
        fma(vec4(subgroupBroadcast(left, 1u)), right, sums.r1),
        fma(vec4(subgroupBroadcast(left, 2u)), right, sums.r2),
        fma(vec4(subgroupBroadcast(left, 3u)), right, sums.r3),
        fma(vec4(subgroupBroadcast(left, 4u)), right, sums.r4),
        fma(vec4(subgroupBroadcast(left, 5u)), right, sums.r5),
        fma(vec4(subgroupBroadcast(left, 6u)), right, sums.r6),
        fma(vec4(subgroupBroadcast(left, 7u)), right, sums.r7),
    );
}

/// One of four by its number, without branches, which drivers take longer to compile.
fn one_of(number: u32, s0: Eight, s1: Eight, s2: Eight, s3: Eight) -> Eight {
    let n = vec4(number);
    return Eight(
        of_four(n, s0.r0, s1.r0, s2.r0, s3.r0),
        of_four(n, s0.r1, s1.r1, s2.r1, s3.r1),
        of_four(n, s0.r2, s1.r2, s2.r2, s3.r2),
        of_four(n, s0.r3, s1.r3, s2.r3, s3.r3),
        of_four(n, s0.r4, s1.r4, s2.r4, s3.r4),
        of_four(n, s0.r5, s1.r5, s2.r5, s3.r5),
        of_four(n, s0.r6, s1.r6, s2.r6, s3.r6),
        of_four(n, s0.r7, s1.r7, s2.r7, s3.r7),
    );
}

fn of_four(n: vec4<u32>, v0: vec4<f32>, v1: vec4<f32>, v2: vec4<f32>, v3: vec4<f32>) -> vec4<f32> {
    return select(select(v0, v1, n == vec4(1u)), select(v2, v3, n == vec4(3u)), n >= vec4(2u));
}
