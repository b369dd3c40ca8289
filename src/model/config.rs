//! The configuration of a network: plain data, checked once, stored in every checkpoint.

use serde::{Deserialize, Serialize};

use super::activation::Activation;
use super::cells::{Cell, GateActivation};
use super::head::Head;
use super::layers::{Dense, Directions, DropoutLayer, Embedding, Join, Layer, LayerNorm, Pool, Recurrent};
use super::shape::{BatchShape, Rows, check_size};
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
    /// U the identity (the IRNN of Le, Jaitly & Hinton 2015, meant for [relu](crate::Activation::Relu)), the rest as
    /// [`Init::Glorot`].
    Identity,
}

/// What a network is: what it reads, a list of layers, a linear read-out V of what the last of them makes, and how its
/// parameters are drawn.
///
/// ```
/// use recurrent::{Config, Directions, InputKind, Model, Pool, Recurrent};
/// // A classifier of gestures: six numbers a step, two layers that read both ways, one of ten classes a sequence.
/// let config = Config::lstm(InputKind::Dense(6), 64, 10)
///     .with_layers(2)
///     .with_directions(Directions::Bidirectional)
///     .pool(Pool::Mean);
/// let model = Model::new(config.clone())?;
/// assert_eq!(model.layout().get("weight_hh_l1_reverse").unwrap().shape, [4 * 64, 64]);
///
/// // The same, said layer by layer.
/// let lstm = Recurrent::lstm(64).bidirectional();
/// assert_eq!(config, Config::new(InputKind::Dense(6)).layer(lstm).layer(lstm).layer(Pool::Mean).outputs(10));
/// # Ok::<(), recurrent::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What is read at every step.
    pub input: InputKind,
    /// The layers, each reading the one below; at most 1024.
    pub layers: Vec<Layer>,
    /// O, the number of outputs of the read-out V, which has a bias.
    pub outputs: usize,
    /// Whether the read-out's V is the embedding's table: one tensor, with both gradients.
    #[serde(default)]
    pub tied: bool,
    /// Named read-outs of any layer's rows, beside V.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub heads: Vec<Head>,
    /// How parameters are drawn.
    pub init: Init,
    /// Where the drawing starts.
    pub seed: u64,
}

impl Config {
    /// So many layers that nobody trains them; a number from a damaged file must not ask for millions of tensors.
    pub(crate) const MAX_LAYERS: usize = 1024;

    /// A network without layers and outputs yet: [`Config::layer`] and [`Config::outputs`] say them.
    pub fn new(input: InputKind) -> Self {
        let (layers, heads) = (Vec::new(), Vec::new());
        Config { input, layers, outputs: 0, tied: false, heads, init: Init::Uniform, seed: 0 }
    }

    /// An Elman network: h_t = tanh(W·x_t + b_W + U·h_(t-1) + b_U), with a linear read-out V at every step.
    pub fn elman(input: InputKind, hidden: usize, outputs: usize) -> Self {
        Self::new(input).layer(Recurrent::elman(hidden)).outputs(outputs)
    }

    /// An LSTM of one layer, with a linear read-out V at every step.
    pub fn lstm(input: InputKind, hidden: usize, outputs: usize) -> Self {
        Self::new(input).layer(Recurrent::lstm(hidden)).outputs(outputs)
    }

    /// A GRU of one layer, reset after the product, with a linear read-out V at every step.
    pub fn gru(input: InputKind, hidden: usize, outputs: usize) -> Self {
        Self::new(input).layer(Recurrent::gru(hidden)).outputs(outputs)
    }

    /// One layer of a cell, read one way, with a linear read-out V at every step.
    pub fn of_cell(cell: Cell, input: InputKind, hidden: usize, outputs: usize) -> Self {
        Self::new(input).layer(Recurrent::new(cell, hidden)).outputs(outputs)
    }

    /// The same network with one layer more, which reads the last.
    pub fn layer(mut self, layer: impl Into<Layer>) -> Self {
        self.layers.push(layer.into());
        self
    }

    /// The same network with a pool above the last layer, so that there is one label for each sequence.
    pub fn pool(self, pool: Pool) -> Self {
        self.layer(pool)
    }

    /// The same network with an embedding more, with a row of so many numbers for each token.
    pub fn embedding(self, width: usize) -> Self {
        self.layer(Embedding::new(width))
    }

    /// The same network, its read-out's V being the embedding's table (Press & Wolf 2017).
    pub fn tied(self) -> Self {
        Config { tied: true, ..self }
    }

    /// The same network with a dense layer more, of so many units, with a bias.
    pub fn dense(self, units: usize, activation: Activation) -> Self {
        self.layer(Dense::new(units, activation))
    }

    /// The same network with layer normalisation of what the last layer makes.
    pub fn layer_norm(self) -> Self {
        self.layer(LayerNorm::new())
    }

    /// The same network with dropout of what the last layer makes, of every element by itself, in training.
    pub fn dropout(self, rate: f64) -> Self {
        self.layer(DropoutLayer::new(rate))
    }

    /// The same network with so many outputs.
    pub fn outputs(self, outputs: usize) -> Self {
        Config { outputs, ..self }
    }

    /// The same network with a head: a read-out more, of so many outputs, of what the last layer makes.
    pub fn head(mut self, name: impl Into<String>, outputs: usize) -> Self {
        self.heads.push(Head { name: name.into(), reads: self.layers.len(), outputs });
        self
    }

    /// The same network, its recurrent layers of another cell.
    pub fn with_cell(self, cell: Cell) -> Self {
        self.with_recurrent(|layer| layer.cell = cell)
    }

    /// The same network with this many recurrent layers, each as its first, where that stands. A head that reads a
    /// recurrent layer reads the last of them.
    pub fn with_layers(mut self, layers: usize) -> Self {
        // Of more than a network may have, one is enough for the error that says so.
        let layers = layers.min(Self::MAX_LAYERS + 1);
        let recurrent = |layer: &Layer| matches!(layer, Layer::Recurrent(_));
        if let Some(at) = self.layers.iter().position(recurrent) {
            let layer = self.layers[at];
            for head in self.heads.iter_mut().filter(|head| head.reads > at) {
                let others = self.layers.iter().take(head.reads).skip(at).filter(|layer| !recurrent(layer)).count();
                head.reads = at + layers + others;
            }
            self.layers.retain(|layer| !recurrent(layer));
            self.layers.splice(at..at, std::iter::repeat_n(layer, layers));
        }
        self
    }

    /// The same network, its recurrent layers reading these ways.
    pub fn with_directions(self, directions: Directions) -> Self {
        self.with_recurrent(|layer| layer.directions = directions)
    }

    /// The same network, the gates of its recurrent layers being this function of their sums.
    pub fn with_gate_activation(self, gate_activation: GateActivation) -> Self {
        self.with_recurrent(|layer| layer.gate_activation = gate_activation)
    }

    /// The same network, both directions of its recurrent layers joined so.
    pub fn with_join(self, join: Join) -> Self {
        self.with_recurrent(|layer| layer.join = join)
    }

    /// The same network, its recurrent layers with or without biases.
    pub fn with_bias(self, bias: bool) -> Self {
        self.with_recurrent(|layer| layer.bias = bias)
    }

    /// The same network, the initial states of its recurrent layers learned or not.
    pub fn with_learned_initial_state(self, learned_initial_state: bool) -> Self {
        self.with_recurrent(|layer| layer.learned_initial_state = learned_initial_state)
    }

    /// The same network of LSTMs with their forget gates' biases set before training.
    pub fn with_forget_bias(self, forget_bias: f64) -> Self {
        self.with_recurrent(|layer| layer.forget_bias = Some(forget_bias))
    }

    /// The same network with another pool in the place of the one that it has, else above the last layer; or with none.
    pub fn with_pool(mut self, pool: Option<Pool>) -> Self {
        let at = self.pool_at().unwrap_or(self.layers.len());
        let [had, has] = [self.pool_at().is_some(), pool.is_some()].map(usize::from);
        for head in self.heads.iter_mut().filter(|head| head.reads > at) {
            head.reads = head.reads - had + has;
        }
        self.layers.retain(|layer| !matches!(layer, Layer::Pool(_)));
        self.layers.splice(at..at, pool.map(Layer::Pool));
        self
    }

    /// The same network with its parameters drawn in another way.
    pub fn with_init(self, init: Init) -> Self {
        Config { init, ..self }
    }

    /// The same network drawn from another seed.
    pub fn with_seed(self, seed: u64) -> Self {
        Config { seed, ..self }
    }

    fn with_recurrent(mut self, set: impl Fn(&mut Recurrent)) -> Self {
        for layer in &mut self.layers {
            if let Layer::Recurrent(layer) = layer {
                set(layer);
            }
        }
        self
    }

    /// Returns the recurrent layers, from the lowest up.
    pub fn recurrent_layers(&self) -> impl DoubleEndedIterator<Item = &Recurrent> + Clone {
        self.layers.iter().filter_map(|layer| if let Layer::Recurrent(layer) = layer { Some(layer) } else { None })
    }

    /// Returns the pool, where there is one.
    pub fn pooling(&self) -> Option<Pool> {
        self.layers.iter().find_map(|layer| if let Layer::Pool(pool) = layer { Some(*pool) } else { None })
    }

    /// Which layer the pool is.
    pub(crate) fn pool_at(&self) -> Option<usize> {
        self.layers.iter().position(|layer| matches!(layer, Layer::Pool(_)))
    }

    /// Returns how many labels a window of T steps and B sequences has: T·B, or B where there is a pool.
    pub fn label_count(&self, shape: BatchShape) -> usize {
        self.rows().count(shape)
    }

    /// What rows there are above so many layers.
    pub(crate) fn rows_of(&self, layers: usize) -> Rows {
        if self.pool_at().is_some_and(|pool| pool < layers) { Rows::Sequences } else { Rows::Steps }
    }

    /// What rows the network's own read-out reads.
    pub(crate) fn rows(&self) -> Rows {
        self.rows_of(self.layers.len())
    }

    /// Returns how many numbers the state of so many sequences has: of each recurrent layer h `[B, D·H]`, and c where
    /// its cell has one.
    pub fn state_len(&self, batch_size: usize) -> usize {
        let layers = self.recurrent_layers();
        let of_one =
            layers.fold(0, |sum: usize, l| sum.saturating_add(l.state_width().saturating_mul(l.cell.states())));
        of_one.saturating_mul(batch_size)
    }

    /// The same without what matters only before training.
    pub(crate) fn structure(&self) -> Self {
        let config = Config { init: Init::default(), seed: 0, ..self.clone() };
        config.with_recurrent(|layer| layer.forget_bias = None)
    }

    /// Whether no step waits for a later one.
    pub(crate) fn is_causal(&self) -> bool {
        self.read_from_end().is_none()
    }

    /// The first layer that reads sequences from their end, in words: which, and how it reads them.
    pub(crate) fn read_from_end(&self) -> Option<String> {
        self.layers.iter().enumerate().find_map(|(at, layer)| match layer {
            Layer::Recurrent(recurrent) if recurrent.directions != Directions::Forward => {
                Some(format!("layer {at} ({}) reads sequences {}", layer.kind(), recurrent.directions.describe()))
            }
            _ => None,
        })
    }

    /// The width of what each layer reads, and behind them of what the read-out does.
    pub(crate) fn widths(&self) -> Vec<usize> {
        let mut widths = vec![self.input.size()];
        let mut width = self.input.size();
        widths.extend(self.layers.iter().map(|layer| {
            width = layer.width(width);
            width
        }));
        widths
    }

    pub(crate) fn check(&self) -> Result<()> {
        check_size("inputs (I)", self.input.size())?;
        check_size("recurrent layers (L)", self.recurrent_layers().count())?;
        let count = self.layers.len();
        if count > Self::MAX_LAYERS {
            let most = Self::MAX_LAYERS;
            return Err(Error::Config(format!(
                "the number of layers (L) is at least {count}, expected at most {most}"
            )));
        }
        let (mut pool, mut below) = (None, self.input.size());
        for (at, layer) in self.layers.iter().enumerate() {
            layer.check().map_err(|error| error.inside(&format!("layer {at} ({})", layer.kind())))?;
            if layer.is_residual() {
                self.check_residual(at, layer, below)?;
            }
            below = layer.width(below);
            match (layer, pool) {
                (Layer::Pool(_), None) => pool = Some(at),
                (Layer::Pool(_) | Layer::Recurrent(_), Some(pool)) => {
                    return Err(Error::Config(format!(
                        "layer {at} ({}) reads steps, but layer {pool} (pool) leaves one row for each sequence; \
                         expected it below the pool",
                        layer.kind()
                    )));
                }
                (Layer::Embedding(embedding), _) => self.check_embedding(at, embedding)?,
                (Layer::LayerNorm(_) | Layer::Dropout(_), _)
                    if at == 0 && matches!(self.input, InputKind::Tokens(_)) =>
                {
                    return Err(Error::Config(format!(
                        "layer 0 ({}) reads numbers, but the network reads {:?}",
                        layer.kind(),
                        self.input
                    )));
                }
                (Layer::Recurrent(_), None) | (Layer::Dense(_) | Layer::LayerNorm(_) | Layer::Dropout(_), _) => {}
            }
        }
        check_size("outputs (O)", self.outputs)?;
        self.check_heads()?;
        if self.tied { self.check_tied() } else { Ok(()) }
    }

    /// Checks that there is a layer of that number.
    pub(crate) fn check_layer(&self, layer: usize) -> Result<()> {
        let count = self.layers.len();
        if layer < count {
            Ok(())
        } else {
            Err(Error::Config(format!(
                "layer {layer} is asked for, but the network's {count} layers are 0 to {}",
                count - 1
            )))
        }
    }

    fn check_heads(&self) -> Result<()> {
        let (count, most) = (self.heads.len(), Self::MAX_LAYERS);
        if count > most {
            return Err(Error::Config(format!("the number of heads is {count}, expected at most {most}")));
        }
        for (at, head) in self.heads.iter().enumerate() {
            head.check()?;
            let (name, reads, layers) = (&head.name, head.reads, self.layers.len());
            if self.heads[..at].iter().any(|other| other.name == *name) {
                return Err(Error::Config(format!("two heads are called `{name}`, expected a name for each")));
            }
            if !(1..=layers).contains(&reads) {
                return Err(Error::Config(format!(
                    "head `{name}` reads what {reads} layers make, expected 1 to the {layers} layers of the network"
                )));
            }
        }
        Ok(())
    }

    fn check_residual(&self, at: usize, layer: &Layer, below: usize) -> Result<()> {
        let (kind, own) = (layer.kind(), layer.width(below));
        let fails =
            |what: String| Err(Error::Config(format!("layer {at} ({kind}) adds what it reads to its rows, {what}")));
        match (at, self.input) {
            (0, InputKind::Tokens(_)) => fails("but reads tokens".to_owned()),
            _ if own != below => fails(format!("but reads rows of {below} numbers and has {own}; expected as many")),
            _ => Ok(()),
        }
    }

    fn check_embedding(&self, at: usize, embedding: &Embedding) -> Result<()> {
        let fails = |what: String| Err(Error::Config(format!("layer {at} (embedding) {what}")));
        match (at, self.input, embedding.padding) {
            (0, InputKind::Tokens(tokens), Some(padding)) if padding >= tokens => {
                fails(format!("has padding id {padding}, but the network has {tokens} tokens, counted from 0"))
            }
            (0, InputKind::Tokens(_), _) => Ok(()),
            (0, input, _) => fails(format!("reads tokens, but the network reads {input:?}")),
            _ => fails("reads tokens, but stands above another layer; expected it to be layer 0".to_owned()),
        }
    }

    fn check_tied(&self) -> Result<()> {
        let Some(Layer::Embedding(embedding)) = self.layers.first() else {
            return Err(Error::Config("the read-out is tied to an embedding, but the network has none".to_owned()));
        };
        let ([given, read], tokens) = ([self.outputs, self.widths()[self.layers.len()]], self.input.size());
        if [given, read] == [tokens, embedding.width] {
            return Ok(());
        }
        let expected = embedding.width;
        Err(Error::Config(format!(
            "the read-out is tied to the embedding [{tokens}, {expected}], but has {given} outputs of rows of {read} \
             numbers; expected {tokens} outputs of rows of {expected}"
        )))
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
