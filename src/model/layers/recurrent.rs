//! A recurrence over the steps: a cell, its size, the ways it reads, its biases and what it starts from.

use serde::{Deserialize, Serialize};

use super::{Draw, ParameterGroup};
use crate::error::{Error, Result};
use crate::model::activation::Activation;
use crate::model::cells::{Cell, GateActivation, Reset, Saved};
use crate::model::shape::check_size;

/// Which ways a recurrent layer reads its sequence.
///
/// ```
/// use recurrent::{Config, Directions, InputKind};
/// let config = Config::lstm(InputKind::Dense(13), 64, 10).with_directions(Directions::Bidirectional);
/// assert_eq!(config.recurrent_layers().next().unwrap().width(), 2 * 64);
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
    /// From the last valid step of each sequence to the first: the output at a step is the state after all steps from
    /// the end to there, at its own step as that of a reverse direction is. Its parameters have the names of a layer
    /// that reads forwards, `weight_ih_l0`, whose weights over sequences turned round are its own.
    Reverse,
}

impl Directions {
    /// D, how many there are.
    pub fn count(self) -> usize {
        match self {
            Directions::Forward | Directions::Reverse => 1,
            Directions::Bidirectional => 2,
        }
    }

    /// How it reads sequences, in words.
    pub(crate) fn describe(self) -> &'static str {
        match self {
            Directions::Forward => "forwards",
            Directions::Bidirectional => "both ways",
            Directions::Reverse => "from their end",
        }
    }
}

/// What a layer that reads both ways makes of what its directions say at a step.
///
/// ```
/// use recurrent::{Config, InputKind, Join, Model, Recurrent};
/// let lstm = Recurrent::lstm(64).bidirectional().with_join(Join::Sum);
/// let model = Model::new(Config::new(InputKind::Dense(6)).layer(lstm).outputs(2))?;
/// assert_eq!(model.layout().get("weight").unwrap().shape, [2, 64]); // as wide as one direction
/// # Ok::<(), recurrent::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(rename_all = "snake_case")]
pub enum Join {
    /// Both, side by side, `[2·H]`: PyTorch's way, and Keras' `merge_mode="concat"`.
    #[default]
    Concat,
    /// Their sum, `[H]`: Keras' "sum".
    Sum,
    /// Their mean, `[H]`: Keras' "ave".
    Mean,
    /// Their product, element by element, `[H]`: Keras' "mul".
    Product,
}

impl Join {
    /// Whether both stay as they are; a file says nothing of it then.
    fn is_concat(&self) -> bool {
        *self == Join::Concat
    }
}

/// How likely each unit of a recurrent layer keeps its state of the step before, by draws of its own at every step:
/// zoneout (Krueger et al. 2017).
///
/// In training h_t = z ⊙ h_(t-1) + (1 - z) ⊙ h̃_t, where h̃_t is what the cell makes and z, 0 or 1, is drawn anew for
/// every unit of every sequence at every step; of an LSTM and a CIFG c_t likewise, by draws of its own, and h̃_t is
/// made of what c would be without them. Of an h that is projected h̃_t is what the projection makes. Elsewhere the
/// rate stands in the place of z.
///
/// ```
/// use recurrent::{Recurrent, Zoneout};
/// assert_eq!(Recurrent::gru(32).with_zoneout(0.1, 0.0).zoneout, Zoneout { h: 0.1, c: 0.0 });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Zoneout {
    /// The rate of h, in \[0, 1).
    pub h: f64,
    /// The rate of c, in \[0, 1); 0 of a cell that has none.
    pub c: f64,
}

impl Zoneout {
    /// Whether nothing is kept by it; a file says nothing of it then.
    fn is_none(&self) -> bool {
        *self == Zoneout::default()
    }

    /// The rates, those of h and of c.
    pub(crate) fn rates(self) -> [f64; 2] {
        [self.h, self.c]
    }
}

/// A recurrent layer.
///
/// ```
/// use recurrent::{Config, InputKind, Recurrent};
/// // Layers of two cells and two sizes, the lower of them reading both ways.
/// let config = Config::new(InputKind::Tokens(100))
///     .layer(Recurrent::lstm(64).bidirectional())
///     .layer(Recurrent::gru(32).with_learned_initial_state(true))
///     .outputs(5);
/// # assert_eq!(config.layers.len(), 2);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(deny_unknown_fields)]
pub struct Recurrent {
    /// The cell.
    pub cell: Cell,
    /// H, the number of hidden units.
    pub hidden: usize,
    /// Which ways it reads its sequence.
    pub directions: Directions,
    /// Whether it has the biases b_W and b_U.
    pub bias: bool,
    /// Whether its initial state is learned; otherwise it is zero unless one is given.
    pub learned_initial_state: bool,
    /// What the forget gate's two biases sum to before training, where that is not left to [`Init`](crate::Init): 1
    /// lets an LSTM remember from the start (Jozefowicz, Zaremba & Sutskever 2015).
    pub forget_bias: Option<f64>,
    /// Whether what it reads is added to its output (He et al. 2016); where that is not as wide, by way of a linear map
    /// without bias, `weight_residual_l0` `[·, I]`.
    #[serde(default)]
    pub residual: bool,
    /// How what both directions say is joined.
    #[serde(default, skip_serializing_if = "Join::is_concat")]
    pub join: Join,
    /// What its gates are of their sums; the candidate, g or n, is tanh.
    #[serde(default, skip_serializing_if = "GateActivation::is_sigmoid")]
    pub gate_activation: GateActivation,
    /// The bound v that c keeps to, of an LSTM or a CIFG: c_t is cut off at ±v before it goes on to h_t and to the next
    /// step, and no gradient goes back through where it was; `cell_clip` of TensorFlow's `LSTMCell` (Sak, Senior &
    /// Beaufays 2014 clip theirs at 50).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cell_clip: Option<f64>,
    /// How likely its units keep their state of the step before.
    #[serde(default, skip_serializing_if = "Zoneout::is_none")]
    pub zoneout: Zoneout,
    /// P, what h is projected to, of an LSTM or a CIFG: h_t = W_hr·(o ⊙ tanh(c_t)), W_hr `[P, H]` without bias;
    /// `proj_size` of PyTorch's `nn.LSTM` (Sak, Senior & Beaufays 2014).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub projection: Option<usize>,
}

impl Recurrent {
    /// A layer of H units of a cell, which reads forwards, with biases, from a state of zeros.
    pub fn new(cell: Cell, hidden: usize) -> Self {
        Recurrent {
            cell,
            hidden,
            directions: Directions::Forward,
            bias: true,
            learned_initial_state: false,
            forget_bias: None,
            residual: false,
            join: Join::Concat,
            gate_activation: GateActivation::Sigmoid,
            cell_clip: None,
            zoneout: Zoneout::default(),
            projection: None,
        }
    }

    /// An Elman layer: h_t = tanh(W·x_t + b_W + U·h_(t-1) + b_U).
    pub fn elman(hidden: usize) -> Self {
        Self::new(Cell::Elman(Activation::Tanh), hidden)
    }

    /// An LSTM.
    pub fn lstm(hidden: usize) -> Self {
        Self::new(Cell::Lstm, hidden)
    }

    /// An LSTM whose input gate is what its forget gate leaves, i = 1 - f: three gates in place of four.
    ///
    /// ```
    /// use recurrent::{Config, InputKind, Layout, Recurrent};
    /// let config = Config::new(InputKind::Dense(6)).layer(Recurrent::cifg(64).with_forget_bias(1.0)).outputs(2);
    /// assert_eq!(Layout::new(&config)?.get("weight_hh_l0").unwrap().shape, [3 * 64, 64]); // rows of f, g and o
    /// # Ok::<(), recurrent::Error>(())
    /// ```
    pub fn cifg(hidden: usize) -> Self {
        Self::new(Cell::Cifg, hidden)
    }

    /// An LSTM whose gates see c, each unit its own: i and f see w_ci ⊙ c_(t-1) and w_cf ⊙ c_(t-1), o sees w_co ⊙ c_t
    /// (Gers, Schraudolph & Schmidhuber 2002).
    ///
    /// ```
    /// use recurrent::{Config, InputKind, Layout, Recurrent};
    /// let config = Config::new(InputKind::Dense(6)).layer(Recurrent::peephole_lstm(64)).outputs(2);
    /// assert_eq!(Layout::new(&config)?.get("weight_ci_l0").unwrap().shape, [64]);
    /// # Ok::<(), recurrent::Error>(())
    /// ```
    pub fn peephole_lstm(hidden: usize) -> Self {
        Self::new(Cell::PeepholeLstm, hidden)
    }

    /// A GRU, reset after the product.
    pub fn gru(hidden: usize) -> Self {
        Self::new(Cell::Gru(Reset::AfterProduct), hidden)
    }

    /// The same layer, reading both ways.
    pub fn bidirectional(self) -> Self {
        Recurrent { directions: Directions::Bidirectional, ..self }
    }

    /// The same layer, reading from the end alone.
    ///
    /// ```
    /// use recurrent::{Config, Directions, InputKind, Recurrent};
    /// // What comes after each step, and nothing of what came before.
    /// let config = Config::new(InputKind::Dense(6)).layer(Recurrent::gru(32).reversed()).outputs(2);
    /// # assert_eq!(config.recurrent_layers().next().unwrap().directions, Directions::Reverse);
    /// ```
    pub fn reversed(self) -> Self {
        Recurrent { directions: Directions::Reverse, ..self }
    }

    /// The same layer with or without biases.
    pub fn with_bias(self, bias: bool) -> Self {
        Recurrent { bias, ..self }
    }

    /// The same layer, its initial state learned or not.
    pub fn with_learned_initial_state(self, learned_initial_state: bool) -> Self {
        Recurrent { learned_initial_state, ..self }
    }

    /// The same LSTM with its forget gates' biases set before training.
    pub fn with_forget_bias(self, forget_bias: f64) -> Self {
        Recurrent { forget_bias: Some(forget_bias), ..self }
    }

    /// The same layer with what it reads added to its output.
    ///
    /// ```
    /// use recurrent::{Config, InputKind, Layout, Recurrent};
    /// let lstm = Recurrent::lstm(8).residual();
    /// // The second is as wide as what it reads, the first is not.
    /// let layout = Layout::new(&Config::new(InputKind::Dense(3)).layer(lstm).layer(lstm).outputs(2))?;
    /// assert_eq!(layout.get("weight_residual_l0").unwrap().shape, [8, 3]);
    /// assert!(layout.get("weight_residual_l1").is_none());
    /// # Ok::<(), recurrent::Error>(())
    /// ```
    pub fn residual(self) -> Self {
        Recurrent { residual: true, ..self }
    }

    /// The same layer, its gates being this function of their sums.
    pub fn with_gate_activation(self, gate_activation: GateActivation) -> Self {
        Recurrent { gate_activation, ..self }
    }

    /// The same layer, its two directions joined so.
    pub fn with_join(self, join: Join) -> Self {
        Recurrent { join, ..self }
    }

    /// The same layer, its c cut off at ±`bound`.
    ///
    /// ```
    /// use recurrent::{Config, InputKind, Model, Recurrent};
    /// let lstm = Recurrent::lstm(32).with_cell_clip(3.0);
    /// let model = Model::new(Config::new(InputKind::Dense(6)).layer(lstm).outputs(2))?;
    /// # assert_eq!(model.config().recurrent_layers().next().unwrap().cell_clip, Some(3.0));
    /// # Ok::<(), recurrent::Error>(())
    /// ```
    pub fn with_cell_clip(self, bound: f64) -> Self {
        Recurrent { cell_clip: Some(bound), ..self }
    }

    /// The same layer, each unit of h and of c keeping its state of the step before with these probabilities; that of c
    /// is 0 of a cell that has none.
    ///
    /// ```
    /// use recurrent::{Config, InputKind, Model, Recurrent};
    /// // What the paper found best on characters.
    /// let lstm = Recurrent::lstm(32).with_zoneout(0.05, 0.5);
    /// let model = Model::new(Config::new(InputKind::Dense(6)).layer(lstm).outputs(2))?;
    /// # assert_eq!(model.config().recurrent_layers().next().unwrap().zoneout.c, 0.5);
    /// # Ok::<(), recurrent::Error>(())
    /// ```
    pub fn with_zoneout(self, h: f64, c: f64) -> Self {
        Recurrent { zoneout: Zoneout { h, c }, ..self }
    }

    /// The same layer, its h projected to this many numbers, fewer than it has units.
    ///
    /// ```
    /// use recurrent::{Config, InputKind, Layout, Recurrent};
    /// let lstm = Recurrent::lstm(512).with_projection(128);
    /// let layout = Layout::new(&Config::new(InputKind::Dense(40)).layer(lstm).outputs(10))?;
    /// assert_eq!(layout.get("weight_hh_l0").unwrap().shape, [4 * 512, 128]);
    /// assert_eq!(layout.get("weight_hr_l0").unwrap().shape, [128, 512]);
    /// assert_eq!(layout.get("weight").unwrap().shape, [10, 128]); // as wide as h
    /// # Ok::<(), recurrent::Error>(())
    /// ```
    pub fn with_projection(self, size: usize) -> Self {
        Recurrent { projection: Some(size), ..self }
    }

    /// Returns the width of its output: that of h, of both directions where they stand side by side: D·H, D·P with a
    /// projection, or of one where they are joined.
    pub fn width(&self) -> usize {
        if self.join.is_concat() { self.state_width(0) } else { self.h_width() }
    }

    /// P, or H without a projection: the width of h of one direction.
    pub(crate) fn h_width(&self) -> usize {
        self.projection.unwrap_or(self.hidden)
    }

    /// The width of its state of a kind: of h, which is 0, D·H, or D·P with a projection; of c D·H.
    pub(crate) fn state_width(&self, kind: usize) -> usize {
        self.directions.count().saturating_mul(if kind == 0 { self.h_width() } else { self.hidden })
    }

    /// D·G·H, the width of its gates.
    pub(crate) fn gates(&self) -> usize {
        self.directions.count().saturating_mul(self.hidden).saturating_mul(self.cell.gates())
    }

    pub(super) fn kind(&self) -> &'static str {
        match self.cell {
            Cell::Elman(_) => "rnn",
            Cell::Lstm => "lstm",
            Cell::Gru(_) => "gru",
            Cell::Cifg => "cifg",
            Cell::PeepholeLstm => "peephole_lstm",
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        check_size("hidden units (H)", self.hidden)?;
        if !self.join.is_concat() && self.directions != Directions::Bidirectional {
            let (join, directions) = (self.join, self.directions.describe());
            return Err(Error::Config(format!(
                "its directions are joined by {join:?}, but it reads sequences {directions}; expected Join::Concat, or \
                 both ways"
            )));
        }
        if let Cell::Elman(activation) = self.cell
            && !matches!(activation, Activation::Tanh | Activation::Relu)
        {
            return Err(Error::Config(format!(
                "the activation of an Elman cell is {activation:?}, expected Tanh or Relu"
            )));
        }
        if !self.gate_activation.is_sigmoid() && !self.cell.is_gated() {
            let (function, cell) = (self.gate_activation, self.cell.name());
            return Err(Error::Config(format!(
                "its gates are to be {function:?} of their sums, but a cell of kind {cell} has none; expected \
                 GateActivation::Sigmoid"
            )));
        }
        if let Some(bound) = self.cell_clip {
            if self.cell.saved() != Saved::State {
                let cell = self.cell.name();
                return Err(Error::Config(format!(
                    "its c is to be cut off at {bound}, but a cell of kind {cell} has none"
                )));
            }
            if !((bound as f32).is_finite() && bound as f32 > 0.0) {
                return Err(Error::Config(format!(
                    "its c is to be cut off at {bound}, expected a finite number above 0"
                )));
            }
        }
        for (state, rate) in ["h", "c"].into_iter().zip(self.zoneout.rates()) {
            if !(0.0..1.0).contains(&(rate as f32)) {
                return Err(Error::Config(format!(
                    "its zoneout of {state} is {rate}, expected at least 0 and less than 1"
                )));
            }
        }
        if self.zoneout.c > 0.0 && self.cell.saved() != Saved::State {
            let (rate, cell) = (self.zoneout.c, self.cell.name());
            return Err(Error::Config(format!("its zoneout of c is {rate}, but a cell of kind {cell} has no c")));
        }
        if let Some(size) = self.projection {
            if self.cell.saved() != Saved::State || self.cell.has_peepholes() {
                let cell = self.cell.name();
                return Err(Error::Config(format!(
                    "its h is to be projected to {size} numbers, but a cell of kind {cell} has no projection; expected \
                     an LSTM or a CIFG"
                )));
            }
            if size == 0 || size >= self.hidden {
                let hidden = self.hidden;
                return Err(Error::Config(format!(
                    "its h is to be projected to {size} numbers, expected at least 1 and fewer than its {hidden} \
                     hidden units"
                )));
            }
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

    /// Those of every step. What it starts from stands apart, as the whole module has it in one tensor.
    pub(super) fn parameters(&self, number: usize, below: usize) -> Vec<ParameterGroup> {
        let (hidden, gates) = (self.hidden, self.cell.gates());
        let rows = hidden.saturating_mul(gates);
        let ways = ["", "_reverse"].into_iter().take(self.directions.count());
        let group = |name: &str, shape: Vec<usize>, draw| {
            let names = ways.clone().map(|way| format!("{name}_l{number}{way}")).collect();
            ParameterGroup { names, shape, draw }
        };
        let mut all = vec![
            group("weight_ih", vec![rows, below], Draw::Weight { blocks: gates, fan: hidden }),
            group("weight_hh", vec![rows, self.h_width()], Draw::Recurrent { fan: hidden }),
        ];
        if self.bias {
            // The sum stands in one of the two.
            let draw = |sum: f64| match (self.forget_bias.map(|_| sum as f32), self.cell.forget_gate()) {
                (Some(value), Some(gate)) => Draw::Forget { fan: hidden, start: gate * hidden, value },
                _ => Draw::Bias { fan: hidden },
            };
            all.push(group("bias_ih", vec![rows], draw(self.forget_bias.unwrap_or(0.0))));
            all.push(group("bias_hh", vec![rows], draw(0.0)));
        }
        if self.cell.has_peepholes() {
            // One group, so that all three lie side by side.
            let names = ["weight_ci", "weight_cf", "weight_co"].into_iter();
            let names = names.flat_map(|name| group(name, Vec::new(), Draw::Zero).names).collect();
            all.push(ParameterGroup { names, shape: vec![hidden], draw: Draw::Bias { fan: hidden } });
        }
        if let Some(size) = self.projection {
            all.push(group("weight_hr", vec![size, hidden], Draw::Weight { blocks: 1, fan: hidden }));
        }
        all
    }
}
