// Sums over the 64 threads of a workgroup that share a row. Appended to the kernels that normalise rows.

const THREADS: u32 = 64u;

var<workgroup> parts: array<f32, THREADS>;

/// The sum of every thread's value, for all of them.
fn row_sum(lid: u32, value: f32) -> f32 {
    parts[lid] = value;
    workgroupBarrier();
    for (var width = THREADS / 2u; width > 0u; width /= 2u) {
        if lid < width {
            parts[lid] += parts[lid + width];
        }
        workgroupBarrier();
    }
    let sum = parts[0];
    workgroupBarrier();
    return sum;
}
