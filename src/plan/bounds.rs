//! How much work one dispatch and one submission may do, as plain numbers.
//!
//! The contract: they are a target's, and whatever makes dispatches (`plan/cut.rs`) keeps to them.

/// How much a target may be asked to do at once.
///
/// A driver may end a loop without a word: Mesa's software adapter does so after 65,535 iterations, all loops of an
/// invocation counted together. A system may take a device away that is busy for too long: Windows after 2 s, browsers
/// and macOS after less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The most iterations that one invocation makes in a dispatch, all its loops counted together. Loops of a few
    /// rounds that pipeline constants fix, which compilers unroll, do not count.
    pub iterations: u64,
    /// The most work of a dispatch.
    pub dispatch: Work,
    /// The most work of a submission, unless that is a single dispatch.
    pub submission: Work,
}

/// An amount of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    /// Floating-point operations.
    pub flops: u64,
    /// Bytes read and written.
    pub bytes: u64,
}

impl Bounds {
    /// No bounds: of the CPU executor.
    pub const NONE: Bounds = {
        let all = Work { flops: u64::MAX, bytes: u64::MAX };
        Bounds { iterations: u64::MAX, dispatch: all, submission: all }
    };

    /// What nothing is known of: half the iterations of Mesa's software adapter, and work that an integrated GPU of
    /// 2015, at a tenth of its peak, does in a fraction of a second.
    pub const HARDWARE: Bounds = Bounds {
        iterations: 32_768,
        dispatch: Work { flops: 1 << 31, bytes: 1 << 30 },
        submission: Work { flops: 1 << 33, bytes: 1 << 32 },
    };

    /// Of a GPU that a CPU computes, to which a dispatch costs little beside its work.
    pub const SOFTWARE: Bounds = Bounds {
        iterations: 32_768,
        dispatch: Work { flops: 1 << 28, bytes: 1 << 28 },
        submission: Work { flops: 1 << 32, bytes: 1 << 32 },
    };
}

impl Work {
    #[cfg(feature = "gpu")]
    pub(super) const NONE: Work = Work { flops: 0, bytes: 0 };

    /// Both together.
    pub fn and(self, other: Work) -> Work {
        Work { flops: self.flops.saturating_add(other.flops), bytes: self.bytes.saturating_add(other.bytes) }
    }

    /// Whether it is no more than another amount.
    pub fn fits(self, most: Work) -> bool {
        self.flops <= most.flops && self.bytes <= most.bytes
    }

    /// One of so many equal shares, rounded up.
    pub fn share(self, shares: usize) -> Work {
        let shares = shares.max(1) as u64;
        Work { flops: self.flops.div_ceil(shares), bytes: self.bytes.div_ceil(shares) }
    }

    /// Into how many shares it is cut so that each fits.
    pub(super) fn shares(self, most: Work) -> u64 {
        self.flops.div_ceil(most.flops.max(1)).max(self.bytes.div_ceil(most.bytes.max(1))).max(1)
    }
}
