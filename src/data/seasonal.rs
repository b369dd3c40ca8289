//! What returns every period, taken out of a series and put back.
//!
//! The contract: it is fitted on what it is given alone, so nothing of a test part leaks into a training; what it takes
//! out it puts back, up to rounding.

use std::f64::consts::TAU;

use serde::{Deserialize, Serialize};

use super::check_finite;
use crate::error::{Error, Result};

/// A periodic mean: a constant and a few harmonics of one period, fitted by least squares (harmonic regression; with
/// all `period / 2` harmonics it is the mean of every phase). It takes no trend out: what rises from period to period
/// leaves part of its rise in the phases.
///
/// ```
/// use recurrent::data::SeasonalMean;
///
/// let train = [1.0, 5.0, 3.0, 7.0, 1.0, 5.0, 3.0, 7.0]; // what returns every four steps
/// let seasonal = SeasonalMean::fit(&train, 4, 2)?;
/// let mut later = [2.0, 6.0]; // the values at places 8 and 9
/// seasonal.apply(&mut later, 8);
/// assert!((later[0] - 1.0).abs() < 1e-6 && (later[1] - 1.0).abs() < 1e-6);
/// # Ok::<(), recurrent::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Kept")]
pub struct SeasonalMean {
    /// The mean at every phase.
    phases: Vec<f64>,
}

/// What returns as a file has it, which may hold anything.
#[derive(Deserialize)]
struct Kept {
    phases: Vec<f64>,
}

impl TryFrom<Kept> for SeasonalMean {
    type Error = Error;

    fn try_from(Kept { phases }: Kept) -> Result<Self> {
        check_finite("phases", &phases)?;
        if phases.len() < 2 {
            return Err(Error::Data(format!("a season of {} phases, expected at least 2", phases.len())));
        }
        Ok(SeasonalMean { phases })
    }
}

impl SeasonalMean {
    /// Measures the last whole periods of `values`, of which the first is at phase 0.
    ///
    /// # Errors
    /// [`Error::Config`] for a period below 2 or harmonics that are none or more than half of it, [`Error::Data`] for
    /// less than one period, or numbers that are not finite or whose sum is not.
    pub fn fit(values: &[f64], period: usize, harmonics: usize) -> Result<Self> {
        if period < 2 {
            return Err(Error::Config(format!("the period is {period}, expected at least 2")));
        }
        if harmonics == 0 || harmonics > period / 2 {
            let most = period / 2;
            return Err(Error::Config(format!("{harmonics} harmonics of a period of {period}, expected 1 to {most}")));
        }
        if values.len() < period {
            return Err(Error::Data(format!("{} values are less than one period of {period}", values.len())));
        }
        check_finite("values", values)?;
        let first = values.len() % period;
        let count = (values.len() - first) as f64;
        let angle = |at: usize, k: usize| TAU * ((at * k) % period) as f64 / period as f64;
        let project = |wave: &dyn Fn(usize) -> f64| {
            values.iter().enumerate().skip(first).map(|(at, x)| x * wave(at)).sum::<f64>() / count
        };
        let mut phases = vec![project(&|_| 1.0); period];
        for k in 1..=harmonics {
            // Over whole periods the waves are orthogonal; the fastest of an even period has no sine.
            let twice = if 2 * k == period { 1.0 } else { 2.0 };
            let (cos, sin) = (twice * project(&|at| angle(at, k).cos()), twice * project(&|at| angle(at, k).sin()));
            for (phase, mean) in phases.iter_mut().enumerate() {
                *mean += cos * angle(phase, k).cos() + sin * angle(phase, k).sin();
            }
        }
        check_finite("phases", &phases)?;
        Ok(SeasonalMean { phases })
    }

    /// Takes it out of values of which the first is at place `first` of the series.
    pub fn apply(&self, values: &mut [f64], first: usize) {
        values.iter_mut().enumerate().for_each(|(at, x)| *x -= self.at(first + at));
    }

    /// Puts it back.
    pub fn inverse(&self, values: &mut [f64], first: usize) {
        values.iter_mut().enumerate().for_each(|(at, x)| *x += self.at(first + at));
    }

    /// The mean at a place of the series.
    pub fn at(&self, place: usize) -> f64 {
        self.phases.get(place % self.phases.len().max(1)).copied().unwrap_or(0.0)
    }

    /// After how many steps it returns.
    pub fn period(&self) -> usize {
        self.phases.len()
    }
}
