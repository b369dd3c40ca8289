//! `mark.wgsl`: counts a submission as done.
//!
//! The contract: it is the executor's own, last in every submission, and no plan's.

use super::{
    Dispatch, Kernel,
    launch::{first_workgroup, shader, write},
};

pub(super) static MARK: Kernel = Kernel {
    name: "mark",
    source: &[shader!("mark.wgsl")],
    bindings: &[write("done")],
    workgroup: [1, 1, 1],
    constants: &[],
    params: &[first_workgroup(0)],
    params_size: 4,
    lanes: false,
};

/// Its dispatch, whose tensor is the executor's count.
pub(in crate::gpu) fn mark() -> Dispatch {
    Dispatch {
        kernel: &MARK,
        constants: Vec::new(),
        f16_aliases: Vec::new(),
        tensors: Vec::new(),
        params: vec![0; MARK.params_size],
        workgroups: 1,
        grid: [1, 1, 1],
    }
}
