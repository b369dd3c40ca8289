//! From a model to a compiled network: its weights in the order in which a step reads them.
//!
//! The contract: what a step would have to decide is decided here, and what cannot be compiled is refused by name.

use pulp::{Arch, Simd, WithSimd};

use super::network::{Back, Kind, Network, Op, Stage};
use super::product::{Matrices, Product, Sum};
use super::row::{Normalization, ReadOut, Table};
use super::units::Settings;
use crate::error::{Error, Result};
use crate::model::{Activation, Cell, InputKind, Layer, Model, Pool, Recurrent, Reset, modules};

/// Compiles a network, with its weights in f32 or in int8.
///
/// # Errors
/// [`Error::Config`] for one that does not know its outputs step by step, and for one of columns, heads or a mean.
pub(crate) fn compile(model: &Model, is_int8: bool) -> Result<Network> {
    let config = model.config();
    check(model)?;
    let arch = arch(config.recurrent_layers().map(|layer| layer.hidden));
    let form = (arch.dispatch(Lanes), is_int8);
    let (modules, widths) = (modules(config), config.widths());
    let mut network = Network {
        arch,
        stages: Vec::new(),
        tokens: if let InputKind::Tokens(tokens) = config.input { Some(tokens) } else { None },
        inputs: if let InputKind::Dense(features) = config.input { features } else { 1 },
        outputs: config.outputs,
    };
    for (at, layer) in config.layers.iter().enumerate() {
        let module = modules.iter().find(|module| module.layers.contains(&at));
        let (prefix, first) = module.map_or(("", at), |module| (module.prefix.as_str(), module.layers.start));
        let of_layer = |name: &str| {
            let number = if layer.is_recurrent() { format!("_l{}", at - first) } else { String::new() };
            model.parameter(&format!("{prefix}{name}{number}")).unwrap_or_default()
        };
        let width = layer.width(widths[at]);
        let op = match layer {
            Layer::Pool(_) | Layer::Dropout(_) => continue,
            Layer::Embedding(_) => Op::Gather(Table::pack(is_int8, width, of_layer("weight"))),
            Layer::Recurrent(layer) => recurrent(form, layer, widths[at], of_layer),
            Layer::Dense(layer) => {
                let [w, bias] = [of_layer("weight"), of_layer("bias")];
                Op::Dense {
                    product: dense(form, (layer.units, widths[at]), w, bias, layer.activation),
                    activation: layer.activation,
                }
            }
            Layer::LayerNorm(layer) => {
                let [gain, bias] = [of_layer("weight"), of_layer("bias")];
                Op::Normalize(Normalization::pack(gain, bias, layer.epsilon))
            }
        };
        push(&mut network, op, Back::Last, [widths[at], width], at);
        if layer.is_residual() {
            let map = layer.residual_weight(at - first);
            match model.parameter(&format!("{prefix}{map}")) {
                None => push(&mut network, Op::Add(Back::LastButOne), Back::Last, [width; 2], at),
                Some(w) => {
                    let activation = Activation::Identity;
                    let product = dense(form, (width, widths[at]), w, &[], activation);
                    push(&mut network, Op::Dense { product, activation }, Back::LastButOne, [widths[at], width], at);
                    push(&mut network, Op::Add(Back::Last), Back::LastButOne, [width; 2], at);
                }
            }
        }
    }
    let (weight, bias) = model.layout().read_out();
    let [w, bias] = [weight, bias].map(|name| model.parameter(name).unwrap_or_default());
    let width = widths[config.layers.len()];
    let is_narrow = config.outputs * 4 <= form.0 && (network.tokens.is_none() || !network.stages.is_empty());
    let op = if is_narrow {
        Op::ReadOut(ReadOut::pack(is_int8, width, w, bias))
    } else {
        let activation = Activation::Identity;
        Op::Dense { product: dense(form, (config.outputs, width), w, bias, activation), activation }
    };
    push(&mut network, op, Back::Last, [width, config.outputs], config.layers.len());
    Ok(network)
}

/// Puts a stage behind the others: how many numbers it reads, and how many it makes.
fn push(network: &mut Network, op: Op, back: Back, [reads, width]: [usize; 2], layer: usize) {
    let reads = if network.stages.is_empty() && network.tokens.is_some() { 1 } else { reads };
    network.stages.push(Stage { op, back, reads, width, layer });
}

/// The numbers in a vector, and whether weights are of eight bits.
type Form = (usize, bool);

/// The numbers in a vector.
struct Lanes;

impl WithSimd for Lanes {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> usize {
        S::F32_LANES
    }
}

/// The machine's widest vectors, or those of half the length where layers of these sizes leave more of the long ones
/// empty.
fn arch(hidden: impl Iterator<Item = usize>) -> Arch {
    let widest = Arch::new();
    #[cfg(target_arch = "x86_64")]
    if let (Arch::V4(_), Some(half)) = (widest, pulp::x86::V3::try_new()) {
        let mut sizes = hidden.map(|hidden| (hidden.div_ceil(16) * 2, hidden.div_ceil(8)));
        if sizes.any(|(long, short)| short < long) {
            return Arch::V3(half);
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    drop(hidden);
    widest
}

/// A linear function of a row of `inputs` numbers to `units`, and the function around it.
fn dense(form: Form, (units, inputs): (usize, usize), w: &[f32], bias: &[f32], activation: Activation) -> Product {
    let matrices = Matrices { w, biases: [bias, &[]], ..Matrices::default() };
    let sums = [Sum { x: Some(0), h: None }];
    Product::pack(form, (units, inputs, 0), &sums, Settings::of_dense(activation), matrices)
}

/// A recurrent layer of its parameters, which are called for by name.
fn recurrent<'a>(form: Form, layer: &Recurrent, inputs: usize, parameter: impl Fn(&str) -> &'a [f32]) -> Op {
    let both = |gate| Sum { x: Some(gate), h: Some(gate) };
    let (cell, sums, second): (_, &[Sum], &[Sum]) = match layer.cell {
        Cell::Elman(_) => (Kind::Elman, &[both(0)], &[]),
        Cell::Lstm => (Kind::Lstm, &[both(0), both(1), both(2), both(3)], &[]),
        Cell::PeepholeLstm => (Kind::PeepholeLstm, &[both(0), both(1), both(2), both(3)], &[]),
        Cell::Cifg => (Kind::Cifg, &[both(0), both(1), both(2)], &[]),
        Cell::Gru(Reset::AfterProduct) => {
            let apart = [Sum { x: None, h: Some(2) }, Sum { x: Some(2), h: None }];
            (Kind::Gru, &[apart[0], both(0), both(1), apart[1]], &[])
        }
        Cell::Gru(Reset::BeforeProduct) => (Kind::GruBefore, &[both(0), both(1)], &[both(2)]),
    };
    let activation = if let Cell::Elman(activation) = layer.cell { activation } else { Activation::Tanh };
    let settings = Settings::of(layer, activation);
    let peepholes = ["weight_ci", "weight_cf", "weight_co"].map(&parameter);
    let matrices = Matrices {
        w: parameter("weight_ih"),
        u: parameter("weight_hh"),
        biases: [parameter("bias_ih"), parameter("bias_hh")],
        peepholes: layer.cell.has_peepholes().then_some(peepholes),
    };
    let of_sizes = (layer.hidden, inputs, layer.h_width());
    let projection = layer.projection.map(|size| {
        let w = parameter("weight_hr");
        let (sums, sizes_of) = ([Sum { x: Some(0), h: None }], (size, layer.hidden, 0));
        Box::new(Product::pack(form, sizes_of, &sums, settings.of_projection(), Matrices { w, ..Matrices::default() }))
    });
    let settings_of_cell = if projection.is_some() { settings.without_hold_of_h() } else { settings };
    let first = Product::pack(form, of_sizes, sums, settings_of_cell, matrices);
    let second = (!second.is_empty()).then(|| Box::new(Product::pack(form, of_sizes, second, settings, matrices)));
    Op::Recurrent { cell, first, second, projection }
}

/// Checks that a network can be compiled.
fn check(model: &Model) -> Result<()> {
    let config = model.config();
    if let Some(layer) = config.read_from_end() {
        return Err(Error::Config(format!(
            "{layer}, so no output is known before the end of a sequence; expected layers that read forwards \
             (Predictor runs this one)"
        )));
    }
    let why = if !config.columns.is_empty() {
        "reads columns beside its inputs; expected none"
    } else if !config.heads.is_empty() {
        "has heads; expected the network's own read-out alone"
    } else if !matches!(config.pooling(), None | Some(Pool::Last)) {
        "pools all its steps; expected no pool, or that of the last step"
    } else {
        return Ok(());
    };
    Err(Error::Config(format!("the network {why} (StreamingPredictor or Predictor runs this one)")))
}
