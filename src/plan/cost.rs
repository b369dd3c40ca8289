//! What an operation costs: floating-point operations and bytes, computed from the tensor shapes.
//!
//! The contract: the figures are those of the mathematics and of the plan, the same on every device of one precision,
//! whatever an executor does; a new operation is one more arm here. What is counted:
//!
//! * a product of matrices `[M, K]` and `[K, N]` is 2·M·N·K, whatever its sums begin with, a bias say;
//! * element by element an addition, a multiplication, a division and a function (tanh, logistic, exp, root) are one
//!   each; what is done once a row, choices, and the integers of dropout and lengths are nothing;
//! * an element is moved once where an operation reads it and once where it writes it, however often it does; of a
//!   recurrence by steps that is once a dispatch, so U is moved at every step. Caches may keep what is moved often:
//!   more GB/s than the memory has are no error.

use super::{Loss, Op, Optimizer, Plan, PoolKind, Recurrence, RecurrenceMode, TensorId, View, Way, Work};
use crate::model::{Activation, Cell, Reset};

/// What one operation is called and costs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cost {
    /// The operation: `matmul`, `lstm forward by steps`, `adam`.
    pub op: String,
    /// What it works on, by the names of the plan's tensors, the written one first: `gates_l0 ← x, parameters`.
    pub tensors: String,
    /// Floating-point operations.
    pub flops: u64,
    /// Bytes read and written.
    pub bytes: u64,
}

/// Some elements of a tensor. Counts are of 64 bits everywhere: products of sizes go beyond the 32 of a wasm32 `usize`.
type Access = (TensorId, u64);

impl Op {
    /// What it costs where it runs once; of flags that the host sets (keep, fresh, lengths) the costlier way.
    pub fn cost(&self, plan: &Plan) -> Cost {
        let shape = |tensor: TensorId| plan.get(tensor).shape.as_slice();
        let rows = |tensor: TensorId| shape(tensor).first().map_or(0, |size| *size as u64);
        let columns = |tensor: TensorId| shape(tensor).last().map_or(0, |size| *size as u64);
        let len = |tensor: TensorId| plan.get(tensor).len() as u64;
        let whole = |tensor: TensorId| (tensor, len(tensor));
        let size = |view: &View| view.len() as u64;
        let view = |view: &View| (view.tensor, view.len() as u64);
        let (op, written, read, flops): (&str, Vec<Access>, Vec<Access>, u64) = match self {
            Op::Copy { from, to } => ("copy", vec![view(to)], vec![view(from)], 0),
            Op::Zero { tensor } => ("zero", vec![whole(*tensor)], vec![], 0),
            Op::InitialState(o) => ("initial state", vec![whole(o.state)], vec![view(&o.learned), whole(o.fresh)], 0),
            Op::RemainingLengths(o) => ("remaining lengths", vec![whole(o.out)], vec![whole(o.lengths)], 0),
            Op::Dropout(o) => {
                let read = o.input.iter().map(view).chain([(o.draw.keys, 2)]);
                ("dropout", vec![view(&o.out)], read.collect(), o.input.map_or(0, |input| input.len() as u64))
            }
            Op::Gather(o) => {
                let (r, n) = (o.out.rows as u64, o.out.cols as u64);
                // Of W no more columns than there are rows to gather.
                let weight = (o.weight.tensor, (o.weight.cols as u64).min(r) * n);
                let read = [(o.tokens, r), weight].into_iter();
                let read = read.chain(o.bias.iter().map(view)).chain(o.draw.map(|draw| (draw.keys, 2)));
                let each = u64::from(o.bias.is_some()) + u64::from(o.draw.is_some());
                ("gather", vec![view(&o.out)], read.collect(), each * r * n)
            }
            Op::Transpose(o) => ("transpose", vec![view(&o.out)], vec![view(&o.input)], 0),
            Op::MatMul(o) => {
                let k = if o.transpose_a { o.a.rows } else { o.a.cols };
                let read = [o.a, o.b].into_iter().chain(o.bias);
                ("matmul", vec![view(&o.out)], read.map(|v| view(&v)).collect(), 2 * size(&o.out) * k as u64)
            }
            Op::Forward(o) => return o.cost(plan, None),
            Op::Backward { recurrence, upstream, to_start, .. } => {
                return recurrence.cost(plan, Some((*upstream, *to_start)));
            }
            Op::GradientNorms(o) => {
                let (batch, norms) = (len(o.lengths), (o.steps * o.directions) as u64);
                let count = o.steps as u64 * batch * columns(o.upstream);
                let read = [(o.upstream, count), whole(o.lengths)].into_iter().chain(o.loss_scale.map(|s| (s, 1)));
                let flops = 3 * count + (2 + u64::from(o.loss_scale.is_some())) * norms;
                ("gradient norms", vec![(o.out, norms)], read.collect(), flops)
            }
            Op::Pool(o) => {
                let steps = if o.kind == PoolKind::Mean { o.steps as u64 } else { 1 };
                let read = [(o.history, steps * size(&o.out)), whole(o.lengths)].into_iter();
                let (mean, excess) = (o.kind == PoolKind::Mean, (o.excess, size(&o.out)));
                let read = read.chain((o.skipped > 0 && mean).then(|| [view(&o.out), excess]).into_iter().flatten());
                let written = [view(&o.out)].into_iter().chain(mean.then_some(excess));
                let flops = if mean { (steps + 1) * size(&o.out) } else { 0 };
                ("pool", written.collect(), read.collect(), flops)
            }
            Op::PoolGradient(o) => {
                let written = o.steps as u64 * size(&o.d);
                let flops = if o.kind == PoolKind::Mean { written } else { 0 };
                ("pool gradient", vec![(o.upstream, written)], vec![view(&o.d), whole(o.lengths)], flops)
            }
            Op::LossGradient(o) => {
                let written = o.gradient.then(|| view(&o.outputs)).into_iter();
                let written = written.chain([(o.row_loss, o.outputs.rows as u64)]).collect();
                let read = [view(&o.outputs), whole(o.targets), whole(o.loss_mask), (o.step_params, 1)].into_iter();
                let read = read.chain(o.loss_scale.map(|loss_scale| (loss_scale, 1))).collect();
                // y − max, exp, sum, and the gradient's division; or error, square, sum, and the gradient's product.
                let each = 3 + u64::from(o.gradient) + u64::from(o.gradient && o.loss_scale.is_some());
                let name = match o.loss {
                    Loss::CrossEntropy => "cross entropy",
                    Loss::MeanSquared => "mean squared",
                };
                (name, written, read, each * size(&o.outputs))
            }
            Op::WeightGradient(o) => {
                let (m, n) = (o.d.cols as u64, o.x.cols as u64);
                let bias = if o.bias.is_some() { m } else { 0 };
                let written = vec![(o.slices, rows(o.slices) * (m * n + bias))];
                ("weight gradient", written, vec![view(&o.d), view(&o.x)], o.d.rows as u64 * (2 * m * n + bias))
            }
            Op::GatherGradient(o) => {
                let (r, m, vocabulary) = (o.d.rows as u64, o.d.cols as u64, columns(o.starts).saturating_sub(1));
                let bias = if o.bias.is_some() { m } else { 0 };
                let written = vec![(o.slices, rows(o.slices) * (m * vocabulary + bias))];
                let read = [view(&o.d), (o.order, r), (o.starts, vocabulary + 1)].into_iter();
                let read = read.chain(o.draw.map(|draw| (draw.keys, 2))).collect();
                ("gather gradient", written, read, r * (m + bias) + if o.draw.is_some() { r * m } else { 0 })
            }
            Op::InitialStateGradient(o) => {
                let (batch, width) = (shape(o.from).get(1).map_or(0, |size| *size as u64), columns(o.from));
                (
                    "initial state gradient",
                    vec![(o.slices, width)],
                    vec![(o.from, batch * width), whole(o.fresh)],
                    batch * width,
                )
            }
            Op::Sum(o) => ("sum", vec![whole(o.to)], vec![whole(o.from)], len(o.from)),
            Op::ReduceGradients(o) => {
                let (cut, (_, flat)) = (rows(o.slices), whole(o.gradients));
                let read = [whole(o.slices), whole(o.parameter_flags), whole(o.step_params)].into_iter();
                let excess = o.segment.map(|segment| whole(segment.excess));
                let added = o.segment.filter(|segment| segment.adds).map(|_| whole(o.gradients));
                let read =
                    read.chain(added).chain(added.and(excess)).chain(o.loss_scale.map(|loss_scale| (loss_scale, 1)));
                let written = [whole(o.gradients), whole(o.partials)].into_iter().chain(excess);
                // The sum over the slices; then g / max, its square and their sum.
                let each = cut * (1 + u64::from(o.loss_scale.is_some())) + 3;
                ("reduce gradients", written.collect(), read.collect(), each * flat)
            }
            Op::StepMetrics(o) => {
                let read = [o.row_loss].into_iter().chain(o.partials).chain([o.step_params]).map(whole);
                // A block's part of the norm: its maximum over the largest, squared, times its sum, added.
                let flops = len(o.row_loss) + 4 * o.partials.map_or(0, rows);
                ("step metrics", vec![(o.metrics, columns(o.metrics))], read.collect(), flops)
            }
            Op::Update(o) => {
                let written = [o.parameters].into_iter().chain(o.moments.iter().copied()).map(whole);
                let read = [o.gradients, o.parameters, o.parameter_flags, o.step_params]
                    .into_iter()
                    .chain(o.moments.iter().copied());
                let read = read.map(whole).chain([(o.metrics, columns(o.metrics))]).collect();
                // Each with the clip's one; the formulas are those of the twin.
                let (name, each) = match o.optimizer {
                    Optimizer::Sgd { .. } => ("sgd", 5),
                    Optimizer::RmsProp { .. } => ("rms prop", 10),
                    Optimizer::Adam { .. } => ("adam", 15),
                };
                (name, written.collect(), read, each * len(o.parameters))
            }
            Op::UpdateLossScale(o) => {
                let read = vec![whole(o.loss_scale), whole(o.step_params), (o.metrics, columns(o.metrics))];
                ("update loss scale", vec![whole(o.loss_scale)], read, 0)
            }
        };
        let names: Vec<TensorId> = written.iter().take(1).chain(&read).map(|(tensor, _)| *tensor).collect();
        Cost::new(plan, op.to_owned(), &names, written.into_iter().chain(read), flops)
    }
}

impl Cost {
    /// How much it is.
    pub fn work(&self) -> Work {
        Work { flops: self.flops, bytes: self.bytes }
    }

    /// `names` are the tensor written and those read.
    fn new(plan: &Plan, op: String, names: &[TensorId], moved: impl Iterator<Item = Access>, flops: u64) -> Self {
        let bytes = moved.map(|(tensor, len)| len * plan.get(tensor).dtype.bytes()).sum();
        Cost { op, tensors: named(plan, names), flops, bytes }
    }
}

/// The tensor written and the first two read, each once: enough to tell a layer's operations apart.
fn named(plan: &Plan, names: &[TensorId]) -> String {
    let mut names = names.iter().map(|tensor| plan.get(*tensor).name.as_str());
    let to = names.next().unwrap_or_default();
    let mut from: Vec<&str> = Vec::new();
    for name in names {
        if !from.contains(&name) && from.len() < 2 {
            from.push(name);
        }
    }
    if from.is_empty() { to.to_owned() } else { format!("{to} ← {}", from.join(", ")) }
}

/// Of a cell's pointwise functions, for one unit of one sequence at one step: floating-point operations, and elements
/// read and written.
struct Pointwise {
    flops: u64,
    /// Of the tensor of gates.
    gates: u64,
    /// Of h and its gradient.
    states: u64,
    /// Of what the cell keeps beside them.
    saved: u64,
}

fn pointwise(cell: Cell, way: Way) -> Pointwise {
    let [flops, gates, states, saved] = match (cell, way) {
        // x + r and its function.
        (Cell::Elman(_), Way::Forward) => [2, 1, 2, 0],
        // dh·(1 − h²), of relu a choice; dh and h read, dh written.
        (Cell::Elman(Activation::Tanh), Way::Backward) => [3, 1, 3, 0],
        (Cell::Elman(Activation::Relu), Way::Backward) => [0, 1, 3, 0],
        // Four sums and their functions, f·c + i·g, o·tanh c; the gates read and left activated, c read and written.
        (Cell::Lstm, Way::Forward) => [13, 8, 2, 2],
        // tanh c, dc (5), each gate (4), dc·f; c_t, c_(t-1) and dc read, the gradient of c_(t-1) written.
        (Cell::Lstm, Way::Backward) => [23, 8, 2, 4],
        // r and z (2 each), n (3), n + z·(h − n); U·h + b_U is kept.
        (Cell::Gru(Reset::AfterProduct), Way::Forward) => [10, 6, 2, 3],
        // dn (5), dr (4), dz (5), dh·z added to the gradient of h_(t-1), dn·r; of U·h that of n read, all of its
        // gradient written.
        (Cell::Gru(Reset::AfterProduct), Way::Backward) => [17, 6, 5, 4],
        // r and z (2 each), the operand, n (2), n + z·(h − n); z and h are read for both products.
        (Cell::Gru(Reset::BeforeProduct), Way::Forward) => [10, 7, 3, 2],
        // dh·z added, dz (5), dn (5); the operand's gradient times r added, dr (4).
        (Cell::Gru(Reset::BeforeProduct), Way::Backward) => [18, 6, 8, 0],
    };
    Pointwise { flops, gates, states, saved }
}

impl Recurrence {
    /// Forwards, or backwards with the gradient from above and whether it is wanted to the start.
    fn cost(&self, plan: &Plan, backward: Option<(TensorId, bool)>) -> Cost {
        let way = if backward.is_some() { Way::Backward } else { Way::Forward };
        let [steps, batch, width, hidden, first, gates, products] = [
            self.steps,
            self.batch,
            self.width(),
            self.hidden,
            self.cell.first_gates(),
            self.cell.gates(),
            self.cell.products(),
        ]
        .map(|size| size as u64);
        let (units, second) = (batch * width, gates - first);
        // Backwards the last step's gradient goes through the first product only after it, and to the start if wanted.
        let firsts = backward.map_or(steps, |(_, to_start)| steps - 1 + u64::from(to_start));
        let seconds = if second > 0 { steps } else { 0 };
        let pointwise = pointwise(self.cell, way);
        let flops = steps * units * pointwise.flops + 2 * units * hidden * (first * firsts + second * seconds);

        // How many dispatches read each part of U.
        let (firsts_read, seconds_read, dispatches) = match self.schedule {
            RecurrenceMode::WholeSequence => (firsts.min(1), seconds.min(1), 1),
            RecurrenceMode::PerStep => (firsts, seconds, steps * products),
        };
        let weight = width * hidden * (first * firsts_read + second * seconds_read);
        let bias = width * (first * firsts_read + second * seconds_read);
        let each = |tensor, each: u64| (tensor, steps * units * each);
        let u = self.weight_transposed.unwrap_or(self.weight).tensor;
        let mut moved = vec![(u, weight), each(self.gates, pointwise.gates), each(self.history, pointwise.states)];
        moved.push((self.lengths, batch * dispatches));
        moved.extend(self.saved.map(|saved| each(saved, pointwise.saved)));
        moved.extend(self.dropout_mask.map(|mask| (mask, units * (firsts_read + seconds_read))));
        moved.extend(self.bias.filter(|_| backward.is_none()).map(|view| (view.tensor, bias)));
        if backward.is_some() && self.schedule == RecurrenceMode::PerStep {
            // What goes through U to the step before was written by another dispatch.
            moved.push((self.recurrent_gradient(), units * first * firsts));
            moved.push((self.gates, units * second * seconds));
        }
        let schedule = if self.schedule == RecurrenceMode::PerStep { "by steps" } else { "as a whole" };
        let (direction, names) = match backward {
            None => ("forward", [self.history, self.gates, u]),
            Some((upstream, _)) => ("backward", [self.gates, upstream, u]),
        };
        let op = format!("{} {direction} {schedule}", self.cell.name());
        Cost::new(plan, op, &names, moved.into_iter(), flops)
    }
}
