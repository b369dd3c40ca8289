//! What makes a forecast: what returns every period, a linear autoregression, and what networks add to it (after Zhang
//! 2003).
//!
//! The contract: everything in it was fitted on the training part; only how much of the networks' correction is taken
//! was found on the validation part.

use anyhow::{Result, bail, ensure};
use recurrent::recipe::Distribution;
use recurrent::{
    BatchShape, Device, Loss, Model, Predictor, Sequences,
    data::{SeasonalMean, StandardScaler},
};
use serde::{Deserialize, Serialize};

use crate::bands::{self, Quantiles};
use crate::linear::Linear;

/// Waves of a period that are told apart; what is faster in a year of days is weather.
const HARMONICS: usize = 3;
/// Sequences that are forecast side by side.
const BATCH: usize = 256;

/// From the data to what networks read: without what returns every period, of mean 0 and deviation 1.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Units {
    seasonal: Option<SeasonalMean>,
    scaler: StandardScaler,
}

impl Units {
    /// Measures the beginning of a series; a period of 0 is none.
    pub fn fit(known: &[f64], period: usize) -> Result<Self> {
        let seasonal = match period {
            0 => None,
            period => Some(SeasonalMean::fit(known, period, HARMONICS.min(period / 2))?),
        };
        let mut rest = known.to_vec();
        if let Some(seasonal) = &seasonal {
            seasonal.apply(&mut rest, 0);
        }
        Ok(Units { seasonal, scaler: StandardScaler::fit(&rest, 1)? })
    }

    /// A series from its beginning.
    pub fn scale(&self, values: &[f64]) -> Result<Vec<f32>> {
        let mut values = values.to_vec();
        if let Some(seasonal) = &self.seasonal {
            seasonal.apply(&mut values, 0);
        }
        Ok(self.scaler.apply(&values)?)
    }

    /// Scaled values of which the first is at that place of the series, in the units of the data.
    pub fn unscale(&self, values: &[f32], place: usize) -> Result<Vec<f64>> {
        let mut values = self.scaler.inverse(values)?;
        if let Some(seasonal) = &self.seasonal {
            seasonal.inverse(&mut values, place);
        }
        Ok(values)
    }
}

/// What a checkpoint keeps beside its network.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Prepared {
    /// By its header; none of the series that is built in.
    pub column: Option<String>,
    pub window: usize,
    pub horizon: usize,
    pub networks: usize,
    pub units: Units,
    pub linear: Linear,
    /// `[horizon]`: how much of the networks' correction is taken so many steps ahead, 0 to 1; none before all are
    /// trained.
    pub shares: Vec<f32>,
    /// Whether the networks say quantiles, whose median is the correction.
    #[serde(default)]
    pub quantiles: bool,
}

impl Prepared {
    /// How many numbers a network says of so many steps ahead.
    pub fn outputs(&self) -> usize {
        if self.quantiles { bands::LEVELS.len() * self.horizon } else { self.horizon }
    }

    /// What networks learn by.
    pub fn loss(&self) -> Loss {
        if self.quantiles { bands::loss() } else { Loss::MeanSquared }
    }

    /// Of what they say, the correction.
    pub fn correction<'a>(&self, said: &'a [f32]) -> &'a [f32] {
        if self.quantiles { &said[bands::MEDIAN * self.horizon..][..self.horizon] } else { said }
    }

    /// The linear forecast with every quantile of what it leaves, in the units of the data, where networks say them.
    pub fn bands(&self, past: &[f32], said: &[f32], origin: usize) -> Result<Option<Quantiles>> {
        if !self.quantiles {
            return Ok(None);
        }
        let linear = self.linear.forecast(past);
        let of_level = |rest: &[f32]| {
            let values: Vec<f32> = linear.iter().zip(rest).map(|(linear, rest)| linear + rest).collect();
            self.units.unscale(&values, origin)
        };
        said.chunks_exact(self.horizon).map(of_level).collect::<Result<Quantiles>>().map(Some)
    }

    /// The linear forecast with the share of the networks' correction, scaled.
    pub fn add(&self, past: &[f32], said: &[f32]) -> Vec<f32> {
        let correction = self.correction(said);
        let corrected = self.linear.forecast(past).into_iter().zip(correction).zip(&self.shares);
        corrected.map(|((linear, more), share)| linear + share * more).collect()
    }
}

/// The mean and the deviation of a window: what a network reads is brought to 0 and 1 by them, and what it says is
/// meant in the deviation, so that a level that the training part never had is nothing new to it (after Kim et al.
/// 2022).
fn level(past: &[f32]) -> (f32, f32) {
    let count = past.len().max(1) as f32;
    let mean = past.iter().sum::<f32>() / count;
    let deviation = (past.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / count).sqrt();
    // Of a still window noise would become a storm; the deviation of the whole training part is 1.
    (mean, deviation.max(0.1))
}

/// Windows as a network reads them, `[T, B, 1]`, and the level of each.
pub fn leveled(windows: &[&[f32]]) -> (Sequences, Vec<(f32, f32)>) {
    let steps = windows.first().map_or(0, |window| window.len());
    let levels: Vec<(f32, f32)> = windows.iter().map(|window| level(window)).collect();
    let read = |t: usize| windows.iter().zip(&levels).map(move |(w, (mean, deviation))| (w[t] - mean) / deviation);
    (Sequences::dense(BatchShape { steps, batch_size: windows.len() }, (0..steps).flat_map(read).collect()), levels)
}

/// What the networks, on the mean, say of what the linear forecast leaves after each window: `[horizon]`, or every
/// quantile of that one behind the other.
pub fn said(device: &Device, networks: &[Model], loss: &Loss, windows: &[&[f32]]) -> Result<Vec<Vec<f32>>> {
    let mut sums: Vec<Vec<f32>> = Vec::new();
    for network in networks {
        let mut predictor = Predictor::new(device, network)?;
        let mut at = 0;
        for batch in windows.chunks(BATCH) {
            let (sequences, levels) = leveled(batch);
            let outputs = predictor.run(&sequences)?.outputs;
            for (outputs, (_, deviation)) in outputs.chunks_exact(network.config().outputs).zip(levels) {
                let values = match loss {
                    Loss::Quantiles { .. } => match loss.distribution(outputs)? {
                        Distribution::Quantiles { values, .. } => values.into_iter().map(|v| v as f32).collect(),
                        other => bail!("quantiles are {other:?}"),
                    },
                    _ => outputs.to_vec(),
                };
                let said = values.iter().map(|x| x * deviation / networks.len() as f32);
                match sums.get_mut(at) {
                    None => sums.push(said.collect()),
                    Some(sum) => sum.iter_mut().zip(said).for_each(|(sum, x)| *sum += x),
                }
                at += 1;
            }
        }
    }
    ensure!(sums.len() == windows.len(), "{} forecasts for {} windows", sums.len(), windows.len());
    Ok(sums)
}

/// `[horizon]`: the shares of corrections that, added, leave the least squares of what the linear forecast leaves; and
/// the mean squares that it leaves without them and with them. Of medians all is taken: they are inside of bands.
pub fn shares(corrections: &[&[f32]], rests: &[Vec<f32>], are_medians: bool) -> (Vec<f32>, [f64; 2]) {
    let (mut shares, mut left) = (Vec::new(), [0.0; 2]);
    for h in 0..rests.first().map_or(0, Vec::len) {
        let pairs = || corrections.iter().zip(rests).map(|(c, r)| (f64::from(c[h]), f64::from(r[h])));
        let (product, square): (f64, f64) = (pairs().map(|(c, r)| c * r).sum(), pairs().map(|(c, _)| c * c).sum());
        let share = match are_medians {
            true => 1.0,
            false if square > 0.0 => (product / square).clamp(0.0, 1.0),
            false => 0.0,
        };
        left[0] += pairs().map(|(_, r)| r * r).sum::<f64>();
        left[1] += pairs().map(|(c, r)| (r - share * c).powi(2)).sum::<f64>();
        shares.push(share as f32);
    }
    let count = rests.iter().map(Vec::len).sum::<usize>().max(1) as f64;
    (shares, left.map(|sum| sum / count))
}
