//! A series cut in time for forecasting: to learn from, to stop by, to test on.
//!
//! The contract: parts follow each other, and what a part is asked for lies in that part alone. Its windows may reach
//! back into earlier parts, as a forecaster knows its past; nothing of a later part is ever in an earlier one.

use std::ops::Range;

use crate::error::{Error, Result};

/// Windows of a series with what follows them: f64 as it was read, or the f32 that it was scaled to.
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
/// let series = Series::new((0..100).map(f64::from).collect(), 10, 1, [0.15, 0.15])?;
/// assert!(series.values(Split::Train).len() > series.values(Split::Test).len());
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
    /// A series of which the last `shares[1]` of 1 are the test part and the `shares[0]` before them the validation
    /// part.
    ///
    /// # Errors
    /// [`Error::Config`] for an empty window or horizon or shares that leave nothing to learn from, [`Error::Data`] for
    /// a number that is not finite or a series of which a part has no window.
    pub fn new(values: Vec<T>, window: usize, horizon: usize, shares: [f64; 2]) -> Result<Self> {
        for (what, size) in [("window", window), ("horizon", horizon)] {
            if size == 0 {
                return Err(Error::Config(format!("the {what} is 0, expected at least 1")));
            }
        }
        let [validation, test] = shares;
        if !(validation > 0.0 && test > 0.0 && validation + test < 1.0) {
            return Err(Error::Config(format!(
                "validation and test are {validation} and {test} of the series, expected two numbers above 0 that \
                leave some"
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
                    "{len} values are too few: the {name} part has {} of them, which hold no {horizon} that follow a \
                    window of {window}",
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

    /// The places at which a forecast of that part is made: of the first value that is not known.
    pub fn origins(&self, part: Split) -> Range<usize> {
        let Range { start, end } = self.range(part);
        let start = start.max(self.window);
        start..(end + 1).saturating_sub(self.horizon).max(start)
    }

    /// `[window]`: the values before a place.
    ///
    /// # Panics
    /// Where `origin` is of no part's [`Series::origins`].
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
