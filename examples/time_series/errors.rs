//! How far forecasts are off.
//!
//! The contract: all methods are measured at the same places, in the units of the data.

use recurrent::metrics::RegressionErrors;
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
    pub fn new(forecasts: &[Vec<f64>], truths: &[Vec<f64>]) -> recurrent::Result<Self> {
        let horizon = truths.first().map_or(0, Vec::len);
        let (mut steps, mut all) = (vec![RegressionErrors::new(); horizon], RegressionErrors::new());
        for (forecast, truth) in forecasts.iter().zip(truths) {
            all.add(truth, forecast, None)?;
            for (step, (f, t)) in steps.iter_mut().zip(forecast.chunks(1).zip(truth.chunks(1))) {
                step.add(t, f, None)?;
            }
        }
        let rmse = |errors: &RegressionErrors| errors.rmse().unwrap_or(f64::NAN);
        let mae = |errors: &RegressionErrors| errors.mae().unwrap_or(f64::NAN);
        let first = steps.first().copied().unwrap_or_default();
        let by_step = steps.iter().map(rmse).collect();
        Ok(Errors { rmse: rmse(&first), mae: mae(&first), horizon_rmse: rmse(&all), horizon_mae: mae(&all), by_step })
    }
}
