//! How far forecasts are off.
//!
//! The contract: all methods are measured at the same places, in the units of the data.

use serde::Serialize;

/// What a method's forecasts were off by.
#[derive(Clone, Serialize)]
pub struct Errors {
    /// √ of the mean square, one step ahead.
    pub rmse: f64,
    /// The mean magnitude, one step ahead.
    pub mae: f64,
    /// √ of the mean square over all steps ahead.
    pub horizon_rmse: f64,
    /// The mean magnitude over all steps ahead.
    pub horizon_mae: f64,
    /// `[horizon]`: √ of the mean square so many steps ahead.
    pub by_step: Vec<f64>,
}

impl Errors {
    /// Of `[horizon]` forecasts against as many true values, at every place.
    pub fn new(forecasts: &[Vec<f64>], truths: &[Vec<f64>]) -> Self {
        let horizon = truths.first().map_or(0, Vec::len);
        let off = |h: usize| {
            let pairs = forecasts.iter().zip(truths).filter_map(move |(f, t)| Some((f.get(h)?, t.get(h)?)));
            pairs.map(|(forecast, truth)| forecast - truth)
        };
        let count = truths.len().max(1) as f64;
        let squares: Vec<f64> = (0..horizon).map(|h| off(h).map(|e| e * e).sum::<f64>() / count).collect();
        let sizes: Vec<f64> = (0..horizon).map(|h| off(h).map(f64::abs).sum::<f64>() / count).collect();
        let mean = |values: &[f64]| values.iter().sum::<f64>() / horizon.max(1) as f64;
        Errors {
            rmse: squares.first().map_or(f64::NAN, |s| s.sqrt()),
            mae: sizes.first().copied().unwrap_or(f64::NAN),
            horizon_rmse: mean(&squares).sqrt(),
            horizon_mae: mean(&sizes),
            by_step: squares.iter().map(|s| s.sqrt()).collect(),
        }
    }
}
