//! The configuration of a network: plain data, checked once, stored in every checkpoint.

use serde::{Deserialize, Serialize};

use super::cells::{Activation, Cell, Reset};
use super::shape::BatchShape;
use crate::error::{Error, Result};

/// What the network reads at every step.
///
/// ```
/// use recurrent::{Config, InputKind};
/// let of_text = Config::gru(InputKind::Tokens(65), 128, 65); // ids below 65
/// let of_sensors = Config::gru(InputKind::Dense(6), 32, 2); // six numbers a step
/// # assert_ne!(of_text, of_sensors);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(rename_all = "snake_case")]
pub enum InputKind {
    /// One of this many tokens, by its id. W·x is then the gathering of a column of W; no one-hot vector exists.
    Tokens(usize),
    /// A vector of this many real numbers.
    Dense(usize),
}

impl InputKind {
    /// I: the number of tokens or of features.
    pub fn size(self) -> usize {
        match self {
            InputKind::Tokens(n) | InputKind::Dense(n) => n,
        }
    }
}

/// Where the label is read out.
///
/// ```
/// use recurrent::{Config, InputKind, ReadOut};
/// let tagger = Config::lstm(InputKind::Tokens(100), 32, 5); // a label at every step
/// let classifier = tagger.clone().with_read_out(ReadOut::Mean); // one for the whole sequence
/// # assert_ne!(tagger, classifier);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(rename_all = "snake_case")]
pub enum ReadOut {
    /// At every step: T·B labels.
    #[default]
    EveryStep,
    /// From the last state of each direction: B labels. That is the output at the last valid step; of the reverse
    /// direction, which ends at the first step, the output there.
    Last,
    /// From the mean of the outputs over the valid steps: B labels.
    Mean,
}

/// Which ways every layer reads its sequence.
///
/// ```
/// use recurrent::{Config, Directions, InputKind};
/// let config = Config::lstm(InputKind::Dense(13), 64, 10).with_directions(Directions::Bidirectional);
/// assert_eq!(config.output_width(), 2 * 64);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(rename_all = "snake_case")]
pub enum Directions {
    /// From the first step to the last: a causal network, which a [`crate::StreamingPredictor`] can run.
    #[default]
    Forward,
    /// That way and, with weights of its own, from the last valid step to the first; the outputs stand side by side
    /// (Schuster & Paliwal 1997).
    #[serde(alias = "both")]
    Bidirectional,
}

impl Directions {
    /// D, how many there are.
    pub fn count(self) -> usize {
        match self {
            Directions::Forward => 1,
            Directions::Bidirectional => 2,
        }
    }
}

/// How parameters are drawn before training.
///
/// ```
/// use recurrent::{Config, Init, InputKind, Model};
/// let config = Config::elman(InputKind::Dense(1), 4, 1).with_init(Init::Orthogonal);
/// let model = Model::new(config)?;
/// # assert!(model.parameter("weight_hh_l0").is_some());
/// # Ok::<(), recurrent::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(rename_all = "snake_case")]
pub enum Init {
    /// Everything uniform in ±1/√H, the read-out in ±1/√(D·H), as PyTorch draws it.
    #[default]
    Uniform,
    /// Weights uniform in ±√(6 / (fan-in + fan-out)), biases zero (Glorot & Bengio 2010).
    Glorot,
    /// U orthogonal (Saxe et al. 2014), the rest as [`Init::Glorot`].
    Orthogonal,
    /// U the identity (the IRNN of Le, Jaitly & Hinton 2015, meant for [`Activation::Relu`]), the rest as
    /// [`Init::Glorot`].
    Identity,
}

/// So many that nobody trains them; a number from a damaged file must not ask for millions of tensors.
const MAX_LAYERS: usize = 1024;

/// What a network is: a cell, its sizes, its read-out, and how its parameters are drawn.
///
/// ```
/// use recurrent::{Config, Directions, InputKind, Model, ReadOut};
/// // A classifier of gestures: six numbers a step, two layers that read both ways, one of ten classes a sequence.
/// let config = Config::lstm(InputKind::Dense(6), 64, 10)
///     .with_layers(2)
///     .with_directions(Directions::Bidirectional)
///     .with_read_out(ReadOut::Mean);
/// let model = Model::new(config)?;
/// assert_eq!(model.layout().get("weight_hh_l1_reverse").unwrap().shape, [4 * 64, 64]);
/// # Ok::<(), recurrent::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What is read at every step.
    pub input: InputKind,
    /// The recurrent cell.
    pub cell: Cell,
    /// H, the number of hidden units.
    pub hidden: usize,
    /// L, the number of layers, each reading the one below; at most 1024.
    pub layers: usize,
    /// Which ways every layer reads its sequence.
    pub directions: Directions,
    /// Whether the layers have the biases b_W and b_U; the read-out has one always.
    pub bias: bool,
    /// Whether the initial state is learned; otherwise it is zero unless one is given.
    #[serde(alias = "learnt_start")]
    pub learned_initial_state: bool,
    /// O, the number of outputs of the read-out V.
    pub outputs: usize,
    /// Where the label is read out.
    pub read_out: ReadOut,
    /// How parameters are drawn.
    pub init: Init,
    /// What the forget gate's two biases sum to before training, where that is not left to `init`: 1 lets an LSTM
    /// remember from the start (Jozefowicz, Zaremba & Sutskever 2015).
    pub forget_bias: Option<f64>,
    /// Where the drawing starts.
    pub seed: u64,
}

impl Config {
    /// An Elman network: h_t = tanh(W·x_t + b_W + U·h_(t-1) + b_U), with a linear read-out V at every step.
    pub fn elman(input: InputKind, hidden: usize, outputs: usize) -> Self {
        Self::new(Cell::Elman(Activation::Tanh), input, hidden, outputs)
    }

    /// An LSTM of one layer, with a linear read-out V at every step.
    pub fn lstm(input: InputKind, hidden: usize, outputs: usize) -> Self {
        Self::new(Cell::Lstm, input, hidden, outputs)
    }

    /// A GRU of one layer, reset after the product, with a linear read-out V at every step.
    pub fn gru(input: InputKind, hidden: usize, outputs: usize) -> Self {
        Self::new(Cell::Gru(Reset::AfterProduct), input, hidden, outputs)
    }

    /// One layer of a cell, read one way, with a linear read-out V at every step.
    pub fn new(cell: Cell, input: InputKind, hidden: usize, outputs: usize) -> Self {
        Config {
            input,
            cell,
            hidden,
            layers: 1,
            directions: Directions::Forward,
            bias: true,
            learned_initial_state: false,
            outputs,
            read_out: ReadOut::EveryStep,
            init: Init::Uniform,
            forget_bias: None,
            seed: 0,
        }
    }

    /// The same network with another cell.
    pub fn with_cell(self, cell: Cell) -> Self {
        Config { cell, ..self }
    }

    /// The same network with this many layers.
    pub fn with_layers(self, layers: usize) -> Self {
        Config { layers, ..self }
    }

    /// The same network, its layers reading these ways.
    pub fn with_directions(self, directions: Directions) -> Self {
        Config { directions, ..self }
    }

    /// The same network with or without the layers' biases.
    pub fn with_bias(self, bias: bool) -> Self {
        Config { bias, ..self }
    }

    /// The same network, its initial state learned or not.
    pub fn with_learned_initial_state(self, learned_initial_state: bool) -> Self {
        Config { learned_initial_state, ..self }
    }

    /// The same LSTM with its forget gates' biases set before training.
    pub fn with_forget_bias(self, forget_bias: f64) -> Self {
        Config { forget_bias: Some(forget_bias), ..self }
    }

    /// The same network, read out elsewhere.
    pub fn with_read_out(self, read_out: ReadOut) -> Self {
        Config { read_out, ..self }
    }

    /// The same network with its parameters drawn in another way.
    pub fn with_init(self, init: Init) -> Self {
        Config { init, ..self }
    }

    /// The same network drawn from another seed.
    pub fn with_seed(self, seed: u64) -> Self {
        Config { seed, ..self }
    }

    /// How many labels a window of T steps and B sequences has: T·B or B.
    pub fn label_count(&self, BatchShape { steps, batch_size }: BatchShape) -> usize {
        match self.read_out {
            ReadOut::EveryStep => steps.saturating_mul(batch_size),
            ReadOut::Last | ReadOut::Mean => batch_size,
        }
    }

    /// D·H, the width of a layer's output: the directions side by side.
    pub fn output_width(&self) -> usize {
        self.directions.count().saturating_mul(self.hidden)
    }

    /// The shape of the carried state: S (h, and c where the cell has one), L, B, D·H.
    pub fn state_shape(&self, batch: usize) -> [usize; 4] {
        [self.cell.states(), self.layers, batch, self.output_width()]
    }

    pub(crate) fn check(&self) -> Result<()> {
        for (what, size) in [
            ("inputs (I)", self.input.size()),
            ("hidden units (H)", self.hidden),
            ("layers (L)", self.layers),
            ("outputs (O)", self.outputs),
        ] {
            if size == 0 {
                return Err(Error::Config(format!("the number of {what} is 0, expected at least 1")));
            }
        }
        if self.layers > MAX_LAYERS {
            return Err(Error::Config(format!(
                "the number of layers (L) is {}, expected at most {MAX_LAYERS}",
                self.layers
            )));
        }
        match self.forget_bias {
            Some(value) if !(value as f32).is_finite() => {
                Err(Error::Config(format!("the forget gate's bias is {value}, expected a finite number")))
            }
            Some(_) if self.cell.forget_gate().is_none() => Err(Error::Config(format!(
                "a forget gate's bias is given, but a cell of kind {} has none",
                self.cell.name()
            ))),
            Some(_) if !self.bias => {
                Err(Error::Config("a forget gate's bias is given, but the layers have no biases".to_owned()))
            }
            _ => Ok(()),
        }
    }
}
