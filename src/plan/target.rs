//! What a plan must know of the device it is for, as plain numbers: limits, and what is worth doing there.

/// The traits of a device that a plan is shaped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The largest tensor, in bytes.
    pub binding_bytes: u64,
    /// Whether work is spread over many workgroups. If so, a long sum over T·B is cut into slices, and a recurrence
    /// that fits one workgroup runs as a whole sequence.
    pub parallel: bool,
    /// Memory that a workgroup shares, in bytes.
    pub workgroup_bytes: u32,
}

impl Target {
    /// The CPU executor.
    pub fn cpu() -> Self {
        Target { binding_bytes: u64::MAX, parallel: false, workgroup_bytes: 0 }
    }

    /// WebGPU's default limits: what every adapter has.
    pub fn webgpu() -> Self {
        Target { binding_bytes: 128 << 20, parallel: true, workgroup_bytes: 16 << 10 }
    }

    /// Into how many slices the weight gradients' sums over `rows` rows are cut, so that a product whose result is
    /// `out` still fills a GPU: about 128 tiles of 32×32, and no slice shorter than 64 rows.
    pub(crate) fn slices(&self, rows: usize, out: (usize, usize), flat: usize) -> usize {
        if !self.parallel {
            return 1;
        }
        let tiles = out.0.div_ceil(32) * out.1.div_ceil(32);
        let fits = (self.binding_bytes / (flat as u64 * 4).max(1)) as usize;
        128usize.div_ceil(tiles).min(rows / 64).min(fits).clamp(1, 16)
    }

    /// Whether the recurrence of one sequence fits one workgroup and is small enough to be faster there.
    ///
    /// Every workgroup reads all of U at every step. Up to 2^16 elements (256 KiB) these stay in the caches close to it,
    /// and a step should cost less than a dispatch does: reckoned, not yet measured on hardware.
    pub(crate) fn whole_sequence(&self, steps: usize, hidden: usize, gates: usize) -> bool {
        let rows = gates * hidden;
        self.parallel
            && steps >= WHOLE_SEQUENCE_STEPS
            && hidden <= WHOLE_SEQUENCE_HIDDEN
            && rows <= WHOLE_SEQUENCE_ROWS
            && rows * hidden <= 1 << 16
            && self.workgroup_bytes as usize >= 4 * (WHOLE_SEQUENCE_HIDDEN + WHOLE_SEQUENCE_ROWS)
    }
}

/// Below this many steps the transposed copy of U is not worth its dispatch.
const WHOLE_SEQUENCE_STEPS: usize = 4;
/// The sizes of the workgroup arrays in `sequence_forward.wgsl` and `sequence_backward.wgsl`.
const WHOLE_SEQUENCE_HIDDEN: usize = 1024;
const WHOLE_SEQUENCE_ROWS: usize = 2048;
