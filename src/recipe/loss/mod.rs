//! What is minimised.
//!
//! The contract: a loss is a variant; which function of outputs and targets it is made of, how that is set and which
//! targets it takes follow from it, and a setting out of its range is an error.

mod cross_entropy;
mod kind;

pub use cross_entropy::CrossEntropy;
#[cfg(feature = "gpu")]
pub(crate) use kind::losses;
pub use kind::{LossKind, TargetKind};

use serde::{Deserialize, Serialize};

use super::{at_most, positive};
use crate::error::{Error, Result};

/// What is minimised: a mean over the positions that count, a position being a row of the outputs.
///
/// What is a loss of numbers has one for each number that a position is compared with, and their mean is the
/// position's. Where several outputs describe one number, all first parameters come first, then all second ones:
/// `[P, N]` of N numbers. A scale and whatever else has to be above 0 is a floor plus softplus of its output, and
/// [`Loss::distribution`] says what the outputs mean.
///
/// ```
/// use recurrent::{Loss, recipe::TargetKind};
/// assert_eq!(Loss::CrossEntropy.targets(), TargetKind::Classes);
/// assert_eq!(Loss::gaussian().numbers(6)?, 3); // three means, then three scales
/// # Ok::<(), recurrent::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// −ln softmax(y)\[target\], in nats, against class ids.
    CrossEntropy,
    /// The same with smoothed labels, weights of classes, an id that does not count, focussed on what is hard, or
    /// against probabilities.
    CrossEntropyWith(CrossEntropy),
    /// −w·t·ln σ(y) − (1 − t)·ln(1 − σ(y)), in nats, against numbers from 0 to 1: labels of which several may hold at
    /// once, one an output.
    BinaryCrossEntropy {
        /// w, one an output; none where all are 1.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        positive_weights: Vec<f64>,
    },
    /// (y − target)², against real numbers; a position's loss is the mean over its O outputs, as in PyTorch.
    MeanSquared,
    /// |y − target|, whose minimum is the median.
    MeanAbsolute,
    /// (y − target)² / 2 up to a distance of δ, and δ·(|y − target| − δ / 2) beyond it (Huber 1964).
    Huber {
        /// δ.
        delta: f64,
    },
    /// ln cosh(y − target): nearly half the square near 0, nearly the distance far from it.
    LogCosh,
    /// max(τ·(target − y), (τ − 1)·(target − y)) of each quantile τ of each number, the pinball loss (Koenker & Bassett
    /// 1978): outputs `[Q, N]`. A number's loss is the mean over its quantiles.
    Quantiles {
        /// τ, ascending, above 0 and below 1.
        levels: Vec<f64>,
        /// Whether they cannot cross: each output but the first is, by softplus, how far above the one before it a
        /// quantile lies.
        #[serde(default)]
        ordered: bool,
    },
    /// −ln N(target | μ, σ²), in nats: outputs `[2, N]`, μ and by softplus σ.
    Gaussian {
        /// What σ is at least.
        floor: f64,
    },
    /// −ln of Laplace's density, ln 2b + |target − μ| / b: outputs `[2, N]`, μ and by softplus b.
    Laplace {
        /// What b is at least.
        floor: f64,
    },
    /// −ln of the density of Student's t, for what has outliers: outputs `[3, N]`, μ, by softplus σ, and by softplus
    /// how far above 2 the degrees of freedom are.
    StudentT {
        /// What σ is at least.
        floor: f64,
    },
    /// −ln Σ_k π_k·Π_n N(target_n | μ_kn, σ_kn²), a mixture density network (Bishop 1994): outputs K logits of π, then
    /// `[K, N]` of μ and, by softplus, of σ. The N numbers of a position have one loss, which is not their mean.
    GaussianMixture {
        /// K.
        components: usize,
        /// What σ is at least.
        floor: f64,
    },
    /// −ln of Poisson's probability of a count whose mean is eʸ, but for what does not depend on y: eʸ − target·y.
    Poisson,
    /// −ln of the probability of a count that scatters more than Poisson's: outputs `[2, N]`, by softplus the mean μ
    /// and the shape r; the variance is μ + μ² / r.
    NegativeBinomial {
        /// What μ and r are at least.
        floor: f64,
    },
    /// −ln of the probability that the outputs of all steps say a sequence of labels, connectionist temporal
    /// classification (Graves et al. 2006), in nats, against a list of class ids a sequence of the batch: outputs are
    /// logits at every step, one of them a blank. A path has an output a step, and says what is left of it once equal
    /// outputs side by side are made one and blanks are left out; the probability is that of all paths which say the
    /// labels. So it is known what is said, and learned when.
    ///
    /// Its positions are the sequences of the batch: masks and weights are `[B]`, and a
    /// [`Divisor`](crate::recipe::Divisor) counts sequences. PyTorch's mean divides the loss of each by its number of
    /// labels before that, as weights of 1 / labels do here.
    Ctc {
        /// The output that says no label.
        #[serde(default)]
        blank: u32,
        /// Whether a sequence with more labels than its steps can say has a loss of exactly 0 and no gradient, and
        /// counts in the divisor; else it is an error.
        #[serde(default)]
        zero_infeasible: bool,
    },
    /// Whatever the caller computes: he reads the outputs and gives the gradient, by
    /// [`Trainer::step_with`](crate::Trainer::step_with).
    External,
}

impl From<CrossEntropy> for Loss {
    fn from(options: CrossEntropy) -> Self {
        Loss::CrossEntropyWith(options)
    }
}

/// What a scale is at least, unless something else is said.
const FLOOR: f64 = 1e-3;

/// The largest bound on a setting: what is weighed by it, and its square, are numbers of f32.
const MAX_SETTING: f64 = 1e6;

impl Loss {
    /// The most quantiles, and the most components of a mixture.
    pub const MAX_PARTS: usize = 256;

    /// Against labels of which several may hold at once.
    pub fn binary_cross_entropy() -> Self {
        Loss::BinaryCrossEntropy { positive_weights: Vec::new() }
    }

    /// Huber's, quadratic up to this distance.
    pub fn huber(delta: f64) -> Self {
        Loss::Huber { delta }
    }

    /// Of these quantiles, each an output of its own.
    pub fn quantiles(levels: impl Into<Vec<f64>>) -> Self {
        Loss::Quantiles { levels: levels.into(), ordered: false }
    }

    /// Of these quantiles, which cannot cross.
    pub fn ordered_quantiles(levels: impl Into<Vec<f64>>) -> Self {
        Loss::Quantiles { levels: levels.into(), ordered: true }
    }

    /// Of a normal distribution whose standard deviation is at least 10⁻³.
    pub fn gaussian() -> Self {
        Loss::Gaussian { floor: FLOOR }
    }

    /// Of Laplace's distribution with a scale of at least 10⁻³.
    pub fn laplace() -> Self {
        Loss::Laplace { floor: FLOOR }
    }

    /// Of Student's t with a scale of at least 10⁻³.
    pub fn student_t() -> Self {
        Loss::StudentT { floor: FLOOR }
    }

    /// Of so many normal distributions whose standard deviations are at least 10⁻³.
    pub fn gaussian_mixture(components: usize) -> Self {
        Loss::GaussianMixture { components, floor: FLOOR }
    }

    /// Of a negative binomial distribution whose mean and shape are at least 10⁻³.
    pub fn negative_binomial() -> Self {
        Loss::NegativeBinomial { floor: FLOOR }
    }

    /// Of sequences of labels, output 0 being the blank; labels that are too many for their steps are an error.
    pub fn ctc() -> Self {
        Loss::Ctc { blank: 0, zero_infeasible: false }
    }

    /// Returns what it compares the outputs with.
    pub fn targets(&self) -> TargetKind {
        self.kind().record().targets
    }

    /// Returns how many numbers so many outputs of a position describe: of each there is one target, where targets are
    /// [`TargetKind::Values`].
    ///
    /// # Errors
    /// [`Error::Config`] where so many outputs are not what it asks for.
    pub fn numbers(&self, outputs: usize) -> Result<usize> {
        let (numbers, expected) = match self {
            Loss::Gaussian { .. } | Loss::Laplace { .. } | Loss::NegativeBinomial { .. } => {
                (whole(outputs, 2), "a multiple of 2: of every number two parameters".to_owned())
            }
            Loss::StudentT { .. } => {
                (whole(outputs, 3), "a multiple of 3: of every number three parameters".to_owned())
            }
            Loss::Quantiles { levels, .. } => {
                let quantiles = levels.len();
                (whole(outputs, quantiles), format!("a multiple of {quantiles}: of every number that many quantiles"))
            }
            Loss::GaussianMixture { components: k, .. } => {
                let rest = outputs.checked_sub(*k).and_then(|rest| whole(rest, 2 * k));
                (rest, format!("{k} logits and a multiple of {}: of every number {k} means and as many scales", 2 * k))
            }
            _ => (Some(outputs), String::new()),
        };
        numbers.ok_or_else(|| {
            let name = self.kind().record().name;
            Error::Config(format!("the loss ({name}) is of {outputs} outputs, expected {expected}"))
        })
    }

    /// The function that it is made of.
    #[doc(hidden)]
    pub fn kind(&self) -> LossKind {
        match self {
            Loss::CrossEntropy => LossKind::CrossEntropy,
            Loss::CrossEntropyWith(options) => options.kind(),
            Loss::BinaryCrossEntropy { .. } => LossKind::BinaryCrossEntropy,
            Loss::MeanSquared => LossKind::MeanSquared,
            Loss::MeanAbsolute => LossKind::MeanAbsolute,
            Loss::Huber { .. } => LossKind::Huber,
            Loss::LogCosh => LossKind::LogCosh,
            Loss::Quantiles { .. } => LossKind::Quantiles,
            Loss::Gaussian { .. } => LossKind::Gaussian,
            Loss::Laplace { .. } => LossKind::Laplace,
            Loss::StudentT { .. } => LossKind::StudentT,
            Loss::GaussianMixture { .. } => LossKind::GaussianMixture,
            Loss::Poisson => LossKind::Poisson,
            Loss::NegativeBinomial { .. } => LossKind::NegativeBinomial,
            Loss::Ctc { .. } => LossKind::Ctc,
            Loss::External => LossKind::External,
        }
    }

    /// How many settings its function has, of so many outputs.
    #[doc(hidden)]
    pub fn setting_count(&self, outputs: usize) -> usize {
        match self {
            Loss::CrossEntropyWith(options) => options.setting_count(outputs),
            Loss::BinaryCrossEntropy { .. } => outputs,
            Loss::Quantiles { levels, .. } => 1 + levels.len(),
            Loss::GaussianMixture { .. } => 2,
            Loss::CrossEntropy
            | Loss::MeanSquared
            | Loss::MeanAbsolute
            | Loss::LogCosh
            | Loss::Poisson
            | Loss::Ctc { .. } => 0,
            _ => 1,
        }
    }

    /// Setting `at` of its function; that of an external loss is what the caller says.
    #[doc(hidden)]
    pub fn setting(&self, at: usize) -> f64 {
        match self {
            Loss::CrossEntropyWith(options) => options.setting(at),
            Loss::BinaryCrossEntropy { positive_weights } => positive_weights.get(at).copied().unwrap_or(1.0),
            Loss::Quantiles { levels, ordered } => match at.checked_sub(1) {
                None => f64::from(u8::from(*ordered)),
                Some(at) => levels.get(at).copied().unwrap_or(f64::NAN),
            },
            Loss::GaussianMixture { components, .. } if at == 0 => *components as f64,
            Loss::Huber { delta: setting }
            | Loss::Gaussian { floor: setting }
            | Loss::Laplace { floor: setting }
            | Loss::StudentT { floor: setting }
            | Loss::GaussianMixture { floor: setting, .. }
            | Loss::NegativeBinomial { floor: setting } => *setting,
            // It has none.
            Loss::CrossEntropy
            | Loss::MeanSquared
            | Loss::MeanAbsolute
            | Loss::LogCosh
            | Loss::Poisson
            | Loss::Ctc { .. } => f64::NAN,
            Loss::External => 0.0,
        }
    }

    /// Checks its settings, of a read-out of so many outputs.
    pub(crate) fn check(&self, outputs: usize) -> Result<()> {
        match self {
            Loss::CrossEntropyWith(options) => options.check(outputs)?,
            Loss::BinaryCrossEntropy { positive_weights } => {
                check_weights("the weights of positive labels", positive_weights, outputs)?;
            }
            Loss::Huber { delta } => at_most("Huber's delta", *delta, MAX_SETTING)?,
            Loss::Quantiles { levels, .. } => {
                parts("quantiles", levels.len())?;
                let between = |level: &&f64| **level > 0.0 && (**level as f32) < 1.0;
                let ascending = levels.windows(2).all(|pair| pair[0] < pair[1]);
                if !levels.iter().all(|level| between(&level)) || !ascending {
                    return Err(Error::Config(format!(
                        "the quantiles are {levels:?}, expected numbers above 0 and below 1, ascending"
                    )));
                }
            }
            Loss::GaussianMixture { components, floor } => {
                parts("components", *components)?;
                at_most("the floor of a scale", *floor, MAX_SETTING)?;
            }
            Loss::Gaussian { floor }
            | Loss::Laplace { floor }
            | Loss::StudentT { floor }
            | Loss::NegativeBinomial { floor } => at_most("the floor of a scale", *floor, MAX_SETTING)?,
            Loss::Ctc { blank, .. } => {
                if *blank as usize >= outputs {
                    return Err(Error::Config(format!(
                        "the blank of the loss (ctc) is output {blank}, but there are {outputs}, counted from 0"
                    )));
                }
            }
            Loss::CrossEntropy
            | Loss::MeanSquared
            | Loss::MeanAbsolute
            | Loss::LogCosh
            | Loss::Poisson
            | Loss::External => {}
        }
        self.numbers(outputs).map(drop)
    }

    /// Which targets it takes, where it does not take all numbers: from the first to the second.
    pub(crate) fn range(&self) -> Option<[f32; 2]> {
        match self.kind() {
            LossKind::BinaryCrossEntropy | LossKind::SoftCrossEntropy => Some([0.0, 1.0]),
            LossKind::Poisson | LossKind::NegativeBinomial => Some([0.0, f32::MAX]),
            _ => None,
        }
    }

    /// Whether a class is one whose positions do not count.
    pub(crate) fn ignores(&self, class: u32) -> bool {
        matches!(self, Loss::CrossEntropyWith(CrossEntropy { ignored: Some(ignored), .. }) if *ignored == class)
    }

    /// The weight of a class.
    pub(crate) fn class_weight(&self, class: u32) -> f64 {
        match self {
            Loss::CrossEntropyWith(options) => options.class_weight(class as usize),
            _ => 1.0,
        }
    }
}

/// How many times `part` a number is, where it is a multiple above 0.
fn whole(outputs: usize, part: usize) -> Option<usize> {
    (part > 0 && outputs > 0 && outputs.is_multiple_of(part)).then(|| outputs / part)
}

fn parts(what: &str, count: usize) -> Result<()> {
    match count {
        1..=Loss::MAX_PARTS => Ok(()),
        _ => Err(Error::Config(format!("the loss has {count} {what}, expected 1 to {}", Loss::MAX_PARTS))),
    }
}

/// Checks that there is none, or one for each output, and that all are numbers that a loss can be weighed with.
fn check_weights(what: &str, weights: &[f64], outputs: usize) -> Result<()> {
    if !weights.is_empty() && weights.len() != outputs {
        return Err(Error::Config(format!(
            "{what} are {}, expected {outputs}, one for each output, or none",
            weights.len()
        )));
    }
    match weights.iter().find(|weight| !(0.0..=MAX_SETTING).contains(*weight)) {
        Some(weight) => Err(Error::Config(format!("{what} have a {weight}, expected 0 to {MAX_SETTING:e}"))),
        None => Ok(()),
    }
}
