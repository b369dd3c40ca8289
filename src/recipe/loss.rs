//! What is minimised.
//!
//! The contract: a loss is a variant, its line in the table, a shader of its name and its twin in `cpu/loss.rs`; what
//! else plans, checks and kernels have to know of it is its record.

use serde::{Deserialize, Serialize};

/// What is minimised: a mean over the positions that count.
///
/// ```
/// use recurrent::{Loss, recipe::TargetKind};
/// assert_eq!(Loss::CrossEntropy.targets(), TargetKind::Classes);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// −ln softmax(y)\[target\], in nats, against class ids.
    CrossEntropy,
    /// (y − target)², against real numbers; a position's loss is the mean over its O outputs, as in PyTorch.
    MeanSquared,
}

/// Hands the table of losses to another macro: for each the name of its shader, and which loss it is.
#[cfg(feature = "gpu")]
macro_rules! losses {
    ($make:ident) => {
        $make! {
            cross_entropy: $crate::recipe::Loss::CrossEntropy,
            mean_squared: $crate::recipe::Loss::MeanSquared,
        }
    };
}
#[cfg(feature = "gpu")]
pub(crate) use losses;

/// What a loss compares the outputs with.
///
/// ```
/// use recurrent::{Loss, recipe::TargetKind};
/// assert_eq!(Loss::MeanSquared.targets(), TargetKind::Values);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TargetKind {
    /// A class id for each position.
    Classes,
    /// A real number for each output of a position.
    Values,
}

/// What a plan knows of a loss.
pub(crate) struct LossRecord {
    /// What it is called in printed plans and profiles.
    pub name: &'static str,
    pub targets: TargetKind,
    /// How often a kernel goes over the outputs of a position.
    pub passes: u64,
}

impl Loss {
    /// Returns what it compares the outputs with.
    pub fn targets(self) -> TargetKind {
        self.record().targets
    }

    pub(crate) const fn record(self) -> LossRecord {
        match self {
            Loss::CrossEntropy => LossRecord { name: "cross entropy", targets: TargetKind::Classes, passes: 3 },
            Loss::MeanSquared => LossRecord { name: "mean squared", targets: TargetKind::Values, passes: 1 },
        }
    }
}
