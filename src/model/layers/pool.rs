//! One row for each sequence of those of its steps.

use serde::{Deserialize, Serialize};

/// What a sequence's row is made of. Steps beyond its length do not count.
///
/// ```
/// use recurrent::{Config, InputKind, Pool};
/// let tagger = Config::lstm(InputKind::Tokens(100), 32, 5); // a label at every step
/// let classifier = tagger.clone().pool(Pool::Mean); // one for the whole sequence
/// # assert_ne!(tagger, classifier);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(rename_all = "snake_case")]
pub enum Pool {
    /// The row of the last valid step. Of a recurrent layer it is the last state of each direction: of the reverse one,
    /// which ends at the first step, the output there.
    Last,
    /// The row of the first step.
    First,
    /// The mean over the valid steps.
    Mean,
    /// The largest value of each column over the valid steps.
    Max,
}
