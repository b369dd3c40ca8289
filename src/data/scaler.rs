//! Features brought to mean 0 and deviation 1, by what the training part alone says of them.
//!
//! The contract: a scaler knows nothing but what it was fitted on, so nothing of a test part leaks into a training; what
//! it does it can undo, up to rounding.

use serde::{Deserialize, Serialize};

use super::check_finite;
use crate::error::{Error, Result};

/// The mean and the standard deviation of every feature of some rows `[N, I]`. It can be kept beside a model, in a
/// checkpoint's notes say.
///
/// ```
/// use recurrent::data::Scaler;
///
/// let train = [1.0, 10.0, 3.0, 30.0]; // two rows of two features
/// let scaler = Scaler::fit(&train, 2)?;
/// let mut test = [2.0, 40.0];
/// scaler.apply(&mut test)?;
/// assert_eq!(test, [0.0, 2.0]);
/// scaler.undo(&mut test)?;
/// assert_eq!(test, [2.0, 40.0]);
/// # Ok::<(), recurrent::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Kept")]
pub struct Scaler {
    means: Vec<f32>,
    deviations: Vec<f32>,
}

/// A scaler as a file has it, which may hold anything.
#[derive(Deserialize)]
struct Kept {
    means: Vec<f32>,
    deviations: Vec<f32>,
}

impl TryFrom<Kept> for Scaler {
    type Error = Error;

    fn try_from(Kept { means, deviations }: Kept) -> Result<Self> {
        check_finite("means", &means)?;
        check_finite("deviations", &deviations)?;
        if means.is_empty() || means.len() != deviations.len() || deviations.iter().any(|deviation| *deviation <= 0.0) {
            return Err(Error::Data(format!(
                "a scaler of {} means and {} deviations, expected as many of each, at least one, and deviations above 0",
                means.len(),
                deviations.len()
            )));
        }
        Ok(Scaler { means, deviations })
    }
}

impl Scaler {
    /// Measures rows of `features` numbers each. A feature that never changes has deviation 1.
    ///
    /// # Errors
    /// [`Error::Config`] for no features, [`Error::Data`] for no rows, part of a row or a number that is not finite.
    pub fn fit(rows: &[f32], features: usize) -> Result<Self> {
        if features == 0 {
            return Err(Error::Config("the number of features is 0, expected at least 1".to_owned()));
        }
        check_rows(rows, features)?;
        check_finite("rows", rows)?;
        if rows.is_empty() {
            return Err(Error::Data("there are no rows to measure".to_owned()));
        }
        let count = (rows.len() / features) as f64;
        let mean = |of: &dyn Fn(f64) -> f64, at: usize| {
            rows[at..].iter().step_by(features).map(|x| of(f64::from(*x))).sum::<f64>() / count
        };
        let (mut means, mut deviations) = (Vec::new(), Vec::new());
        for at in 0..features {
            let middle = mean(&|x| x, at);
            let deviation = mean(&|x| (x - middle).powi(2), at).sqrt() as f32;
            means.push(middle as f32);
            deviations.push(if deviation > 0.0 { deviation } else { 1.0 });
        }
        Ok(Scaler { means, deviations })
    }

    /// `(x − mean) / deviation`, of rows in place.
    ///
    /// # Errors
    /// [`Error::Data`] for part of a row.
    pub fn apply(&self, rows: &mut [f32]) -> Result<()> {
        self.each(rows, |x, mean, deviation| (x - mean) / deviation)
    }

    /// `x · deviation + mean`: what [`Scaler::apply`] was given.
    ///
    /// # Errors
    /// [`Error::Data`] for part of a row.
    pub fn undo(&self, rows: &mut [f32]) -> Result<()> {
        self.each(rows, |x, mean, deviation| x * deviation + mean)
    }

    fn each(&self, rows: &mut [f32], change: impl Fn(f32, f32, f32) -> f32) -> Result<()> {
        check_rows(rows, self.means.len())?;
        for row in rows.chunks_exact_mut(self.means.len().max(1)) {
            for ((x, mean), deviation) in row.iter_mut().zip(&self.means).zip(&self.deviations) {
                *x = change(*x, *mean, *deviation);
            }
        }
        Ok(())
    }

    /// How many features it knows.
    pub fn features(&self) -> usize {
        self.means.len()
    }
}

fn check_rows(rows: &[f32], features: usize) -> Result<()> {
    if rows.len().is_multiple_of(features) {
        return Ok(());
    }
    Err(Error::Data(format!("{} numbers are no whole number of rows of {features}", rows.len())))
}
