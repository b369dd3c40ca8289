//! What a plan must know of the device it is for, as plain numbers: limits, and what is worth doing there.
//!
//! The contract: a plan that a target cannot run is an error when it is made.

use crate::error::{Error, Result};
use crate::model::Config;

use super::bounds::Bounds;
use super::tile::{Tile, Way, Work};

/// In how many bits a GPU stores what is large. The choice of a device,
/// [`Device::with_precision`](crate::Device::with_precision).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Precision {
    /// 32.
    #[default]
    F32,
    /// 16: gates, h of all steps and its gradient, a GRU's recurrent sums or its second operand, and a copy of the
    /// parameters, rounded once a step, that all products read. Sums are made in 32 bits, and an LSTM's c, outputs,
    /// loss, gradients of the parameters, moments and the parameters themselves are kept in 32.
    ///
    /// 16-bit floats have 11 binary digits and end at 65504 and, with fewer digits, at 6·10⁻⁸. So in training the
    /// gradient of the loss is [scaled](super::UpdateLossScale) on its way (Micikevicius et al. 2018).
    F16,
}

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
        let gates = config.output_width().saturating_mul(config.cell.gates()).saturating_mul(batch);
        // What a CPU's recurrence reads is still in the cache then into which the product before it wrote.
        (CACHED_ELEMENTS / gates.max(1)).clamp(FEWEST_STEPS_PER_CHUNK, MAX_STEPS_PER_CHUNK)
    }

    /// The tile of a recurrence that fits one workgroup and is small enough to be faster there.
    ///
    /// Every workgroup reads all of U at every step. Up to 2^16 elements (256 KiB) these stay in the caches close to
    /// it, and a step should cost less than a dispatch does: an estimate, not yet measured on hardware. On llvmpipe a
    /// dispatch costs little and a loop around a barrier is slow: measured, B·D·U's elements up to 2^13 are as fast
    /// there at least.
    pub(super) fn whole_sequence(&self, steps: usize, work: &Work) -> Option<Tile> {
        let Work { gates, hidden, batch, directions, .. } = *work;
        let elements = hidden.saturating_mul(hidden).saturating_mul(gates);
        let is_small =
            if self.software { elements.saturating_mul(batch * directions) <= 1 << 13 } else { elements <= 1 << 16 };
        let worth = self.parallel && steps >= WHOLE_SEQUENCE_STEPS && is_small;
        // What fits one way has to fit the other.
        let fits = |way| Tile::whole(self, &Work { way, ..*work });
        if worth { fits(Way::Backward).and_then(|_| fits(Way::Forward)) } else { None }
    }
}

/// Below this many steps a whole sequence is not worth the dispatch that turns U over.
const WHOLE_SEQUENCE_STEPS: usize = 4;
const MAX_STEPS_PER_CHUNK: usize = 128;
const FEWEST_STEPS_PER_CHUNK: usize = 8;
/// 1 MiB of f32: a core's second-level cache.
const CACHED_ELEMENTS: usize = 1 << 18;
