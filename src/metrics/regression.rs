//! How far forecasts are off, in the units of the data or against a naive forecast.
//!
//! The contract: sums are f64 and stay finite, or the call that would end that is refused; a variance is never the
//! difference of two large sums.

use super::{counted, more, number, share, sum};
use crate::data::check_len;
use crate::error::{Error, Result};

/// Errors of numbers: mean absolute, root of the mean squared, mean, and R².
///
/// Of several outputs a row all numbers weigh the same, and a mask has to be as long as the numbers are many: repeat
/// that of the rows by `flat_map(|counts| std::iter::repeat_n(counts, outputs))`.
///
/// ```
/// use recurrent::metrics::RegressionErrors;
/// let mut errors = RegressionErrors::new();
/// errors.add(&[1.0, 2.0, 4.0], &[1.5, 2.0, 3.0], None)?; // f32 or f64, targets first
/// assert_eq!((errors.mae(), errors.mean_error()), (Some(0.5), Some(-0.5 / 3.0)));
/// assert_eq!(errors.rmse(), Some((1.25_f64 / 3.0).sqrt()));
/// # Ok::<(), recurrent::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RegressionErrors {
    count: u64,
    absolute: f64,
    squared: f64,
    signed: f64,
    /// Of the targets: their mean, and the sum of their squared distances from it (Welford 1962).
    mean: f64,
    spread: f64,
}

impl RegressionErrors {
    /// Of nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds numbers and their forecasts, where the mask leaves them; all of one length.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of forecasts or of the mask than of targets, [`Error::Data`] for a number
    /// that counts and is not finite, or whose square is past f64.
    pub fn add<T: Copy + Into<f64>, U: Copy + Into<f64>>(
        &mut self,
        targets: &[T],
        forecasts: &[U],
        mask: Option<&[bool]>,
    ) -> Result<()> {
        check_len("forecasts", &[targets.len()], forecasts.len())?;
        let mut all = *self;
        for r in counted(mask, targets.len())? {
            let (target, forecast) = (number("targets", targets, r)?, number("forecasts", forecasts, r)?);
            let error = forecast - target;
            all.count = more(all.count, 1)?;
            all.absolute += error.abs();
            all.squared += error * error;
            all.signed += error;
            let distance = target - all.mean;
            all.mean += distance / all.count as f64;
            all.spread += distance * (target - all.mean);
        }
        *self = all.checked()?;
        Ok(())
    }

    /// Adds what another has measured (of the spread: Chan, Golub & LeVeque 1979).
    ///
    /// # Errors
    /// [`Error::Data`] where a sum is past f64.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        if self.count == 0 || other.count == 0 {
            *self = if self.count == 0 { *other } else { *self };
            return Ok(());
        }
        let count = more(self.count, other.count)?;
        let (of_other, distance) = (other.count as f64 / count as f64, other.mean - self.mean);
        let all = RegressionErrors {
            count,
            absolute: self.absolute + other.absolute,
            squared: self.squared + other.squared,
            signed: self.signed + other.signed,
            mean: self.mean + distance * of_other,
            spread: self.spread + other.spread + distance * distance * of_other * self.count as f64,
        };
        *self = all.checked()?;
        Ok(())
    }

    fn checked(self) -> Result<Self> {
        sum("absolute errors", self.absolute)?;
        sum("squared errors", self.squared)?;
        sum("squared distances of targets from their mean", self.spread)?;
        Ok(self)
    }

    /// Returns how many numbers were counted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Returns the mean absolute error, `None` where nothing was counted.
    pub fn mae(&self) -> Option<f64> {
        share(self.absolute, self.count as f64)
    }

    /// Returns the root of the mean squared error, `None` where nothing was counted.
    pub fn rmse(&self) -> Option<f64> {
        share(self.squared, self.count as f64).map(f64::sqrt)
    }

    /// Returns the mean error, forecast minus target: above 0 where forecasts are too high; `None` where nothing was
    /// counted.
    pub fn mean_error(&self) -> Option<f64> {
        share(self.signed, self.count as f64)
    }

    /// Returns the coefficient of determination: 1 for forecasts without error, 0 for what the mean of the targets
    /// does, below 0 for worse. `None` where all targets are equal, or there is none.
    pub fn r_squared(&self) -> Option<f64> {
        share(self.squared, self.spread).map(|left| 1.0 - left)
    }
}

/// The mean absolute scaled error (Hyndman & Koehler 2006): errors over the mean absolute error that the seasonal naive
/// forecast, the value one period before, makes within the training part. Below 1 forecasts are better than that.
///
/// Scaled errors have no unit, so those of several series, each with a scale of its own, may be merged.
///
/// ```
/// use recurrent::metrics::Mase;
/// let mut mase = Mase::new(&[1.0, 3.0, 2.0, 6.0], 2)?; // |2 − 1| and |6 − 3|
/// assert_eq!(mase.scale(), 2.0);
/// mase.add(&[4.0, 5.0], &[3.0, 5.0], None)?;
/// assert_eq!(mase.value(), Some(0.25));
/// # Ok::<(), recurrent::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mase {
    scale: f64,
    scaled: f64,
    count: u64,
}

impl Mase {
    /// Scaled by what a training part says, of a series that returns after `period` steps: 1 for none.
    ///
    /// # Errors
    /// [`Error::Config`] for a period of 0, [`Error::Data`] for a part of no more values than a period, for numbers
    /// that are not finite, and for a part that repeats itself, which has no error to scale by.
    pub fn new<T: Copy + Into<f64>>(train: &[T], period: usize) -> Result<Self> {
        if period == 0 {
            return Err(Error::Config("the period is 0, expected at least 1".to_owned()));
        }
        if train.len() <= period {
            let values = train.len();
            return Err(Error::Data(format!(
                "the training part has {values} values, expected more than the period's \
                                            {period}"
            )));
        }
        for at in 0..train.len() {
            number("train", train, at)?;
        }
        let errors = train.iter().zip(&train[period..]).map(|(before, now)| ((*now).into() - (*before).into()).abs());
        let scale = sum("the naive forecast's errors", errors.sum())? / (train.len() - period) as f64;
        if scale == 0.0 {
            return Err(Error::Data(format!(
                "the training part repeats itself after {period} steps, expected a naive \
                                            forecast with errors to scale by"
            )));
        }
        Ok(Mase { scale, scaled: 0.0, count: 0 })
    }

    /// Adds numbers and their forecasts, in the units of the training part, where the mask leaves them; all of one
    /// length.
    ///
    /// # Errors
    /// Same as [`RegressionErrors::add`].
    pub fn add<T: Copy + Into<f64>, U: Copy + Into<f64>>(
        &mut self,
        targets: &[T],
        forecasts: &[U],
        mask: Option<&[bool]>,
    ) -> Result<()> {
        check_len("forecasts", &[targets.len()], forecasts.len())?;
        let mut all = *self;
        for r in counted(mask, targets.len())? {
            let error = number("forecasts", forecasts, r)? - number("targets", targets, r)?;
            all.count = more(all.count, 1)?;
            all.scaled += error.abs() / all.scale;
        }
        sum("scaled errors", all.scaled)?;
        *self = all;
        Ok(())
    }

    /// Adds the scaled errors of another, of the same series or another one; the scale stays.
    ///
    /// # Errors
    /// [`Error::Data`] where the sum is past f64.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        let scaled = sum("scaled errors", self.scaled + other.scaled)?;
        *self = Mase { scaled, count: more(self.count, other.count)?, ..*self };
        Ok(())
    }

    /// Returns what errors are divided by: the mean absolute error of the naive forecast.
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// Returns how many numbers were counted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Returns the mean absolute scaled error, `None` where nothing was counted.
    pub fn value(&self) -> Option<f64> {
        share(self.scaled, self.count as f64)
    }
}
