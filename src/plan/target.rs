//! What a plan must know of the device it is for, as plain numbers: limits, and what is worth doing there.
//!
//! The contract: a plan that a target cannot run is an error when it is made.

use super::bounds::Bounds;
use crate::error::{Error, Result};
use crate::model::Config;
use crate::recipe::Precision;

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
    /// Whether it is a GPU that a CPU computes: few threads, to which every load is dear.
    pub software: bool,
    /// Whether it is one whose subgroups have eight lanes, always, and that has the functions of these.
    pub lanes: bool,
    /// How many workgroups keep all of it busy.
    pub workgroups: usize,
    /// Whether it has 16-bit floats: wgpu's `SHADER_F16`.
    pub has_f16: bool,
    /// How plans for it store what is large.
    pub precision: Precision,
    /// How much a dispatch and a submission may do.
    pub bounds: Bounds,
}

impl Target {
    /// The CPU executor.
    pub const fn cpu() -> Self {
        Target {
            binding_bytes: u64::MAX,
            parallel: false,
            workgroup_bytes: 0,
            software: true,
            lanes: false,
            workgroups: 1,
            has_f16: false,
            precision: Precision::F32,
            bounds: Bounds::NONE,
        }
    }

    /// WebGPU's default limits: what every adapter has.
    pub const fn webgpu() -> Self {
        Target {
            binding_bytes: 128 << 20,
            parallel: true,
            workgroup_bytes: 16 << 10,
            software: false,
            lanes: false,
            workgroups: 128,
            has_f16: false,
            precision: Precision::F32,
            bounds: Bounds::HARDWARE,
        }
    }

    /// Checks that the target supports its own `precision`.
    pub(crate) fn check(&self) -> Result<()> {
        if self.precision == Precision::F16 && !self.has_f16 {
            return Err(Error::Config(
                "the plan is to store numbers in 16 bits (Precision::F16), for a target that has none (has_f16 is \
                false)"
                    .to_owned(),
            ));
        }
        Ok(())
    }

    /// Into how many slices the weight gradients' sums over `rows` rows are cut, so that a product whose result is
    /// `out` still fills a GPU: about as many tiles of 32×32 as keep it busy, and no slice shorter than 64 rows.
    pub(crate) fn slices(&self, rows: usize, out: (usize, usize), flat: usize) -> usize {
        if !self.parallel {
            return 1;
        }
        let tiles = out.0.div_ceil(32) * out.1.div_ceil(32);
        let fits = (self.binding_bytes / (flat as u64 * 4).max(1)) as usize;
        // Short enough that few roundings are left where dispatches take turns at a slice.
        let busy = self.workgroups.div_ceil(tiles).max(rows >> 19);
        busy.min(rows / 64).min(fits).clamp(1, 16)
    }

    /// How many steps inference and evaluation of a causal network keep. Products over a chunk are large enough to be
    /// worth their dispatch, and a sequence of any length needs no more memory than one chunk.
    pub(crate) fn chunk(&self, config: &Config, batch: usize) -> usize {
        if self.parallel {
            return MAX_STEPS_PER_CHUNK;
        }
        let gates = config.recurrent_layers().map(|layer| layer.gates()).max();
        let gates = gates.unwrap_or(1).saturating_mul(batch);
        // What a CPU's recurrence reads is still in the cache then into which the product before it wrote.
        (CACHED_ELEMENTS / gates.max(1)).clamp(FEWEST_STEPS_PER_CHUNK, MAX_STEPS_PER_CHUNK)
    }
}

const MAX_STEPS_PER_CHUNK: usize = 128;
const FEWEST_STEPS_PER_CHUNK: usize = 8;
/// 1 MiB of f32: a core's second-level cache.
const CACHED_ELEMENTS: usize = 1 << 18;
