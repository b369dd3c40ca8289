//! Losses of every kind, and targets that each takes.

use recurrent::Loss;
use recurrent::recipe::{CrossEntropy, TargetKind};

use super::heads::Targets;
use super::random::Random;

/// Every kind of loss, with settings that are not what they are by default, and so many outputs as `size` classes or
/// `size` numbers ask for.
pub fn all(size: usize) -> Vec<(Loss, usize)> {
    let weights: Vec<f64> = (0..size).map(|c| 0.25 + 0.5 * (c % 5) as f64).collect();
    let smoothed = CrossEntropy::new().with_smoothing(0.1).with_class_weights(weights.clone());
    let soft = CrossEntropy::new().with_soft_targets().with_class_weights(weights.clone()).with_smoothing(0.05);
    let of_parameters = |p: usize| p * size;
    let losses = [
        (Loss::CrossEntropy, size),
        (smoothed.into(), size),
        (CrossEntropy::new().with_focus(1.5).with_class_weights(weights.clone()).into(), size),
        (soft.into(), size),
        (Loss::BinaryCrossEntropy { positive_weights: weights }, size),
        (Loss::binary_cross_entropy(), size),
        (Loss::MeanSquared, size),
        (Loss::MeanAbsolute, size),
        (Loss::huber(0.75), size),
        (Loss::LogCosh, size),
        (Loss::quantiles([0.1, 0.5, 0.8]), of_parameters(3)),
        (Loss::ordered_quantiles([0.05, 0.5, 0.75, 0.95]), of_parameters(4)),
        (Loss::Gaussian { floor: 0.01 }, of_parameters(2)),
        (Loss::Laplace { floor: 0.02 }, of_parameters(2)),
        (Loss::StudentT { floor: 0.03 }, of_parameters(3)),
        (Loss::GaussianMixture { components: 3, floor: 0.05 }, 3 + of_parameters(6)),
        (Loss::Poisson, size),
        (Loss::NegativeBinomial { floor: 0.01 }, of_parameters(2)),
    ];
    losses.to_vec()
}

/// Targets that a loss takes, of so many rows of outputs, in ±`bound` where it takes any number.
pub fn targets(random: &mut Random, loss: &Loss, [rows, outputs]: [usize; 2], bound: f64) -> Targets {
    if loss.targets() == TargetKind::Classes {
        return Targets::Classes(random.ids(rows, outputs));
    }
    let count = rows * loss.numbers(outputs).unwrap();
    Targets::Values(match loss {
        Loss::BinaryCrossEntropy { .. } | Loss::CrossEntropyWith(_) => {
            random.reals(count, 0.5).into_iter().map(|v| f64::from((v + 0.5) as f32)).collect()
        }
        Loss::Poisson | Loss::NegativeBinomial { .. } => random.ids(count, 20).into_iter().map(f64::from).collect(),
        _ => random.reals(count, bound),
    })
}
