//! A head: a named read-out of the rows of any layer, beside the network's own.
//!
//! The contract: a head knows how many layers lie below it, and nothing of its loss, which is the recipe's.

use serde::{Deserialize, Serialize};

use super::shape::check_size;
use crate::error::{Error, Result};

/// A named read-out, linear and with a bias, of the rows of a layer.
///
/// ```
/// use recurrent::{Config, InputKind, Layout, Pool, Recurrent};
/// // A label for each word and one for the sentence, from one trunk.
/// let config = Config::new(InputKind::Tokens(500))
///     .embedding(32)
///     .layer(Recurrent::gru(64).bidirectional())
///     .head("tags", 9) // reads the GRU, at every step
///     .pool(Pool::Max)
///     .outputs(3); // reads the pool
/// assert_eq!(config.heads[0].reads, 2);
/// assert_eq!(Layout::new(&config)?.get("head.tags.weight").unwrap().shape, [9, 2 * 64]);
/// # Ok::<(), recurrent::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// What the recipe, a batch and the results call it; its parameters are `head.NAME.weight` and `head.NAME.bias`.
    pub name: String,
    /// How many layers lie below it: it reads the rows of the last of these, as the layer makes them.
    pub reads: usize,
    /// The number of its outputs.
    pub outputs: usize,
}

impl Head {
    /// What metrics call the network's own read-out, so no head can have the name.
    pub(crate) const OWN: &'static str = "outputs";

    /// What stands in front of the names of its parameters.
    pub(crate) fn prefix(&self) -> String {
        format!("head.{}.", self.name)
    }

    /// Checks it alone.
    pub(crate) fn check(&self) -> Result<()> {
        let name = &self.name;
        // `head.0.weight` is the network's own.
        let is_taken = [Self::OWN, "0"].contains(&name.as_str());
        if name.is_empty() || is_taken || name.contains(['.', ' ']) || name.contains(char::is_control) {
            return Err(Error::Config(format!(
                "a head is called {name:?}, expected a name that is not empty, without dots and spaces, and neither \
                 \"{}\" nor \"0\"",
                Self::OWN
            )));
        }
        check_size(&format!("outputs of head `{name}`"), self.outputs)
    }
}
