//! The plain oracle: a network's outputs, loss, final state and gradients as scalar loops in f64, from the literature's
//! formulas; of the crate it uses configurations and the places of parameters, and no executor.
//!
//! The contract: it is obvious and never tuned. Only the way forward is written down, sequence by sequence and number
//! by number; the gradient follows from it by the chain rule (`tape.rs`). It knows every layer and cell, directions,
//! lengths, biases, given and learned initial states, tokens and vectors, the losses and the loss mask.
//! What zoneout keeps is drawn elsewhere and given, or its mean.
//! It leaves to others: clipping, optimisers and the gradient of a given state (`pytorch.rs`), dropout
//! (`finite_differences.rs`), segments of a window (`properties.rs`), carried states (`tests/training/`).

mod tape;

use std::collections::HashMap;

use recurrent::BatchShape;
use recurrent::recipe::Loss;
use recurrent::{
    Activation, Cell, Config, Dense, Directions, Embedding, GateActivation, InputKind, Join, Layer, Layout, Pool,
    Recurrent, Reset,
};

use self::tape::{Number, Tape};
use crate::common::heads::{Targets, head_label_count, head_losses};
use crate::common::lists::prefix_of;
use crate::common::network::{Inputs, Window};
use crate::common::states::{StatePart, states};

/// What zoneout keeps of state 0, h, or 1, c, of a layer: zeros and ones `[T, B, D·H]`.
pub type Draws = HashMap<(usize, usize), Vec<f64>>;

/// What a training step makes of a window before it updates anything.
pub struct Results {
    /// `[T, B, O]` or `[B, O]`, the network's own and then each head's; zeros behind the end of a sequence.
    pub outputs: Vec<f64>,
    /// The mean over the positions that count, and each head's, times its weight, added up.
    pub loss: f64,
    /// In the order of the parameters.
    pub gradients: Vec<f64>,
    /// After the last step of each sequence.
    pub state: Vec<f64>,
}

/// The parameters of one layer and direction; the rows of gate k are k·H to (k + 1)·H. No biases are empty ones.
struct Weights<'p, 'a> {
    w: &'p [Number<'a>],
    u: &'p [Number<'a>],
    b_w: &'p [Number<'a>],
    b_u: &'p [Number<'a>],
    /// w_ci, w_cf and w_co.
    peepholes: [&'p [Number<'a>]; 3],
    w_hr: &'p [Number<'a>],
}

/// Row `row` of M·v + b.
fn affine<'a>(m: &[Number<'a>], v: &[Number<'a>], b: &[Number<'a>], row: usize) -> Number<'a> {
    let mut sum = m[row * v.len()] * v[0];
    for i in 1..v.len() {
        sum = sum + m[row * v.len() + i] * v[i];
    }
    if b.is_empty() { sum } else { sum + b[row] }
}

/// h_t, and c_t of an LSTM, from x_t, h_(t-1) and c_(t-1).
fn step<'a>(
    (cell, gate, clip): (Cell, GateActivation, Option<f64>),
    Weights { w, u, b_w, b_u, peepholes: [w_ci, w_cf, w_co], w_hr }: &Weights<'_, 'a>,
    (x, h, c): (&[Number<'a>], &[Number<'a>], &[Number<'a>]),
) -> (Vec<Number<'a>>, Vec<Number<'a>>) {
    let hidden = if c.is_empty() { h.len() } else { c.len() };
    let units = 0..hidden;
    // Of gate k and unit j.
    let of_x = |k: usize, j: usize| affine(w, x, b_w, k * hidden + j);
    let of_h = |k: usize, j: usize| affine(u, h, b_u, k * hidden + j);
    let sum = |k: usize, j: usize| of_x(k, j) + of_h(k, j);
    // The function around a gate's sum: `hard_sigmoid` of Keras 3, and of Keras 2.
    let gate = |sum: Number<'a>| match gate {
        GateActivation::Sigmoid => sum.sigmoid(),
        GateActivation::HardSigmoid => sum.hard_sigmoid(1.0 / 6.0),
        GateActivation::SteepHardSigmoid => sum.hard_sigmoid(0.2),
        _ => panic!("a function that the reference does not know"),
    };
    // Sak, Senior & Beaufays, *Long Short-Term Memory Recurrent Neural Network Architectures for Large Scale Acoustic
    // Modeling*, 2014, section 3; `cell_clip` of TensorFlow's `LSTMCell`.
    let cut = |c: Number<'a>| clip.map_or(c, |bound| c.clipped(bound));
    // The same paper, equation 7, where a projection makes r_t of m_t; `proj_size` of PyTorch's `nn.LSTM`.
    let projected = |m_t: Vec<Number<'a>>| match w_hr.len() / hidden {
        0 => m_t,
        size => (0..size).map(|row| affine(w_hr, &m_t, &[], row)).collect(),
    };
    match cell {
        // h_t = f(W·x_t + b_W + U·h_(t-1) + b_U): Elman, *Finding Structure in Time*, 1990.
        Cell::Elman(Activation::Tanh) => (units.map(|j| sum(0, j).tanh()).collect(), Vec::new()),
        Cell::Elman(Activation::Relu) => (units.map(|j| sum(0, j).relu()).collect(), Vec::new()),
        // c_t = f ⊙ c_(t-1) + i ⊙ g, h_t = o ⊙ tanh(c_t), gates in the order i, f, g, o: Hochreiter & Schmidhuber,
        // *Long Short-Term Memory*, 1997; Gers, Schmidhuber & Cummins, *Learning to Forget*, 2000.
        Cell::Lstm => {
            let (mut h_t, mut c_t) = (Vec::new(), Vec::new());
            for j in units {
                let (i, f, g, o) = (gate(sum(0, j)), gate(sum(1, j)), sum(2, j).tanh(), gate(sum(3, j)));
                c_t.push(cut(f * c[j] + i * g));
                h_t.push(o * c_t[j].tanh());
            }
            (projected(h_t), c_t)
        }
        // i and f with w_ci ⊙ c_(t-1) and w_cf ⊙ c_(t-1) in their sums, o with w_co ⊙ c_t: Gers, Schraudolph &
        // Schmidhuber, *Learning Precise Timing with LSTM Recurrent Networks*, 2002, section 2.
        Cell::PeepholeLstm => {
            let (mut h_t, mut c_t) = (Vec::new(), Vec::new());
            for j in units {
                let (i, f) = (gate(sum(0, j) + w_ci[j] * c[j]), gate(sum(1, j) + w_cf[j] * c[j]));
                c_t.push(cut(f * c[j] + i * sum(2, j).tanh()));
                h_t.push(gate(sum(3, j) + w_co[j] * c_t[j]) * c_t[j].tanh());
            }
            (h_t, c_t)
        }
        // c_t = f ⊙ c_(t-1) + (1 - f) ⊙ g, gates in the order f, g, o: the variant CIFG of Greff et al., *LSTM: A
        // Search Space Odyssey*, 2017, section III.
        Cell::Cifg => {
            let (mut h_t, mut c_t) = (Vec::new(), Vec::new());
            for j in units {
                let (f, g, o) = (gate(sum(0, j)), sum(1, j).tanh(), gate(sum(2, j)));
                c_t.push(cut(f * c[j] + g - f * g));
                h_t.push(o * c_t[j].tanh());
            }
            (projected(h_t), c_t)
        }
        // h_t = (1 - z) ⊙ n + z ⊙ h_(t-1), gates in the order r, z, n: Cho et al., *Learning Phrase Representations
        // using RNN Encoder-Decoder for Statistical Machine Translation*, 2014.
        Cell::Gru(reset) => {
            let r: Vec<_> = units.clone().map(|j| gate(sum(0, j))).collect();
            let r_h: Vec<_> = units.clone().map(|j| r[j] * h[j]).collect();
            let unit = |j: usize| {
                let recurrent = match reset {
                    // r ⊙ (U_n·h_(t-1) + b_Un): PyTorch, `torch.nn.GRU`.
                    Reset::AfterProduct => r[j] * of_h(2, j),
                    // U_n·(r ⊙ h_(t-1)) + b_Un: the paper.
                    Reset::BeforeProduct => affine(u, &r_h, b_u, 2 * h.len() + j),
                    _ => panic!("a reset that the reference does not know"),
                };
                let (z, n) = (gate(sum(1, j)), (of_x(2, j) + recurrent).tanh());
                n - z * n + z * h[j]
            };
            (units.map(unit).collect(), Vec::new())
        }
        _ => panic!("a cell that the reference does not know"),
    }
}

/// z ⊙ h_(t-1) + (1 - z) ⊙ h_t, of what a cell makes and what was before it, and c likewise, h_t being made of the c_t
/// before this: Krueger et al., *Zoneout: Regularizing RNNs by Randomly Preserving Hidden Activations*, 2017.
fn kept<'a>(before: &[Number<'a>], made: &[Number<'a>], z: impl Fn(usize) -> f64) -> Vec<Number<'a>> {
    (0..made.len()).map(|j| before[j].times(z(j)) + made[j].times(1.0 - z(j))).collect()
}

/// (x − μ) / √(σ² + ε) · gain + bias.
fn normalized<'a>(x: &[Number<'a>], gain: &[Number<'a>], bias: &[Number<'a>], epsilon: Number<'a>) -> Vec<Number<'a>> {
    let mean = |of: &[Number<'a>]| of.iter().copied().reduce(|a, b| a + b).unwrap().times(1.0 / of.len() as f64);
    let center = mean(x);
    let apart: Vec<_> = x.iter().map(|x| *x - center).collect();
    let squares: Vec<_> = apart.iter().map(|a| *a * *a).collect();
    let inverse = (mean(&squares) + epsilon).inverse_root();
    (0..x.len()).map(|j| apart[j] * inverse * gain[j] + bias[j]).collect()
}

/// What both directions say at a step made one: Keras' `Bidirectional`, `merge_mode`.
fn joined<'a>(join: Join, row: Vec<Number<'a>>) -> Vec<Number<'a>> {
    let (forward, reverse) = row.split_at(row.len() / 2);
    let pairs = forward.iter().zip(reverse);
    match join {
        Join::Concat => row,
        Join::Sum => pairs.map(|(a, b)| *a + *b).collect(),
        Join::Mean => pairs.map(|(a, b)| (*a + *b).times(0.5)).collect(),
        Join::Product => pairs.map(|(a, b)| *a * *b).collect(),
        _ => panic!("a way of joining that the reference does not know"),
    }
}

/// The function around a dense layer's sum.
fn function(activation: Activation, x: Number<'_>) -> Number<'_> {
    match activation {
        Activation::Tanh => x.tanh(),
        Activation::Relu => x.relu(),
        Activation::Sigmoid => x.sigmoid(),
        Activation::Gelu => x.gelu(),
        Activation::Softplus => x.softplus(),
        Activation::Identity => x,
        _ => panic!("a function that the reference does not know"),
    }
}

/// −ln softmax(y)\[target\], or the mean of (y − target)² over the outputs, at position `r`.
fn loss<'a>(kind: &Loss, tape: &'a Tape, y: &[Number<'a>], targets: &Targets, r: usize) -> Number<'a> {
    let sum = |terms: Vec<Number<'a>>| terms.into_iter().reduce(|a, b| a + b).unwrap();
    match (kind, targets) {
        (Loss::CrossEntropy, Targets::Classes(classes)) => {
            sum(y.iter().map(|y| y.exp()).collect()).ln() - y[classes[r] as usize]
        }
        (Loss::MeanSquared, Targets::Values(values)) => {
            let error = |k: usize| y[k] - tape.number(values[r * y.len() + k]);
            sum((0..y.len()).map(|k| error(k) * error(k)).collect()).times(1.0 / y.len() as f64)
        }
        _ => panic!("targets of another loss"),
    }
}

/// What is read out of the rows of sequence b, to where the outputs are, and the sum of the losses that count.
fn read_rows<'a>(
    tape: &'a Tape,
    rows: &[Vec<Number<'a>>],
    (v, bias, outputs): (&[Number<'a>], &[Number<'a>], usize),
    (kind, (targets, mask)): (&Loss, (&Targets, &[f64])),
    (b, batch): (usize, usize),
    to: &mut [f64],
) -> Number<'a> {
    let mut total = tape.number(0.0);
    for (t, features) in rows.iter().enumerate() {
        let r = t * batch + b;
        let y: Vec<Number> = (0..outputs).map(|row| affine(v, features, bias, row)).collect();
        y.iter().enumerate().for_each(|(k, y)| to[r * outputs + k] = y.value);
        total = total + loss(kind, tape, &y, targets, r).times(mask[r]);
    }
    total
}

/// x_t of sequence b; a token is a one-hot vector.
fn input<'a>(tape: &'a Tape, config: &Config, window: &Window, t: usize, b: usize) -> Vec<Number<'a>> {
    let (at, size) = (t * window.batch + b, config.input.size());
    let x = |k: usize| match (&window.inputs, config.input) {
        (Inputs::Tokens(ids), InputKind::Tokens(_)) => f64::from(ids[at] == k as u32),
        (Inputs::Dense(x), InputKind::Dense(_)) => x[at * size + k],
        _ => panic!("inputs of another kind than the network's"),
    };
    (0..size).map(|k| tape.number(x(k))).collect()
}

/// What a network of these parameters, flat, makes of a window: in training with what zoneout drew, else, where there
/// is nothing, with its rates.
pub fn run(config: &Config, kind: &Loss, parameters: &[f64], window: &Window, draws: &Draws) -> Results {
    let (layout, tape) = (Layout::new(config).unwrap(), Tape::default());
    let (batch, outputs) = (window.batch, config.outputs);
    let labels = config.label_count(BatchShape { steps: window.steps, batch_size: batch });
    // Where each head's outputs begin, and their end.
    let mut begins = vec![labels * outputs];
    for head in &config.heads {
        let labels = head_label_count(config, head, window.steps, batch);
        begins.push(begins[begins.len() - 1] + labels * head.outputs);
    }
    // The first numbers of the tape, so the first derivatives are theirs.
    let flat: Vec<Number> = parameters.iter().map(|value| tape.number(*value)).collect();
    let parameter = |name: &str| layout.get(name).map_or(&[][..], |parameter| &flat[parameter.range()]);
    let mut results = Results {
        outputs: vec![0.0; begins[begins.len() - 1]],
        loss: 0.0,
        gradients: vec![0.0; flat.len()],
        state: vec![0.0; window.state.len()],
    };
    let parts = states(config);
    // Of several modules the read-out has a name of its own.
    let read_out = |name: &str| match name {
        "weight" if config.tied => parameter("embedding.weight").to_vec(),
        _ => [parameter(name), parameter(&format!("head.0.{name}"))].concat(),
    };
    let mut totals = vec![tape.number(0.0); 1 + config.heads.len()];
    for b in 0..batch {
        let length = window.lengths[b] as usize;
        let mut rows: Vec<Vec<Number>> = (0..length).map(|t| input(&tape, config, window, t, b)).collect();
        // What stands beside the inputs, or beside the row of their table: numbers, and a row of a table for a token,
        // whose gradient padding cuts off.
        let beside = |t: usize| {
            let mut row = Vec::new();
            for (column, inputs) in config.columns.iter().zip(&window.columns) {
                let at = t * batch + b;
                match (inputs, column.embedding) {
                    (Inputs::Tokens(ids), Some(Embedding { width, padding, .. })) => {
                        let token = ids[at] as usize;
                        for element in &parameter(&format!("column.{}.weight", column.name))[token * width..][..width] {
                            row.push(if padding == Some(token) { tape.number(element.value) } else { *element });
                        }
                    }
                    (Inputs::Dense(x), None) => {
                        let size = column.input.size();
                        row.extend(x[at * size..][..size].iter().map(|x| tape.number(*x)));
                    }
                    _ => panic!("a column of another kind"),
                }
            }
            row
        };
        if matches!(config.input, InputKind::Dense(_)) {
            rows.iter_mut().enumerate().for_each(|(t, row)| row.extend(beside(t)));
        }
        // The last states of a recurrent layer, where these are its rows.
        let mut ends: Option<Vec<Number>> = None;
        for (at, layer) in config.layers.iter().enumerate() {
            let read = rows.clone();
            match *layer {
                Layer::Recurrent(Recurrent { cell, directions, join, gate_activation, cell_clip, zoneout, .. }) => {
                    let of_layer = parts.iter().find(|part| part.layer == at && part.kind == 0).unwrap();
                    let StatePart { ref prefix, number, .. } = *of_layer;
                    let mut above = vec![Vec::new(); length];
                    let ways = of_layer.width() / of_layer.width_of_one();
                    for way in 0..ways {
                        let of = |name: &str| parameter(&format!("{prefix}{name}_l{number}{}", ["", "_reverse"][way]));
                        let [w, u, b_w, b_u, w_hr] =
                            ["weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr"].map(of);
                        let peepholes = ["weight_ci", "weight_cf", "weight_co"].map(of);
                        let weights = Weights { w, u, b_w, b_u, peepholes, w_hr };
                        // Of state s, h or c, of which there may be none: where this sequence's begins.
                        let part = |s: usize| parts.iter().find(|part| part.layer == at && part.kind == s);
                        let place =
                            |part: &StatePart| (part.before * batch + b * part.width()) + way * part.width_of_one();
                        let start = |s: usize| {
                            let Some(part) = part(s) else { return Vec::new() };
                            let width = part.width_of_one();
                            match part.learned(&layout).filter(|_| window.fresh) {
                                Some(learned) => flat[learned][way * width..][..width].to_vec(),
                                None => window.state[place(part)..][..width].iter().map(|v| tape.number(*v)).collect(),
                            }
                        };
                        let (mut h, mut c) = (start(0), start(1));
                        // The reverse direction reads from the last valid step to the first, and its outputs stand
                        // behind the forward direction's: Schuster & Paliwal, *Bidirectional Recurrent Neural
                        // Networks*, 1997. A layer may have it alone.
                        for n in 0..length {
                            let is_reverse = way == 1 || directions == Directions::Reverse;
                            let t = if is_reverse { length - 1 - n } else { n };
                            let (h_t, c_t) = step((cell, gate_activation, cell_clip), &weights, (&rows[t], &h, &c));
                            let z = |s: usize| {
                                let place =
                                    |part: &StatePart| (t * batch + b) * part.width() + way * part.width_of_one();
                                let first = part(s).map_or(0, place);
                                move |j: usize| match draws.get(&(at, s)) {
                                    Some(drawn) => drawn[first + j],
                                    None if draws.is_empty() => [zoneout.h, zoneout.c][s],
                                    None => 0.0,
                                }
                            };
                            (h, c) = (kept(&h, &h_t, z(0)), kept(&c, &c_t, z(1)));
                            above[t].extend(h.iter().copied());
                        }
                        for (part, last) in [(part(0), h), (part(1), c)] {
                            let Some(part) = part else { continue };
                            last.iter().enumerate().for_each(|(j, value)| results.state[place(part) + j] = value.value);
                        }
                    }
                    // Of either direction what it ends with.
                    let reverse_from = if directions == Directions::Reverse { 0 } else { of_layer.width_of_one() };
                    let last = [&above[length - 1][..reverse_from], &above[0][reverse_from..]].concat();
                    ends = Some(joined(join, last));
                    rows = above.into_iter().map(|row| joined(join, row)).collect();
                }
                Layer::Embedding(Embedding { width, padding, .. }) => {
                    // A row of zeros and ones picks the row of a token, whose gradient padding cuts off.
                    let table = parameter("embedding.weight");
                    let at = |t: usize| match &window.inputs {
                        Inputs::Tokens(ids) => ids[t * batch + b] as usize,
                        Inputs::Dense(_) => panic!("an embedding of vectors"),
                    };
                    let of = |t: usize, j: usize| {
                        let element = table[at(t) * width + j];
                        if padding == Some(at(t)) { tape.number(element.value) } else { element }
                    };
                    rows = (0..length).map(|t| (0..width).map(|j| of(t, j)).collect()).collect();
                    rows.iter_mut().enumerate().for_each(|(t, row)| row.extend(beside(t)));
                    ends = None;
                }
                Layer::Dense(Dense { units, activation, .. }) => {
                    let prefix = prefix_of(config, at);
                    let [w, bias] = ["weight", "bias"].map(|name| parameter(&format!("{prefix}{name}")));
                    let dense = rows.iter().map(|x| (0..units).map(|row| affine(w, x, bias, row)));
                    rows = dense.map(|row| row.map(|sum| function(activation, sum)).collect()).collect();
                    ends = None;
                }
                // Ba, Kiros & Hinton, *Layer Normalization*, 2016.
                Layer::LayerNorm(norm) => {
                    let prefix = prefix_of(config, at);
                    let [gain, bias] = ["weight", "bias"].map(|name| parameter(&format!("{prefix}{name}")));
                    let epsilon = tape.number(norm.epsilon);
                    rows = rows.iter().map(|x| normalized(x, gain, bias, epsilon)).collect();
                    ends = None;
                }
                Layer::Pool(pool) => {
                    let width = rows[0].len();
                    let column = |j: usize| rows.iter().map(move |row| row[j]);
                    let mean = |j| column(j).reduce(|a, b| a + b).unwrap().times(1.0 / length as f64);
                    let most = |j| column(j).reduce(|a, b| if b.value > a.value { b } else { a }).unwrap();
                    let row = match (pool, ends.take()) {
                        (Pool::Last, Some(ends)) => ends,
                        (Pool::Last, None) => rows[length - 1].clone(),
                        (Pool::First, _) => rows[0].clone(),
                        (Pool::Mean, _) => (0..width).map(mean).collect(),
                        (Pool::Max, _) => (0..width).map(most).collect(),
                        _ => panic!("a pool that the reference does not know"),
                    };
                    (rows, ends) = (vec![row], None);
                }
                _ => panic!("a layer that the reference does not know"),
            }
            // He et al., *Deep Residual Learning for Image Recognition*, 2016; W_s of its equation 2 where the widths
            // differ.
            let past = match layer {
                Layer::Recurrent(Recurrent { residual: true, .. }) => {
                    let part = parts.iter().find(|part| part.layer == at).unwrap();
                    Some(format!("{}weight_residual_l{}", part.prefix, part.number))
                }
                Layer::Dense(Dense { residual: true, .. }) => Some(format!("{}weight_residual", prefix_of(config, at))),
                _ => None,
            };
            if let Some(map) = past.as_deref().map(parameter) {
                for (row, read) in rows.iter_mut().zip(&read) {
                    for (j, value) in row.iter_mut().enumerate() {
                        *value = *value + if map.is_empty() { read[j] } else { affine(map, read, &[], j) };
                    }
                }
                ends = None;
            }
            for (number, ((head, kind, _), labels)) in head_losses(config).zip(&window.heads).enumerate() {
                if head.reads == at + 1 {
                    let of_head = |name: &str| parameter(&format!("head.{}.{name}", head.name));
                    let read = (of_head("weight"), of_head("bias"), head.outputs);
                    let to = &mut results.outputs[begins[number]..begins[number + 1]];
                    let labels = (&labels.targets, labels.mask.as_slice());
                    totals[number + 1] =
                        totals[number + 1] + read_rows(&tape, &rows, read, (&kind, labels), (b, batch), to);
                }
            }
        }
        let (v, bias) = (read_out("weight"), read_out("bias"));
        let labels = (&window.targets, window.mask.as_slice());
        let to = &mut results.outputs[..begins[0]];
        totals[0] = totals[0] + read_rows(&tape, &rows, (&v, &bias, outputs), (kind, labels), (b, batch), to);
    }
    let mut mean = totals[0].times(1.0 / window.mask.iter().sum::<f64>());
    for ((total, labels), (_, _, weight)) in totals[1..].iter().zip(&window.heads).zip(head_losses(config)) {
        mean = mean + total.times(weight / labels.mask.iter().sum::<f64>());
    }
    results.loss = mean.value;
    results.gradients.copy_from_slice(&mean.gradient()[..flat.len()]);
    results
}
