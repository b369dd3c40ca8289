//! The configuration of a network: plain data, checked once, stored in every checkpoint.

use serde::{Deserialize, Serialize};

use super::activation::Activation;
use super::cells::{Cell, GateActivation};
use super::head::Head;
use super::input::{Column, InputKind};
use super::layers::{Dense, Directions, DropoutLayer, Embedding, Join, Layer, LayerNorm, Pool, Recurrent, Zoneout};
use super::shape::{BatchShape, Rows};

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
    /// U orthogonal (Saxe et al. 2014), its columns where h is projected; the rest as [`Init::Glorot`].
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
    /// What is read beside it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<Column>,
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
        let (columns, layers, heads) = (Vec::new(), Vec::new(), Vec::new());
        Config { input, columns, layers, outputs: 0, tied: false, heads, init: Init::Uniform, seed: 0 }
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

    /// The same network with a token more to read at every step, one of so many, each of which has a row of a table.
    pub fn token_column(mut self, name: impl Into<String>, tokens: usize, width: usize) -> Self {
        let embedding = Some(Embedding::new(width));
        self.columns.push(Column { name: name.into(), input: InputKind::Tokens(tokens), embedding });
        self
    }

    /// The same network with so many numbers more to read at every step.
    pub fn dense_column(mut self, name: impl Into<String>, features: usize) -> Self {
        self.columns.push(Column { name: name.into(), input: InputKind::Dense(features), embedding: None });
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

    /// The same network, the c of its recurrent layers cut off at ±`bound`.
    ///
    /// ```
    /// use recurrent::{Config, InputKind};
    /// let config = Config::lstm(InputKind::Dense(6), 32, 2).with_cell_clip(3.0);
    /// assert_eq!(config.recurrent_layers().next().unwrap().cell_clip, Some(3.0));
    /// ```
    pub fn with_cell_clip(self, bound: f64) -> Self {
        self.with_recurrent(|layer| layer.cell_clip = Some(bound))
    }

    /// The same network, the h of its recurrent layers projected to this many numbers.
    ///
    /// ```
    /// use recurrent::{Config, InputKind};
    /// let config = Config::lstm(InputKind::Dense(6), 32, 2).with_projection(8);
    /// assert_eq!(config.recurrent_layers().next().unwrap().width(), 8);
    /// ```
    pub fn with_projection(self, size: usize) -> Self {
        self.with_recurrent(|layer| layer.projection = Some(size))
    }

    /// The same network, each unit of h and of c of its recurrent layers keeping its state of the step before with
    /// these probabilities.
    ///
    /// ```
    /// use recurrent::{Config, InputKind};
    /// let config = Config::gru(InputKind::Dense(6), 32, 2).with_zoneout(0.1, 0.0);
    /// assert_eq!(config.recurrent_layers().next().unwrap().zoneout.h, 0.1);
    /// ```
    pub fn with_zoneout(self, h: f64, c: f64) -> Self {
        self.with_recurrent(|layer| layer.zoneout = Zoneout { h, c })
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
            head.reads = (head.reads - had).saturating_add(has);
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

    /// Returns how many numbers the state of so many sequences has: of each recurrent layer h `[B, D·H]`, with a
    /// projection `[B, D·P]`, and c `[B, D·H]` where its cell has one.
    pub fn state_len(&self, batch_size: usize) -> usize {
        let states = self.recurrent_layers().flat_map(|l| (0..l.cell.states()).map(|kind| l.state_width(kind)));
        states.fold(0, |sum: usize, width| sum.saturating_add(width)).saturating_mul(batch_size)
    }

    /// The same without what matters only before training.
    pub(crate) fn structure(&self) -> Self {
        let config = Config { init: Init::default(), seed: 0, ..self.clone() };
        config.with_recurrent(|layer| layer.forget_bias = None)
    }

    /// What is first another in an expected network, in words.
    pub(crate) fn difference(&self, expected: &Self) -> Option<String> {
        fn of<T: PartialEq + std::fmt::Debug>(what: &str, given: &T, expected: &T) -> Option<String> {
            (given != expected).then(|| format!("{what} {given:?}, expected {expected:?}"))
        }
        let layers = self.layers.iter().zip(&expected.layers).enumerate();
        let layer =
            || layers.clone().find_map(|(at, (given, expected))| of(&format!("layer {at} is"), given, expected));
        of("it reads", &self.input, &expected.input)
            .or_else(|| of("its columns are", &self.columns, &expected.columns))
            .or_else(layer)
            .or_else(|| of("its number of layers is", &self.layers.len(), &expected.layers.len()))
            .or_else(|| of("its number of outputs is", &self.outputs, &expected.outputs))
            .or_else(|| of("whether its read-out is tied is", &self.tied, &expected.tied))
            .or_else(|| of("its heads are", &self.heads, &expected.heads))
            .or_else(|| (self != expected).then(|| format!("it is {self:?}, expected {expected:?}")))
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

    /// The embedding of the inputs, where the lowest layer is one.
    pub(crate) fn embedding_of_inputs(&self) -> Option<&Embedding> {
        match self.layers.first() {
            Some(Layer::Embedding(embedding)) => Some(embedding),
            _ => None,
        }
    }

    /// Whether an embedding or a column has a table.
    pub(crate) fn has_table(&self) -> bool {
        self.embedding_of_inputs().is_some() || self.columns.iter().any(|column| column.embedding.is_some())
    }

    /// The width of what each layer reads, and behind them of what the read-out does.
    pub(crate) fn widths(&self) -> Vec<usize> {
        let columns = self.columns.iter().fold(0, |sum: usize, column| sum.saturating_add(column.width()));
        let mut width = match self.input {
            InputKind::Tokens(tokens) => tokens,
            InputKind::Dense(features) => features.saturating_add(columns),
        };
        let mut widths = vec![width];
        widths.extend(self.layers.iter().map(|layer| {
            width = layer.width(width);
            // Beside tokens they stand beside the rows of their table.
            if matches!(layer, Layer::Embedding(_)) {
                width = width.saturating_add(columns);
            }
            width
        }));
        widths
    }
}
