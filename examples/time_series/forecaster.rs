//! What makes a forecast: what returns every period, a linear autoregression, and what networks add to it (after Zhang
//! 2003).
//!
//! The contract: everything in it was fitted on the training part; only how much of the networks' correction is taken
//! was found on the validation part.

use anyhow::{Result, ensure};
use recurrent::BatchShape;
use recurrent::{
    Device, Model, Predictor, Sequences,
    data::{SeasonalMean, StandardScaler},
};
use serde::{Deserialize, Serialize};

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
}

impl Prepared {
    /// The linear forecast with the share of the networks' correction, scaled.
    pub fn add(&self, past: &[f32], correction: &[f32]) -> Vec<f32> {
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

/// What the networks, on the mean, add to the linear forecast after each window `[horizon]`.
pub fn corrections(device: &Device, networks: &[Model], windows: &[&[f32]]) -> Result<Vec<Vec<f32>>> {
    let mut sums: Vec<Vec<f32>> = Vec::new();
    for network in networks {
        let mut predictor = Predictor::new(device, network)?;
        let mut at = 0;
        for batch in windows.chunks(BATCH) {
            let (sequences, levels) = leveled(batch);
            let outputs = predictor.run(&sequences)?.outputs;
            for (said, (_, deviation)) in outputs.chunks_exact(network.config().outputs).zip(levels) {
                let said = said.iter().map(|x| x * deviation / networks.len() as f32);
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
/// the mean squares that it leaves without them and with them.
pub fn shares(corrections: &[Vec<f32>], rests: &[Vec<f32>]) -> (Vec<f32>, [f64; 2]) {
    let (mut shares, mut left) = (Vec::new(), [0.0; 2]);
    for h in 0..rests.first().map_or(0, Vec::len) {
        let pairs = || corrections.iter().zip(rests).map(|(c, r)| (f64::from(c[h]), f64::from(r[h])));
        let (product, square): (f64, f64) = (pairs().map(|(c, r)| c * r).sum(), pairs().map(|(c, _)| c * c).sum());
        let share = if square > 0.0 { (product / square).clamp(0.0, 1.0) } else { 0.0 };
        left[0] += pairs().map(|(_, r)| r * r).sum::<f64>();
        left[1] += pairs().map(|(c, r)| (r - share * c).powi(2)).sum::<f64>();
        shares.push(share as f32);
    }
    let count = rests.iter().map(Vec::len).sum::<usize>().max(1) as f64;
    (shares, left.map(|sum| sum / count))
}
