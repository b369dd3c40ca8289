//! Forecasts of quantiles: their loss, and how often the truth lies in the band between two of them.
//!
//! The contract: as that of the errors of numbers; a band that is upside down contains nothing.

use super::{check_same, counted, more, number, share, sum};
use crate::data::check_len;
use crate::error::{Error, Result};

/// The pinball loss of a quantile q (Koenker & Bassett 1978): q·(y − f) where the forecast f is below the truth y, else
/// (1 − q)·(f − y). Its mean is least where a share q of the truths lies below the forecasts; scikit-learn's
/// `mean_pinball_loss`.
///
/// ```
/// use recurrent::metrics::PinballLoss;
/// let mut loss = PinballLoss::new(0.75)?;
/// loss.add(&[2.0, 2.0], &[1.0, 3.0], None)?; // one too low, one too high
/// assert_eq!(loss.value(), Some(0.5));
/// # Ok::<(), recurrent::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PinballLoss {
    quantile: f64,
    loss: f64,
    count: u64,
}

impl PinballLoss {
    /// Of a quantile above 0 and below 1; 0.5 is the median, whose loss is half of the mean absolute error.
    ///
    /// # Errors
    /// [`Error::Config`] for any other.
    pub fn new(quantile: f64) -> Result<Self> {
        if quantile > 0.0 && quantile < 1.0 {
            return Ok(PinballLoss { quantile, loss: 0.0, count: 0 });
        }
        Err(Error::Config(format!("the quantile is {quantile}, expected a number above 0 and below 1")))
    }

    /// Adds numbers and forecasts of their quantile, where the mask leaves them; all of one length.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of forecasts or of the mask than of targets, [`Error::Data`] for a number
    /// that counts and is not finite, or losses whose sum is not.
    pub fn add<T: Copy + Into<f64>, U: Copy + Into<f64>>(
        &mut self,
        targets: &[T],
        forecasts: &[U],
        mask: Option<&[bool]>,
    ) -> Result<()> {
        check_len("forecasts", &[targets.len()], forecasts.len())?;
        let mut all = *self;
        for r in counted(mask, targets.len())? {
            let above = number("targets", targets, r)? - number("forecasts", forecasts, r)?;
            all.count = more(all.count, 1)?;
            all.loss += if above > 0.0 { self.quantile * above } else { (self.quantile - 1.0) * above };
        }
        sum("losses", all.loss)?;
        *self = all;
        Ok(())
    }

    /// Adds what another of the same quantile has measured.
    ///
    /// # Errors
    /// [`Error::Data`] for another quantile, or where the sum is past f64.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        check_same("quantile", &self.quantile, &other.quantile)?;
        let loss = sum("losses", self.loss + other.loss)?;
        *self = PinballLoss { loss, count: more(self.count, other.count)?, ..*self };
        Ok(())
    }

    /// Returns how many numbers were counted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Returns the mean loss, `None` where nothing was counted.
    pub fn value(&self) -> Option<f64> {
        share(self.loss, self.count as f64)
    }
}

/// The coverage of a band: the share of numbers that lie between a lower and an upper forecast, or on one of them. Of
/// the quantiles 0.1 and 0.9 it is to be 0.8.
///
/// ```
/// use recurrent::metrics::Coverage;
/// let mut coverage = Coverage::new();
/// coverage.add(&[1.0, 2.0, 3.0, 4.0], &[0.5; 4], &[3.0; 4], None)?;
/// assert_eq!(coverage.value(), Some(0.75));
/// # Ok::<(), recurrent::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    within: u64,
    count: u64,
}

impl Coverage {
    /// Of nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds numbers and the two ends of their bands, where the mask leaves them; all of one length. A band whose lower
    /// end is above its upper one, as quantiles of a network may be, contains nothing.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of ends or of the mask than of targets, [`Error::Data`] for a number that
    /// counts and is not finite.
    pub fn add<T: Copy + Into<f64>, U: Copy + Into<f64>>(
        &mut self,
        targets: &[T],
        lower: &[U],
        upper: &[U],
        mask: Option<&[bool]>,
    ) -> Result<()> {
        check_len("lower", &[targets.len()], lower.len())?;
        check_len("upper", &[targets.len()], upper.len())?;
        let mut all = *self;
        for r in counted(mask, targets.len())? {
            let band = number("lower", lower, r)?..=number("upper", upper, r)?;
            all.count = more(all.count, 1)?;
            all.within += u64::from(band.contains(&number("targets", targets, r)?));
        }
        *self = all;
        Ok(())
    }

    /// Adds what another has counted.
    ///
    /// # Errors
    /// [`Error::Data`] for more than a u64 counts.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        self.count = more(self.count, other.count)?;
        self.within += other.within;
        Ok(())
    }

    /// Returns how many numbers were counted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Returns the share within the bands, `None` where nothing was counted.
    pub fn value(&self) -> Option<f64> {
        share(self.within as f64, self.count as f64)
    }
}
