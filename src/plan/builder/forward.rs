//! The forward pass: layer above layer, for training over the whole window or one segment after another, else over one
//! chunk of steps after another.

use super::dense::DenseLayer;
use super::dropout::DropoutPlace;
use super::embedding::{InputRows, TableOfTokens};
use super::join::{self, JoinLayer};
use super::layer::{Below, Done, OpenLayer, Part, Site};
use super::norm::NormLayer;
use super::recurrent::RecurrentLayer;
use super::residual::ResidualLayer;
use super::{Builder, ForwardTensors, HeadPlan, PoolLayer, SharedByChunks};
use crate::error::Result;
use crate::model::{BatchShape, InputKind, Layer, modules};
use crate::plan::{
    CopyView, DType, DropoutMask, InitialState, Lifetime, Op, Purpose, RemainingLengths, TensorId, View,
};

type OpenLayers = Vec<Box<dyn OpenLayer>>;

impl Builder<'_> {
    pub(super) fn forward(&mut self, purpose: Purpose<'_>) -> Result<ForwardTensors> {
        let state_len = self.state_shape.width().saturating_mul(self.batch);
        let state = self.real("state", &[state_len], Lifetime::Scratch)?;
        let lengths = self.id("lengths", &self.lengths_shape(self.steps))?;
        self.lengths = lengths;
        let inputs = match self.config.input {
            InputKind::Tokens(_) => self.id("tokens", &[self.steps, self.batch])?,
            InputKind::Dense(size) => self.real("x", &[self.steps, self.batch, size], Lifetime::Input)?,
        };
        let dropout_layers = self.config.layers.iter().filter(|layer| layer.is_dropout()).count();
        let zoneout = self.config.recurrent_layers().any(|layer| layer.zoneout.rates().iter().any(|rate| *rate > 0.0));
        if self.is_training && (dropout_layers > 0 || !self.dropout.is_none() || zoneout) {
            let recurrent = self.config.recurrent_layers().count();
            let weights = if self.dropout.weights > 0.0 || zoneout { recurrent } else { 0 };
            let states = if zoneout { 2 * recurrent } else { 0 };
            let sites = 1 + 2 * recurrent + dropout_layers + weights + self.config.columns.len() + states;
            self.keys = Some(self.id("dropout_keys", &[sites, 2])?);
        }
        self.open_columns()?;
        // What an inference starts from is known to the host, which writes it.
        if !matches!(purpose, Purpose::Infer | Purpose::Observe(_)) {
            self.start(state)?;
        }
        let chunk = if self.is_training {
            self.segment
        } else if self.config.is_causal() {
            self.steps.min(self.target.chunk(self.config, self.batch))
        } else {
            self.steps
        };
        let (layers, tail) = self.open(chunk, lengths)?;
        let observed = if let Purpose::Observe(layer) = purpose { Some(layer) } else { None };
        let (outputs, heads) = self.outputs(observed)?;
        let pool = match self.config.layers[..self.depth].get(layers.len()..) {
            Some([Layer::Pool(pool), ..]) => {
                let (below, width) = (self.config.layers[layers.len() - 1], self.config.widths()[layers.len()]);
                Some(PoolLayer::open(self, *pool, &below, width)?)
            }
            _ => None,
        };
        let dense = match self.config.input {
            InputKind::Tokens(_) => None,
            InputKind::Dense(size) => Some(self.drop_numbers(View::new(inputs, 0, self.rows, size), Site::Inputs)?),
        };

        let base = match self.config.input {
            InputKind::Dense(size) if !self.columns.is_empty() => {
                Some(InputRows::dense(self, size, chunk.saturating_mul(self.batch))?)
            }
            _ => None,
        };
        let left = if chunk < self.steps {
            Some(self.plan.tensor("lengths_left", &self.lengths_shape(chunk), DType::U32, Lifetime::Transient)?)
        } else {
            None
        };
        let shared = SharedByChunks { layers, inputs, base, dense, lengths, left, heads };
        // The states that training starts the segments from, all but the last, which it does not go over again.
        let states = if self.is_training && chunk < self.steps {
            let count = self.steps.div_ceil(chunk);
            Some(self.real("segment_states", &[count - 1, state_len], Lifetime::Transient)?)
        } else {
            None
        };
        let (mut done, mut base, mut read) = (Vec::new(), None, None);
        let whole = Part { first: 0, steps: self.steps, lengths, state: (state, 0), leaves: true };
        for first in (0..self.steps).step_by(chunk) {
            let steps = chunk.min(self.steps - first);
            if let Some(states) = states.filter(|_| first + chunk < self.steps) {
                let len = self.plan.get(state).len();
                let to = View::new(states, first / chunk * len, 1, len);
                self.push(Op::Copy(CopyView { from: View::new(state, 0, 1, len), to }));
            }
            let part = Part { first, steps, ..whole };
            (base, done) = self.chunk(&shared, &part)?;
            let Some(top) = done.last() else { continue };
            match &pool {
                Some(pool) => {
                    pool.forward(self, &part, top, lengths)?;
                    read = Some(pool.rows(self, top));
                }
                None => {
                    let rows = steps * self.batch;
                    let out = View { offset: first * self.batch * outputs.cols, rows, ..outputs };
                    self.read_top(observed, top.rows, out)?;
                }
            }
        }
        let mut above = Vec::with_capacity(tail.len());
        if let Some(mut read) = read {
            let pool = shared.layers.len();
            self.read_heads(&shared.heads, pool, read, 0)?;
            for (at, layer) in (pool + 1..).zip(&tail) {
                let (rows, tape) = layer.forward(self, &whole, Below::Rows(read))?;
                above.push(Done { rows, tape, handed: rows, draw: None });
                self.read_heads(&shared.heads, at, rows, 0)?;
                read = rows;
            }
            self.read_top(observed, read, outputs)?;
        }
        Ok(ForwardTensors { inputs, lengths, state, outputs, shared, pool, states, layers: done, base, tail: above })
    }

    /// Of lengths or, with resets, of these and of where sequences begin anew in so many steps.
    fn lengths_shape(&self, steps: usize) -> Vec<usize> {
        if self.resets { vec![steps.saturating_add(2), self.batch] } else { vec![self.batch] }
    }

    /// Where the read-outs are, the network's own and the heads', or the rows of the layer that is observed.
    fn outputs(&mut self, observed: Option<usize>) -> Result<(View, Vec<HeadPlan>)> {
        let (config, shape) = (self.config, BatchShape { steps: self.steps, batch_size: self.batch });
        let own = match observed {
            Some(layer) => [config.rows_of(layer + 1).count(shape), config.widths()[layer + 1]],
            None => [config.rows().count(shape), config.outputs],
        };
        let heads = if observed.is_some() { &[] } else { config.heads.as_slice() };
        let sizes: Vec<_> = heads.iter().map(|head| [config.rows_of(head.reads).count(shape), head.outputs]).collect();
        // All in one tensor, so that all are read back at once.
        let len = |sizes: [usize; 2]| sizes[0].saturating_mul(sizes[1]);
        let all = sizes.iter().fold(len(own), |sum: usize, of_head| sum.saturating_add(len(*of_head)));
        // Of training nobody reads them.
        let lifetime = if self.is_training { Lifetime::Transient } else { Lifetime::Scratch };
        let outputs = if heads.is_empty() {
            self.real("outputs", &own, lifetime)?
        } else {
            self.real("outputs", &[all], lifetime)?
        };
        let mut end = len(own);
        let heads = heads.iter().zip(sizes).map(|(head, [rows, width])| {
            let outputs = View::new(outputs, end, rows, width);
            end += rows * width;
            HeadPlan { name: head.name.clone(), prefix: head.prefix(), layer: head.reads - 1, outputs }
        });
        let heads = heads.collect();
        Ok((View::new(outputs, 0, own[0], own[1]), heads))
    }

    /// The layers with their tensors: those that read steps, so many at most at a time, and those above a pool.
    fn open(&mut self, steps: usize, lengths: TensorId) -> Result<(OpenLayers, OpenLayers)> {
        let (mut below, mut above): (OpenLayers, OpenLayers) = (Vec::new(), Vec::new());
        let (modules, widths) = (modules(self.config), self.config.widths());
        for (at, record) in self.config.layers.iter().enumerate().take(self.depth) {
            let is_above = self.config.pool_at().is_some_and(|pool| pool < at);
            let all = if is_above { self.batch } else { self.rows };
            let rows = if is_above { self.batch } else { steps.saturating_mul(self.batch) };
            let module = modules.iter().find(|module| module.layers.contains(&at));
            let (prefix, first) = module.map_or(("", at), |module| (module.prefix.as_str(), module.layers.start));
            let (place, sizes) = ((at, prefix), [rows, widths[at]]);
            let layer: Box<dyn OpenLayer> = match record {
                Layer::Embedding(spec) if self.reads_by_token(spec, rows) => {
                    Box::new(TableOfTokens { prefix: prefix.to_owned() })
                }
                Layer::Embedding(spec) => Box::new(InputRows::embedding(self, place, spec, rows)?),
                Layer::Recurrent(spec) => {
                    let layer = Box::new(RecurrentLayer::open(self, (at, prefix, at - first), spec, steps, lengths)?);
                    match join::of_rows(self.config, at, spec, self.depth) {
                        Some(join) => Box::new(JoinLayer::open(self, (at, join), layer, [rows, spec.width()])?),
                        None => layer,
                    }
                }
                Layer::Dense(spec) => Box::new(DenseLayer::open(self, place, spec, rows)?),
                Layer::LayerNorm(spec) => Box::new(NormLayer::open(self, place, spec, sizes)?),
                Layer::Dropout(spec) => Box::new(DropoutPlace::open(self, at, spec, sizes, all)?),
                Layer::Pool(_) => continue,
            };
            let layer = match record.is_residual() {
                true => {
                    let name = format!("{prefix}{}", record.residual_weight(at - first));
                    Box::new(ResidualLayer::open(self, (at, name), layer, [rows, record.width(widths[at])])?)
                }
                false => layer,
            };
            if is_above { above.push(layer) } else { below.push(layer) }
        }
        Ok((below, above))
    }

    /// All layers over a part, of which `lengths` are those of the whole window; and what the first of them reads,
    /// where columns stand beside numbers.
    pub(super) fn chunk(&mut self, shared: &SharedByChunks, part: &Part) -> Result<(Option<Done>, Vec<Done>)> {
        let Part { first, steps, state, leaves, .. } = *part;
        let lengths = shared.left.filter(|_| first > 0).unwrap_or(shared.lengths);
        if lengths != shared.lengths {
            self.push(Op::RemainingLengths(RemainingLengths { lengths: shared.lengths, skipped: first, out: lengths }));
        }
        let (part, rows) = (Part { first, steps, lengths, state, leaves }, steps * self.batch);
        let mut below = match shared.dense {
            Some(x) => Below::Rows(View { offset: x.offset + first * self.batch * x.cols, rows, ..x }),
            None => Below::Tokens { ids: shared.inputs, first: first * self.batch },
        };
        let mut base = None;
        if let Some(columns) = &shared.base {
            let (rows, tape) = columns.forward(self, &part, below)?;
            below = Below::Rows(rows);
            base = Some(Done { rows, tape, handed: rows, draw: None });
        }
        let mut done = Vec::with_capacity(shared.layers.len());
        for (at, layer) in shared.layers.iter().enumerate() {
            let (rows, tape) = layer.forward(self, &part, below)?;
            // Not where a segment is gone over once more.
            if leaves {
                self.read_heads(&shared.heads, at, rows, first * self.batch)?;
            }
            let (mut handed, mut draw) = (rows, None);
            // Between this layer and the next recurrent one.
            let hands_on = self.config.layers[at + 1..].iter().any(Layer::is_recurrent);
            if self.config.layers[at].is_recurrent() && hands_on {
                draw = self.draw(Site::Outputs(at));
                handed = self.drop_outputs(at, rows, first)?;
            }
            below = tape.hands_on().unwrap_or(Below::Rows(handed));
            done.push(Done { rows, tape, handed, draw });
        }
        Ok((base, done))
    }

    /// The learned initial states, where there are any.
    fn start(&mut self, state: TensorId) -> Result<()> {
        let modules = modules(self.config);
        let learned = modules.iter().filter_map(|module| {
            let h = self.parameter(&format!("{}h_0", module.prefix))?;
            let c = self.parameter(&format!("{}c_0", module.prefix));
            Some([Some((module.layers.start, 0, h)), c.map(|c| (module.layers.start, 1, c))])
        });
        let mut learned: Vec<_> = learned.flatten().flatten().collect();
        if let ([_], [(_, _, h), (_, _, c)]) = (modules.as_slice(), &mut learned[..])
            && h.cols == c.cols
        {
            // c_0 follows without a gap, and in the state as well.
            h.rows += c.rows;
            learned.truncate(1);
        }
        if learned.is_empty() {
            return Ok(());
        }
        let fresh = self.real("fresh", &[1], Lifetime::Input)?;
        self.fresh = Some(fresh);
        for (layer, kind, learned) in learned {
            let offset = self.state_offset(layer, kind);
            let state = View::new(state, offset, learned.rows * self.batch, learned.cols);
            self.push(Op::InitialState(InitialState { learned, fresh, state }));
        }
        Ok(())
    }

    /// What the plan is to leave of the top layer's rows: what the network reads out of them or, where the layer is
    /// observed, the rows.
    fn read_top(&mut self, observed: Option<usize>, rows: View, out: View) -> Result<()> {
        match observed {
            None => self.read_out(rows, out),
            Some(_) => {
                self.push(Op::Copy(CopyView { from: rows, to: out }));
                Ok(())
            }
        }
    }

    /// A layer's outputs from step `first` on as the next layer reads them: every element by itself.
    fn drop_outputs(&mut self, layer: usize, outputs: View, first: usize) -> Result<View> {
        let Some(draw) = self.draw(Site::Outputs(layer)) else { return Ok(outputs) };
        let out =
            self.scratch(&format!("dropped_l{layer}"), &[self.segment, self.batch, outputs.cols], self.storage_dtype)?;
        let out = View::new(out, 0, outputs.rows, outputs.cols);
        let (first, period) = (first * self.batch, self.rows);
        self.push(Op::Dropout(DropoutMask { input: Some(outputs), out, draw, first, period }));
        Ok(out)
    }
}
