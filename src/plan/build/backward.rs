//! Back-propagation through time, from the gradient of the outputs to that of every parameter, and the update.

use super::forward::Site;
use super::{Builder, ForwardTensors, Layer, LossInputs, MOMENTS, TrainingTensors, pool_kind};
use crate::error::Result;
use crate::model::{CellMemory, ReadOut};
use crate::plan::{
    Combine, Element, GatherGradient, Mask, MatMul, Op, Phase, PoolGradient, ProductTile, Recipe, Recurrence,
    RecurrenceSchedule as Schedule, StartGradient, Storage, TensorId, Tile, Update, View, Way, WeightGradient,
};

impl Builder<'_> {
    pub(super) fn train(
        &mut self,
        forward: &ForwardTensors,
        recipe: Recipe,
        loss: LossInputs,
        row_loss: TensorId,
    ) -> Result<TrainingTensors> {
        let flat = self.layout.len();
        let cut = self.target.slices(self.rows, (self.gates, self.config.hidden), flat);
        // Kept, because the gaps between parameters are nobody's and stay zero.
        let slices = self.real("gradient_slices", &[cut, flat], Storage::Scratch)?;
        self.read_out_gradient(forward, slices)?;
        let mut by_token = None;
        for (layer, part) in forward.layers.iter().enumerate().rev() {
            by_token = by_token.or(self.layer_gradient(layer, part, forward, slices)?);
        }

        let gradients = self.real("gradients", &[flat], Storage::Shared)?;
        let exempt = self.plan.tensor("exempt", &[flat], Element::Id, Storage::Shared)?;
        let partials = self.real("norm_partials", &[flat.div_ceil(Combine::BLOCK), 3], Storage::Transient)?;
        self.plan.push(Phase::Update, Op::Combine(Combine { slices, hyper: loss.hyper, exempt, gradients, partials }));
        self.measure(loss, row_loss, Some((partials, recipe)));
        let mut moments = Vec::new();
        for name in MOMENTS.iter().take(recipe.optimizer.moments()) {
            moments.push(self.real(name, &[flat], Storage::Shared)?);
        }
        let keys = self.keys;
        let moments_by_place = [moments.first().copied(), moments.get(1).copied()];
        let training = TrainingTensors { gradients, exempt, moments: moments_by_place, by_token, keys };
        self.plan.push(
            Phase::Update,
            Op::Update(Update {
                optimizer: recipe.optimizer,
                clip: recipe.clip,
                hyper: loss.hyper,
                metrics: loss.metrics,
                gradients,
                exempt,
                parameters: self.parameters,
                moments,
            }),
        );
        Ok(training)
    }

    /// `[T+D, B, D·H]`: the gradient of a layer's outputs, which the layer above it, or the read-out, has made.
    fn upstream(&mut self, layer: usize) -> Result<TensorId> {
        let shape = [self.steps.saturating_add(self.directions()), self.batch, self.width];
        self.scratch(&format!("upstream_l{layer}"), &shape)
    }

    /// V and its bias, and what the top layer is to hear. The outputs are now their gradient.
    fn read_out_gradient(&mut self, forward: &ForwardTensors, slices: TensorId) -> Result<()> {
        let (d, x) = (forward.outputs, forward.read);
        let (weight, bias) = (self.weight("weight").offset, self.offset("bias"));
        let tile = ProductTile::of(self.target, [d.cols, x.cols]);
        self.plan.push(Phase::Backward, Op::WeightGradient(WeightGradient { d, x, slices, weight, bias, tile }));

        let upstream = self.upstream(self.config.layers - 1)?;
        let slot = self.batch * self.width;
        match (self.config.read_out, pool_kind(self.config)) {
            (_, Some(kind)) => {
                // What was read out gives way to its gradient.
                self.input_gradient(d, "weight", x);
                let (directions, steps, lengths) = (self.directions(), self.steps, forward.lengths);
                let op = PoolGradient { kind, directions, steps, d: x, lengths, upstream };
                self.plan.push(Phase::Backward, Op::PoolGradient(op));
            }
            (ReadOut::EveryStep, None) => {
                self.input_gradient(d, "weight", View::new(upstream, slot, self.rows, self.width));
            }
            (_, None) => {
                self.plan.push(Phase::Backward, Op::Zero { tensor: upstream });
                self.input_gradient(d, "weight", View::new(upstream, self.steps * slot, self.batch, self.width));
            }
        }
        Ok(())
    }

    /// A layer's recurrence, which turns the gates into their gradients; then U, W and their biases, the initial state,
    /// and what the layer below is to hear.
    fn layer_gradient(
        &mut self,
        layer: usize,
        Layer { recurrence, below }: &Layer,
        forward: &ForwardTensors,
        slices: TensorId,
    ) -> Result<Option<(TensorId, TensorId)>> {
        let upstream = self.upstream(layer)?;
        let to_start = self.config.learnt_start;
        let work = self.work(Way::Backward);
        let tile = match recurrence.schedule {
            Schedule::Steps => Tile::steps(self.target, &work),
            Schedule::Whole => Tile::whole(self.target, &work).unwrap_or(recurrence.tile),
        };
        let backward = Recurrence { tile, ..recurrence.clone() };
        self.plan.push(Phase::Backward, Op::Backward { recurrence: backward, upstream, to_start });
        self.recurrent_gradients(layer, recurrence, slices)?;
        if let Some(fresh) = forward.fresh {
            self.start_gradients(layer, recurrence, (upstream, fresh, slices));
        }

        let d = View::new(recurrence.gates, 0, self.rows, self.gates);
        let name = format!("weight_ih_l{layer}");
        let (weight, bias) = (self.weight(&name).offset, self.offset(&format!("bias_ih_l{layer}")));
        let Some(x) = *below else {
            let order = self.id("order", &[self.rows])?;
            let starts = self.id("starts", &[self.config.input.size() + 1])?;
            let (draw, batch) = (self.draw(Site::Inputs), self.batch);
            let op = GatherGradient { d, order, starts, slices, weight, bias, draw, batch };
            self.plan.push(Phase::Backward, Op::GatherGradient(op));
            return Ok(Some((order, starts)));
        };
        let tile = ProductTile::of(self.target, [d.cols, x.cols]);
        self.plan.push(Phase::Backward, Op::WeightGradient(WeightGradient { d, x, slices, weight, bias, tile }));
        if let Some(below) = layer.checked_sub(1) {
            let upstream = self.upstream(below)?;
            let out = View::new(upstream, self.batch * self.width, self.rows, self.width);
            match self.draw(Site::Outputs(below)) {
                None => self.input_gradient(d, &name, out),
                Some(draw) => {
                    // What this layer has read gives way to its gradient.
                    self.input_gradient(d, &name, x);
                    let op = Mask { input: Some(x), out, draw, period: self.rows };
                    self.plan.push(Phase::Backward, Op::Mask(op));
                }
            }
        }
        Ok(None)
    }

    /// U and b_U, by direction and product: what the sums were over is a layer's history or, of a second product, the
    /// operand that the cell made.
    fn recurrent_gradients(&mut self, layer: usize, op: &Recurrence, slices: TensorId) -> Result<()> {
        let (hidden, rows, width) = (op.hidden, op.rows(), self.width);
        let second = op.memory.filter(|_| op.cell.memory() == CellMemory::Operand);
        let mut operands = vec![(op.history, self.steps + op.directions, 0..op.cell.first_gates() * hidden)];
        operands.extend(second.map(|operand| (operand, self.steps, op.cell.first_gates() * hidden..rows)));
        for (mut operand, slots, part) in operands {
            let is_history = operand == op.history;
            if let Some(draw) = self.draw(Site::Hidden(layer)) {
                let name = if is_history { "masked_history" } else { "masked_operand" };
                let masked = self.scratch(name, &[slots, self.batch, width])?;
                let [input, out] = [operand, masked].map(|t| View::new(t, 0, slots * self.batch, width));
                let mask = Mask { input: Some(input), out, draw, period: self.batch };
                self.plan.push(Phase::Backward, Op::Mask(mask));
                operand = masked;
            }
            for direction in 0..op.directions {
                // From the slot before that of the first step in time; of the reverse direction that is the later one.
                let first = if is_history { 2 * direction * self.batch } else { 0 };
                let x = View::new(operand, first * width, self.rows, width).columns(direction * hidden, hidden);
                let d = View::new(op.recurrent_gradient(), 0, self.rows, self.gates);
                let d = d.columns(direction * rows + part.start, part.len());
                let weight = self.weight(&format!("weight_hh_l{layer}")).offset;
                let weight = weight + (direction * rows + part.start) * hidden;
                let bias = self.offset(&format!("bias_hh_l{layer}")).map(|b| b + direction * rows + part.start);
                let tile = ProductTile::of(self.target, [d.cols, x.cols]);
                self.plan
                    .push(Phase::Backward, Op::WeightGradient(WeightGradient { d, x, slices, weight, bias, tile }));
            }
        }
        Ok(())
    }

    /// A learnt initial state: of h its gradient lies at its own slot, of c at that of the first step.
    fn start_gradients(
        &mut self,
        layer: usize,
        op: &Recurrence,
        (upstream, fresh, slices): (TensorId, TensorId, TensorId),
    ) {
        let second = op.memory.filter(|_| op.cell.memory() == CellMemory::State);
        let states = [("h_0", Some(upstream), None), ("c_0", second, Some(0))];
        for (name, from, step) in states {
            if let (Some(from), Some(offset)) = (from, self.offset(name)) {
                let slots = (0..op.directions).map(|direction| op.slot(direction, step)).collect();
                let weight = offset + layer * self.width;
                let op = StartGradient { from, slots, fresh, slices, weight };
                self.plan.push(Phase::Backward, Op::StartGradient(op));
            }
        }
    }

    /// `out = d·weight`: the gradient of what a product with `weight` read.
    fn input_gradient(&mut self, d: View, weight: &str, out: View) {
        let b = self.weight(weight);
        let tile = ProductTile::of(self.target, [out.rows, out.cols]);
        let op = MatMul { a: d, transpose_a: false, b, transpose_b: false, bias: None, out, tile };
        self.plan.push(Phase::Backward, Op::MatMul(op));
    }
}
