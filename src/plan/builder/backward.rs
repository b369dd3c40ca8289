//! Back-propagation through time, from the gradient of the outputs to that of every parameter, and the update.

use super::forward::Site;
use super::{Builder, ForwardTensors, Layer, LossTensors, MOMENTS, TrainingTensors, pool_kind};
use crate::error::Result;
use crate::model::{ReadOut, Saved};
use crate::plan::{
    BackwardRecurrence, CopyView, DType, DropoutMask, GatherGradient, GradientNorms, GradientSegment,
    InitialStateGradient, Lifetime, MatMul, NormPartial, Op, Phase, PoolGradient, ProductTile, Recurrence,
    RecurrenceMode, ReduceGradients, TensorId, Tile, Update, UpdateLossScale, View, Way, WeightGradient, ZeroTensor,
};
use crate::recipe::Recipe;

/// The part of a window that is gone back over at once: all of it, unless gradients are checkpointed.
#[derive(Clone, Copy)]
struct Segment {
    /// The first step.
    first: usize,
    /// Whether no segment comes after it.
    is_last: bool,
    slices: TensorId,
    /// [`StepParams`](super::super::StepParams).
    step_params: TensorId,
}

impl Builder<'_> {
    pub(super) fn train(
        &mut self,
        forward: &ForwardTensors,
        recipe: Recipe,
        loss: LossTensors,
        row_loss: TensorId,
    ) -> Result<TrainingTensors> {
        self.phase = Phase::Backward;
        let flat = self.layout.buffer_len();
        let cut = self.target.slices(self.segment * self.batch, (self.gates, self.config.hidden), flat);
        // Kept, because the gaps between parameters are nobody's and stay zero.
        let slices = self.real("gradient_slices", &[cut, flat], Lifetime::Scratch)?;
        let gradients = self.real("gradients", &[flat], Lifetime::Shared)?;
        let parameter_flags = self.plan.tensor("parameter_flags", &[flat], DType::U32, Lifetime::Shared)?;
        let partials = self.real(
            "norm_partials",
            &[flat.div_ceil(ReduceGradients::BLOCK), NormPartial::LEN],
            Lifetime::Transient,
        )?;
        // Kept, because segments add to it.
        let excess = match self.segment < self.steps {
            true => Some(self.real("gradients_excess", &[flat], Lifetime::Scratch)?),
            false => None,
        };
        if recipe.trace {
            let shape = [self.config.layers * self.directions(), self.steps];
            self.trace = Some(self.real("trace", &shape, Lifetime::Scratch)?);
        }
        let mut rows_by_token = None;
        for first in (0..self.steps).step_by(self.segment).rev() {
            let steps = self.segment.min(self.steps - first);
            let is_last = first + steps == self.steps;
            let recomputed = match forward.states.filter(|_| !is_last) {
                None => None,
                Some(states) => {
                    let len = self.plan.get(forward.state).len();
                    let from = (states, first / self.segment * len);
                    Some(self.chunk(&forward.shared, first, steps, from, false)?)
                }
            };
            let layers = recomputed.as_deref().unwrap_or(&forward.layers);
            if forward.states.is_some()
                && (self.config.read_out != ReadOut::EveryStep || self.config.learned_initial_state)
            {
                // Not every segment has a gradient of every parameter.
                self.push(Op::Zero(ZeroTensor { tensor: slices }));
            }
            let segment = Segment { first, is_last, slices, step_params: loss.step_params };
            self.read_out_gradient(forward, layers, segment)?;
            for (layer, part) in layers.iter().enumerate().rev() {
                rows_by_token = rows_by_token.or(self.layer_gradient(layer, part, forward, segment)?);
            }
            if first == 0 {
                self.phase = Phase::Update;
            }
            let (step_params, loss_scale) = (loss.step_params, self.loss_scale);
            let combined = excess.map(|excess| GradientSegment { excess, adds: !is_last });
            self.push(Op::ReduceGradients(ReduceGradients {
                slices,
                loss_scale,
                step_params,
                parameter_flags,
                gradients,
                segment: combined,
                partials,
            }));
        }
        self.measure(loss, row_loss, Some((partials, recipe)))?;
        let mut moments = Vec::new();
        for name in MOMENTS.iter().take(recipe.optimizer.moment_count()) {
            moments.push(self.real(name, &[flat], Lifetime::Shared)?);
        }
        let (keys, loss_scale, segment, trace) = (self.keys, self.loss_scale, self.segment, self.trace);
        let moments_by_place = [moments.first().copied(), moments.get(1).copied()];
        let training = TrainingTensors {
            gradients,
            parameter_flags,
            moments: moments_by_place,
            rows_by_token,
            segment,
            keys,
            trace,
            loss_scale,
        };
        self.plan.push(
            Phase::Update,
            Op::Update(Update {
                optimizer: recipe.optimizer,
                clip: recipe.clip,
                step_params: loss.step_params,
                metrics: loss.metrics,
                gradients,
                parameter_flags,
                parameters: self.parameters,
                moments,
            }),
        );
        if let Some(loss_scale) = loss_scale {
            let (step_params, metrics) = (loss.step_params, loss.metrics);
            self.plan.push(Phase::Update, Op::UpdateLossScale(UpdateLossScale { loss_scale, step_params, metrics }));
        }
        Ok(training)
    }

    /// `[T+D, B, D·H]`: the gradient of a layer's outputs, which the layer above it, or the read-out, has made; with
    /// one slot more for what comes from a later segment.
    fn upstream(&mut self, layer: usize) -> Result<TensorId> {
        let slots = self.segment.saturating_add(self.directions() + usize::from(self.segment < self.steps));
        self.scratch(&format!("upstream_l{layer}"), &[slots, self.batch, self.width], self.storage_dtype)
    }

    /// V and its bias, and the upstream gradient of the top layer. The outputs are now their gradient.
    fn read_out_gradient(&mut self, forward: &ForwardTensors, layers: &[Layer], segment: Segment) -> Result<()> {
        let Some(top) = layers.last().map(|layer| &layer.recurrence) else { return Ok(()) };
        let Segment { first, is_last, slices, .. } = segment;
        let (weight, bias) = (self.weight("weight").offset, self.offset("bias"));
        let (steps, slot) = (top.steps, self.batch * self.width);
        let rows = steps * self.batch;
        let (d, x) = match self.config.read_out {
            ReadOut::EveryStep => {
                let offset = forward.outputs.offset + first * self.batch * forward.outputs.cols;
                (View { offset, rows, ..forward.outputs }, self.outputs_of(top))
            }
            _ => (forward.outputs, forward.read),
        };
        let reads = is_last || self.config.read_out == ReadOut::EveryStep;
        if reads {
            let tile = ProductTile::of(self.target, [d.cols, x.cols]);
            self.push(Op::WeightGradient(WeightGradient { d, x, slices, weight, bias, tile }));
        }
        let upstream = self.upstream(self.config.layers - 1)?;
        match (self.config.read_out, pool_kind(self.config)) {
            (_, Some(kind)) => {
                if reads {
                    // What was read out gives way to its gradient.
                    self.input_gradient(d, "weight", x)?;
                }
                let (directions, lengths) = (self.directions(), forward.lengths);
                let op = PoolGradient { kind, directions, steps, skipped: first, d: x, lengths, upstream };
                self.push(Op::PoolGradient(op));
            }
            (ReadOut::EveryStep, None) => {
                self.input_gradient(d, "weight", View::new(upstream, slot, rows, self.width))?;
            }
            (_, None) => {
                self.push(Op::Zero(ZeroTensor { tensor: upstream }));
                if reads {
                    self.input_gradient(d, "weight", View::new(upstream, steps * slot, self.batch, self.width))?;
                }
            }
        }
        Ok(())
    }

    /// The gradient of a layer's state between two segments: from where the later one leaves it to `state_gradient`, or
    /// from there to where the earlier one finds it.
    fn carry(&mut self, layer: usize, recurrence: &Recurrence, upstream: TensorId, leaves: bool) -> Result<()> {
        let state = self.scratch("state_gradient", &self.config.state_shape(self.batch), DType::F32)?;
        let second = recurrence.saved.filter(|_| recurrence.cell.saved() == Saved::State);
        // Of h the gradient lies at the initial state's own slot, of c at that of the first step.
        for (s, (tensor, left)) in [Some((upstream, 0)), second.map(|c| (c, 1))].into_iter().flatten().enumerate() {
            let len = self.batch * self.width;
            let between = View::new(state, (s * self.config.layers + layer) * len, 1, len);
            let slot = if leaves { left } else { recurrence.steps + 1 };
            let at = View::new(tensor, slot * len, 1, len);
            let (from, to) = if leaves { (at, between) } else { (between, at) };
            self.push(Op::Copy(CopyView { from, to }));
        }
        Ok(())
    }

    /// A layer's recurrence, which turns the gates into their gradients; then U, W and their biases, the initial state,
    /// and the upstream gradient of the layer below.
    fn layer_gradient(
        &mut self,
        layer: usize,
        Layer { recurrence, below }: &Layer,
        forward: &ForwardTensors,
        Segment { first, is_last, slices, step_params }: Segment,
    ) -> Result<Option<(TensorId, TensorId)>> {
        let upstream = self.upstream(layer)?;
        let (to_start, carried) = (first > 0 || self.config.learned_initial_state, !is_last);
        if carried {
            self.carry(layer, recurrence, upstream, false)?;
        }
        let work = self.work(Way::Backward);
        let tile = match recurrence.schedule {
            RecurrenceMode::PerStep => Tile::steps(self.target, &work),
            // What fits one way fits the other, or the schedule would not be this one.
            RecurrenceMode::WholeSequence => Tile::whole(self.target, &work).unwrap_or(recurrence.tile),
        };
        // Uᵀ is read forwards alone: what it lies in is free from there on.
        let backward = Recurrence { tile, weight_transposed: None, ..recurrence.clone() };
        self.push(Op::Backward(BackwardRecurrence { recurrence: backward, upstream, to_start, carried }));
        if let Some(out) = self.trace {
            let (directions, steps, lengths) = (recurrence.directions, recurrence.steps, recurrence.lengths);
            let (row, loss_scale) = (layer * directions, self.loss_scale);
            self.push(Op::GradientNorms(GradientNorms {
                upstream,
                directions,
                steps,
                lengths,
                loss_scale,
                step_params,
                row,
                first,
                out,
            }));
        }
        if first > 0 {
            self.carry(layer, recurrence, upstream, true)?;
        }
        self.recurrent_gradients(layer, recurrence, slices)?;
        if let Some(fresh) = forward.fresh.filter(|_| first == 0) {
            self.start_gradients(layer, recurrence, (upstream, fresh, slices));
        }

        let rows = recurrence.steps * self.batch;
        let d = View::new(recurrence.gates, 0, rows, self.gates);
        let name = format!("weight_ih_l{layer}");
        let (weight, bias) = (self.weight(&name).offset, self.offset(&format!("bias_ih_l{layer}")));
        let Some(x) = *below else {
            let parts = self.steps.div_ceil(self.segment);
            let order = self.rows_by_token("order", &[self.rows])?;
            let starts = self.rows_by_token("starts", &[parts, self.config.input.size() + 1])?;
            let (draw, batch, part) = (self.draw(Site::Inputs), self.batch, first / self.segment);
            let op = GatherGradient { d, order, starts, part, slices, weight, bias, draw, batch };
            self.push(Op::GatherGradient(op));
            return Ok(Some((order, starts)));
        };
        let tile = ProductTile::of(self.target, [d.cols, x.cols]);
        self.push(Op::WeightGradient(WeightGradient { d, x, slices, weight, bias, tile }));
        if let Some(below) = layer.checked_sub(1) {
            let upstream = self.upstream(below)?;
            let out = View::new(upstream, self.batch * self.width, rows, self.width);
            match self.draw(Site::Outputs(below)) {
                None => self.input_gradient(d, &name, out)?,
                Some(draw) => {
                    // What this layer has read gives way to its gradient.
                    self.input_gradient(d, &name, x)?;
                    let (first, period) = (first * self.batch, self.rows);
                    let op = DropoutMask { input: Some(x), out, draw, first, period };
                    self.push(Op::Dropout(op));
                }
            }
        }
        Ok(None)
    }

    /// U and b_U, by direction and product: what the sums were over is a layer's history or, of a second product, the
    /// operand that the cell made.
    fn recurrent_gradients(&mut self, layer: usize, op: &Recurrence, slices: TensorId) -> Result<()> {
        let (hidden, rows, width) = (op.hidden, op.rows(), self.width);
        let second = op.saved.filter(|_| op.cell.saved() == Saved::Operand);
        let mut operands = vec![(op.history, op.directions, 0..op.cell.first_gates() * hidden)];
        operands.extend(second.map(|operand| (operand, 0, op.cell.first_gates() * hidden..rows)));
        for (mut operand, more, part) in operands {
            let is_history = operand == op.history;
            if let Some(draw) = self.draw(Site::Hidden(layer)) {
                let name = if is_history { "masked_history" } else { "masked_operand" };
                let masked = self.scratch(name, &[self.segment + more, self.batch, width], self.storage_dtype)?;
                let slots = op.steps + more;
                let [input, out] = [operand, masked].map(|t| View::new(t, 0, slots * self.batch, width));
                let mask = DropoutMask { input: Some(input), out, draw, first: 0, period: self.batch };
                self.push(Op::Dropout(mask));
                operand = masked;
            }
            for direction in 0..op.directions {
                // From the slot before that of the first step in time; of the reverse direction that is the later one.
                let first = if is_history { 2 * direction * self.batch } else { 0 };
                let x =
                    View::new(operand, first * width, op.steps * self.batch, width).columns(direction * hidden, hidden);
                let d = View::new(op.recurrent_gradient(), 0, op.steps * self.batch, self.gates);
                let d = d.columns(direction * rows + part.start, part.len());
                let weight = self.weight(&format!("weight_hh_l{layer}")).offset;
                let weight = weight + (direction * rows + part.start) * hidden;
                let bias = self.offset(&format!("bias_hh_l{layer}")).map(|b| b + direction * rows + part.start);
                let tile = ProductTile::of(self.target, [d.cols, x.cols]);
                self.push(Op::WeightGradient(WeightGradient { d, x, slices, weight, bias, tile }));
            }
        }
        Ok(())
    }

    /// A learned initial state: of h its gradient lies at its own slot, of c at that of the first step.
    fn start_gradients(
        &mut self,
        layer: usize,
        op: &Recurrence,
        (upstream, fresh, slices): (TensorId, TensorId, TensorId),
    ) {
        let second = op.saved.filter(|_| op.cell.saved() == Saved::State);
        let states = [("h_0", Some(upstream), None), ("c_0", second, Some(0))];
        for (name, from, step) in states {
            if let (Some(from), Some(offset)) = (from, self.offset(name)) {
                let slots = (0..op.directions).map(|direction| op.slot(direction, step)).collect();
                let weight = offset + layer * self.width;
                let op = InitialStateGradient { from, slots, fresh, slices, weight };
                self.push(Op::InitialStateGradient(op));
            }
        }
    }

    /// An input that a segment before may have made already.
    fn rows_by_token(&mut self, name: &str, shape: &[usize]) -> Result<TensorId> {
        match self.plan.find(name) {
            Some(known) => Ok(known),
            None => self.id(name, shape),
        }
    }

    /// `out = d·weight`: the gradient of what a product with `weight` read.
    fn input_gradient(&mut self, d: View, weight: &str, out: View) -> Result<()> {
        let b = self.weight(weight);
        let tile = ProductTile::of(self.target, [out.rows, out.cols]);
        self.product(MatMul { a: d, transpose_a: false, b, transpose_b: false, bias: None, out, tile })
    }
}
