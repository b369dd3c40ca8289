//! A recurrent layer: the products with W for all steps of a part at once and the recurrence, and both backwards.
//!
//! The contract: a layer is cut into parts of its steps without another bit in its results, and what one part leaves in
//! the state the next starts from.

use super::Builder;
use super::dropout::masks;
use super::layer::{Below, Link, OpenLayer, Part, Segment, Site, Tape};
use crate::error::Result;
use crate::model::{Directions, Layer, Recurrent, Saved};
use crate::plan::{
    BackwardRecurrence, CopyView, DType, DropoutDraw, DropoutMask, GradientNorms, Hold, InitialStateGradient, Lifetime,
    MaskSlices, Op, ProductTile, Projection, Recurrence, RecurrenceMode, TensorId, Tile, Transpose, View, Way,
    WeightGradient, tile::Work,
};

/// A recurrent layer of a window: what all parts of it share.
pub(super) struct RecurrentLayer {
    /// Which layer of the network it is.
    layer: usize,
    /// What its parameters are called: what stands in front, and its number in the module.
    prefix: String,
    number: usize,
    /// Of as many steps as a part has at most.
    recurrence: Recurrence,
    /// How the zoneout of h, and of c, draws in training.
    draws: [Option<DropoutDraw>; 2],
}

/// A recurrent layer after it has run over a part.
struct RecurrentTape {
    layer: usize,
    prefix: String,
    number: usize,
    recurrence: Recurrence,
    below: Below,
}

/// The name of a layer's parameter.
fn parameter(prefix: &str, name: &str, number: usize) -> String {
    format!("{prefix}{name}_l{number}")
}

impl RecurrentLayer {
    /// The tensors of a layer over `steps` steps. Only training needs those of every layer afterwards; else all layers
    /// of the same sizes have the same gates, and every other one the same history.
    pub(super) fn open(
        builder: &mut Builder<'_>,
        (layer, prefix, number): (usize, &str, usize),
        spec: &Recurrent,
        steps: usize,
        lengths: TensorId,
    ) -> Result<Self> {
        let Recurrent { cell, gate_activation, cell_clip, hidden, .. } = *spec;
        let (directions, batch, prefix) = (spec.directions.count(), builder.batch, prefix.to_owned());
        let training = builder.is_training;
        let (reverse, storage_dtype) = (spec.directions == Directions::Reverse, builder.storage_dtype);
        let slots = steps.saturating_add(if reverse { 2 } else { directions });
        // One more for the gradient that one segment carries to the segment before it.
        let of_cells = slots.saturating_add(usize::from(training && steps < builder.steps));
        // Behind that one the start and, of cells, its gradient.
        let resets = builder.resets.then_some(slots.saturating_add(1));
        let [slots, of_cells] = resets.map_or([slots, of_cells], |start| [1, 2].map(|more| start.saturating_add(more)));
        let (own, history) = if training { (layer, layer) } else { builder.alike(layer) };
        let (gates, width, h_width) = (spec.gates(), spec.directions.count() * hidden, spec.state_width(0));
        let gates = builder.scratch(&format!("gates_l{own}"), &[steps, batch, gates], storage_dtype)?;
        let mut shape = vec![slots, batch, h_width];
        if spec.projection.is_some() {
            // Behind the slots what is projected to h: a kernel has no binding left for a tensor of its own.
            let [h, projected] = [[slots, batch, h_width], [steps, batch, width]]
                .map(|shape| shape.into_iter().fold(1, usize::saturating_mul));
            shape = vec![h.saturating_add(projected)];
        }
        let history = builder.scratch(&format!("history_l{history}"), &shape, storage_dtype)?;
        let saved = match cell.saved() {
            Saved::None => None,
            Saved::State => Some((format!("cells_l{own}"), [of_cells, batch, width], DType::F32)),
            Saved::Recurrent => Some((format!("recurrent_l{own}"), [steps, batch, spec.gates()], storage_dtype)),
            Saved::Operand => Some((format!("operand_l{own}"), [steps, batch, width], storage_dtype)),
        };
        let saved = match saved {
            None => None,
            Some((name, shape, dtype)) => Some(builder.scratch(&name, &shape, dtype)?),
        };
        let name = parameter(&prefix, "weight_hh", number);
        let weight = match builder.draw(Site::Weights(layer)) {
            None => builder.weight(&name),
            // One mask for all products of the window.
            Some(draw) => {
                let input = builder.weight(&name);
                let shape = [input.rows, input.cols];
                let masked =
                    builder.plan.tensor(&format!("{name}.masked"), &shape, storage_dtype, Lifetime::Transient)?;
                let out = View::new(masked, 0, shape[0], shape[1]);
                builder.push(Op::Dropout(DropoutMask { input: Some(input), out, draw, first: 0, period: shape[0] }));
                out
            }
        };
        let bias = builder.parameter(&parameter(&prefix, "bias_hh", number));
        let work = work(spec, batch, Way::Forward);
        let mut weight_transposed = None;
        // With a projection a step is two products, which no driver of a whole sequence makes.
        if spec.projection.is_none() && Tile::whole_sequence(builder.target, steps, &work).is_some() {
            let shape = [weight.cols, weight.rows];
            let name = format!("{name}.transposed");
            let transposed = builder.plan.tensor(&name, &shape, storage_dtype, Lifetime::Transient)?;
            let transposed = View::new(transposed, 0, shape[0], shape[1]);
            builder.push(Op::Transpose(Transpose { input: weight, out: transposed }));
            weight_transposed = Some(transposed);
        }
        let draws = [0, 1].map(|kind| builder.draw(Site::Zoneout(layer, kind)));
        let (mask, zoneout) = masks(builder, layer, spec, (steps, draws))?;
        let peepholes = match builder.parameter(&parameter(&prefix, "weight_ci", number)) {
            None => None,
            Some(first) => {
                let rows = if training { steps.saturating_mul(batch) } else { 0 };
                let len = rows.saturating_mul(3 * width + 1).saturating_add(3 * width);
                let tensor = builder.real(&format!("peepholes_l{layer}"), &[len], Lifetime::Transient)?;
                // All three lie side by side.
                let (from, to) =
                    (View { cols: 3 * width, stride: 3 * width, ..first }, View::new(tensor, 0, 1, 3 * width));
                builder.push(Op::Copy(CopyView { from, to }));
                Some(tensor)
            }
        };
        let projection = spec.projection.map(|size| Projection {
            size,
            weight: builder.weight(&parameter(&prefix, "weight_hr", number)),
            projected: View::new(history, slots * batch * h_width, steps * batch, width),
        });
        let recurrence = Recurrence {
            cell,
            gate_activation,
            cell_clip,
            zoneout,
            directions,
            reverse,
            steps,
            batch,
            hidden,
            projection,
            lengths,
            resets,
            weight,
            weight_transposed,
            bias,
            dropout_mask: mask,
            gates,
            history,
            saved,
            peepholes,
            schedule: RecurrenceMode::PerStep,
            tile: Tile::steps(builder.target, &work),
        };
        Ok(RecurrentLayer { layer, prefix, number, recurrence, draws })
    }

    /// Its recurrence over a part.
    fn part(&self, builder: &Builder<'_>, part: &Part) -> Recurrence {
        let rows = part.steps * builder.batch;
        let zoneout = self.recurrence.zoneout.map(|hold| match hold {
            Hold::Drawn(view) => Hold::Drawn(View { rows, ..view }),
            hold => hold,
        });
        let projection = self.recurrence.projection.map(|projection| {
            let projected = View { rows, ..projection.projected };
            Projection { projected, ..projection }
        });
        let (steps, lengths) = (part.steps, part.lengths);
        let of_part = Recurrence { steps, lengths, zoneout, projection, ..self.recurrence.clone() };
        let tile = Tile::whole_sequence(builder.target, part.steps, &work_of(&of_part, Way::Forward));
        match tile.filter(|_| of_part.weight_transposed.is_some()) {
            Some(tile) => Recurrence { schedule: RecurrenceMode::WholeSequence, tile, ..of_part },
            None => of_part,
        }
    }
}

impl OpenLayer for RecurrentLayer {
    fn forward(&self, builder: &mut Builder<'_>, part: &Part, below: Below) -> Result<(View, Box<dyn Tape>)> {
        let recurrence = self.part(builder, part);
        let (batch, rows) = (builder.batch, recurrence.steps * builder.batch);
        // Of a kind of state, by its number.
        let slot = |kind, tensor, slot: usize| {
            let width = recurrence.state_width(kind);
            View::new(tensor, slot * batch * width, batch, width)
        };
        // Each state by its place in the network's and its history.
        let second = recurrence.saved.filter(|_| recurrence.cell.saved() == Saved::State);
        let states = [Some(recurrence.history), second].into_iter().flatten().enumerate();
        let (state, offset) = part.state;
        let place = |kind| {
            let width = recurrence.state_width(kind);
            View::new(state, offset + builder.state_offset(self.layer, kind), batch, width)
        };
        let states: Vec<_> = states.map(|(kind, tensor)| (kind, place(kind), tensor)).collect();
        for (kind, state, tensor) in &states {
            // Both directions' at each end: nobody reads the half that is the other's.
            for direction in 0..recurrence.directions {
                let to = slot(*kind, *tensor, recurrence.slot(direction, None));
                builder.push(Op::Copy(CopyView { from: *state, to }));
            }
            let learned = builder.parameter(&format!("{}{}", self.prefix, ["h_0", "c_0"][*kind]));
            builder.start_of(&recurrence, (*kind, *tensor), (learned, self.number));
        }

        let [weight, bias] = ["weight_ih", "bias_ih"].map(|name| parameter(&self.prefix, name, self.number));
        let gates = recurrence.directions * recurrence.rows();
        let out = View::new(recurrence.gates, 0, rows, gates);
        builder.linear(below, (&weight, &bias), out)?;
        // Where a segment is gone over once more, the same again.
        for (hold, draw) in recurrence.zoneout.iter().zip(self.draws) {
            if let (Hold::Drawn(out), Some(draw)) = (*hold, draw) {
                let (first, period) = (part.first * batch, builder.rows);
                builder.push(Op::Dropout(DropoutMask { input: None, out, draw, first, period }));
            }
        }
        builder.push(Op::Forward(recurrence.clone()));

        // Now, because the backward pass writes over a second state.
        for (kind, state, tensor) in states.into_iter().filter(|_| part.leaves) {
            let (width, half) = (state.cols, state.cols / recurrence.directions);
            for direction in 0..recurrence.directions {
                let last = slot(kind, tensor, recurrence.slot(direction, Some(recurrence.steps - 1)));
                // The first direction's with all columns, which is no dispatch; then the second's over its own.
                let (column, cols) = if direction == 0 { (0, width) } else { (half, half) };
                let (from, to) = (last.columns(column, cols), state.columns(column, cols));
                builder.push(Op::Copy(CopyView { from, to }));
            }
        }
        let width = recurrence.state_width(0);
        let outputs = View::new(recurrence.history, batch * width, rows, width);
        let RecurrentLayer { layer, number, .. } = *self;
        let prefix = self.prefix.clone();
        Ok((outputs, Box::new(RecurrentTape { layer, prefix, number, recurrence, below })))
    }
}

impl Tape for RecurrentTape {
    fn gradient(&self, builder: &mut Builder<'_>) -> Result<View> {
        let (upstream, width) = (self.upstream(builder)?, self.recurrence.state_width(0));
        Ok(View::new(upstream, builder.batch * width, self.recurrence.steps * builder.batch, width))
    }

    fn directions(&self) -> usize {
        self.recurrence.directions
    }

    /// The recurrence, which turns the gates into their gradients; then U, W and their biases, the initial state, and
    /// the upstream gradient of the layer below.
    fn backward(&self, builder: &mut Builder<'_>, segment: Segment, below: Option<Link<'_>>) -> Result<()> {
        let (recurrence, upstream) = (&self.recurrence, self.upstream(builder)?);
        let Segment { first, is_last, slices, step_params } = segment;
        let learned = builder.parameter(&format!("{}h_0", self.prefix)).is_some();
        let to_start = first > 0 || learned || builder.read_gradients.state.is_some();
        let carried = !is_last;
        if carried {
            self.carry(builder, upstream, false)?;
        }
        if is_last {
            builder.no_start_gradients(recurrence, upstream);
        }
        let work = work_of(recurrence, Way::Backward);
        let tile = match recurrence.schedule {
            RecurrenceMode::PerStep => Tile::steps(builder.target, &work),
            // What fits one way fits the other, or the schedule would not be this one.
            RecurrenceMode::WholeSequence => Tile::whole(builder.target, &work).unwrap_or(recurrence.tile),
        };
        // Uᵀ is read forwards alone: what it lies in is free from there on.
        let backward = Recurrence { tile, weight_transposed: None, ..recurrence.clone() };
        let projected = self.of_projected(builder, upstream);
        builder.push(Op::Backward(BackwardRecurrence { recurrence: backward, upstream, projected, to_start, carried }));
        if let Some(out) = builder.trace {
            let (directions, steps, lengths) = (recurrence.directions, recurrence.steps, recurrence.lengths);
            let (row, loss_scale) = (builder.directions_below(self.layer), builder.loss_scale);
            builder.push(Op::GradientNorms(GradientNorms {
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
            self.carry(builder, upstream, true)?;
        }
        self.recurrent_gradients(builder, slices)?;
        self.projection_gradient(builder, upstream, slices);
        if first == 0 {
            self.start_gradients(builder, upstream, slices);
        }

        let rows = recurrence.steps * builder.batch;
        let d = View::new(recurrence.gates, 0, rows, recurrence.directions * recurrence.rows());
        let name = parameter(&self.prefix, "weight_ih", self.number);
        let weight = builder.weight(&name).offset;
        let bias = builder.offset(&parameter(&self.prefix, "bias_ih", self.number));
        builder.weight_gradient(d, self.below, (weight, bias), segment)?;
        match below {
            Some(below) => builder.pass_down(d, &name, below, first),
            None => Ok(()),
        }
    }
}

impl RecurrentTape {
    /// `[T+D, B, D·H]`, with a projection `[T+D, B, D·P]`: the gradient of its outputs, which the layer above it, or
    /// the read-out, has made; with one slot more for what comes from a later segment.
    fn upstream(&self, builder: &mut Builder<'_>) -> Result<TensorId> {
        let mut slots = self.upstream_slots(builder);
        if self.has_of_projected() {
            // Behind them what `of_projected` has, for want of a binding.
            slots = slots.saturating_add(builder.segment);
        }
        let shape = [slots, builder.batch, self.recurrence.state_width(0)];
        builder.scratch(&format!("upstream_l{}", self.layer), &shape, builder.storage_dtype)
    }

    fn upstream_slots(&self, builder: &Builder<'_>) -> usize {
        if let Some(start) = self.recurrence.resets {
            return start.saturating_add(1);
        }
        let more = self.recurrence.slots() - self.recurrence.steps + usize::from(builder.segment < builder.steps);
        builder.segment.saturating_add(more)
    }

    /// Whether not all of the gradient of h goes to W_hr: zoneout drew what is kept.
    fn has_of_projected(&self) -> bool {
        self.recurrence.projection.is_some() && self.recurrence.zoneout[0].drawn().is_some()
    }

    /// Where the part that does lies, if it is not all.
    fn of_projected(&self, builder: &Builder<'_>, upstream: TensorId) -> Option<View> {
        let (batch, width) = (builder.batch, self.recurrence.state_width(0));
        let offset = self.upstream_slots(builder) * batch * width;
        self.has_of_projected().then(|| View::new(upstream, offset, self.recurrence.steps * batch, width))
    }

    /// The gradient of the state between two segments: from where the later one leaves it to `state_gradient`, or from
    /// there to where the earlier one finds it.
    fn carry(&self, builder: &mut Builder<'_>, upstream: TensorId, leaves: bool) -> Result<()> {
        let recurrence = &self.recurrence;
        let state = builder.scratch("state_gradient", &[builder.state_shape.width() * builder.batch], DType::F32)?;
        let second = recurrence.saved.filter(|_| recurrence.cell.saved() == Saved::State);
        // Of h the gradient lies at the initial state's own slot, of c at that of the first step.
        for (kind, (tensor, left)) in [Some((upstream, 0)), second.map(|c| (c, 1))].into_iter().flatten().enumerate() {
            let len = builder.batch * recurrence.state_width(kind);
            let between = View::new(state, builder.state_offset(self.layer, kind), 1, len);
            let slot = if leaves { left } else { recurrence.steps + 1 };
            let at = View::new(tensor, slot * len, 1, len);
            let (from, to) = if leaves { (at, between) } else { (between, at) };
            builder.push(Op::Copy(CopyView { from, to }));
        }
        Ok(())
    }

    /// U and b_U, by direction and product: what the sums were over is the history or, of a second product, the operand
    /// that the cell made.
    fn recurrent_gradients(&self, builder: &mut Builder<'_>, slices: TensorId) -> Result<()> {
        let op = &self.recurrence;
        let (hidden, rows, batch) = (op.hidden, op.rows(), builder.batch);
        // The width of what U is multiplied by.
        let (length, width) = (op.operand(), op.state_width(0));
        let second = op.saved.filter(|_| op.cell.saved() == Saved::Operand);
        let mut operands = vec![(op.history, op.slots() - op.steps, 0..op.cell.first_gates() * hidden)];
        operands.extend(second.map(|operand| (operand, 0, op.cell.first_gates() * hidden..rows)));
        for (mut operand, mut more, part) in operands {
            let is_history = operand == op.history;
            // Whether a step's lies at its own time, and not that of the step before it.
            let mut is_by_time = !is_history;
            if let (Some(start), true) = (op.resets, is_history) {
                (operand, more, is_by_time) = (builder.states_before(op, start)?, 0, true);
            }
            if let Some(draw) = builder.draw(Site::Hidden(self.layer)) {
                let name = if is_history { "masked_history" } else { "masked_operand" };
                let masked = builder.scratch(name, &[builder.segment + more, batch, width], builder.storage_dtype)?;
                let slots = op.steps + more;
                let [input, out] = [operand, masked].map(|t| View::new(t, 0, slots * batch, width));
                let mask = DropoutMask { input: Some(input), out, draw, first: 0, period: batch };
                builder.push(Op::Dropout(mask));
                operand = masked;
            }
            for direction in 0..op.directions {
                // From the slot before that of the first step in time; of the reverse direction that is the later one.
                let first = if !is_by_time && op.is_reverse(direction) { 2 * batch } else { 0 };
                let x = View::new(operand, first * width, op.steps * batch, width).columns(direction * length, length);
                let d = View::new(op.recurrent_gradient(), 0, op.steps * batch, op.directions * rows);
                let d = d.columns(direction * rows + part.start, part.len());
                let weight = builder.weight(&parameter(&self.prefix, "weight_hh", self.number)).offset;
                let weight = weight + (direction * rows + part.start) * length;
                let bias = builder.offset(&parameter(&self.prefix, "bias_hh", self.number));
                let bias = bias.map(|b| b + direction * rows + part.start);
                let tile = ProductTile::of(builder.target, [d.cols, x.cols]);
                builder.push(Op::WeightGradient(WeightGradient { d, x, slices, weight, bias, tile }));
            }
        }
        let peepholes = builder.offset(&parameter(&self.prefix, "weight_ci", self.number));
        if let (Some(tensor), Some(weight)) = (op.peepholes, peepholes) {
            // The sum over steps and sequences is a product with the column of ones.
            let all = View::new(tensor, 3 * width, op.steps * batch, op.peephole_row());
            let (d, x) = (all.columns(0, 3 * width), all.columns(3 * width, 1));
            let tile = ProductTile::of(builder.target, [d.cols, x.cols]);
            builder.push(Op::WeightGradient(WeightGradient { d, x, slices, weight, bias: None, tile }));
        }
        if let Some(draw) = builder.draw(Site::Weights(self.layer)) {
            let View { offset: weight, rows, cols, .. } =
                builder.weight(&parameter(&self.prefix, "weight_hh", self.number));
            builder.push(Op::MaskSlices(MaskSlices { slices, weight, len: rows * cols, draw }));
        }
        Ok(())
    }

    /// W_hr, by direction: from the gradient of h at every step, without that of what zoneout kept, and what was
    /// projected to it.
    fn projection_gradient(&self, builder: &mut Builder<'_>, upstream: TensorId, slices: TensorId) {
        let op = &self.recurrence;
        let Some(Projection { size, projected: x, .. }) = op.projection else { return };
        let (batch, width) = (builder.batch, op.state_width(0));
        for direction in 0..op.directions {
            let all = View::new(upstream, batch * width, op.steps * batch, width);
            let d = self.of_projected(builder, upstream).unwrap_or(all).columns(direction * size, size);
            let x = x.columns(direction * op.hidden, op.hidden);
            let weight = builder.weight(&parameter(&self.prefix, "weight_hr", self.number)).offset;
            let weight = weight + direction * size * op.hidden;
            let tile = ProductTile::of(builder.target, [d.cols, x.cols]);
            builder.push(Op::WeightGradient(WeightGradient { d, x, slices, weight, bias: None, tile }));
        }
    }

    /// The states before the first step, where their gradient is wanted or they are learned: of h it lies at its own
    /// slot, of c at that of the first step.
    fn start_gradients(&self, builder: &mut Builder<'_>, upstream: TensorId, slices: TensorId) {
        let op = &self.recurrence;
        let second = op.saved.filter(|_| op.cell.saved() == Saved::State);
        let states = [("h_0", Some(upstream), None), ("c_0", second, Some(0))];
        for (kind, (name, from, step)) in states.into_iter().enumerate() {
            let Some(from) = from else { continue };
            let slots: Vec<usize> = (0..op.directions).map(|direction| op.slot(direction, step)).collect();
            builder.start_gradient(self.layer, kind, (from, op.state_width(kind)), &slots);
            let learned = builder.offset(&format!("{}{name}", self.prefix));
            let resets = op.resets.map(|start| start + kind);
            if let (Some(fresh), Some(offset)) = (builder.fresh, learned) {
                let weight = offset + self.number * op.state_width(kind);
                let op = InitialStateGradient { from, slots, resets, fresh, slices, weight };
                builder.push(Op::InitialStateGradient(op));
            }
        }
    }
}

impl Builder<'_> {
    /// Of a plan that is no training: the first layer that is like this one, whose gates it uses, and the one of the
    /// first two such whose history it does, in turn.
    fn alike(&self, layer: usize) -> (usize, usize) {
        let sizes = |at: usize| match self.config.layers[at] {
            Layer::Recurrent(Recurrent { cell, hidden, directions, projection, .. }) => {
                Some((cell, hidden, directions, projection))
            }
            _ => None,
        };
        let alike: Vec<usize> = (0..=layer).filter(|at| sizes(*at) == sizes(layer)).collect();
        (alike[0], alike[(alike.len() - 1) % 2])
    }
}

fn work(spec: &Recurrent, batch: usize, way: Way) -> Work {
    let (gates, hidden, directions) = (spec.cell.gates(), spec.hidden, spec.directions.count());
    Work { way, gates, hidden, batch, directions }
}

fn work_of(op: &Recurrence, way: Way) -> Work {
    Work { way, gates: op.cell.gates(), hidden: op.hidden, batch: op.batch, directions: op.directions }
}
