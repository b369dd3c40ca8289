//! Forced alignment: the likeliest path of those that say a known sequence of labels (Viterbi 1967).
//!
//! The contract: the path says exactly the labels; of equally likely paths the one that goes on later is taken.

use std::ops::Range;

use super::rows::LogRows;
use crate::error::{Error, Result};

/// Which step says which label.
///
/// ```
/// use recurrent::ctc;
/// // Three steps of two outputs, the first being the blank: label, label, blank.
/// let alignment = ctc::align(&[0.0, 2.0, 0.0, 1.0, 3.0, 0.0], 2, 0, &[1])?;
/// assert_eq!(alignment.steps, [Some(0), Some(0), None]);
/// assert_eq!(alignment.spans(), [0..2]);
/// # Ok::<(), recurrent::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Alignment {
    /// `[T]`: which of the labels, counted from 0, each step says; `None` where it says the blank.
    pub steps: Vec<Option<usize>>,
    /// The logarithm of the probability of this path.
    pub log_probability: f64,
}

impl Alignment {
    /// Returns the steps of each label, in their order.
    pub fn spans(&self) -> Vec<Range<usize>> {
        let mut spans: Vec<Range<usize>> = Vec::new();
        for (t, label) in self.steps.iter().enumerate() {
            match label {
                Some(label) if *label < spans.len() => spans[*label].end = t + 1,
                Some(_) => spans.push(t..t + 1),
                None => {}
            }
        }
        spans
    }
}

/// Returns the likeliest of the paths of `[T, O]` logits that say these labels.
///
/// ```
/// use recurrent::ctc;
/// // The step between two equal labels is a blank, however unlikely that is.
/// let alignment = ctc::align(&[0.0, 5.0, 0.0, 5.0, 0.0, 5.0], 2, 0, &[1, 1])?;
/// assert_eq!(alignment.steps, [Some(0), None, Some(1)]);
/// # Ok::<(), recurrent::Error>(())
/// ```
///
/// # Errors
/// [`Error::Data`] for logits that are no whole number of steps or not finite, for a blank that is no output, for a
/// label that is none or the blank, and for more labels than so many steps can say.
pub fn align(logits: &[f32], outputs: usize, blank: u32, labels: &[u32]) -> Result<Alignment> {
    let rows = LogRows::new(logits, outputs, blank)?;
    if let Some(at) = labels.iter().position(|id| *id as usize >= outputs || *id == blank) {
        return Err(Error::Data(format!(
            "labels[{at}] is id {}, expected one of the {outputs} outputs, counted from 0, but the blank {blank}",
            labels[at]
        )));
    }
    let steps = rows.rows().len();
    let needed = labels.len() + labels.windows(2).filter(|pair| pair[0] == pair[1]).count();
    if needed > steps {
        return Err(Error::Data(format!(
            "{} labels take {needed} steps, equal ones side by side having a blank between them, but there are {steps}",
            labels.len()
        )));
    }
    let states = 2 * labels.len() + 1;
    let symbol = |s: usize| if s.is_multiple_of(2) { blank } else { labels[s / 2] };
    // How many states back the best path to each state came from, step by step.
    let mut came = vec![0u8; steps * states];
    let mut best = vec![f64::NEG_INFINITY; states];
    let mut next = best.clone();
    for (t, row) in rows.rows().enumerate() {
        for (s, next) in next.iter_mut().enumerate() {
            let open = |back: usize| match back {
                0 => true,
                1 => s > 0,
                _ => s > 1 && s % 2 == 1 && symbol(s) != symbol(s - 2),
            };
            let from = |back: usize| match t {
                0 => {
                    if s < 2 && back == 0 {
                        0.0
                    } else {
                        f64::NEG_INFINITY
                    }
                }
                _ => {
                    if open(back) {
                        best[s - back]
                    } else {
                        f64::NEG_INFINITY
                    }
                }
            };
            let back = (1..3).fold(0, |best, back| if from(back) > from(best) { back } else { best });
            came[t * states + s] = back as u8;
            *next = from(back) + row[symbol(s) as usize];
        }
        std::mem::swap(&mut best, &mut next);
    }
    let mut state = states - 1;
    if states > 1 && best[states - 2] > best[states - 1] {
        state = states - 2;
    }
    // Of no steps the empty path is sure.
    let log_probability = if steps == 0 { 0.0 } else { best[state] };
    let mut path = vec![None; steps];
    for (t, step) in path.iter_mut().enumerate().rev() {
        *step = (state % 2 == 1).then_some(state / 2);
        state -= usize::from(came[t * states + state]);
    }
    Ok(Alignment { steps: path, log_probability })
}
