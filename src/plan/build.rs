//! From a configuration to a plan: the forward pass, the loss, back-propagation through time, clipping and the update.

use super::{
    Combine, Gather, GatherGradient, LossGradient, METRICS_SLOTS, MatMul, Measure, Op, Phase, Plan, Purpose,
    Recurrence, RecurrenceSchedule, Target, Transpose, Update, WeightGradient,
    recipe::{Loss, Recipe},
    tensor::{Element, Storage, TensorId, View},
};
use crate::error::Result;
use crate::model::{Config, Input, Layout, ReadOut};

/// Where a plan's inputs and outputs are. What a purpose does not need is `None`.
#[derive(Clone, Copy, Debug)]
pub struct Outputs {
    /// `[flat]`: all parameters.
    pub parameters: TensorId,
    /// `[T·B]` token ids, or `[T·B, I]` numbers.
    pub inputs: TensorId,
    /// `[R, O]`: the read-out; after a training run, its gradient.
    pub outputs: TensorId,
    /// `[B, H]`: the initial state before a run, the final state after it.
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
        let last = View::new(forward.history, self.rows * self.config.hidden, self.batch, self.config.hidden);
        let state = View::new(forward.state, 0, self.batch, self.config.hidden);
        self.plan.push(Phase::Update, Op::Copy { from: last, to: state });
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
        let (steps, batch, hidden, outputs) = (self.steps, self.batch, self.config.hidden, self.config.outputs);
        let state = self.real("state", &[batch, hidden], Storage::Scratch)?;
        let gates = self.real("gates", &[steps, batch, self.gates], Storage::Scratch)?;
        let history = self.real("history", &[steps.saturating_add(1), batch, hidden], Storage::Scratch)?;
        self.plan.push(
            Phase::Forward,
            Op::Copy { from: View::new(state, 0, batch, hidden), to: View::new(history, 0, batch, hidden) },
        );

        let (weight, bias) = (self.parameter("weight_ih_l0"), self.parameter("bias_ih_l0"));
        let out = View::new(gates, 0, self.rows, self.gates);
        let inputs = match self.config.input {
            Input::Tokens(_) => {
                let tokens = self.id("tokens", &[steps, batch])?;
                self.plan.push(Phase::Forward, Op::Gather(Gather { tokens, weight, bias, out }));
                tokens
            }
            Input::Dense(size) => {
                let x = self.real("x", &[steps, batch, size], Storage::Input)?;
                let a = View::new(x, 0, self.rows, size);
                self.plan.push(
                    Phase::Forward,
                    Op::MatMul(MatMul { a, transpose_a: false, b: weight, transpose_b: true, bias: Some(bias), out }),
                );
                x
            }
        };

        let weight = self.parameter("weight_hh_l0");
        let mut recurrence = Recurrence {
            cell: self.config.cell,
            steps,
            batch,
            hidden,
            weight,
            weight_transposed: None,
            bias: self.parameter("bias_hh_l0"),
            gates,
            history,
            schedule: RecurrenceSchedule::Steps,
        };
        let whole = self.target.whole_sequence(steps, hidden, self.config.cell.gates());
        if whole || self.target.transposes(steps) {
            let turned = self.real("weight_hh_l0.transposed", &[hidden, self.gates], Storage::Scratch)?;
            let turned = View::new(turned, 0, hidden, self.gates);
            self.plan.push(Phase::Forward, Op::Transpose(Transpose { input: weight, out: turned }));
            recurrence.weight_transposed = Some(turned);
        }
        if whole {
            recurrence.schedule = RecurrenceSchedule::Whole;
        }
        self.plan.push(Phase::Forward, Op::Forward(recurrence.clone()));

        let labels = self.config.labels(steps, batch);
        let outputs = View::new(self.real("outputs", &[labels, outputs], Storage::Scratch)?, 0, labels, outputs);
        let read = self.read_rows(history);
        self.plan.push(
            Phase::Forward,
            Op::MatMul(MatMul {
                a: read,
                transpose_a: false,
                b: self.parameter("weight"),
                transpose_b: true,
                bias: Some(self.parameter("bias")),
                out: outputs,
            }),
        );
        Ok(ForwardTensors { inputs, state, gates, history, outputs, recurrence })
    }

    /// The rows of the history that are read out: slots 1 to T, or T alone.
    fn read_rows(&self, history: TensorId) -> View {
        let hidden = self.config.hidden;
        let labels = self.config.labels(self.steps, self.batch);
        View::new(history, (self.rows + self.batch - labels) * hidden, labels, hidden)
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
        let upstream = self.real("upstream", &[self.steps, self.batch, hidden], Storage::Scratch)?;
        if self.config.read_out == ReadOut::Last {
            self.plan.push(Phase::Backward, Op::Zero { tensor: upstream });
        }
        let d = forward.outputs;
        let read = self.read_rows(forward.history);
        let out = View::new(upstream, (self.rows - d.rows) * hidden, d.rows, hidden);
        let v = self.parameter("weight");
        self.plan.push(
            Phase::Backward,
            Op::MatMul(MatMul { a: d, transpose_a: false, b: v, transpose_b: false, bias: None, out }),
        );
        let (weight, bias) = place(self, "weight", "bias");
        self.plan.push(Phase::Backward, Op::WeightGradient(WeightGradient { d, x: read, slices, weight, bias }));

        // The recurrence, which turns the gates into their gradients; then U, W and their biases.
        self.plan.push(Phase::Backward, Op::Backward { recurrence: forward.recurrence.clone(), upstream });
        let d = View::new(forward.gates, 0, self.rows, self.gates);
        let before = View::new(forward.history, 0, self.rows, hidden);
        let (weight, bias) = place(self, "weight_hh_l0", "bias_hh_l0");
        self.plan.push(Phase::Backward, Op::WeightGradient(WeightGradient { d, x: before, slices, weight, bias }));
        let (weight, bias) = place(self, "weight_ih_l0", "bias_ih_l0");
        let by_token = match self.config.input {
            Input::Tokens(symbols) => {
                let order = self.id("order", &[self.rows])?;
                let starts = self.id("starts", &[symbols + 1])?;
                let op = GatherGradient { d, order, starts, slices, weight, bias };
                self.plan.push(Phase::Backward, Op::GatherGradient(op));
                Some((order, starts))
            }
            Input::Dense(size) => {
                let x = View::new(forward.inputs, 0, self.rows, size);
                self.plan.push(Phase::Backward, Op::WeightGradient(WeightGradient { d, x, slices, weight, bias }));
                None
            }
        };

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
    gates: TensorId,
    history: TensorId,
    outputs: View,
    recurrence: Recurrence,
}
