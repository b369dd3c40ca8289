//! One class of several: the confusion matrix with what follows from it, and the accuracy among the k likeliest.
//!
//! The contract: every row that counts counts once, in exact integers, so that no order of batches changes a result.

use std::fmt;

use super::{check_same, class, counted, f1, mean, more, number, share};
use crate::allocate;
use crate::data::check_len;
use crate::error::{Error, Result};

/// How often each of K classes was taken for each: K² counts of 8 bytes, however much is added.
///
/// Precision is the share of what was predicted to be of a class that is, recall the share of what is of a class that
/// was predicted to be, and F1 their harmonic mean, as scikit-learn's `precision_recall_fscore_support` has them.
/// Printed it is a table: a row for each class that a target is, a column for each that was predicted.
///
/// ```
/// use recurrent::metrics::ConfusionMatrix;
/// let mut confusion = ConfusionMatrix::new(3)?.with_names(["noun", "verb", "other"])?;
/// confusion.add(&[0, 0, 1, 2], &[0, 1, 1, 1], None)?;
/// // Of logits or probabilities `[R, O]`; the second row does not count.
/// confusion.add_outputs(&[2, 0], &[0.1, 0.2, 0.9, f32::NAN, 0.0, 0.0], Some(&[true, false]))?;
/// assert_eq!(confusion.counts(), [1, 1, 0, 0, 1, 0, 0, 1, 1]);
/// assert_eq!(confusion.accuracy(), Some(0.6));
/// assert_eq!(confusion.recall(), [Some(0.5), Some(1.0), Some(0.5)]);
/// assert_eq!(confusion.to_string().lines().nth(1), Some("     noun     1     1     ·"));
/// # Ok::<(), recurrent::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfusionMatrix {
    names: Vec<String>,
    counts: Vec<u64>,
    count: u64,
}

impl ConfusionMatrix {
    /// Of so many classes, which are called by their ids.
    ///
    /// # Errors
    /// [`Error::Config`] for no classes, [`Error::OutOfMemory`] for more than the host has memory for.
    pub fn new(classes: usize) -> Result<Self> {
        check_classes(classes)?;
        let counts = allocate::zeros(classes.saturating_mul(classes), "making a confusion matrix")?;
        Ok(ConfusionMatrix { names: (0..classes).map(|class| class.to_string()).collect(), counts, count: 0 })
    }

    /// The same, of classes with these names.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of names than there are classes.
    pub fn with_names(self, names: impl IntoIterator<Item = impl Into<String>>) -> Result<Self> {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        check_len("names", &[self.names.len()], names.len())?;
        Ok(ConfusionMatrix { names, ..self })
    }

    /// Counts rows by the ids of their class and of the predicted one, `[R]` each, where the mask `[R]` leaves them.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of predictions or of the mask than of targets, [`Error::Data`] for an id of
    /// no class in a row that counts.
    pub fn add(&mut self, targets: &[u32], predicted: &[u32], mask: Option<&[bool]>) -> Result<()> {
        check_len("predicted", &[targets.len()], predicted.len())?;
        let (rows, classes) = (counted(mask, targets.len())?, self.names.len());
        for r in rows.clone() {
            class("targets", targets, r, classes)?;
            class("predicted", predicted, r, classes)?;
        }
        self.count = more(self.count, rows.clone().count() as u64)?;
        rows.for_each(|r| self.counts[targets[r] as usize * classes + predicted[r] as usize] += 1);
        Ok(())
    }

    /// Counts rows of outputs `[R, O]`, of K outputs each: predicted is the class of the largest, of equal ones that of
    /// the smallest id, as [`sample`](crate::sample) chooses at temperature 0.
    ///
    /// # Errors
    /// [`Error::Shape`] for outputs or a mask of other lengths, [`Error::Data`] for an id of no class or a number that
    /// is not finite, in a row that counts.
    pub fn add_outputs<T: Copy + Into<f64>>(
        &mut self,
        targets: &[u32],
        outputs: &[T],
        mask: Option<&[bool]>,
    ) -> Result<()> {
        let classes = self.names.len();
        check_len("outputs", &[targets.len(), classes], outputs.len())?;
        let mut predicted = vec![0; targets.len()];
        for r in counted(mask, targets.len())? {
            let mut largest = f64::NEG_INFINITY;
            for (id, at) in (0..).zip(r * classes..(r + 1) * classes) {
                let output = number("outputs", outputs, at)?;
                if output > largest {
                    (largest, predicted[r]) = (output, id);
                }
            }
        }
        self.add(targets, &predicted, mask)
    }

    /// Adds what another matrix of the same classes has counted.
    ///
    /// # Errors
    /// [`Error::Data`] for other classes, or other names.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        check_same("number of classes", &self.names.len(), &other.names.len())?;
        for (class, (own, other)) in self.names.iter().zip(&other.names).enumerate() {
            check_same(&format!("class {class}"), own, other)?;
        }
        self.count = more(self.count, other.count)?;
        self.counts.iter_mut().zip(&other.counts).for_each(|(own, other)| *own += other);
        Ok(())
    }

    /// Returns what the classes are called, `[K]`.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Returns the counts `[K, K]`: a row for each class that a target is, a column for each that was predicted.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// Returns how many rows were counted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Returns the share that was predicted rightly, which is F1 averaged micro as well: of one class a row, what is
    /// falsely found of one class is missed of another. `None` where nothing was counted.
    pub fn accuracy(&self) -> Option<f64> {
        share((0..self.names.len()).map(|class| self.right(class)).sum(), self.count as f64)
    }

    /// Returns the precision of each class, `None` where it was never predicted.
    pub fn precision(&self) -> Vec<Option<f64>> {
        (0..self.names.len()).map(|class| share(self.right(class), self.predicted(class))).collect()
    }

    /// Returns the recall of each class, `None` where no target is of it.
    pub fn recall(&self) -> Vec<Option<f64>> {
        (0..self.names.len()).map(|class| share(self.right(class), self.there(class))).collect()
    }

    /// Returns the F1 of each class, `None` where no target is of it and it was never predicted.
    pub fn f1(&self) -> Vec<Option<f64>> {
        let of = |class| f1(self.right(class), self.predicted(class), self.there(class));
        (0..self.names.len()).map(of).collect()
    }

    /// Returns F1 averaged macro: its mean over the classes that have one, all weighing the same.
    pub fn f1_macro(&self) -> Option<f64> {
        mean(self.f1())
    }

    fn right(&self, class: usize) -> f64 {
        self.counts[class * self.names.len() + class] as f64
    }

    fn predicted(&self, class: usize) -> f64 {
        self.counts.iter().skip(class).step_by(self.names.len()).sum::<u64>() as f64
    }

    fn there(&self, class: usize) -> f64 {
        let classes = self.names.len();
        self.counts[class * classes..(class + 1) * classes].iter().sum::<u64>() as f64
    }
}

impl fmt::Display for ConfusionMatrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let largest = self.counts.iter().max().map_or(0, |count| count.to_string().len());
        // Names and counts of four characters have room in any case.
        let longest = self.names.iter().map(|name| name.chars().count()).fold(largest.max(4), usize::max);
        let (width, first) = (longest + 1, 9.max(longest));
        write!(f, "{:>first$}", "is \\ said")?;
        self.names.iter().try_for_each(|name| write!(f, "{name:>width$}"))?;
        for (name, row) in self.names.iter().zip(self.counts.chunks(self.names.len())) {
            write!(f, "\n{name:>first$}")?;
            for count in row {
                if *count == 0 { write!(f, "{:>width$}", "·")? } else { write!(f, "{count:>width$}")? }
            }
        }
        Ok(())
    }
}

/// How often the class of a row is among the k that a network gives most to.
///
/// Of equal outputs the class of the larger id comes first, as in scikit-learn's `top_k_accuracy_score` of three
/// classes or more; so with ties and k 1 it may differ from [`ConfusionMatrix::accuracy`].
///
/// ```
/// use recurrent::metrics::TopKAccuracy;
/// let mut top = TopKAccuracy::new(2, 3)?;
/// top.add(&[0, 1], &[0.2, 0.3, 0.5, 0.1, 0.6, 0.3], None)?;
/// assert_eq!(top.value(), Some(0.5)); // class 0 is the third of the first row
/// # Ok::<(), recurrent::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopKAccuracy {
    k: usize,
    classes: usize,
    right: u64,
    count: u64,
}

impl TopKAccuracy {
    /// Among the k likeliest of so many classes.
    ///
    /// # Errors
    /// [`Error::Config`] for no classes, or a k that is not from 1 to their number.
    pub fn new(k: usize, classes: usize) -> Result<Self> {
        check_classes(classes)?;
        if !(1..=classes).contains(&k) {
            return Err(Error::Config(format!("k is {k}, expected 1 to the {classes} classes")));
        }
        Ok(TopKAccuracy { k, classes, right: 0, count: 0 })
    }

    /// Counts rows by the ids of their class `[R]` and outputs `[R, O]`, logits or probabilities of the K classes,
    /// where the mask `[R]` leaves them. Time is O(R·O).
    ///
    /// # Errors
    /// [`Error::Shape`] for outputs or a mask of other lengths, [`Error::Data`] for an id of no class or a number that
    /// is not finite, in a row that counts.
    pub fn add<T: Copy + Into<f64>>(&mut self, targets: &[u32], outputs: &[T], mask: Option<&[bool]>) -> Result<()> {
        check_len("outputs", &[targets.len(), self.classes], outputs.len())?;
        let rows = counted(mask, targets.len())?;
        let mut right = 0;
        for r in rows.clone() {
            let (first, target) = (r * self.classes, class("targets", targets, r, self.classes)?);
            let own = number("outputs", outputs, first + target)?;
            let mut before = 0;
            for id in 0..self.classes {
                let output = number("outputs", outputs, first + id)?;
                before += usize::from(output > own || output == own && id > target);
            }
            right += u64::from(before < self.k);
        }
        self.count = more(self.count, rows.count() as u64)?;
        self.right += right;
        Ok(())
    }

    /// Adds what another of the same k and classes has counted.
    ///
    /// # Errors
    /// [`Error::Data`] for another k or another number of classes.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        check_same("k", &self.k, &other.k)?;
        check_same("number of classes", &self.classes, &other.classes)?;
        self.count = more(self.count, other.count)?;
        self.right += other.right;
        Ok(())
    }

    /// Returns how many rows were counted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Returns the share of rows whose class is among the k likeliest, `None` where nothing was counted.
    pub fn value(&self) -> Option<f64> {
        share(self.right as f64, self.count as f64)
    }
}

fn check_classes(classes: usize) -> Result<()> {
    if classes > 0 {
        return Ok(());
    }
    Err(Error::Config("the number of classes is 0, expected at least 1".to_owned()))
}
