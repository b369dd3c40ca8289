//! What outputs say of the numbers that they were trained to describe, and numbers drawn from that.
//!
//! The contract: it is what the loss computes, by the same formulas in f64; a draw is a function of its seed.

use rand::{RngExt, SeedableRng, rngs::ChaCha12Rng};
use rand_distr::{Distribution as _, Gamma, Poisson, StandardNormal, StudentT};

use super::Loss;
use crate::error::{Error, Result};

/// What the outputs of a position say of the N numbers, or of the class, that it was compared with: see
/// [`Loss::distribution`].
///
/// ```
/// use recurrent::Loss;
/// use recurrent::recipe::Distribution;
/// // Two numbers: their means, then their scales.
/// let forecast = Loss::gaussian().distribution(&[0.5, -2.0, 1.0, 3.0])?;
/// assert_eq!(forecast.mean(), Some(vec![0.5, -2.0]));
/// let drawn = forecast.sample(7).expect("two numbers");
/// assert_ne!(drawn, forecast.sample(8).expect("two others"));
/// let Distribution::Gaussian { scales, .. } = forecast else { panic!("a normal distribution") };
/// assert!((scales[1] - 3.0496).abs() < 1e-4); // 0.001 + softplus(3)
/// # Ok::<(), recurrent::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Distribution {
    /// One class of O.
    Classes {
        /// `[O]`.
        probabilities: Vec<f64>,
    },
    /// Labels that hold or not, each by itself.
    Labels {
        /// `[O]`: that it holds.
        probabilities: Vec<f64>,
    },
    /// Of each number a few quantiles.
    Quantiles {
        /// `[Q]`.
        levels: Vec<f64>,
        /// `[Q, N]`.
        values: Vec<f64>,
    },
    /// Normal ones.
    Gaussian {
        /// μ, `[N]`.
        means: Vec<f64>,
        /// σ, `[N]`.
        scales: Vec<f64>,
    },
    /// Laplace's.
    Laplace {
        /// μ, `[N]`.
        means: Vec<f64>,
        /// b, `[N]`.
        scales: Vec<f64>,
    },
    /// Student's t.
    StudentT {
        /// μ, `[N]`.
        means: Vec<f64>,
        /// σ, `[N]`.
        scales: Vec<f64>,
        /// ν, `[N]`: above 2.
        freedoms: Vec<f64>,
    },
    /// One of K normal distributions of all N numbers.
    GaussianMixture {
        /// π, `[K]`.
        weights: Vec<f64>,
        /// μ, `[K, N]`.
        means: Vec<f64>,
        /// σ, `[K, N]`.
        scales: Vec<f64>,
    },
    /// Counts.
    Poisson {
        /// `[N]`.
        means: Vec<f64>,
    },
    /// Counts that scatter more.
    NegativeBinomial {
        /// μ, `[N]`.
        means: Vec<f64>,
        /// r, `[N]`: the variance is μ + μ² / r.
        shapes: Vec<f64>,
    },
}

impl Distribution {
    /// Returns what is expected: the mean of every number, of a class or of labels the probabilities; `None` of
    /// quantiles, which do not say it.
    pub fn mean(&self) -> Option<Vec<f64>> {
        match self {
            Distribution::Classes { probabilities } | Distribution::Labels { probabilities } => {
                Some(probabilities.clone())
            }
            Distribution::Quantiles { .. } => None,
            Distribution::Gaussian { means, .. }
            | Distribution::Laplace { means, .. }
            | Distribution::StudentT { means, .. }
            | Distribution::Poisson { means }
            | Distribution::NegativeBinomial { means, .. } => Some(means.clone()),
            Distribution::GaussianMixture { weights, means, .. } => {
                let numbers = means.len() / weights.len().max(1);
                let of_number = |n: usize| weights.iter().zip(means.iter().skip(n).step_by(numbers));
                Some((0..numbers).map(|n| of_number(n).map(|(weight, mean)| weight * mean).sum()).collect())
            }
        }
    }

    /// Draws every number, of a class its id, of labels 0 or 1 each; the same ones by the same seed. `None` of
    /// quantiles, which do not say all that it takes.
    pub fn sample(&self, seed: u64) -> Option<Vec<f64>> {
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        Some(match self {
            Distribution::Quantiles { .. } => return None,
            Distribution::Classes { probabilities } => vec![choose(&mut rng, probabilities) as f64],
            Distribution::Labels { probabilities } => {
                probabilities.iter().map(|p| f64::from(u8::from(rng.random::<f64>() < *p))).collect()
            }
            Distribution::Gaussian { means, scales } => {
                pairs(means, scales, |mean, scale| mean + scale * normal(&mut rng))
            }
            Distribution::Laplace { means, scales } => pairs(means, scales, |mean, scale| {
                let uniform = rng.random::<f64>() - 0.5;
                mean - scale * uniform.signum() * (-2.0 * uniform.abs()).ln_1p()
            }),
            Distribution::StudentT { means, scales, freedoms } => {
                let drawn = means.iter().zip(scales).zip(freedoms).map(|((mean, scale), freedom)| {
                    // One that is no number is left to show.
                    StudentT::new(*freedom).map_or(f64::NAN, |t| mean + scale * t.sample(&mut rng))
                });
                drawn.collect()
            }
            Distribution::GaussianMixture { weights, means, scales } => {
                let numbers = means.len() / weights.len().max(1);
                let of_one = choose(&mut rng, weights) * numbers..;
                let (means, scales) = (&means[of_one.clone()][..numbers], &scales[of_one][..numbers]);
                pairs(means, scales, |mean, scale| mean + scale * normal(&mut rng))
            }
            Distribution::Poisson { means } => means.iter().map(|mean| poisson(&mut rng, *mean)).collect(),
            // A Poisson distribution whose mean is drawn from a gamma distribution.
            Distribution::NegativeBinomial { means, shapes } => pairs(means, shapes, |mean, shape| {
                let rate = Gamma::new(shape, mean / shape).map_or(f64::NAN, |gamma| gamma.sample(&mut rng));
                poisson(&mut rng, rate)
            }),
        })
    }
}

impl Loss {
    /// What the outputs of a position, a row of [`Predictor::run`](crate::Predictor::run)'s, say of what it was
    /// compared with in training.
    ///
    /// # Errors
    /// [`Error::Config`] for a number of outputs that the loss is not of, and for a loss whose outputs are nothing but
    /// the numbers, or the caller's; [`Error::Data`] for outputs that are not finite.
    pub fn distribution(&self, outputs: &[f32]) -> Result<Distribution> {
        self.check(outputs.len())?;
        if let Some(at) = outputs.iter().position(|y| !y.is_finite()) {
            return Err(Error::Data(format!("output {at} is {}, expected a finite number", outputs[at])));
        }
        let numbers = self.numbers(outputs.len())?;
        let outputs: Vec<f64> = outputs.iter().copied().map(f64::from).collect();
        let part = |p: usize| outputs.iter().skip(p * numbers).take(numbers).copied();
        let above = |floor: f64, values: &mut dyn Iterator<Item = f64>| -> Vec<f64> {
            values.map(|raw| floor + softplus(raw)).collect()
        };
        Ok(match self {
            Loss::CrossEntropy | Loss::CrossEntropyWith(_) => {
                Distribution::Classes { probabilities: softmax(&outputs) }
            }
            Loss::BinaryCrossEntropy { .. } => {
                Distribution::Labels { probabilities: outputs.iter().map(|y| 1.0 / (1.0 + (-y).exp())).collect() }
            }
            Loss::Quantiles { levels, ordered } => {
                let mut values = outputs;
                for at in numbers..values.len() {
                    if *ordered {
                        values[at] = values[at - numbers] + softplus(values[at]);
                    }
                }
                Distribution::Quantiles { levels: levels.clone(), values }
            }
            Loss::Gaussian { floor } => {
                Distribution::Gaussian { means: part(0).collect(), scales: above(*floor, &mut part(1)) }
            }
            Loss::Laplace { floor } => {
                Distribution::Laplace { means: part(0).collect(), scales: above(*floor, &mut part(1)) }
            }
            Loss::StudentT { floor } => Distribution::StudentT {
                means: part(0).collect(),
                scales: above(*floor, &mut part(1)),
                freedoms: above(2.0, &mut part(2)),
            },
            Loss::GaussianMixture { components, floor } => {
                let (logits, rest) = outputs.split_at(*components);
                let (means, raws) = rest.split_at(components * numbers);
                Distribution::GaussianMixture {
                    weights: softmax(logits),
                    means: means.to_vec(),
                    scales: above(*floor, &mut raws.iter().copied()),
                }
            }
            Loss::Poisson => Distribution::Poisson { means: outputs.iter().map(|y| y.exp()).collect() },
            Loss::NegativeBinomial { floor } => Distribution::NegativeBinomial {
                means: above(*floor, &mut part(0)),
                shapes: above(*floor, &mut part(1)),
            },
            Loss::MeanSquared
            | Loss::MeanAbsolute
            | Loss::Huber { .. }
            | Loss::LogCosh
            | Loss::Ctc { .. }
            | Loss::External => {
                return Err(Error::Config(format!(
                    "the loss ({}) does not say how what it is of is distributed; expected one of a distribution, as \
                     Loss::gaussian()",
                    self.kind().record().name
                )));
            }
        })
    }
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

fn softmax(logits: &[f64]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let each: Vec<f64> = logits.iter().map(|logit| (logit - largest).exp()).collect();
    let total: f64 = each.iter().sum();
    each.into_iter().map(|each| each / total).collect()
}

/// What is made of every two.
fn pairs(a: &[f64], b: &[f64], mut of_two: impl FnMut(f64, f64) -> f64) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| of_two(*a, *b)).collect()
}

fn normal(rng: &mut ChaCha12Rng) -> f64 {
    StandardNormal.sample(rng)
}

fn poisson(rng: &mut ChaCha12Rng, mean: f64) -> f64 {
    match mean {
        0.0 => 0.0,
        // One that is no number, or too large for a count to be drawn, is left to show.
        mean => Poisson::new(mean).map_or(f64::NAN, |poisson| poisson.sample(rng)),
    }
}

/// An index by the weights, which add up to 1.
fn choose(rng: &mut ChaCha12Rng, weights: &[f64]) -> usize {
    let mut left = rng.random::<f64>();
    let found = weights.iter().position(|weight| {
        left -= weight;
        left < 0.0
    });
    // What rounding leaves behind the last is the likeliest's.
    let likeliest = || (0..weights.len()).max_by(|a, b| weights[*a].total_cmp(&weights[*b])).unwrap_or(0);
    found.unwrap_or_else(likeliest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Draws of each distribution have its mean and its variance.
    #[test]
    fn draws_are_distributed_as_is_said() {
        let draws = 40_000;
        for (loss, outputs, mean, variance) in [
            (Loss::gaussian(), vec![1.5, 0.5], 1.5, (1e-3 + softplus(0.5)).powi(2)),
            (Loss::laplace(), vec![-1.0, 0.25], -1.0, 2.0 * (1e-3 + softplus(0.25)).powi(2)),
            (
                Loss::student_t(),
                vec![0.5, 0.0, 8.0],
                0.5,
                (1e-3 + softplus(0.0)).powi(2) * (2.0 + softplus(8.0)) / softplus(8.0),
            ),
            (Loss::Poisson, vec![1.25], 1.25f64.exp(), 1.25f64.exp()),
            (
                Loss::negative_binomial(),
                vec![2.0, 1.0],
                1e-3 + softplus(2.0),
                1e-3 + softplus(2.0) + (1e-3 + softplus(2.0)).powi(2) / (1e-3 + softplus(1.0)),
            ),
            (Loss::binary_cross_entropy(), vec![0.75], 0.6791786991753931, 0.21789499376181404),
            (Loss::CrossEntropy, vec![0.0, 0.0, -40.0], 0.5, 0.25),
            // Two narrow parts at 2 and -1, three to one.
            (Loss::gaussian_mixture(2), vec![3f32.ln(), 0.0, 2.0, -1.0, -30.0, -30.0], 1.25, 0.75 * 0.25 * 9.0 + 1e-6),
        ] {
            let distribution = loss.distribution(&outputs).unwrap();
            let drawn: Vec<f64> = (0..draws).map(|seed| distribution.sample(seed).unwrap()[0]).collect();
            let of = |f: &dyn Fn(f64) -> f64| drawn.iter().map(|v| f(*v)).sum::<f64>() / draws as f64;
            let drawn_mean = of(&|v| v);
            let drawn_variance = of(&|v| (v - drawn_mean).powi(2));
            let spread = (variance / draws as f64).sqrt();
            assert!((drawn_mean - mean).abs() < 5.0 * spread, "{loss:?}: {drawn_mean}, not {mean}");
            assert!((drawn_variance / variance - 1.0).abs() < 0.1, "{loss:?}: {drawn_variance}, not {variance}");
            if !matches!(loss, Loss::CrossEntropy) {
                let said = distribution.mean().unwrap()[0];
                assert!((said - mean).abs() < 1e-6 * mean.abs(), "{loss:?}: {said}, not {mean}");
            }
        }
    }

    #[test]
    fn quantiles_that_are_increments_are_added_up() {
        let outputs = [0.5, -1.0, 0.0, 2.0];
        let Distribution::Quantiles { values, .. } =
            Loss::ordered_quantiles([0.1, 0.9]).distribution(&outputs).unwrap()
        else {
            panic!("quantiles")
        };
        assert_eq!(values, [0.5, -1.0, 0.5 + softplus(0.0), -1.0 + softplus(2.0)]);
        let as_they_are = Loss::quantiles([0.1, 0.9]).distribution(&outputs).unwrap();
        assert!(as_they_are.mean().is_none() && as_they_are.sample(1).is_none());
    }

    #[test]
    fn what_says_no_distribution_is_refused() {
        let said = |loss: Loss, outputs: &[f32]| loss.distribution(outputs).unwrap_err().to_string();
        assert!(said(Loss::MeanSquared, &[1.0]).contains("the loss (mean squared) does not say how"));
        assert!(said(Loss::gaussian(), &[1.0]).contains("is of 1 outputs, expected a multiple of 2"));
        assert_eq!(said(Loss::gaussian(), &[1.0, f32::NAN]), "output 1 is NaN, expected a finite number");
    }
}
