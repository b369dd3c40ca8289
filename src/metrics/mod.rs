//! What is measured of a trained network beside its loss: of classifications, of forecasts and of language.
//!
//! An accumulator takes batch after batch by `add`, and says at any time what it has measured. A mask says which rows
//! of a call count, as [`Batch::counted`](crate::Batch::counted) returns it; what does not count may be anything, a NaN
//! or an id of no class. What several threads or parts have measured is put together by `merge`.
//!
//! The contract: counts are exact and sums are f64; a call that is refused leaves the accumulator as it was; where
//! nothing was counted, or what was counted does not say, the result is `None` and never NaN. All of it runs on the
//! CPU, over what a [`Predictor`](crate::Predictor) returned.
//!
//! ```
//! use recurrent::metrics::ConfusionMatrix;
//! use recurrent::{Batch, BatchShape, Config, Device, InputKind, Model, Predictor, Targets};
//! let model = Model::new(Config::gru(InputKind::Tokens(4), 8, 3))?;
//! let shape = BatchShape { steps: 3, batch_size: 2 };
//! let batch = Batch::tokens(shape, vec![0, 3, 1, 2, 2, 0], vec![1, 0, 2, 1, 1, 0]).with_lengths(vec![3, 2]);
//!
//! let mut confusion = ConfusionMatrix::new(3)?;
//! let outputs = Predictor::new(&Device::cpu(), &model)?.run(&batch.sequences)?.outputs;
//! if let Targets::Classes(targets) = &batch.targets {
//!     confusion.add_outputs(targets, &outputs, Some(&batch.counted(model.config())))?;
//! }
//! assert_eq!(confusion.count(), 5); // the last step of the second sequence is padding
//! println!("{confusion}\naccuracy {:.3}", confusion.accuracy().unwrap());
//! # Ok::<(), recurrent::Error>(())
//! ```

mod binary;
mod classification;
mod edits;
mod language;
mod quantiles;
mod regression;

pub use binary::{Auroc, MultiLabelF1};
pub use classification::{ConfusionMatrix, TopKAccuracy};
pub use edits::{ErrorRate, edit_distance};
pub use language::Perplexity;
pub use quantiles::{Coverage, PinballLoss};
pub use regression::{Mase, RegressionErrors};

use crate::data::check_len;
use crate::error::{Error, Result};

/// The rows of a call that count, in order.
fn counted(mask: Option<&[bool]>, rows: usize) -> Result<impl Iterator<Item = usize> + Clone> {
    mask.map_or(Ok(()), |mask| check_len("mask", &[rows], mask.len()))?;
    Ok((0..rows).filter(move |r| mask.is_none_or(|mask| mask[*r])))
}

/// Element `at` of an argument, a number.
fn number<T: Copy + Into<f64>>(argument: &str, values: &[T], at: usize) -> Result<f64> {
    let value = values[at].into();
    if value.is_finite() {
        return Ok(value);
    }
    Err(Error::Data(format!("{argument}[{at}] is {value}, expected a finite number")))
}

/// Element `at` of an argument, the id of one of so many classes.
fn class(argument: &str, ids: &[u32], at: usize, classes: usize) -> Result<usize> {
    let id = ids[at] as usize;
    if id < classes {
        return Ok(id);
    }
    Err(Error::Data(format!("{argument}[{at}] is id {id}, but there are {classes} classes, counted from 0")))
}

/// A count and what is added to it.
fn more(count: u64, added: u64) -> Result<u64> {
    let sum = count.checked_add(added);
    sum.ok_or_else(|| Error::Data(format!("{count} are counted already and {added} more are past what a u64 holds")))
}

/// A sum of `what`, if it has one.
fn sum(what: &str, value: f64) -> Result<f64> {
    if value.is_finite() {
        return Ok(value);
    }
    Err(Error::Data(format!("the sum of {what} is {value}, expected one that f64 holds")))
}

/// Whether two accumulators measure the same.
fn check_same<T: PartialEq + std::fmt::Debug>(what: &str, own: &T, other: &T) -> Result<()> {
    if own == other {
        return Ok(());
    }
    Err(Error::Data(format!("the other accumulator's {what} is {other:?}, expected {own:?} as here")))
}

/// A part of a whole, where there is any.
fn share(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}

/// The mean of what is there.
fn mean(values: impl IntoIterator<Item = Option<f64>>) -> Option<f64> {
    let (sum, count) = values.into_iter().flatten().fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    share(sum, count)
}

/// F1, 2·TP / (2·TP + FP + FN), of what was found rightly, found in all, and there was to find.
fn f1(right: f64, found: f64, there: f64) -> Option<f64> {
    share(2.0 * right, found + there)
}
