//! The functions that losses are made of, one by one: what plans, checks and kernels know of each.
//!
//! The contract: a function is a variant, its line in the table, its record, a shader of its name and its twin in
//! `cpu/loss/`.

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
    /// Real numbers for each position: one for each output, unless several outputs describe one number.
    Values,
    /// A sequence of class ids, of any length, for each sequence of the batch.
    Sequences,
}

/// A function of a position's outputs and targets. How a [`Loss`](crate::Loss) sets it is in a list of numbers, its
/// settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LossKind {
    /// −ln softmax(y)\[target\].
    CrossEntropy,
    /// The same with smoothed labels, weights of classes, or focussed. Settings: ε, γ, then a weight a class.
    CrossEntropyWith,
    /// −Σ t·ln softmax(y), against probabilities. Settings: ε, 0, then a weight a class.
    SoftCrossEntropy,
    /// −t·ln σ(y) − (1 − t)·ln(1 − σ(y)). Settings: a weight of t for each output.
    BinaryCrossEntropy,
    /// (y − t)².
    MeanSquared,
    /// |y − t|.
    MeanAbsolute,
    /// Huber's. Settings: δ.
    Huber,
    /// ln cosh(y − t).
    LogCosh,
    /// The pinball loss. Settings: 1 where the outputs are increments, then the quantiles.
    Quantiles,
    /// Of a normal distribution. Settings: the floor of its scale.
    Gaussian,
    /// Of Laplace's. Settings: the floor of its scale.
    Laplace,
    /// Of Student's t. Settings: the floor of its scale.
    StudentT,
    /// Of several normal distributions of independent numbers. Settings: K, the floor of the scales.
    GaussianMixture,
    /// Of Poisson's.
    Poisson,
    /// Of a negative binomial one. Settings: the floor of its mean and of its shape.
    NegativeBinomial,
    /// −ln of the probability of a sequence of labels, by operations of its own.
    Ctc,
    /// None: the gradient is the target. Settings: the loss.
    External,
}

/// Hands the table of functions to another macro: of each the name of its shader, and which it is; first those of one
/// number after another, which `elements.wgsl` drives, then those of all outputs of a position.
#[cfg(feature = "gpu")]
macro_rules! losses {
    ($make:ident) => {
        $make! {
            elements {
                mean_squared: MeanSquared,
                mean_absolute: MeanAbsolute,
                huber: Huber,
                log_cosh: LogCosh,
                binary_cross_entropy: BinaryCrossEntropy,
                gaussian: Gaussian,
                laplace: Laplace,
                student_t: StudentT,
                poisson: Poisson,
                negative_binomial: NegativeBinomial,
            }
            rows {
                cross_entropy: CrossEntropy,
                cross_entropy_with: CrossEntropyWith,
                soft_cross_entropy: SoftCrossEntropy,
                quantiles: Quantiles,
                gaussian_mixture: GaussianMixture,
                external: External,
            }
        }
    };
}
#[cfg(feature = "gpu")]
pub(crate) use losses;

/// What a plan knows of a function.
pub(crate) struct LossRecord {
    /// What it is called in printed plans and profiles.
    pub name: &'static str,
    pub targets: TargetKind,
    /// Floating-point operations for each output, and how many more for its gradient.
    pub flops: [u64; 2],
    /// Whether the numbers that a position is compared with can be weighed each by itself.
    pub elementwise: bool,
}

impl LossKind {
    /// Whether the numbers that a position is compared with can be weighed each by itself.
    pub fn is_elementwise(self) -> bool {
        self.record().elementwise
    }

    pub(crate) fn record(self) -> LossRecord {
        use LossKind::*;
        let values = |name, flops| LossRecord { name, targets: TargetKind::Values, flops, elementwise: true };
        let classes = |name, flops| LossRecord { name, targets: TargetKind::Classes, flops, elementwise: false };
        match self {
            CrossEntropy => classes("cross entropy", [3, 1]),
            CrossEntropyWith => classes("cross entropy", [8, 4]),
            SoftCrossEntropy => LossRecord { targets: TargetKind::Values, ..classes("soft cross entropy", [8, 4]) },
            BinaryCrossEntropy => values("binary cross entropy", [9, 6]),
            MeanSquared => values("mean squared", [3, 1]),
            MeanAbsolute => values("mean absolute", [2, 1]),
            Huber => values("huber", [5, 2]),
            LogCosh => values("log cosh", [7, 2]),
            Quantiles => values("quantiles", [7, 4]),
            Gaussian => values("gaussian", [6, 6]),
            Laplace => values("laplace", [5, 5]),
            StudentT => values("student t", [30, 30]),
            GaussianMixture => LossRecord { elementwise: false, ..values("gaussian mixture", [14, 10]) },
            Poisson => values("poisson", [15, 2]),
            NegativeBinomial => values("negative binomial", [40, 40]),
            Ctc => LossRecord { targets: TargetKind::Sequences, ..classes("ctc", [0, 0]) },
            External => LossRecord { elementwise: false, ..values("external", [0, 1]) },
        }
    }
}
