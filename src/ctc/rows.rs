//! The outputs of one sequence: taken out of a batch's, checked, normalised, and read greedily.
//!
//! The contract: whatever else decodes goes through [`LogRows`], which refuses what is no matrix of finite numbers with
//! a blank.

use crate::data::check_len;
use crate::error::{Error, Result};
use crate::model::BatchShape;

/// `[T, O]` logarithms of the probabilities of one sequence's outputs.
pub(super) struct LogRows {
    values: Vec<f64>,
    pub outputs: usize,
    pub blank: u32,
}

impl LogRows {
    /// Those of `[T, O]` logits.
    pub fn new(logits: &[f32], outputs: usize, blank: u32) -> Result<Self> {
        check(logits, outputs, blank)?;
        let mut values = Vec::with_capacity(logits.len());
        for row in logits.chunks_exact(outputs) {
            let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let below = |y: &f32| f64::from(*y) - f64::from(top);
            let total = row.iter().map(|y| below(y).exp()).sum::<f64>().ln();
            values.extend(row.iter().map(|y| below(y) - total));
        }
        Ok(LogRows { values, outputs, blank })
    }

    /// Of each step its O numbers.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f64]> {
        self.values.chunks_exact(self.outputs)
    }
}

/// Checks that logits are `[T, O]` finite numbers, one of which a step is the blank's.
fn check(logits: &[f32], outputs: usize, blank: u32) -> Result<()> {
    if blank as usize >= outputs {
        return Err(Error::Data(format!("the blank is output {blank}, but there are {outputs}, counted from 0")));
    }
    if !logits.len().is_multiple_of(outputs) {
        return Err(Error::Data(format!(
            "there are {} logits, expected a multiple of the {outputs} outputs of a step",
            logits.len()
        )));
    }
    match logits.iter().position(|y| !y.is_finite()) {
        Some(at) => Err(Error::Data(format!("logits[{at}] is {}, expected a finite number", logits[at]))),
        None => Ok(()),
    }
}

/// Returns the `[T, O]` outputs of one sequence of a batch's `[T, B, O]`: `(b, length)` says which, and how many of its
/// steps are valid.
///
/// ```
/// use recurrent::{BatchShape, ctc};
/// // Two steps of two sequences of one output.
/// let shape = BatchShape { steps: 2, batch_size: 2 };
/// assert_eq!(ctc::rows_of(&[0.0, 1.0, 2.0, 3.0], shape, 1, (1, 2))?, [1.0, 3.0]);
/// # Ok::<(), recurrent::Error>(())
/// ```
///
/// # Errors
/// [`Error::Shape`] for another number of outputs than of that shape, [`Error::Data`] for a sequence that the batch
/// does not have, or more steps of one.
pub fn rows_of(
    outputs: &[f32],
    BatchShape { steps, batch_size }: BatchShape,
    width: usize,
    (b, length): (usize, usize),
) -> Result<Vec<f32>> {
    check_len("outputs", &[steps, batch_size, width], outputs.len())?;
    if b >= batch_size || length > steps {
        return Err(Error::Data(format!(
            "{length} steps of sequence {b} are asked for, but there are {steps} of {batch_size} sequences, counted \
             from 0"
        )));
    }
    Ok((0..length).flat_map(|t| &outputs[(t * batch_size + b) * width..][..width]).copied().collect())
}

/// Returns the labels that the likeliest output of each step says, of `[T, O]` logits: equal ones side by side are one,
/// and blanks are left out. Of outputs that are equal the first is taken.
///
/// It is what [`prefix_beam`](super::prefix_beam) returns where every step is sure, and cheaper.
///
/// ```
/// use recurrent::ctc;
/// // Of two outputs the first is the blank: label, label, blank, label.
/// assert_eq!(ctc::greedy(&[0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0], 2, 0)?, [1, 1]);
/// # Ok::<(), recurrent::Error>(())
/// ```
///
/// # Errors
/// [`Error::Data`] for logits that are no whole number of steps or not finite, and for a blank that is no output.
pub fn greedy(logits: &[f32], outputs: usize, blank: u32) -> Result<Vec<u32>> {
    check(logits, outputs, blank)?;
    let mut labels = Vec::new();
    let mut before = blank;
    for row in logits.chunks_exact(outputs) {
        let best =
            (0..).zip(row).fold((blank, f32::NEG_INFINITY), |best, (id, y)| if *y > best.1 { (id, *y) } else { best });
        if best.0 != blank && best.0 != before {
            labels.push(best.0);
        }
        before = best.0;
    }
    Ok(labels)
}
