//! Features brought to mean 0 and deviation 1, by what the training part alone says of them.
//!
//! The contract: a scaler knows nothing but what it was fitted on, so nothing of a test part leaks into a training;
//! what it does it can undo, up to rounding. Data is f64 until it is scaled, so that a large mean costs no digits.

use serde::{Deserialize, Serialize};

use super::check_finite;
use crate::error::{Error, Result};

/// The mean and the standard deviation of every feature of some rows `[N, I]`. It serialises, so that it can be kept
/// beside a model, in the notes of a [`Checkpoint`](crate::Checkpoint).
///
/// ```
/// use recurrent::data::StandardScaler;
///
/// let train = [1.0, 10.0, 3.0, 30.0]; // two rows of two features
/// let scaler = StandardScaler::fit(&train, 2)?;
/// let test = scaler.apply(&[2.0, 40.0])?;
/// assert_eq!(test, [0.0f32, 2.0]);
/// assert_eq!(scaler.inverse(&test)?, [2.0f64, 40.0]);
/// assert_eq!(scaler.feature(1)?.inverse(&[2.0])?, [40.0]); // of a network that predicts one of the two
/// let kept = serde_json::to_string(&scaler).unwrap(); // checkpoint.notes.insert("scaler".into(), kept)
/// assert_eq!(serde_json::from_str::<StandardScaler>(&kept).unwrap(), scaler);
/// # Ok::<(), recurrent::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Kept")]
pub struct StandardScaler {
    means: Vec<f64>,
    deviations: Vec<f64>,
}

/// A scaler as a file has it, which may hold anything.
#[derive(Deserialize)]
struct Kept {
    means: Vec<f64>,
    deviations: Vec<f64>,
}

impl TryFrom<Kept> for StandardScaler {
    type Error = Error;

    fn try_from(Kept { means, deviations }: Kept) -> Result<Self> {
        check_finite("means", &means)?;
        check_finite("deviations", &deviations)?;
        if means.is_empty() || means.len() != deviations.len() || deviations.iter().any(|deviation| *deviation <= 0.0) {
            return Err(Error::Data(format!(
                "a scaler of {} means and {} deviations, expected as many of each, at least one, and deviations above \
                0",
                means.len(),
                deviations.len()
            )));
        }
        Ok(StandardScaler { means, deviations })
    }
}

impl StandardScaler {
    /// Measures rows of `features` numbers each. A feature that never changes has deviation 1.
    ///
    /// # Errors
    /// [`Error::Config`] for no features, [`Error::Data`] for no rows, part of a row, or numbers that are not finite or
    /// whose sum is not.
    pub fn fit<T: Copy + Into<f64>>(rows: &[T], features: usize) -> Result<Self> {
        if features == 0 {
            return Err(Error::Config("the number of features is 0, expected at least 1".to_owned()));
        }
        check_rows(rows.len(), features)?;
        let rows: Vec<f64> = rows.iter().map(|x| (*x).into()).collect();
        check_finite("rows", &rows)?;
        if rows.is_empty() {
            return Err(Error::Data("there are no rows to measure".to_owned()));
        }
        let (mut means, mut deviations) = (Vec::new(), Vec::new());
        for feature in 0..features {
            let (mean, deviation) = measured(rows[feature..].iter().step_by(features).copied());
            if !(mean.is_finite() && deviation.is_finite()) {
                return Err(Error::Data(format!(
                    "feature {feature}, counted from 0, is too large to measure: mean {mean}, deviation {deviation}"
                )));
            }
            means.push(mean);
            deviations.push(deviation);
        }
        Ok(StandardScaler { means, deviations })
    }

    /// Returns the scaler of one feature, counted from 0: for the outputs of a network that predicts it alone.
    ///
    /// # Errors
    /// [`Error::Config`] for a feature that there is not.
    pub fn feature(&self, index: usize) -> Result<Self> {
        match (self.means.get(index), self.deviations.get(index)) {
            (Some(mean), Some(deviation)) => Ok(StandardScaler { means: vec![*mean], deviations: vec![*deviation] }),
            _ => Err(Error::Config(format!(
                "there is no feature {index}, the scaler has {}, counted from 0",
                self.features()
            ))),
        }
    }

    /// Returns the mean of each feature.
    pub fn means(&self) -> &[f64] {
        &self.means
    }

    /// Returns the standard deviation of each feature.
    pub fn deviations(&self) -> &[f64] {
        &self.deviations
    }

    /// Returns `(x − mean) / deviation` of rows.
    ///
    /// # Errors
    /// [`Error::Data`] for part of a row, or a number that scales to none that f32 holds.
    pub fn apply<T: Copy + Into<f64>>(&self, rows: &[T]) -> Result<Vec<f32>> {
        check_rows(rows.len(), self.features())?;
        let scale = |(at, x): (usize, &T)| {
            let feature = at % self.features();
            let x: f64 = (*x).into();
            let scaled = ((x - self.means[feature]) / self.deviations[feature]) as f32;
            if scaled.is_finite() {
                return Ok(scaled);
            }
            Err(Error::Data(format!("rows[{at}] is {x}, which scales to {scaled}, expected a finite number")))
        };
        rows.iter().enumerate().map(scale).collect()
    }

    /// Returns `x · deviation + mean`: what [`StandardScaler::apply`] was given. The rows have all features; for one of
    /// them take its [own scaler](StandardScaler::feature).
    ///
    /// # Errors
    /// [`Error::Data`] for part of a row.
    pub fn inverse(&self, rows: &[f32]) -> Result<Vec<f64>> {
        check_rows(rows.len(), self.features())?;
        let undo = |(at, x): (usize, &f32)| {
            let feature = at % self.features();
            f64::from(*x) * self.deviations[feature] + self.means[feature]
        };
        Ok(rows.iter().enumerate().map(undo).collect())
    }

    /// How many features it knows.
    pub fn features(&self) -> usize {
        self.means.len()
    }
}

/// The mean and the standard deviation of the values of one feature, of which there is at least one.
fn measured(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let count = values.clone().count() as f64;
    let mean = values.clone().sum::<f64>() / count;
    let first = values.clone().next().unwrap_or(mean);
    // The rounding of its mean is no deviation of what never changes.
    if values.clone().all(|x| x == first) {
        return (first, 1.0);
    }
    // In units of the largest, so that no square leaves the range of f64.
    let largest = values.clone().fold(0.0, |largest: f64, x| largest.max((x - mean).abs()));
    let squares: f64 = values.map(|x| ((x - mean) / largest).powi(2)).sum();
    (mean, largest * (squares / count).sqrt())
}

fn check_rows(numbers: usize, features: usize) -> Result<()> {
    if numbers.is_multiple_of(features) {
        return Ok(());
    }
    Err(Error::Data(format!(
        "{numbers} numbers are no whole number of rows of {features}; one feature has a scaler of its own"
    )))
}
