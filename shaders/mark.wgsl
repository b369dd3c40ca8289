// mark: done[0] += 1. The last dispatch of every submission: where the count is too low, the device left work out.
//
// in-out  done  [1]

struct Params {
    first_workgroup: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> done: array<u32>;

@compute @workgroup_size(1)
fn main() {
    // The parameter is 0.
    done[0] += 1u + params.first_workgroup;
}
