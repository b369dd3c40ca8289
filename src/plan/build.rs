//! From a configuration to a plan: the forward pass, the loss, back-propagation through time, clipping and the update.

use super::{
    Combine, Gather, GatherGradient, LossGradient, METRICS_SLOTS, MatMul, Measure, Op, Phase, Plan, Purpose,
    Recurrence, RecurrenceSchedule, Target, Transpose, Update, WeightGradient,
    recipe::{Loss, Recipe},
    tensor::{Element, Storage, TensorId, View},
};
use crate::error::Result;
use crate::model::{CellMemory, Config, Input, Layout, ReadOut};

/// Where a plan's inputs and outputs are. What a purpose does not need is `None`.
#[derive(Clone, Copy, Debug)]
pub struct Outputs {
    /// `[flat]`: all parameters.
    pub parameters: TensorId,
    /// `[T·B]` token ids, or `[T·B, I]` numbers.
    pub inputs: TensorId,
    /// `[R, O]`: the read-out; after a training run, its gradient.
    pub outputs: TensorId,
    /// `[S, L, B, H]`: the initial state of every layer before a run, the final state after it.
    pub state: TensorId,
    /// The inputs of a loss.
    pub loss: Option<LossInputs>,
    /// What training adds.
    pub training: Option<TrainingTensors>,
}

/// The inputs of a loss and its result.
#[derive(Clone, Copy, Debug)]
pub struct LossInputs {
    /// `[R]` class ids or `[R, O]` numbers.
    pub targets: TensorId,
    /// `[R]`, 0 or 1.
    pub mask: TensorId,
    /// `[1]`: the number of positions that count.
    pub count: TensorId,
    /// `[4]`: learning rate, 1 − β₁ᵗ, 1 − β₂ᵗ, slot of the metrics.
    pub hyper: TensorId,
    /// `[METRICS_SLOTS, 4]`: loss, norm, scale, finite.
    pub metrics: TensorId,
}

/// The tensors of training that the host reads or writes.
#[derive(Clone, Copy, Debug)]
pub struct TrainingTensors {
    /// `[flat]`: the gradient before clipping.
    pub gradients: TensorId,
    /// `[flat]` each: the optimiser's moments.
    pub moments: [Option<TensorId>; 2],
    /// Rows by token and where each token's begin, as [`GatherGradient`] reads them.
    pub by_token: Option<(TensorId, TensorId)>,
}

/// The sizes of a window, named once.
struct Builder<'a> {
    plan: Plan,
    config: &'a Config,
    layout: &'a Layout,
    target: &'a Target,
    steps: usize,
    batch: usize,
    /// T·B.
    rows: usize,
    /// G·H.
    gates: usize,
    parameters: TensorId,
}

pub(super) fn build(
    config: &Config,
    layout: &Layout,
    purpose: Purpose,
    steps: usize,
    batch: usize,
    target: &Target,
) -> Result<(Plan, Outputs)> {
    let mut plan = Plan::empty();
    let parameters = plan.tensor("parameters", &[layout.len()], Element::Real, Storage::Shared)?;
    let (rows, gates) = (steps.saturating_mul(batch), config.hidden * config.cell.gates());
    let mut builder = Builder { plan, config, layout, target, steps, batch, rows, gates, parameters };
    let outputs = builder.build(purpose)?;
    builder.plan.check_limits(target)?;
    Ok((builder.plan, outputs))
}

impl Builder<'_> {
    fn build(&mut self, purpose: Purpose) -> Result<Outputs> {
        let forward = self.forward()?;
        let mut all = Outputs {
            parameters: self.parameters,
            inputs: forward.inputs,
            outputs: forward.outputs.tensor,
            state: forward.state,
            loss: None,
            training: None,
        };
        match purpose {
            Purpose::Infer => {}
            Purpose::Evaluate(loss) => {
                let (inputs, row_loss) = self.loss(loss, forward.outputs, false)?;
                self.measure(inputs, row_loss, None);
                all.loss = Some(inputs);
            }
            Purpose::Train(recipe) => {
                let (inputs, row_loss) = self.loss(recipe.loss, forward.outputs, true)?;
                all.loss = Some(inputs);
                all.training = Some(self.train(&forward, recipe, inputs, row_loss)?);
            }
        }
        Ok(all)
    }

    fn real(&mut self, name: &str, shape: &[usize], storage: Storage) -> Result<TensorId> {
        self.plan.tensor(name, shape, Element::Real, storage)
    }

    fn id(&mut self, name: &str, shape: &[usize]) -> Result<TensorId> {
        self.plan.tensor(name, shape, Element::Id, Storage::Input)
    }

    /// A parameter as a matrix; a bias is one row.
    fn parameter(&self, name: &str) -> View {
        let (offset, shape) = self.layout.get(name).map_or((0, &[][..]), |p| (p.offset, p.shape.as_slice()));
        debug_assert!(!shape.is_empty(), "no parameter {name}");
        let cols = shape.last().copied().unwrap_or(0);
        View::new(self.parameters, offset, if shape.len() == 2 { shape[0] } else { 1 }, cols)
    }

    fn forward(&mut self) -> Result<ForwardTensors> {
        let state = self.real("state", &self.config.state(self.batch), Storage::Scratch)?;
        let (inputs, mut below) = match self.config.input {
            Input::Tokens(_) => (self.id("tokens", &[self.steps, self.batch])?, None),
            Input::Dense(size) => {
                let x = self.real("x", &[self.steps, self.batch, size], Storage::Input)?;
                (x, Some(View::new(x, 0, self.rows, size)))
            }
        };
        let mut layers = Vec::with_capacity(self.config.layers);
        for layer in 0..self.config.layers {
            let recurrence = self.layer(layer, state, inputs, below)?;
            below = Some(View::new(recurrence.history, self.batch * self.config.hidden, self.rows, self.config.hidden));
            layers.push(recurrence);
        }
        let labels = self.config.labels(self.steps, self.batch);
        let outputs = self.real("outputs", &[labels, self.config.outputs], Storage::Scratch)?;
        let outputs = View::new(outputs, 0, labels, self.config.outputs);
        let a = self.read_rows(layers[layers.len() - 1].history);
        let (weight, bias) = (self.parameter("weight"), self.parameter("bias"));
        self.plan.push(
            Phase::Forward,
            Op::MatMul(MatMul { a, transpose_a: false, b: weight, transpose_b: true, bias: Some(bias), out: outputs }),
        );
        Ok(ForwardTensors { inputs, state, outputs, layers })
    }

    /// One layer over all T: the products with W at once, then the recurrence. `below` is `[T·B, ·]`; without it the
    /// layer reads tokens.
    fn layer(&mut self, layer: usize, state: TensorId, tokens: TensorId, below: Option<View>) -> Result<Recurrence> {
        let (steps, batch, hidden, cell) = (self.steps, self.batch, self.config.hidden, self.config.cell);
        let [gates, history] =
            [("gates", vec![steps, batch, self.gates]), ("history", vec![steps.saturating_add(1), batch, hidden])]
                .map(|(name, shape)| self.real(&format!("{name}_l{layer}"), &shape, Storage::Scratch));
        let (gates, history) = (gates?, history?);
        let memory = match cell.memory() {
            CellMemory::None => None,
            CellMemory::State => Some(("cells", vec![steps.saturating_add(1), batch, hidden])),
            CellMemory::Recurrent => Some(("recurrent", vec![steps, batch, self.gates])),
        };
        let memory =
            memory.map(|(name, shape)| self.real(&format!("{name}_l{layer}"), &shape, Storage::Scratch)).transpose()?;

        // Each state by its place in `state` and its history.
        let second = memory.filter(|_| cell.memory() == CellMemory::State);
        let states = [Some(history), second].into_iter().flatten().enumerate().map(|(s, tensor)| {
            let place = (s * self.config.layers + layer) * batch * hidden;
            (View::new(state, place, batch, hidden), tensor)
        });
        let states: Vec<_> = states.collect();
        for (state, tensor) in &states {
            self.plan.push(Phase::Forward, Op::Copy { from: *state, to: View::new(*tensor, 0, batch, hidden) });
        }

        let (weight, bias) =
            (self.parameter(&format!("weight_ih_l{layer}")), self.parameter(&format!("bias_ih_l{layer}")));
        let out = View::new(gates, 0, self.rows, self.gates);
        self.plan.push(
            Phase::Forward,
            match below {
                None => Op::Gather(Gather { tokens, weight, bias, out }),
                Some(a) => {
                    Op::MatMul(MatMul { a, transpose_a: false, b: weight, transpose_b: true, bias: Some(bias), out })
                }
            },
        );

        let weight = self.parameter(&format!("weight_hh_l{layer}"));
        let bias = self.parameter(&format!("bias_hh_l{layer}"));
        let (mut weight_transposed, mut schedule) = (None, RecurrenceSchedule::Steps);
        let whole = self.target.whole_sequence(steps, hidden, cell.gates());
        if whole || self.target.transposes(steps) {
            let name = format!("weight_hh_l{layer}.transposed");
            let turned = View::new(self.real(&name, &[hidden, self.gates], Storage::Scratch)?, 0, hidden, self.gates);
            self.plan.push(Phase::Forward, Op::Transpose(Transpose { input: weight, out: turned }));
            weight_transposed = Some(turned);
        }
        if whole {
            schedule = RecurrenceSchedule::Whole;
        }
        let recurrence = Recurrence {
            cell,
            steps,
            batch,
            hidden,
            weight,
            weight_transposed,
            bias,
            gates,
            history,
            memory,
            schedule,
        };
        self.plan.push(Phase::Forward, Op::Forward(recurrence.clone()));
        // Now, because the backward pass writes over a second state.
        for (state, tensor) in states {
            let last = View::new(tensor, self.rows * hidden, batch, hidden);
            self.plan.push(Phase::Forward, Op::Copy { from: last, to: state });
        }
        Ok(recurrence)
    }

    /// The rows of the history that are read out: slots 1 to T, or T alone.
    fn read_rows(&self, history: TensorId) -> View {
        let hidden = self.config.hidden;
        let labels = self.config.labels(self.steps, self.batch);
        View::new(history, (self.rows + self.batch - labels) * hidden, labels, hidden)
    }

    /// `out = d·weight`: the gradient of what a product with `weight` read.
    fn input_gradient(&mut self, d: View, weight: &str, out: View) {
        let b = self.parameter(weight);
        let op = MatMul { a: d, transpose_a: false, b, transpose_b: false, bias: None, out };
        self.plan.push(Phase::Backward, Op::MatMul(op));
    }

    fn loss(&mut self, loss: Loss, outputs: View, gradient: bool) -> Result<(LossInputs, TensorId)> {
        let targets = match loss {
            Loss::CrossEntropy => self.id("targets", &[outputs.rows])?,
            Loss::MeanSquared => self.real("targets", &[outputs.rows, outputs.cols], Storage::Input)?,
        };
        let mask = self.real("mask", &[outputs.rows], Storage::Input)?;
        let count = self.real("count", &[1], Storage::Input)?;
        let hyper = self.real("hyper", &[4], Storage::Input)?;
        // The metrics of training are those of one run of steps, whatever windows these have; an evaluation has its own.
        let storage = if gradient { Storage::Shared } else { Storage::Scratch };
        let metrics = self.real("metrics", &[METRICS_SLOTS, 4], storage)?;
        let row_loss = self.real("row_loss", &[outputs.rows], Storage::Scratch)?;
        let op = LossGradient { loss, outputs, targets, mask, count, row_loss, gradient };
        self.plan.push(Phase::Loss, Op::LossGradient(op));
        Ok((LossInputs { targets, mask, count, hyper, metrics }, row_loss))
    }

    fn measure(&mut self, inputs: LossInputs, row_loss: TensorId, gradient: Option<(TensorId, Recipe)>) {
        let (partials, clip) = match gradient {
            Some((partials, recipe)) => (Some(partials), recipe.clip),
            None => (None, super::Clip::None),
        };
        let op = Measure { row_loss, partials, clip, hyper: inputs.hyper, metrics: inputs.metrics };
        self.plan.push(Phase::Update, Op::Measure(op));
    }

    fn train(
        &mut self,
        forward: &ForwardTensors,
        recipe: Recipe,
        loss: LossInputs,
        row_loss: TensorId,
    ) -> Result<TrainingTensors> {
        let (hidden, flat) = (self.config.hidden, self.layout.len());
        let cut = self.target.slices(self.rows, (self.gates, hidden), flat);
        let slices = self.real("gradient_slices", &[cut, flat], Storage::Scratch)?;
        let place =
            |this: &Self, weight: &str, bias: &str| (this.parameter(weight).offset, this.parameter(bias).offset);

        // The read-out, whose outputs are now their gradient.
        let mut upstream = self.real("upstream", &[self.steps, self.batch, hidden], Storage::Scratch)?;
        if self.config.read_out == ReadOut::Last {
            self.plan.push(Phase::Backward, Op::Zero { tensor: upstream });
        }
        let d = forward.outputs;
        let top = &forward.layers[forward.layers.len() - 1];
        let x = self.read_rows(top.history);
        let out = View::new(upstream, (self.rows - d.rows) * hidden, d.rows, hidden);
        self.input_gradient(d, "weight", out);
        let (weight, bias) = place(self, "weight", "bias");
        self.plan.push(Phase::Backward, Op::WeightGradient(WeightGradient { d, x, slices, weight, bias }));

        // Each layer's recurrence, which turns the gates into their gradients; then U, W and their biases, and what the
        // layer below is to hear.
        let mut by_token = None;
        for (layer, recurrence) in forward.layers.iter().enumerate().rev() {
            self.plan.push(Phase::Backward, Op::Backward { recurrence: recurrence.clone(), upstream });
            let d = View::new(recurrence.recurrent_gradient(), 0, self.rows, self.gates);
            let x = View::new(recurrence.history, 0, self.rows, hidden);
            let (weight, bias) = place(self, &format!("weight_hh_l{layer}"), &format!("bias_hh_l{layer}"));
            self.plan.push(Phase::Backward, Op::WeightGradient(WeightGradient { d, x, slices, weight, bias }));

            let d = View::new(recurrence.gates, 0, self.rows, self.gates);
            let (weight, bias) = place(self, &format!("weight_ih_l{layer}"), &format!("bias_ih_l{layer}"));
            let x = match (layer.checked_sub(1), self.config.input) {
                (Some(below), _) => {
                    let below = forward.layers[below].history;
                    View::new(below, self.batch * hidden, self.rows, hidden)
                }
                (None, Input::Dense(size)) => View::new(forward.inputs, 0, self.rows, size),
                (None, Input::Tokens(symbols)) => {
                    let order = self.id("order", &[self.rows])?;
                    let starts = self.id("starts", &[symbols + 1])?;
                    let op = GatherGradient { d, order, starts, slices, weight, bias };
                    self.plan.push(Phase::Backward, Op::GatherGradient(op));
                    by_token = Some((order, starts));
                    continue;
                }
            };
            self.plan.push(Phase::Backward, Op::WeightGradient(WeightGradient { d, x, slices, weight, bias }));
            if layer > 0 {
                let name = format!("upstream_l{}", layer - 1);
                upstream = self.real(&name, &[self.steps, self.batch, hidden], Storage::Scratch)?;
                let out = View::new(upstream, 0, self.rows, hidden);
                self.input_gradient(d, &format!("weight_ih_l{layer}"), out);
            }
        }

        let gradients = self.real("gradients", &[flat], Storage::Shared)?;
        let partials = self.real("norm_partials", &[flat.div_ceil(Combine::BLOCK), 3], Storage::Scratch)?;
        self.plan.push(Phase::Update, Op::Combine(Combine { slices, gradients, partials }));
        self.measure(loss, row_loss, Some((partials, recipe)));
        let mut moments = Vec::new();
        for name in MOMENTS.iter().take(recipe.optimizer.moments()) {
            moments.push(self.real(name, &[flat], Storage::Shared)?);
        }
        let training =
            TrainingTensors { gradients, moments: [moments.first().copied(), moments.get(1).copied()], by_token };
        self.plan.push(
            Phase::Update,
            Op::Update(Update {
                optimizer: recipe.optimizer,
                clip: recipe.clip,
                hyper: loss.hyper,
                metrics: loss.metrics,
                gradients,
                parameters: self.parameters,
                moments,
            }),
        );
        Ok(training)
    }
}

/// The tensors that all plans of a training share, and no operations: for an executor to hold them before any window.
pub(super) fn shared(layout: &Layout, recipe: Option<&Recipe>, target: &Target) -> Result<(Plan, SharedTensors)> {
    let mut plan = Plan::empty();
    let mut real = |name: &str, shape: &[usize]| plan.tensor(name, shape, Element::Real, Storage::Shared);
    let parameters = real("parameters", &[layout.len()])?;
    let mut all = SharedTensors { parameters, moments: [None; 2], metrics: None };
    if let Some(recipe) = recipe {
        for (slot, name) in all.moments.iter_mut().zip(MOMENTS).take(recipe.optimizer.moments()) {
            *slot = Some(real(name, &[layout.len()])?);
        }
        all.metrics = Some(real("metrics", &[METRICS_SLOTS, 4])?);
    }
    plan.check_limits(target)?;
    Ok((plan, all))
}

/// The optimiser's moments, by name.
const MOMENTS: [&str; 2] = ["first_moment", "second_moment"];

/// The tensors of a training that outlive every window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SharedTensors {
    /// `[flat]`.
    pub parameters: TensorId,
    /// `[flat]` each.
    pub moments: [Option<TensorId>; 2],
    /// `[METRICS_SLOTS, 4]`.
    pub metrics: Option<TensorId>,
}

/// What the forward pass leaves for the passes after it.
struct ForwardTensors {
    inputs: TensorId,
    state: TensorId,
    outputs: View,
    layers: Vec<Recurrence>,
}
