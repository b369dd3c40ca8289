//! A long sequence of ids as windows: for truncated back-propagation through time, and for evaluation.
//!
//! The contract: the sequence is cut into B contiguous tracks that are walked side by side, T steps a window, the state
//! carried from window to window; the target of every id is the id after it. Batches are time-major, `[T, B]`.

use super::{Batch, Start};
use crate::error::{Error, Result};
use crate::model::BatchShape;

/// A long sequence of ids, cut for training.
///
/// With n ids, a track is L = (n − 1) / B long and an epoch has L / T windows. Track b holds the ids from b·L on, and
/// window w of it those from b·L + w·T on. What is left at the end of a track (fewer than T ids) and of the sequence
/// (fewer than B) is not used.
///
/// ```
/// use recurrent::{BatchShape, data::Windows};
/// let windows = Windows::new((0..41).collect(), BatchShape { steps: 5, batch_size: 2 })?;
/// assert_eq!(windows.len(), 4); // two tracks of twenty tokens, five a window
/// for window in windows.iter() {
///     assert_eq!(window.sequences.steps, 5);
/// }
/// # Ok::<(), recurrent::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Windows {
    ids: Vec<u32>,
    steps: usize,
    batch: usize,
    track: usize,
}

impl Windows {
    /// Cuts `ids` into windows of T steps and B sequences.
    ///
    /// # Errors
    /// [`Error::Config`] for a size of zero, [`Error::Data`] for fewer than T·B + 1 ids.
    pub fn new(ids: Vec<u32>, shape: BatchShape) -> Result<Self> {
        shape.check()?;
        let BatchShape { steps, batch_size: batch } = shape;
        let needed = steps as u128 * batch as u128 + 1;
        if (ids.len() as u128) < needed {
            let given = ids.len();
            return Err(Error::Data(format!(
                "a window of {steps} steps and {batch} sequences needs at least {needed} ids, {given} given"
            )));
        }
        let track = (ids.len() - 1) / batch;
        Ok(Windows { ids, steps, batch, track })
    }

    /// The number of windows in an epoch.
    pub fn len(&self) -> usize {
        self.track / self.steps
    }

    /// Never: there is at least one window.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns a window of the epoch, or `None` past its end. Window 0 starts from the initial state, every other from
    /// what the one before left.
    pub fn get(&self, index: usize) -> Option<Batch> {
        (index < self.len()).then(|| window(&self.ids, self.track, self.steps, self.batch, index))
    }

    /// Returns the windows of an epoch in order. `iter().cycle()` is as many epochs as are wanted.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Batch> + Clone {
        (0..self.len()).map(|index| window(&self.ids, self.track, self.steps, self.batch, index))
    }
}

/// A long sequence of ids, cut for evaluation, into batches in which every target counts exactly once.
///
/// With n ids there are n − 1 targets and tracks of L = ⌈(n − 1) / B⌉; positions past the end of a track or of the
/// sequence hold id 0 and are masked.
///
/// ```
/// use recurrent::{BatchShape, data::HeldOutWindows};
/// let held_out = HeldOutWindows::new((0..10).collect(), BatchShape { steps: 4, batch_size: 2 })?;
/// let masks = held_out.iter().map(|batch| batch.loss_mask.unwrap_or(vec![true; 8]));
/// assert_eq!(masks.flatten().filter(|counts| *counts).count(), 9); // every token but the first is a target once
/// # Ok::<(), recurrent::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct HeldOutWindows {
    ids: Vec<u32>,
    steps: usize,
    batch: usize,
    track: usize,
}

impl HeldOutWindows {
    /// Cuts `ids` into at most B tracks, walked in windows of at most T steps.
    ///
    /// There are fewer tracks where some would be empty, and fewer steps where no track is that long.
    ///
    /// # Errors
    /// [`Error::Config`] for a size of zero, [`Error::Data`] for fewer than 2 ids.
    pub fn new(ids: Vec<u32>, shape: BatchShape) -> Result<Self> {
        shape.check()?;
        let BatchShape { steps, batch_size: batch } = shape;
        if ids.len() < 2 {
            let given = ids.len();
            return Err(Error::Data(format!(
                "an evaluation needs at least 2 ids, a token and its next: {given} given"
            )));
        }
        let targets = ids.len() - 1;
        let track = targets.div_ceil(batch);
        Ok(HeldOutWindows { ids, steps: steps.min(track), batch: targets.div_ceil(track), track })
    }

    /// The number of batches.
    pub fn len(&self) -> usize {
        self.track.div_ceil(self.steps)
    }

    /// Returns false: there is at least one batch.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the batches in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Batch> + Clone {
        (0..self.len()).map(|index| window(&self.ids, self.track, self.steps, self.batch, index))
    }
}

/// Window `index` over tracks of `track` ids; what lies past the end of a track or of the ids is masked.
fn window(ids: &[u32], track: usize, steps: usize, batch: usize, index: usize) -> Batch {
    let size = steps * batch;
    let (mut tokens, mut targets, mut mask) = (Vec::with_capacity(size), Vec::with_capacity(size), vec![true; size]);
    for t in 0..steps {
        let at = index * steps + t;
        for b in 0..batch {
            let pair = ids.get(b * track + at..).and_then(|rest| rest.first_chunk());
            let [token, target] = match pair {
                Some(&pair) if at < track => pair,
                _ => {
                    mask[t * batch + b] = false;
                    [0, 0]
                }
            };
            tokens.push(token);
            targets.push(target);
        }
    }
    let mask = mask.contains(&false).then_some(mask);
    let start = if index == 0 { Start::Initial } else { Start::Carry };
    Batch {
        loss_mask: mask,
        ..Batch::tokens(BatchShape { steps, batch_size: batch }, tokens, targets).with_start(start)
    }
}
