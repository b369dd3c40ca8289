//! Prefix beam search (Hannun et al. 2014, algorithm 1, without a language model), in logarithms.
//!
//! The contract: a prefix is one entry, whichever paths say it; ties go to the prefix that was found first, so the
//! order is settled by the logits alone.

use std::collections::HashMap;

use super::rows::LogRows;
use crate::error::{Error, Result};

/// A label behind a prefix, which is one node of a tree.
struct Node {
    parent: usize,
    label: u32,
}

/// What paths say a prefix so far: the logarithm of the probability of those that end in a blank, and of the others.
#[derive(Clone, Copy)]
struct Paths {
    blank: f64,
    label: f64,
}

impl Paths {
    const NONE: Paths = Paths { blank: f64::NEG_INFINITY, label: f64::NEG_INFINITY };

    fn total(self) -> f64 {
        log_add(self.blank, self.label)
    }
}

/// ln(eᵃ + eᵇ), of infinities too.
fn log_add(a: f64, b: f64) -> f64 {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    if high == f64::NEG_INFINITY { high } else { high + (low - high).exp().ln_1p() }
}

/// The root is the empty prefix.
const ROOT: usize = 0;

/// All prefixes that were met.
struct Prefixes {
    nodes: Vec<Node>,
    children: HashMap<(usize, u32), usize>,
}

impl Prefixes {
    fn child(&mut self, parent: usize, label: u32) -> usize {
        *self.children.entry((parent, label)).or_insert_with(|| {
            self.nodes.push(Node { parent, label });
            self.nodes.len() - 1
        })
    }

    /// The labels of a prefix.
    fn labels(&self, mut node: usize) -> Vec<u32> {
        let mut labels = Vec::new();
        while node != ROOT {
            labels.push(self.nodes[node].label);
            node = self.nodes[node].parent;
        }
        labels.reverse();
        labels
    }
}

/// Prefixes with their paths, in the order in which they were found.
#[derive(Default)]
struct Beam {
    entries: Vec<(usize, Paths)>,
    places: HashMap<usize, usize>,
}

impl Beam {
    fn of(&mut self, prefix: usize) -> &mut Paths {
        let place = *self.places.entry(prefix).or_insert_with(|| {
            self.entries.push((prefix, Paths::NONE));
            self.entries.len() - 1
        });
        &mut self.entries[place].1
    }

    /// The likeliest so many of its prefixes, the likeliest first.
    fn best(mut self, width: usize) -> Vec<(usize, Paths)> {
        self.entries.sort_by(|(_, a), (_, b)| b.total().total_cmp(&a.total()));
        self.entries.truncate(width);
        self.entries
    }
}

/// Returns the likeliest label sequences that `[T, O]` logits say, at most `width` of them, each with the logarithm of
/// the probability of the paths that were followed; the likeliest first. A prefix that is not among the likeliest
/// `width` after some step is not followed any further, so more of them find more: 8 to 100 are usual.
///
/// ```
/// use recurrent::ctc;
/// // Two steps of 0.6 blank and 0.4 label: each path with a label is unlikely, but there are three.
/// let row = [0.6f32.ln(), 0.4f32.ln()];
/// let found = ctc::prefix_beam(&[row, row].concat(), 2, 0, 8)?;
/// assert_eq!(found[0].0, [1]);
/// assert!((found[0].1.exp() - 0.64).abs() < 1e-6);
/// # Ok::<(), recurrent::Error>(())
/// ```
///
/// # Errors
/// [`Error::Data`] for logits that are no whole number of steps or not finite, for a blank that is no output, and for a
/// width of 0.
pub fn prefix_beam(logits: &[f32], outputs: usize, blank: u32, width: usize) -> Result<Vec<(Vec<u32>, f64)>> {
    let rows = LogRows::new(logits, outputs, blank)?;
    if width == 0 {
        return Err(Error::Data("the beam is 0 prefixes wide, expected at least 1".to_owned()));
    }
    let mut prefixes = Prefixes { nodes: vec![Node { parent: ROOT, label: blank }], children: HashMap::new() };
    let mut beam = vec![(ROOT, Paths { blank: 0.0, label: f64::NEG_INFINITY })];
    for row in rows.rows() {
        let mut next = Beam::default();
        for (prefix, paths) in &beam {
            let total = paths.total();
            let stays = next.of(*prefix);
            stays.blank = log_add(stays.blank, total + row[rows.blank as usize]);
            // The root's label is the blank, which is not asked for.
            let last = prefixes.nodes[*prefix].label;
            for (id, ln_p) in (0..).zip(row).filter(|(id, _)| *id != rows.blank) {
                let mut entered = total;
                if id == last {
                    // Without a blank between them, equal labels are one.
                    let stays = next.of(*prefix);
                    stays.label = log_add(stays.label, paths.label + ln_p);
                    entered = paths.blank;
                }
                if entered > f64::NEG_INFINITY {
                    let longer = next.of(prefixes.child(*prefix, id));
                    longer.label = log_add(longer.label, entered + ln_p);
                }
            }
        }
        beam = next.best(width);
    }
    Ok(beam.into_iter().map(|(prefix, paths)| (prefixes.labels(prefix), paths.total())).collect())
}
