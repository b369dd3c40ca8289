//! What is so or is not: how well scores tell the two apart, and F1 of several labels at once.
//!
//! The contract: no order of batches changes a result; equal scores are equal, on whichever side they are.

use super::{check_same, counted, f1, mean, more, number, share};
use crate::data::check_len;
use crate::error::{Error, Result};

/// The area under the receiver operating characteristic: how likely it is that a positive row, chosen at random, has a
/// higher score than a negative one, equal scores counting one half (Hanley & McNeil 1982; Fawcett 2006).
///
/// It is exact, as scikit-learn's `roc_auc_score`, and so keeps every score that counts: 8 bytes a row, and as many
/// once more while [`value`](Auroc::value) sorts them.
///
/// ```
/// use recurrent::metrics::Auroc;
/// let mut auroc = Auroc::new();
/// auroc.add(&[true, false, true, false], &[0.9, 0.3, 0.6, 0.6], None)?;
/// assert_eq!(auroc.value(), Some(0.875)); // three pairs of four are in order, and one is a tie
/// # Ok::<(), recurrent::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Auroc {
    positive: Vec<f64>,
    negative: Vec<f64>,
}

impl Auroc {
    /// Of nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Keeps the scores `[R]` of rows that are positive or not, where the mask `[R]` leaves them: a logit does as well
    /// as a probability, as the order alone counts.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of scores or of the mask than of targets, [`Error::Data`] for a score that
    /// is not finite in a row that counts, [`Error::OutOfMemory`].
    pub fn add<T: Copy + Into<f64>>(&mut self, targets: &[bool], scores: &[T], mask: Option<&[bool]>) -> Result<()> {
        check_len("scores", &[targets.len()], scores.len())?;
        let rows = counted(mask, targets.len())?;
        for r in rows.clone() {
            number("scores", scores, r)?;
        }
        let positive = rows.clone().filter(|r| targets[*r]).count();
        reserve(&mut self.positive, positive)?;
        reserve(&mut self.negative, rows.clone().count() - positive)?;
        for r in rows {
            // Of two zeros neither is the larger.
            let score = scores[r].into() + 0.0;
            if targets[r] { self.positive.push(score) } else { self.negative.push(score) }
        }
        Ok(())
    }

    /// Adds the scores that another has kept.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        reserve(&mut self.positive, other.positive.len())?;
        reserve(&mut self.negative, other.negative.len())?;
        self.positive.extend(&other.positive);
        self.negative.extend(&other.negative);
        Ok(())
    }

    /// Returns how many rows were counted.
    pub fn count(&self) -> u64 {
        self.positive.len() as u64 + self.negative.len() as u64
    }

    /// Returns the area, from 0 to 1, in time O(n·log n); `None` unless some rows are positive and some are not.
    pub fn value(&self) -> Option<f64> {
        let mut sorted = self.negative.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        // Twice the number of pairs in order, which is whole: a tie is half of one.
        let pairs = |score: &f64| {
            let (below, up_to) = (sorted.partition_point(|s| s < score), sorted.partition_point(|s| s <= score));
            below as u128 + up_to as u128
        };
        let twice: u128 = self.positive.iter().map(pairs).sum();
        share(twice as f64, 2.0 * self.positive.len() as f64 * self.negative.len() as f64)
    }
}

fn reserve(values: &mut Vec<f64>, more: usize) -> Result<()> {
    let kept = values.len();
    values.try_reserve(more).map_err(|_| Error::OutOfMemory(format!("keeping scores ({more} more than {kept})")))
}

/// F1 of labels of which a row may have several, or none.
///
/// A label is predicted where its output is above a threshold: 0 for logits, 0.5 for probabilities, unless a validation
/// set says otherwise. As scikit-learn's `f1_score` has it of such rows, with `zero_division` NaN: a label that no row
/// has and none is predicted to have has no F1 and no part in the mean.
///
/// ```
/// use recurrent::metrics::MultiLabelF1;
/// let mut f1 = MultiLabelF1::new(3, 0.0)?;
/// // Two rows of three labels each, and their logits.
/// f1.add(&[true, false, false, true, true, false], &[1.5, 0.5, -2.0, -1.0, 3.0, -0.5], None)?;
/// assert_eq!(f1.f1(), [Some(2.0 / 3.0), Some(2.0 / 3.0), None]);
/// assert_eq!((f1.f1_micro(), f1.f1_macro()), (Some(2.0 / 3.0), Some(2.0 / 3.0)));
/// # Ok::<(), recurrent::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct MultiLabelF1 {
    threshold: f64,
    labels: Vec<Found>,
    count: u64,
}

/// Of one label: what was found rightly, what was found, and what there was to find.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Found {
    right: u64,
    found: u64,
    there: u64,
}

impl MultiLabelF1 {
    /// Of so many labels, predicted where an output is above the threshold.
    ///
    /// # Errors
    /// [`Error::Config`] for no labels or a threshold that is not finite.
    pub fn new(labels: usize, threshold: f64) -> Result<Self> {
        if labels == 0 {
            return Err(Error::Config("the number of labels is 0, expected at least 1".to_owned()));
        }
        if !threshold.is_finite() {
            return Err(Error::Config(format!("the threshold is {threshold}, expected a finite number")));
        }
        let labels = crate::allocate::zeros(labels, "making counts of labels")?;
        Ok(MultiLabelF1 { threshold, labels, count: 0 })
    }

    /// Counts rows by the labels that they have and the outputs, `[R, O]` each, where the mask `[R]` leaves them.
    ///
    /// # Errors
    /// [`Error::Shape`] for targets that are no whole number of rows, or outputs or a mask of other lengths;
    /// [`Error::Data`] for an output that is not finite in a row that counts.
    pub fn add<T: Copy + Into<f64>>(&mut self, targets: &[bool], outputs: &[T], mask: Option<&[bool]>) -> Result<()> {
        let labels = self.labels.len();
        check_len("targets", &[targets.len() / labels, labels], targets.len())?;
        check_len("outputs", &[targets.len() / labels, labels], outputs.len())?;
        let rows = counted(mask, targets.len() / labels)?;
        for at in rows.clone().flat_map(|r| r * labels..(r + 1) * labels) {
            number("outputs", outputs, at)?;
        }
        self.count = more(self.count, rows.clone().count() as u64)?;
        for r in rows {
            for (label, at) in self.labels.iter_mut().zip(r * labels..) {
                let (is, said) = (targets[at], outputs[at].into() > self.threshold);
                label.right += u64::from(is && said);
                label.found += u64::from(said);
                label.there += u64::from(is);
            }
        }
        Ok(())
    }

    /// Adds what another of the same labels and threshold has counted.
    ///
    /// # Errors
    /// [`Error::Data`] for another number of labels or another threshold.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        check_same("number of labels", &self.labels.len(), &other.labels.len())?;
        check_same("threshold", &self.threshold, &other.threshold)?;
        self.count = more(self.count, other.count)?;
        for (own, other) in self.labels.iter_mut().zip(&other.labels) {
            own.right += other.right;
            own.found += other.found;
            own.there += other.there;
        }
        Ok(())
    }

    /// Returns how many rows were counted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Returns the F1 of each label, `None` where no row has it and none is predicted to.
    pub fn f1(&self) -> Vec<Option<f64>> {
        let of = |label: &Found| f1(label.right as f64, label.found as f64, label.there as f64);
        self.labels.iter().map(of).collect()
    }

    /// Returns F1 averaged micro: of all labels of all rows together.
    pub fn f1_micro(&self) -> Option<f64> {
        let sum = |of: fn(&Found) -> u64| self.labels.iter().map(|label| of(label) as f64).sum::<f64>();
        f1(sum(|label| label.right), sum(|label| label.found), sum(|label| label.there))
    }

    /// Returns F1 averaged macro: its mean over the labels that have one, all weighing the same.
    pub fn f1_macro(&self) -> Option<f64> {
        mean(self.f1())
    }
}
