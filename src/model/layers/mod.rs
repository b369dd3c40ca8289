//! The layers, each a record in a file of its own, with its checks and its parameters: what a network is a list of.
//!
//! The contract: a layer knows what it makes of the width of what it reads and nothing of its neighbours. How it
//! becomes operations stands in `plan/builder`, in a file of the same name: a model is data and computes nothing.

pub(crate) mod dense;
pub(crate) mod dropout;
pub(crate) mod embedding;
pub(crate) mod norm;
pub(crate) mod pool;
pub(crate) mod recurrent;

use serde::{Deserialize, Serialize};

pub use dense::Dense;
pub use dropout::DropoutLayer;
pub use embedding::Embedding;
pub use norm::LayerNorm;
pub use pool::Pool;
pub use recurrent::{Directions, Join, Recurrent, Zoneout};

use crate::error::Result;

/// A layer of a network, which reads what the one below it makes.
///
/// ```
/// use recurrent::{Config, InputKind, Layer, Pool, Recurrent};
/// let config = Config::new(InputKind::Dense(6)).layer(Recurrent::lstm(64)).layer(Pool::Mean).outputs(10);
/// assert_eq!(config.layers, [Layer::Recurrent(Recurrent::lstm(64)), Layer::Pool(Pool::Mean)]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    /// A row of a table for each token.
    Embedding(Embedding),
    /// A recurrence over the steps.
    Recurrent(Recurrent),
    /// A linear function of each row, and a function around it.
    Dense(Dense),
    /// Layer normalisation of each row.
    LayerNorm(LayerNorm),
    /// Dropout, in training.
    Dropout(DropoutLayer),
    /// One row for each sequence in place of one for each step.
    Pool(Pool),
}

impl Layer {
    /// What it is called in names of parameters and in errors.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Layer::Recurrent(recurrent) => recurrent.kind(),
            Layer::Embedding(_) => "embedding",
            Layer::Dense(_) => "dense",
            Layer::LayerNorm(_) => "norm",
            Layer::Dropout(_) => "dropout",
            Layer::Pool(_) => "pool",
        }
    }

    pub(crate) fn is_recurrent(&self) -> bool {
        matches!(self, Layer::Recurrent(_))
    }

    /// Whether its rows behind the end of a sequence are those of the last step.
    pub(crate) fn holds_state(&self) -> bool {
        self.is_recurrent() && !self.is_residual()
    }

    /// Whether what it reads is added to its rows.
    pub(crate) fn is_residual(&self) -> bool {
        match self {
            Layer::Recurrent(recurrent) => recurrent.residual,
            Layer::Dense(dense) => dense.residual,
            _ => false,
        }
    }

    pub(crate) fn is_dropout(&self) -> bool {
        matches!(self, Layer::Dropout(_))
    }

    /// Checks it alone.
    pub(crate) fn check(&self) -> Result<()> {
        match self {
            Layer::Recurrent(recurrent) => recurrent.check(),
            Layer::Embedding(embedding) => embedding.check(),
            Layer::Dense(dense) => dense.check(),
            Layer::LayerNorm(norm) => norm.check(),
            Layer::Dropout(dropout) => dropout.check(),
            Layer::Pool(_) => Ok(()),
        }
    }

    /// The width of its rows, where those that it reads have this one.
    pub(crate) fn width(&self, below: usize) -> usize {
        match self {
            Layer::Recurrent(recurrent) => recurrent.width(),
            Layer::Embedding(embedding) => embedding.width,
            Layer::Dense(dense) => dense.units,
            Layer::LayerNorm(_) | Layer::Dropout(_) | Layer::Pool(_) => below,
        }
    }

    /// Its parameters, their names without the module's in front, as the layer of that number in its module; `tied`
    /// where the read-out has the embedding's.
    pub(crate) fn parameters(&self, number: usize, below: usize, tied: bool) -> Vec<ParameterGroup> {
        let mut all = match self {
            Layer::Recurrent(recurrent) => recurrent.parameters(number, below),
            Layer::Embedding(embedding) => embedding.parameters(below, tied),
            Layer::Dense(dense) => dense.parameters(below),
            Layer::LayerNorm(norm) => norm.parameters(below),
            Layer::Dropout(_) | Layer::Pool(_) => Vec::new(),
        };
        let own = self.width(below);
        if self.is_residual() && own != below {
            let draw = Draw::Weight { blocks: 1, fan: below };
            all.push(ParameterGroup { names: vec![self.residual_weight(number)], shape: vec![own, below], draw });
        }
        all
    }

    /// What the map on the way past it is called, as the layer of that number in its module: it is there where the
    /// layer is not as wide as what it reads.
    pub(crate) fn residual_weight(&self, number: usize) -> String {
        if self.is_recurrent() { format!("weight_residual_l{number}") } else { "weight_residual".to_owned() }
    }
}

impl From<Recurrent> for Layer {
    fn from(layer: Recurrent) -> Self {
        Layer::Recurrent(layer)
    }
}

impl From<Embedding> for Layer {
    fn from(layer: Embedding) -> Self {
        Layer::Embedding(layer)
    }
}

impl From<LayerNorm> for Layer {
    fn from(layer: LayerNorm) -> Self {
        Layer::LayerNorm(layer)
    }
}

impl From<DropoutLayer> for Layer {
    fn from(layer: DropoutLayer) -> Self {
        Layer::Dropout(layer)
    }
}

impl From<Dense> for Layer {
    fn from(layer: Dense) -> Self {
        Layer::Dense(layer)
    }
}

impl From<Pool> for Layer {
    fn from(pool: Pool) -> Self {
        Layer::Pool(pool)
    }
}

/// Parameters of one shape that lie side by side, without a gap.
#[derive(Clone, Debug)]
pub(crate) struct ParameterGroup {
    pub names: Vec<String>,
    pub shape: Vec<usize>,
    pub draw: Draw,
}

/// How a parameter is drawn, beside what an [`Init`](crate::Init) says of all.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Draw {
    /// A matrix that is a stack of so many; `fan` is what [`Init::Uniform`](crate::Init::Uniform) divides by.
    Weight { blocks: usize, fan: usize },
    /// The same, of so many rows each, square but where h is projected: U.
    Recurrent { fan: usize },
    /// A bias.
    Bias { fan: usize },
    /// A bias, of which a block of rows is set instead: where it starts, and to what.
    Forget { fan: usize, start: usize, value: f32 },
    /// A table's: normal, or small.
    Normal,
    /// The same, or of a read-out that is tied to it a weight's, with a row of zeros.
    Padded { row: usize, width: usize, tied: bool },
    /// Zero.
    Zero,
    /// One.
    One,
}

impl Draw {
    /// Whether it is a table, of which a step reads some rows and, where no read-out is tied to it, changes no others.
    pub(crate) fn is_table(self) -> bool {
        matches!(self, Draw::Normal | Draw::Padded { tied: false, .. })
    }
}
