//! Shuffled batches of examples of equal or unequal length, in another order every epoch.
//!
//! The contract: an epoch holds every example exactly once; seed, epoch and examples settle every batch; and no choice
//! of as many padded lengths leaves less padding.

use std::ops::Range;

use rand::{SeedableRng, rngs::ChaCha12Rng, seq::SliceRandom};

use super::padded::{check_examples, check_padded, length};
use super::{Batch, Example};
use crate::error::Result;
use crate::model::{BatchShape, Config, check_size};

/// How many buckets there are unless [`Buckets::with_buckets`] says otherwise.
const BUCKETS: usize = 4;

/// Shuffled batches of examples, of one length or of many: they are sorted into a few buckets, and those of one bucket
/// are padded to its longest and shuffled.
///
/// A trainer keeps a plan, its memory and its compiled kernels for every size (T, B) that it meets, so lengths are not
/// padded to that of each batch but to that of the bucket: K buckets have K values of T. More buckets leave less
/// padding and take more memory, and more time at their first batches; with 4, lengths spread evenly from 1 up are 20 %
/// padding, with 8 they are 11 %, and without buckets 50 %. The lengths that buckets end at are those that leave the
/// least padding, so that a few long outliers have a bucket to themselves.
///
/// The n examples of a bucket make ⌈n / B⌉ batches whose sizes differ by at most one: no bucket ends in a small
/// remainder whose few examples would move the weights as far as a full batch, and there are at most two sizes a
/// bucket. [`Buckets::shapes`] lists them.
///
/// ```
/// use recurrent::data::{Buckets, Example};
/// use recurrent::{BatchShape, Config, InputKind, Pool};
///
/// // Is the sum of the digits odd?
/// let digits = [vec![3, 1, 4], vec![1, 5], vec![9, 2, 6, 5], vec![3]];
/// let examples = digits.map(|d| { let odd = d.iter().sum::<u32>() % 2; Example::tokens(d, vec![odd]) });
/// let config = Config::gru(InputKind::Tokens(10), 8, 2).pool(Pool::Last);
/// let buckets = Buckets::new(examples.to_vec(), 2, &config, 0)?.with_buckets(2)?;
/// let shape = |steps| BatchShape { steps, batch_size: 2 };
/// assert_eq!(buckets.shapes(), [shape(2), shape(4)]);
/// assert_eq!(buckets.padding(), 2.0 / 12.0);
/// for batch in buckets.epoch(0) {
///     assert_eq!(batch.sequences.batch_size, 2); // trainer.step(&batch)?
/// }
/// # Ok::<(), recurrent::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Buckets {
    examples: Vec<Example>,
    config: Config,
    batch: usize,
    seed: u64,
    buckets: Vec<Bucket>,
}

/// Examples, by their place in the list, of at most so many steps.
#[derive(Clone, Debug)]
struct Bucket {
    steps: usize,
    members: Vec<usize>,
}

impl Buckets {
    /// Sorts examples for this network into 4 buckets, to be taken in batches of at most `max_batch_size` (B).
    ///
    /// # Errors
    /// Same as [`Batch::pad`] for the examples; [`Config`](crate::Error::Config) for a batch of none;
    /// [`Limit`](crate::Error::Limit) where a batch of the longest would have more elements than 32-bit indices reach.
    pub fn new(examples: Vec<Example>, max_batch_size: usize, config: &Config, seed: u64) -> Result<Self> {
        let batch = max_batch_size;
        check_size("sequences in a batch (B)", batch)?;
        let longest = check_examples(&examples.iter().collect::<Vec<_>>(), config)?;
        check_padded(longest, batch.min(examples.len()), config)?;
        let buckets = sorted(&examples, config, BUCKETS);
        Ok(Buckets { examples, config: config.clone(), batch, seed, buckets })
    }

    /// The same examples in this many buckets, or in fewer where there are not so many lengths.
    ///
    /// # Errors
    /// [`Config`](crate::Error::Config) for none.
    pub fn with_buckets(self, count: usize) -> Result<Self> {
        check_size("buckets", count)?;
        Ok(Buckets { buckets: sorted(&self.examples, &self.config, count), ..self })
    }

    /// All batches of an epoch, in its order: which examples of a bucket share a batch, where in it each is, and the
    /// order of the batches are drawn anew for each epoch.
    pub fn epoch(&self, epoch: u64) -> impl ExactSizeIterator<Item = Batch> {
        let mut rng = ChaCha12Rng::seed_from_u64(self.seed);
        rng.set_stream(epoch);
        let mut batches: Vec<(usize, Vec<&Example>)> = Vec::new();
        for Bucket { steps, members } in &self.buckets {
            let mut members: Vec<&Example> = members.iter().map(|&at| &self.examples[at]).collect();
            members.shuffle(&mut rng);
            batches.extend(cuts(members.len(), self.batch).map(|cut| (*steps, members[cut].to_vec())));
        }
        batches.shuffle(&mut rng);
        batches.into_iter().map(|(steps, examples)| Batch::laid(&examples, steps, &self.config))
    }

    /// Returns the shapes that the batches of an epoch have, each once, from the shortest: at most two a bucket. A
    /// trainer that [prepares](crate::Trainer::prepare_async) them before the first step meets no new one later.
    pub fn shapes(&self) -> Vec<BatchShape> {
        let mut sizes: Vec<BatchShape> = Vec::new();
        for Bucket { steps, members } in &self.buckets {
            sizes
                .extend(cuts(members.len(), self.batch).map(|cut| BatchShape { steps: *steps, batch_size: cut.len() }));
        }
        sizes.sort_unstable();
        sizes.dedup();
        sizes
    }

    /// The share of an epoch's positions that is padding, from 0 to 1; it is the same in every epoch.
    pub fn padding(&self) -> f64 {
        let valid: f64 = self.examples.iter().map(|example| length(&example.inputs, &self.config) as f64).sum();
        let all: f64 = self.buckets.iter().map(|bucket| bucket.steps as f64 * bucket.members.len() as f64).sum();
        (all - valid) / all
    }
}

/// The ranges of `count` examples that make batches of at most `most`, their sizes as equal as they can be.
fn cuts(count: usize, most: usize) -> impl Iterator<Item = Range<usize>> {
    let batches = count.div_ceil(most);
    let (size, larger) = (count / batches, count % batches);
    let start = move |at: usize| at * size + at.min(larger);
    (0..batches).map(move |at| start(at)..start(at + 1))
}

/// Checked examples in at most `count` buckets, the shortest first.
fn sorted(examples: &[Example], config: &Config, count: usize) -> Vec<Bucket> {
    let length = |at: usize| length(&examples[at].inputs, config);
    let mut order: Vec<usize> = (0..examples.len()).collect();
    order.sort_by_key(|&at| length(at));
    let lengths: Vec<usize> = order.iter().map(|&at| length(at)).collect();
    let ends = ends(&lengths, count);
    let starts = std::iter::once(0).chain(ends.iter().copied());
    let members = starts.zip(&ends).map(|(start, &end)| order[start..end].to_vec());
    members.zip(&ends).map(|(members, &end)| Bucket { steps: lengths[end - 1], members }).collect()
}

/// Where, in sorted lengths, at most `count` buckets end that take the fewest positions in all.
///
/// It is found bucket by bucket: the best k buckets up to an end are, for some earlier end, the best k − 1 up to there
/// and one from there on.
fn ends(lengths: &[usize], count: usize) -> Vec<usize> {
    // Ends between equal lengths gain nothing.
    let ends: Vec<usize> =
        std::iter::once(0).chain((1..=lengths.len()).filter(|&at| lengths.get(at) != Some(&lengths[at - 1]))).collect();
    let last = ends.len() - 1;
    if count >= last {
        // Every length has its own.
        return ends[1..].to_vec();
    }
    // Of one bucket between two ends; products of two lengths of lists do not overflow 128 bits.
    let positions = |from: usize, to: usize| (ends[to] - ends[from]) as u128 * lengths[ends[to] - 1] as u128;
    let mut best: Vec<(u128, usize)> = (0..=last).map(|to| (if to == 0 { 0 } else { positions(0, to) }, 0)).collect();
    let froms = |best: &[(u128, usize)]| best.iter().map(|(_, from)| *from).collect::<Vec<_>>();
    let mut rows = vec![froms(&best)];
    for _ in 1..count {
        let fewest: Vec<u128> = best.iter().map(|(fewest, _)| *fewest).collect();
        fill(&mut best, 1..last + 1, 0..last + 1, &|from, to| fewest[from] + positions(from, to));
        rows.push(froms(&best));
    }
    let (mut to, mut found) = (last, Vec::new());
    for row in rows.iter().rev() {
        let from = row[to];
        if from < to {
            found.push(ends[to]);
        }
        to = from;
    }
    found.reverse();
    found
}

/// The best `from` for every `to`, by halving: as `to` grows, the best `from` never falls (Yao 1980).
fn fill(best: &mut [(u128, usize)], to: Range<usize>, from: Range<usize>, cost: &impl Fn(usize, usize) -> u128) {
    if to.is_empty() {
        return;
    }
    let middle = to.start.midpoint(to.end);
    let found = (from.start..from.end.min(middle + 1)).map(|from| (cost(from, middle), from)).min();
    if let Some(found) = found {
        best[middle] = found;
        fill(best, to.start..middle, from.start..found.1 + 1, cost);
        fill(best, middle + 1..to.end, found.1..from.end, cost);
    }
}
