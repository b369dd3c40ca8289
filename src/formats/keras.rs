//! A network from the arrays of a Keras model, and back: kernels stand the other way round, gates in another order.
//!
//! The contract: every array is held against the configuration by its shape, and what comes out, on either side,
//! computes what went in does.

use crate::allocate::zeros;
use crate::error::{Error, Result};
use crate::model::{
    ALLOCATING, Cell, Config, Directions, Layer, Layout, Model, Module, Parameter, Recurrent, Reset, Zoneout,
    find_not_finite, modules,
};

/// An array of Keras' and the parameters that it holds, one behind the other.
struct Array {
    what: String,
    holds: Vec<String>,
    /// A bias that Keras adds up with the one that it holds: zero on the way in, folded on the way out.
    folds: Option<String>,
    /// Which block of its columns each gate's rows come from.
    gates: &'static [usize],
    /// Whether it stands the same way round.
    as_it_is: bool,
}

impl Model {
    /// A network of a Keras model's arrays: shapes and values, row by row, in the order of the model's `get_weights()`.
    ///
    /// The model is a list of `Embedding`, `SimpleRNN`, `LSTM` and `GRU` layers, each in a `Bidirectional` where both
    /// directions are read, `Dense` and `LayerNormalization` layers, and a last `Dense` layer without activation:
    ///
    /// | array | shape | becomes |
    /// |---|---|---|
    /// | `kernel` | `[I, G·H]`, above layer 0 `[D·H, G·H]`, where directions are joined `[H, G·H]` | W, transposed |
    /// | `recurrent_kernel` | `[H, G·H]` | U, transposed |
    /// | `bias`, unless `use_bias=False` | `[G·H]` | b_W; b_U is zero |
    /// | `bias` of a GRU with `reset_after=True` | `[2, 3·H]` | b_W and b_U |
    /// | `embeddings` of an `Embedding` | `[V, E]` | its table |
    /// | `kernel`, `bias` of a `Dense` layer | `[·, units]`, `[units]` | W, transposed, and b |
    /// | `gamma`, `beta` of a `LayerNormalization` | `[·]` each | its gain and bias |
    /// | `kernel` of the last `Dense` layer | `[·, O]` | V, transposed |
    /// | `bias` of the last `Dense` layer | `[O]` | its bias; zero where the array is left out |
    ///
    /// Keras' gates are i, f, c, o and z, r, h; this crate's are i, f, g, o and r, z, n. A `Bidirectional` has the
    /// forward layer's arrays first. What Keras has no array for, a learned initial state, is zero, as in a new model.
    ///
    /// A layer with `go_backwards=True` is one of [`Directions::Reverse`]. Keras hands its outputs on in the order in
    /// which it has read, the last step's first, this crate each at its own step: above such a layer a Keras model
    /// turns them round (`keras.ops.flip`), unless it is the last and has `return_sequences=False`.
    ///
    /// No array tells of the layers' options: `reset_after` has to be that of the configuration's [`Reset`],
    /// `merge_mode` that of its [`Join`](crate::Join), `recurrent_activation` that of its
    /// [`GateActivation`](crate::GateActivation), the others Keras 3's defaults, tanh and the logistic function (but
    /// relu in a `SimpleRNN`, where the configuration has it); a `LayerNormalization` has the configuration's
    /// `epsilon`, which by default is another. All but the last layer have `return_sequences=True`; the last has it
    /// where the read-out is at every step.
    ///
    /// On Keras' torch backend some of the arrays are views with the columns first, which `safetensors.numpy` writes as
    /// if they were not: hand it `numpy.ascontiguousarray(w)`.
    ///
    /// ```
    /// use recurrent::{Config, InputKind, Model};
    /// let (kernel, recurrent_kernel, bias) = ([0.1; 3 * 8], [0.2; 2 * 8], [0.3; 8]); // I = 3, H = 2
    /// let (dense_kernel, dense_bias) = ([0.4; 2], [0.5]); // O = 1
    /// let model = Model::from_keras(
    ///     Config::lstm(InputKind::Dense(3), 2, 1),
    ///     [
    ///         (&[3, 8][..], &kernel[..]),
    ///         (&[2, 8], &recurrent_kernel),
    ///         (&[8], &bias),
    ///         (&[2, 1], &dense_kernel),
    ///         (&[1], &dense_bias),
    ///     ],
    /// )?;
    /// assert_eq!(model.parameter("bias_hh_l0"), Some(&[0.0; 8][..]));
    /// # Ok::<(), recurrent::Error>(())
    /// ```
    ///
    /// # Errors
    /// Same as [`Model::new`]; [`Error::Data`] for another number of arrays and for a value that is not finite;
    /// [`Error::Shape`] for an array of another shape, by its name and layer.
    pub fn from_keras<'a>(config: Config, weights: impl IntoIterator<Item = (&'a [usize], &'a [f32])>) -> Result<Self> {
        let layout = Layout::new(&config)?;
        let (arrays, weights) = (arrays(&config)?, Vec::from_iter(weights));
        // The last is the Dense layer's bias.
        if !(arrays.len() - 1..=arrays.len()).contains(&weights.len()) {
            return Err(Error::Data(format!(
                "{} Keras arrays are given, expected {} (or one less, without the Dense layer's bias): {}, kernel and \
                bias of the Dense layer",
                weights.len(),
                arrays.len(),
                modules(&config).iter().map(|module| describe(module, &config)).collect::<Vec<_>>().join(", "),
            )));
        }
        let mut values = zeros(layout.buffer_len(), ALLOCATING)?;
        for (array, (shape, given)) in arrays.iter().zip(weights) {
            let Array { what, gates, as_it_is, .. } = array;
            let parameters = array.parameters(&layout);
            let expected = array.shape(&parameters);
            if shape != expected {
                return Err(Error::shape(what, &expected, shape));
            }
            let expected: usize = parameters.iter().map(|p| p.len()).sum();
            if given.len() != expected {
                return Err(Error::shape(what, &[expected], &[given.len()]));
            }
            if let Some((at, value)) = find_not_finite(given) {
                return Err(Error::Data(format!("{what} holds {value} at element {at}")));
            }
            for (parameter, given) in parameters.iter().zip(given.chunks(expected / parameters.len())) {
                let out = &mut values[parameter.range()];
                if *as_it_is { out.copy_from_slice(given) } else { transpose(given, gates, parameter, out) }
            }
        }
        Ok(Model::from_flat(config, layout, values))
    }

    /// The arrays of a Keras model that computes what this network does, shapes and values, row by row, for its
    /// `set_weights()`: the way back of [`Model::from_keras`], which has the table.
    ///
    /// They are in the order of `get_weights()`, with the last `Dense` layer's bias: where the model has
    /// `use_bias=False` there, that array is all zeros, and to be left out. The model's options have to be those of the
    /// configuration, `epsilon` of a `LayerNormalization` among them; a way past a layer (`residual`) is an `Add` of
    /// Keras', without arrays or, where the widths differ, of a `Dense` without bias, made after the layer: its
    /// `kernel` follows the layer's arrays.
    ///
    /// Where Keras has one bias for a gate it is b_W + b_U, rounded to f32: both are added to the same sum in an
    /// Elman cell, an LSTM and a GRU reset before the product. A GRU reset after it has both in Keras, too. Where b_U
    /// is zero, what is written comes back bit for bit.
    ///
    /// ```
    /// use recurrent::{Config, InputKind, Model};
    /// let config = Config::gru(InputKind::Dense(3), 2, 1);
    /// let arrays = Model::new(config.clone())?.to_keras()?;
    /// let shapes: Vec<&[usize]> = arrays.iter().map(|(shape, _)| shape.as_slice()).collect();
    /// assert_eq!(shapes, [&[3, 6][..], &[2, 6], &[2, 6], &[2, 1], &[1]]);
    /// let again = Model::from_keras(config.clone(), arrays.iter().map(|(shape, values)| (&shape[..], &values[..])))?;
    /// assert_eq!(again, Model::new(config)?);
    /// # Ok::<(), recurrent::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Config`] for a read-out that is tied to the embedding, for heads and columns, for a cell that Keras has
    /// not, for a c that is cut off, for zoneout and for an h that is projected; [`Error::Data`] for a learned initial
    /// state that is not zero, which no Keras layer has, for two biases whose sum f32 cannot hold, and for a value that
    /// is not finite; [`Error::OutOfMemory`].
    pub fn to_keras(&self) -> Result<Vec<(Vec<usize>, Vec<f32>)>> {
        let (layout, arrays) = (self.layout(), arrays(self.config())?);
        for (name, _, values) in self.tensors() {
            let is_state = name.rsplit('.').next().is_some_and(|own| matches!(own, "h_0" | "c_0"));
            if let Some((at, value)) = values.iter().enumerate().find(|(_, value)| is_state && **value != 0.0) {
                return Err(Error::Data(format!(
                    "the learned initial state `{name}` holds {value} at element {at}, expected zeros: no Keras layer \
                    learns one"
                )));
            }
        }
        let mut all = Vec::with_capacity(arrays.len());
        for array in &arrays {
            let parameters = array.parameters(layout);
            let mut values = zeros(parameters.iter().map(|p| p.len()).sum(), WRITING)?;
            let len = values.len() / parameters.len();
            for (parameter, out) in parameters.iter().zip(values.chunks_mut(len)) {
                let own = &self.values()[parameter.range()];
                if array.as_it_is { out.copy_from_slice(own) } else { transpose_back(own, array.gates, parameter, out) }
            }
            if let Some((at, value)) = find_not_finite(&values) {
                return Err(Error::Data(format!("{} holds {value} at element {at}", array.what)));
            }
            if let Some(folded) = array.folds.as_ref().and_then(|name| layout.get(name)) {
                let mut second = zeros(folded.len(), WRITING)?;
                transpose_back(&self.values()[folded.range()], array.gates, folded, &mut second);
                fold(array, &mut values, &second)?;
            }
            all.push((array.shape(&parameters), values));
        }
        Ok(all)
    }
}

const WRITING: &str = "writing the arrays of a Keras model";

/// Adds b_U to b_W. Zeros of b_U leave the sign of b_W's.
fn fold(Array { what, folds, .. }: &Array, bias: &mut [f32], second: &[f32]) -> Result<()> {
    for (at, (bias, second)) in bias.iter_mut().zip(second).enumerate().filter(|(_, (_, second))| **second != 0.0) {
        let sum = *bias + *second;
        if !sum.is_finite() {
            return Err(Error::Data(format!(
                "{what} is the sum of two biases, {bias} and, of `{}`, {second} at element {at}, which f32 cannot hold",
                folds.as_deref().unwrap_or_default()
            )));
        }
        *bias = sum;
    }
    Ok(())
}

impl Array {
    fn parameters<'a>(&self, layout: &'a Layout) -> Vec<&'a Parameter> {
        self.holds.iter().filter_map(|name| layout.get(name)).collect()
    }

    fn shape(&self, parameters: &[&Parameter]) -> Vec<usize> {
        if self.as_it_is { parameters[0].shape.clone() } else { shape_in_keras(parameters) }
    }
}

/// The arrays of a module, in words.
fn describe(module: &Module, config: &Config) -> String {
    let (first, widths) = (module.layers.start, config.widths());
    // Of equal layers above it both are as wide.
    let has_map = module.layer.is_residual() && widths[first] != widths[first + 1];
    let past = if has_map { " and the kernel of the way past the first" } else { "" };
    let layer = match module.layer {
        Layer::Recurrent(layer) => layer,
        Layer::Embedding(_) => return "embeddings".to_owned(),
        Layer::LayerNorm(_) => return "gamma and beta".to_owned(),
        _ if has_map => return "kernel and bias and the kernel of the way past".to_owned(),
        _ => return "kernel and bias".to_owned(),
    };
    let arrays = match (layer.directions, layer.bias) {
        (Directions::Forward | Directions::Reverse, true) => "kernel, recurrent_kernel and bias",
        (Directions::Forward | Directions::Reverse, false) => "kernel and recurrent_kernel",
        (Directions::Bidirectional, true) => "kernel, recurrent_kernel and bias, forward and then backward,",
        (Directions::Bidirectional, false) => "kernel and recurrent_kernel, forward and then backward,",
    };
    format!("{arrays} for each of {} layers{past}", module.layers.len())
}

/// What `get_weights()` of such a model returns, in its order.
fn arrays(config: &Config) -> Result<Vec<Array>> {
    if let Some(column) = config.columns.first() {
        return Err(Error::Config(format!(
            "the network has a column `{}`, but a list of Keras layers reads one input",
            column.name
        )));
    }
    if let Some(head) = config.heads.first() {
        return Err(Error::Config(format!(
            "the network has a head `{}`, but a list of Keras layers has one read-out",
            head.name
        )));
    }
    if config.tied {
        return Err(Error::Config("the read-out is tied to the embedding, which no Keras layer is".to_owned()));
    }
    let (mut arrays, widths) = (Vec::new(), config.widths());
    for Module { prefix, layers, layer } in modules(config) {
        for (number, at) in layers.enumerate() {
            let own = |array: &str, name: &str, as_it_is| Array {
                what: format!("{array} of Keras layer {at} ({})", layer.kind()),
                holds: vec![format!("{prefix}{name}")],
                folds: None,
                gates: &[0],
                as_it_is,
            };
            match layer {
                Layer::Recurrent(layer) => {
                    arrays.extend(of_layer(&layer, at, |name| format!("{prefix}{name}_l{number}"))?);
                }
                Layer::Embedding(_) => arrays.push(own("`embeddings`", "weight", true)),
                Layer::LayerNorm(_) => {
                    arrays.extend([own("`gamma`", "weight", false), own("`beta`", "bias", false)]);
                }
                Layer::Dense(dense) => {
                    arrays.push(own("`kernel`", "weight", false));
                    arrays.extend(dense.bias.then(|| own("`bias`", "bias", false)));
                }
                Layer::Dropout(_) | Layer::Pool(_) => {}
            }
            if layer.is_residual() && widths[at] != widths[at + 1] {
                arrays.push(own("`kernel` of the way past", &layer.residual_weight(number), false));
            }
        }
    }
    let layout = Layout::new(config)?;
    let (weight, bias) = layout.read_out();
    for (array, name) in [("`kernel`", weight), ("`bias`", bias)] {
        arrays.push(Array {
            what: format!("{array} of the Keras Dense layer"),
            holds: vec![name.to_owned()],
            folds: None,
            gates: &[0],
            as_it_is: false,
        });
    }
    Ok(arrays)
}

/// Those of a recurrent layer of the network, whose parameters are called so.
fn of_layer(layer: &Recurrent, at: usize, name: impl Fn(&str) -> String) -> Result<Vec<Array>> {
    let (gates, bias, holds): (&[usize], _, &[&str]) = match layer.cell {
        Cell::Elman(_) => (&[0], "`bias`", &["bias_ih"]),
        Cell::Lstm => (&[0, 1, 2, 3], "`bias`", &["bias_ih"]),
        Cell::Gru(Reset::AfterProduct) => (&[1, 0, 2], "`bias` (of reset_after=True)", &["bias_ih", "bias_hh"]),
        Cell::Gru(Reset::BeforeProduct) => (&[1, 0, 2], "`bias` (of reset_after=False)", &["bias_ih"]),
        #[allow(unreachable_patterns, reason = "a cell without a Keras equivalent may be added")]
        other => return Err(Error::Config(format!("Keras has no layer of the cell {}", other.name()))),
    };
    if let Some(bound) = layer.cell_clip {
        return Err(Error::Config(format!("c of layer {at} is cut off at {bound}, which no Keras layer does")));
    }
    if layer.zoneout.rates().iter().any(|rate| *rate > 0.0) {
        let Zoneout { h, c } = layer.zoneout;
        return Err(Error::Config(format!("layer {at} has a zoneout of h {h} and c {c}, which no Keras layer has")));
    }
    if let Some(size) = layer.projection {
        return Err(Error::Config(format!(
            "h of layer {at} is projected to {size} numbers, which no Keras layer does"
        )));
    }
    let ways: &[(&str, &str)] = match layer.directions {
        Directions::Forward | Directions::Reverse => &[("", "")],
        Directions::Bidirectional => &[("", ", forward"), ("_reverse", ", backward")],
    };
    let mut arrays = Vec::new();
    for (suffix, way) in ways {
        let mut push = |array: &str, holds: &[&str], folds: Option<&str>| {
            let of = |held: &str| format!("{}{suffix}", name(held));
            arrays.push(Array {
                what: format!("{array} of Keras layer {at}{way}"),
                holds: holds.iter().map(|held| of(held)).collect(),
                folds: folds.map(of),
                gates,
                as_it_is: false,
            });
        };
        push("`kernel`", &["weight_ih"], None);
        push("`recurrent_kernel`", &["weight_hh"], None);
        if layer.bias {
            push(bias, holds, Some("bias_hh").filter(|second| !holds.contains(second)));
        }
    }
    Ok(arrays)
}

/// A matrix the other way round; of several biases, a row each.
fn shape_in_keras(parameters: &[&Parameter]) -> Vec<usize> {
    let mut shape: Vec<usize> = parameters.iter().take(1).flat_map(|p| p.shape.iter().rev().copied()).collect();
    if parameters.len() > 1 {
        shape.insert(0, parameters.len());
    }
    shape
}

/// Which of Keras' columns a row is.
fn column(row: usize, rows: usize, gates: &[usize]) -> usize {
    let block = rows / gates.len();
    gates[row / block] * block + row % block
}

/// From Keras' `[n, G·H]` to `[G·H, n]`, a block of rows for every gate; a bias is a matrix of n = 1.
fn transpose(given: &[f32], gates: &[usize], parameter: &Parameter, out: &mut [f32]) {
    let rows = parameter.shape[0];
    for (row, out) in out.chunks_mut(parameter.len() / rows).enumerate() {
        let from = column(row, rows, gates);
        for (out, given) in out.iter_mut().zip(given.chunks(rows)) {
            *out = given[from];
        }
    }
}

/// From `[G·H, n]` to Keras' `[n, G·H]`.
fn transpose_back(values: &[f32], gates: &[usize], parameter: &Parameter, out: &mut [f32]) {
    let rows = parameter.shape[0];
    for (row, values) in values.chunks(parameter.len() / rows).enumerate() {
        let to = column(row, rows, gates);
        for (out, value) in out.chunks_mut(rows).zip(values) {
            out[to] = *value;
        }
    }
}
