//! A series cut in time for forecasting: to learn from, to stop by, to test on.
//!
//! The contract: parts follow each other, and what a part is asked for lies in that part alone. Its windows may reach
//! back into earlier parts, as a forecaster knows its past; nothing of a later part is ever in an earlier one.

use std::ops::Range;

use crate::error::{Error, Result};

/// Windows of a series of one feature with what follows them: f64 as it was read, or the f32 that it was scaled to.
/// Where there are several, take the places from [`Series::origins`] and the rows from your own table.
///
/// ```
/// use recurrent::data::{Split, Series};
///
/// let series = Series::new((0..100).map(f64::from).collect(), 6, 2, [0.15, 0.15])?;
/// assert_eq!(series.values(Split::Train).len(), 70); // what scalers may be fitted on
/// let first = series.origins(Split::Test).start;
/// assert_eq!(series.past(first), [79.0, 80.0, 81.0, 82.0, 83.0, 84.0]);
/// assert_eq!(series.future(first), [85.0, 86.0]);
/// # Ok::<(), recurrent::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Series<T> {
    values: Vec<T>,
    window: usize,
    horizon: usize,
    /// Where validation and test begin.
    starts: [usize; 2],
}

/// A part of a [`Series`].
///
/// ```
/// use recurrent::data::{Series, Split};
/// let series = Series::new((0..100).map(f64::from).collect(), 10, 1, [0.15, 0.15])?; // 70, 15 and 15 values
/// assert!(series.origins(Split::Train).len() > series.origins(Split::Test).len());
/// # Ok::<(), recurrent::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Split {
    /// What is learned.
    Train,
    /// What tells when to stop.
    Validation,
    /// What tells how good it is.
    Test,
}

impl<T: Copy + Into<f64>> Series<T> {
    /// Cuts a series in time: training first, then the validation part, then the test part, which are
    /// `[validation, test]` of the whole; what is left is training.
    ///
    /// # Errors
    /// [`Error::Config`] for an empty window or horizon or parts that leave nothing to learn from, [`Error::Data`] for
    /// a number that is not finite or a series of which a part has no window.
    pub fn new(values: Vec<T>, window: usize, horizon: usize, validation_and_test: [f64; 2]) -> Result<Self> {
        for (what, size) in [("window", window), ("horizon", horizon)] {
            if size == 0 {
                return Err(Error::Config(format!("the {what} is 0, expected at least 1")));
            }
        }
        let [validation, test] = validation_and_test;
        if !(validation > 0.0 && test > 0.0 && validation + test < 1.0) {
            return Err(Error::Config(format!(
                "validation and test are {validation} and {test} of the series, expected two numbers above 0 that \
                leave some for training"
            )));
        }
        if let Some(at) = values.iter().position(|x| !(*x).into().is_finite()) {
            return Err(Error::Data(format!("values[{at}] is {}, expected a finite number", values[at].into())));
        }
        let len = values.len();
        let part = |share: f64| (len as f64 * share).floor() as usize;
        let starts = [len - part(test) - part(validation), len - part(test)];
        let series = Series { values, window, horizon, starts };
        for part in [Split::Train, Split::Validation, Split::Test] {
            if series.origins(part).is_empty() {
                let name = match part {
                    Split::Train => "training",
                    Split::Validation => "validation",
                    Split::Test => "test",
                };
                return Err(Error::Data(format!(
                    "{len} values are too few: the {name} part has {} of them, but a window of {window} and a horizon \
                    of {horizon} leave it no place for a forecast",
                    series.values(part).len()
                )));
            }
        }
        Ok(series)
    }

    /// The values of a part.
    pub fn values(&self, part: Split) -> &[T] {
        &self.values[self.range(part)]
    }

    /// Returns the indices of the first value to forecast, of each forecast of a part: [`Series::past`] is what comes
    /// before it, [`Series::future`] begins with it.
    pub fn origins(&self, part: Split) -> Range<usize> {
        let Range { start, end } = self.range(part);
        let start = start.max(self.window);
        start..(end + 1).saturating_sub(self.horizon).max(start)
    }

    /// Returns `[window]`: the last values, to forecast what follows the series.
    pub fn last(&self) -> &[T] {
        self.past(self.values.len())
    }

    /// Returns `[window]`: the values before a place.
    ///
    /// # Panics
    /// Where fewer than `window` values come before `origin`, or where it is past the end of the series.
    pub fn past(&self, origin: usize) -> &[T] {
        &self.values[origin - self.window..origin]
    }

    /// `[horizon]`: the values from a place on.
    ///
    /// # Panics
    /// Same as [`Series::past`].
    pub fn future(&self, origin: usize) -> &[T] {
        &self.values[origin..origin + self.horizon]
    }

    fn range(&self, part: Split) -> Range<usize> {
        let [validation, test] = self.starts;
        match part {
            Split::Train => 0..validation,
            Split::Validation => validation..test,
            Split::Test => test..self.values.len(),
        }
    }
}
