//! A row of a table for each token.

use serde::{Deserialize, Serialize};

use super::{Draw, ParameterGroup};
use crate::error::Result;
use crate::model::shape::check_size;

/// An embedding: the row of a table E `[V, width]` that a token has. The lowest layer of a network that reads tokens.
///
/// ```
/// use recurrent::{Config, Embedding, InputKind, Recurrent};
/// // Words, of which 0 fills up short sentences; the read-out's V is the table itself (Press & Wolf 2017).
/// let config = Config::new(InputKind::Tokens(2000))
///     .layer(Embedding::new(64).with_padding(0))
///     .layer(Recurrent::lstm(128))
///     .layer(Recurrent::lstm(64))
///     .outputs(2000)
///     .tied();
/// # recurrent::Model::new(config)?;
/// # Ok::<(), recurrent::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(deny_unknown_fields)]
pub struct Embedding {
    /// The width of a row.
    pub width: usize,
    /// The token whose row is zero before training, and has no gradient.
    pub padding: Option<usize>,
}

impl Embedding {
    /// A table with a row of this width for each token.
    pub fn new(width: usize) -> Self {
        Embedding { width, padding: None }
    }

    /// The same table with a token whose row stays as it is, zeros to begin with.
    pub fn with_padding(self, token: usize) -> Self {
        Embedding { padding: Some(token), ..self }
    }

    pub(super) fn check(&self) -> Result<()> {
        check_size("columns", self.width)
    }

    /// The table; `tied` where the read-out's V is the same.
    pub(crate) fn parameters(&self, below: usize, tied: bool) -> Vec<ParameterGroup> {
        // Of logits as large as those of other read-outs.
        let draw = if tied { Draw::Weight { blocks: 1, fan: self.width } } else { Draw::Normal };
        let draw = self.padding.map_or(draw, |row| Draw::Padded { row, width: self.width, tied });
        vec![ParameterGroup { names: vec!["weight".to_owned()], shape: vec![below, self.width], draw }]
    }
}
