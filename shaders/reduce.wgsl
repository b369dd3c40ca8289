// Sums and maxima over a workgroup, by a tree of fixed order. The kernel declares THREADS, a power of two.
// Every thread of the workgroup must call them, and every thread gets the result.

var<workgroup> reduced: array<f32, THREADS>;

fn reduce_sum(lid: u32, value: f32) -> f32 {
    reduced[lid] = value;
    workgroupBarrier();
    for (var width = THREADS / 2u; width > 0u; width /= 2u) {
        if lid < width {
            reduced[lid] += reduced[lid + width];
        }
        workgroupBarrier();
    }
    let total = reduced[0];
    // The next reduction must not overwrite what a thread has yet to read.
    workgroupBarrier();
    return total;
}

fn reduce_max(lid: u32, value: f32) -> f32 {
    reduced[lid] = value;
    workgroupBarrier();
    for (var width = THREADS / 2u; width > 0u; width /= 2u) {
        if lid < width {
            reduced[lid] = max(reduced[lid], reduced[lid + width]);
        }
        workgroupBarrier();
    }
    let largest = reduced[0];
    workgroupBarrier();
    return largest;
}
