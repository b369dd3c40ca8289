//! The forward pass: layer above layer, for training over the whole window or one segment after another, else over one
//! chunk of steps after another.

use super::{Builder, ForwardTensors, Layer, SharedByChunks, pool_kind};
use crate::error::Result;
use crate::model::{BatchShape, InputKind, ReadOut, Saved};
use crate::plan::{
    CopyView, DType, DropoutDraw, DropoutMask, Gather, InitialState, Lifetime, MatMul, Op, Pool, ProductTile, Purpose,
    Recurrence, RecurrenceMode, RemainingLengths, TensorId, Tile, Transpose, View, Way, tile::Work,
};
use crate::recipe::Dropout;

/// A place of the network at which dropout draws.
#[derive(Clone, Copy)]
pub(super) enum Site {
    Inputs,
    /// Between this layer and the next.
    Outputs(usize),
    Hidden(usize),
}

impl Builder<'_> {
    pub(super) fn forward(&mut self, purpose: Purpose) -> Result<ForwardTensors> {
        let training = matches!(purpose, Purpose::Train(_));
        let state = self.real("state", &self.config.state_shape(self.batch), Lifetime::Scratch)?;
        let lengths = self.id("lengths", &[self.batch])?;
        let inputs = match self.config.input {
            InputKind::Tokens(_) => self.id("tokens", &[self.steps, self.batch])?,
            InputKind::Dense(size) => self.real("x", &[self.steps, self.batch, size], Lifetime::Input)?,
        };
        if !self.dropout.is_none() {
            let sites = 1 + 2 * self.config.layers;
            self.keys = Some(self.id("dropout_keys", &[sites, 2])?);
        }
        // What an inference starts from is known to the host, which writes it.
        let fresh = if purpose == Purpose::Infer { None } else { self.start(state)? };
        let chunk = if training {
            self.segment
        } else if self.both() {
            self.steps
        } else {
            self.steps.min(self.target.chunk(self.config, self.batch))
        };
        let mut layers = Vec::with_capacity(self.config.layers);
        for layer in 0..self.config.layers {
            layers.push(self.recurrence(layer, chunk, lengths, training)?);
        }
        let labels = self.config.label_count(BatchShape { steps: self.steps, batch_size: self.batch });
        // Of training nobody reads them.
        let lifetime = if training { Lifetime::Transient } else { Lifetime::Scratch };
        let outputs = self.real("outputs", &[labels, self.config.outputs], lifetime)?;
        let outputs = View::new(outputs, 0, labels, self.config.outputs);
        let pooled = match pool_kind(self.config) {
            Some(_) => Some(View::new(
                self.real("pooled", &[self.batch, self.width], Lifetime::Transient)?,
                0,
                self.batch,
                self.width,
            )),
            None => None,
        };
        let dense = match self.config.input {
            InputKind::Tokens(_) => None,
            InputKind::Dense(size) => Some(self.drop_inputs(View::new(inputs, 0, self.rows, size))?),
        };

        let mut done = Vec::new();
        let left = if chunk < self.steps {
            Some(self.plan.tensor("lengths_left", &[self.batch], DType::U32, Lifetime::Transient)?)
        } else {
            None
        };
        let shared = SharedByChunks { layers, inputs, dense, lengths, left };
        // The states that training starts the segments from, all but the last, which it does not go over again.
        let states = if training && chunk < self.steps {
            let (count, [s, layers, batch, width]) = (self.steps.div_ceil(chunk), self.config.state_shape(self.batch));
            Some(self.real("segment_states", &[count - 1, s, layers, batch, width], Lifetime::Transient)?)
        } else {
            None
        };
        for first in (0..self.steps).step_by(chunk) {
            let steps = chunk.min(self.steps - first);
            if let Some(states) = states.filter(|_| first + chunk < self.steps) {
                let len = self.plan.get(state).len();
                let to = View::new(states, first / chunk * len, 1, len);
                self.push(Op::Copy(CopyView { from: View::new(state, 0, 1, len), to }));
            }
            done = self.chunk(&shared, first, steps, (state, 0), true)?;
            if let (Some(kind), Some(out), Some(top)) = (pool_kind(self.config), pooled, done.last()) {
                let (directions, history) = (self.directions(), top.recurrence.history);
                let excess = self.scratch("pooled_excess", &[self.batch, self.width], DType::F32)?;
                let op = Pool { kind, directions, steps, skipped: first, history, lengths, out, excess };
                self.push(Op::Pool(op));
            }
            if let (ReadOut::EveryStep, Some(top)) = (self.config.read_out, done.last()) {
                let rows = steps * self.batch;
                let out = View { offset: first * self.batch * outputs.cols, rows, ..outputs };
                self.read_out(self.outputs_of(&top.recurrence), out)?;
            }
        }
        // Of the last chunk.
        let history = done.last().map_or(state, |top| top.recurrence.history);
        let last = done.last().map_or(0, |top| top.recurrence.steps);
        let read = pooled.unwrap_or_else(|| View::new(history, last * self.batch * self.width, self.batch, self.width));
        if self.config.read_out != ReadOut::EveryStep {
            self.read_out(read, outputs)?;
        }
        Ok(ForwardTensors { inputs, lengths, fresh, state, outputs, read, shared, states, layers: done })
    }

    /// All layers over `steps` steps from `first` on, from the states at an offset in a tensor; whether they leave
    /// theirs there.
    pub(super) fn chunk(
        &mut self,
        shared: &SharedByChunks,
        first: usize,
        steps: usize,
        state: (TensorId, usize),
        leaves: bool,
    ) -> Result<Vec<Layer>> {
        let lengths = shared.left.filter(|_| first > 0).unwrap_or(shared.lengths);
        if lengths != shared.lengths {
            self.push(Op::RemainingLengths(RemainingLengths { lengths: shared.lengths, skipped: first, out: lengths }));
        }
        let rows = steps * self.batch;
        let mut below = shared.dense.map(|x| View { offset: x.offset + first * self.batch * x.cols, rows, ..x });
        let mut done = Vec::with_capacity(shared.layers.len());
        for (layer, recurrence) in shared.layers.iter().enumerate() {
            let recurrence = self.part(recurrence, steps, lengths);
            self.layer(layer, &recurrence, (state, leaves), (shared.inputs, first * self.batch), below)?;
            let outputs = self.outputs_of(&recurrence);
            done.push(Layer { recurrence, below });
            if layer + 1 < shared.layers.len() {
                below = Some(self.drop_outputs(layer, outputs, first)?);
            }
        }
        Ok(done)
    }

    /// `[T·B, D·H]`: h of all steps.
    pub(super) fn outputs_of(&self, recurrence: &Recurrence) -> View {
        View::new(recurrence.history, self.batch * self.width, recurrence.steps * self.batch, self.width)
    }

    /// The learned initial state, where there is one.
    fn start(&mut self, state: TensorId) -> Result<Option<TensorId>> {
        let Some(h) = self.parameter("h_0") else { return Ok(None) };
        // c_0 follows without a gap.
        let learned = View { rows: self.config.cell.states() * h.rows, ..h };
        let fresh = self.real("fresh", &[1], Lifetime::Input)?;
        self.push(Op::InitialState(InitialState { learned, fresh, state }));
        Ok(Some(fresh))
    }

    /// The tensors of a layer over `steps` steps. Only training needs those of every layer afterwards; else all layers
    /// have the same gates, and every other one the same history.
    fn recurrence(&mut self, layer: usize, steps: usize, lengths: TensorId, training: bool) -> Result<Recurrence> {
        let (cell, directions, batch) = (self.config.cell, self.directions(), self.batch);
        let (slots, storage_dtype) = (steps.saturating_add(directions), self.storage_dtype);
        // One more for the gradient that one segment carries to the segment before it.
        let of_cells = slots.saturating_add(usize::from(training && steps < self.steps));
        let (own, history) = if training { (layer, layer) } else { (0, layer % 2) };
        let gates = self.scratch(&format!("gates_l{own}"), &[steps, batch, self.gates], storage_dtype)?;
        let history = self.scratch(&format!("history_l{history}"), &[slots, batch, self.width], storage_dtype)?;
        let saved = match cell.saved() {
            Saved::None => None,
            Saved::State => Some(self.scratch(&format!("cells_l{own}"), &[of_cells, batch, self.width], DType::F32)?),
            Saved::Recurrent => {
                Some(self.scratch(&format!("recurrent_l{own}"), &[steps, batch, self.gates], storage_dtype)?)
            }
            Saved::Operand => {
                Some(self.scratch(&format!("operand_l{own}"), &[steps, batch, self.width], storage_dtype)?)
            }
        };
        let weight = self.weight(&format!("weight_hh_l{layer}"));
        let bias = self.parameter(&format!("bias_hh_l{layer}"));
        let mut weight_transposed = None;
        if self.whole_sequence_tile(steps).is_some() {
            let shape = [weight.cols, weight.rows];
            let name = format!("weight_hh_l{layer}.transposed");
            let transposed = self.plan.tensor(&name, &shape, storage_dtype, Lifetime::Transient)?;
            let transposed = View::new(transposed, 0, shape[0], shape[1]);
            self.push(Op::Transpose(Transpose { input: weight, out: transposed }));
            weight_transposed = Some(transposed);
        }
        let mask = match self.draw(Site::Hidden(layer)) {
            None => None,
            Some(draw) => {
                let mask = self.real(&format!("hidden_mask_l{layer}"), &[batch, self.width], Lifetime::Transient)?;
                let out = View::new(mask, 0, batch, self.width);
                self.push(Op::Dropout(DropoutMask { input: None, out, draw, first: 0, period: batch }));
                Some(mask)
            }
        };
        let (hidden, schedule) = (self.config.hidden, RecurrenceMode::PerStep);
        let tile = Tile::steps(self.target, &self.work(Way::Forward));
        Ok(Recurrence {
            cell,
            directions,
            steps,
            batch,
            hidden,
            lengths,
            weight,
            weight_transposed,
            bias,
            dropout_mask: mask,
            gates,
            history,
            saved,
            schedule,
            tile,
        })
    }

    /// A tensor that a layer before may have made already.
    pub(super) fn scratch(&mut self, name: &str, shape: &[usize], dtype: DType) -> Result<TensorId> {
        match self.plan.find(name) {
            Some(known) => Ok(known),
            None => self.plan.tensor(name, shape, dtype, Lifetime::Transient),
        }
    }

    pub(super) fn work(&self, way: Way) -> Work {
        let (gates, hidden) = (self.config.cell.gates(), self.config.hidden);
        Work { way, gates, hidden, batch: self.batch, directions: self.directions() }
    }

    /// The tile of a window that runs as a whole sequence.
    fn whole_sequence_tile(&self, steps: usize) -> Option<Tile> {
        Tile::whole_sequence(self.target, steps, &self.work(Way::Forward))
    }

    /// `steps` steps of a layer's recurrence.
    fn part(&self, recurrence: &Recurrence, steps: usize, lengths: TensorId) -> Recurrence {
        let part = Recurrence { steps, lengths, ..recurrence.clone() };
        match self.whole_sequence_tile(steps).filter(|_| recurrence.weight_transposed.is_some()) {
            Some(tile) => Recurrence { schedule: RecurrenceMode::WholeSequence, tile, ..part },
            None => part,
        }
    }

    /// One layer: the products with W for all steps at once, then the recurrence. `below` is `[T·B, ·]`; without it the
    /// layer reads tokens, from row `first` on.
    fn layer(
        &mut self,
        layer: usize,
        part: &Recurrence,
        ((state, offset), leaves): ((TensorId, usize), bool),
        (tokens, first): (TensorId, usize),
        below: Option<View>,
    ) -> Result<()> {
        let (batch, width, rows) = (self.batch, self.width, part.steps * self.batch);
        let slot = |tensor, slot: usize| View::new(tensor, slot * batch * width, batch, width);
        // Each state by its place in `state` and its history.
        let second = part.saved.filter(|_| part.cell.saved() == Saved::State);
        let states = [Some(part.history), second].into_iter().flatten().enumerate();
        let place = |s: usize| {
            let view = slot(state, s * self.config.layers + layer);
            View { offset: view.offset + offset, ..view }
        };
        let states: Vec<_> = states.map(|(s, tensor)| (place(s), tensor)).collect();
        for (state, tensor) in &states {
            // Both directions' at each end: nobody reads the half that is the other's.
            for direction in 0..part.directions {
                let to = slot(*tensor, part.slot(direction, None));
                self.push(Op::Copy(CopyView { from: *state, to }));
            }
        }

        let weight = self.weight(&format!("weight_ih_l{layer}"));
        let bias = self.parameter(&format!("bias_ih_l{layer}"));
        let out = View::new(part.gates, 0, rows, self.gates);
        match below {
            None => {
                let draw = self.draw(Site::Inputs);
                self.push(Op::Gather(Gather { tokens, first, weight, bias, draw, batch, out }));
            }
            Some(a) => {
                let tile = ProductTile::of(self.target, [out.rows, out.cols]);
                self.product(MatMul { a, transpose_a: false, b: weight, transpose_b: true, bias, out, tile })?;
            }
        }
        self.push(Op::Forward(part.clone()));

        // Now, because the backward pass writes over a second state.
        for (state, tensor) in states.into_iter().filter(|_| leaves) {
            for direction in 0..part.directions {
                let last = slot(tensor, part.slot(direction, Some(part.steps - 1)));
                // The first direction's with all columns, which is no dispatch; then the second's over its own.
                let (column, cols) = if direction == 0 { (0, width) } else { (part.hidden, part.hidden) };
                let (from, to) = (last.columns(column, cols), state.columns(column, cols));
                self.push(Op::Copy(CopyView { from, to }));
            }
        }
        Ok(())
    }

    fn read_out(&mut self, a: View, out: View) -> Result<()> {
        let (b, bias) = (self.weight("weight"), self.parameter("bias"));
        let tile = ProductTile::of(self.target, [out.rows, out.cols]);
        self.product(MatMul { a, transpose_a: false, b, transpose_b: true, bias, out, tile })
    }

    /// How dropout draws at a place, if it does there.
    pub(super) fn draw(&self, site: Site) -> Option<DropoutDraw> {
        let Dropout { inputs, outputs, hidden, .. } = self.dropout;
        let (site, rate) = match site {
            Site::Inputs => (0, inputs),
            Site::Outputs(layer) => (1 + 2 * layer, outputs),
            Site::Hidden(layer) => (2 + 2 * layer, hidden),
        };
        self.keys.filter(|_| rate > 0.0).map(|keys| DropoutDraw { keys, site, rate })
    }

    /// The inputs as the first layer reads them: one mask for all steps.
    fn drop_inputs(&mut self, x: View) -> Result<View> {
        let Some(draw) = self.draw(Site::Inputs) else { return Ok(x) };
        let out = self.real("x.dropped", &[self.steps, self.batch, x.cols], Lifetime::Transient)?;
        let out = View::new(out, 0, x.rows, x.cols);
        self.push(Op::Dropout(DropoutMask { input: Some(x), out, draw, first: 0, period: self.batch }));
        Ok(out)
    }

    /// A layer's outputs from step `first` on as the next layer reads them: every element by itself.
    fn drop_outputs(&mut self, layer: usize, outputs: View, first: usize) -> Result<View> {
        let Some(draw) = self.draw(Site::Outputs(layer)) else { return Ok(outputs) };
        let out =
            self.scratch(&format!("dropped_l{layer}"), &[self.segment, self.batch, self.width], self.storage_dtype)?;
        let out = View::new(out, 0, outputs.rows, outputs.cols);
        let (first, period) = (first * self.batch, self.rows);
        self.push(Op::Dropout(DropoutMask { input: Some(outputs), out, draw, first, period }));
        Ok(out)
    }
}
