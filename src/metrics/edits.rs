//! How far sequences are from others, in edits: the Levenshtein distance, and word and character error rates.
//!
//! The contract: two sequences of n and m take O(n·m) time and memory for the shorter of them; of all alignments with
//! the fewest edits always the same is counted.

use super::more;
use crate::allocate;
use crate::error::Result;

/// The fewest substitutions, deletions and insertions that make one sequence of the other (Levenshtein 1966), in O(n·m)
/// time and O(min(n, m)) memory.
///
/// ```
/// use recurrent::metrics::edit_distance;
/// assert_eq!(edit_distance(b"kitten", b"sitting")?, 3);
/// assert_eq!(edit_distance(&[0, 7, 3], &[])?, 3);
/// # Ok::<(), recurrent::Error>(())
/// ```
///
/// # Errors
/// [`Error::OutOfMemory`](crate::Error::OutOfMemory).
pub fn edit_distance<T: PartialEq>(reference: &[T], hypothesis: &[T]) -> Result<usize> {
    Ok(fewest(reference, hypothesis)?.edits)
}

/// Word or character error rate over many pairs: substitutions, deletions and insertions over the length of the
/// references, summed before they are divided, as jiwer does it.
///
/// ```
/// use recurrent::metrics::ErrorRate;
/// let (reference, hypothesis) = ("the cat sat down", "the cat sits");
/// let (mut words, mut characters) = (ErrorRate::new(), ErrorRate::new());
/// words.add(reference.split_whitespace(), hypothesis.split_whitespace())?;
/// characters.add(reference.chars(), hypothesis.chars())?; // spaces too; jiwer trims both ends first
/// assert_eq!(words.value(), Some(0.5)); // one word is another, one is missing
/// assert_eq!((words.hits(), words.substitutions(), words.deletions(), words.insertions()), (2, 1, 1, 0));
/// # assert_eq!(characters.value(), Some(6.0 / 16.0));
/// # Ok::<(), recurrent::Error>(())
/// ```
///
/// Several alignments may have the fewest edits: one has two substitutions where another has a deletion, a hit and an
/// insertion. The rate is the same. Counted is the one that jiwer 4 finds in sequences of up to a thousand; of longer
/// ones it may find another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ErrorRate {
    hits: u64,
    substitutions: u64,
    deletions: u64,
    insertions: u64,
}

impl ErrorRate {
    /// Of nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the edits that make the hypothesis of the reference, in O(n·m) time and memory for both. A reference may be
    /// empty: all of the hypothesis is insertions then.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub fn add<T: PartialEq>(
        &mut self,
        reference: impl IntoIterator<Item = T>,
        hypothesis: impl IntoIterator<Item = T>,
    ) -> Result<()> {
        let (reference, hypothesis): (Vec<T>, Vec<T>) =
            (reference.into_iter().collect(), hypothesis.into_iter().collect());
        let Cell { edits, substitutions } = fewest(&reference, &hypothesis)?;
        // Of what is no substitution, deletions are as many more than insertions as the reference is longer.
        let deletions = (edits - substitutions + reference.len() - hypothesis.len()) / 2;
        let insertions = edits - substitutions - deletions;
        self.merge(&ErrorRate {
            hits: (reference.len() - substitutions - deletions) as u64,
            substitutions: substitutions as u64,
            deletions: deletions as u64,
            insertions: insertions as u64,
        })
    }

    /// Adds what another has counted.
    ///
    /// # Errors
    /// [`Error::Data`](crate::Error::Data) for more than a u64 counts.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        let all = ErrorRate {
            hits: more(self.hits, other.hits)?,
            substitutions: more(self.substitutions, other.substitutions)?,
            deletions: more(self.deletions, other.deletions)?,
            insertions: more(self.insertions, other.insertions)?,
        };
        *self = all;
        Ok(())
    }

    /// Returns how many elements of references the hypotheses have.
    pub fn hits(&self) -> u64 {
        self.hits
    }

    /// Returns how many have another in their place.
    pub fn substitutions(&self) -> u64 {
        self.substitutions
    }

    /// Returns how many are missing.
    pub fn deletions(&self) -> u64 {
        self.deletions
    }

    /// Returns how many elements of hypotheses the references lack.
    pub fn insertions(&self) -> u64 {
        self.insertions
    }

    /// Returns the edits over the length of all references, which is past 1 where there are many insertions; `None`
    /// where the references are empty, whatever was inserted.
    pub fn value(&self) -> Option<f64> {
        let edits = self.substitutions as f64 + self.deletions as f64 + self.insertions as f64;
        super::share(edits, self.hits as f64 + self.substitutions as f64 + self.deletions as f64)
    }
}

/// The best way to make one prefix of another: how many edits, and how many of them are substitutions.
#[derive(Clone, Copy, Default)]
struct Cell {
    edits: usize,
    substitutions: usize,
}

fn fewest<T: PartialEq>(reference: &[T], hypothesis: &[T]) -> Result<Cell> {
    // What is equal at both ends is left as it is.
    let first = reference.iter().zip(hypothesis).take_while(|(r, h)| r == h).count();
    let (reference, hypothesis) = (&reference[first..], &hypothesis[first..]);
    let last = reference.iter().rev().zip(hypothesis.iter().rev()).take_while(|(r, h)| r == h).count();
    let (reference, hypothesis) = (&reference[..reference.len() - last], &hypothesis[..hypothesis.len() - last]);

    let is_turned = reference.len() < hypothesis.len();
    let (longer, shorter) = if is_turned { (hypothesis, reference) } else { (reference, hypothesis) };
    // Of a prefix of the longer, against all prefixes of the shorter.
    let mut row: Vec<Cell> = allocate::zeros(shorter.len() + 1, "counting edits")?;
    (0..).zip(&mut row).for_each(|(edits, cell)| cell.edits = edits);
    for (i, own) in (1..).zip(longer) {
        let mut diagonal = std::mem::replace(&mut row[0], Cell { edits: i, substitutions: 0 });
        for (j, other) in (1..).zip(shorter) {
            let (above, left) = (row[j], row[j - 1]);
            let (deleted, inserted) = if is_turned { (left, above) } else { (above, left) };
            let kept = Cell {
                edits: diagonal.edits + usize::from(own != other),
                substitutions: diagonal.substitutions + usize::from(own != other),
            };
            let edits = kept.edits.min(deleted.edits + 1).min(inserted.edits + 1);
            // Of equally good ways that of jiwer: a deletion comes last if it may, else an insertion where that is
            // better than any substitution can be.
            let Cell { substitutions, .. } = if deleted.edits < edits {
                deleted
            } else if inserted.edits < diagonal.edits {
                inserted
            } else {
                kept
            };
            diagonal = std::mem::replace(&mut row[j], Cell { edits, substitutions });
        }
    }
    Ok(row[shorter.len()])
}
