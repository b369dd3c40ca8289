//! The operations. Each is a record of which tensors it reads and writes; its name is shared by a shader in `shaders/`,
//! the kernel in `gpu/kernels` and the twin in `cpu/`.
//!
//! Unless a line says otherwise an operation assigns its outputs: it never adds to what was there.

use super::{
    Plan,
    recipe::{Clip, Loss, Optimizer},
    tensor::{TensorId, View},
};
use crate::model::{Cell, CellMemory};

/// One operation.
#[derive(Clone, Debug)]
pub enum Op {
    /// `to = from`, element by element, between two tensors. Not a dispatch.
    Copy {
        /// Read.
        from: View,
        /// Written.
        to: View,
    },
    /// A whole tensor set to zero. Not a dispatch.
    Zero {
        /// Written.
        tensor: TensorId,
    },
    /// Columns of W by token id.
    Gather(Gather),
    /// A matrix turned over.
    Transpose(Transpose),
    /// A matrix product.
    MatMul(MatMul),
    /// The recurrence of a whole window, forwards.
    Forward(Recurrence),
    /// The recurrence of a whole window, backwards.
    Backward {
        /// As forwards.
        recurrence: Recurrence,
        /// `[T, B, H]`: the gradient of h_1 to h_T that comes from above, read; the whole gradient of h_t, written.
        upstream: TensorId,
    },
    /// Loss and the gradient of the outputs.
    LossGradient(LossGradient),
    /// Gradients of a weight matrix and its bias.
    WeightGradient(WeightGradient),
    /// Gradients of W and its bias where the inputs are tokens.
    GatherGradient(GatherGradient),
    /// Slices of the gradient summed, and the first stage of its norm.
    Combine(Combine),
    /// Loss, norm, clip scale and the finite flag.
    Measure(Measure),
    /// The optimiser's step.
    Update(Update),
}

/// `out[r, j] = weight[j, tokens[r]] + bias[j]`: W·x + b for one-hot x.
#[derive(Clone, Debug)]
pub struct Gather {
    /// `[R]` ids below I.
    pub tokens: TensorId,
    /// `[G·H, I]`.
    pub weight: View,
    /// `[1, G·H]`.
    pub bias: View,
    /// `[R, G·H]`, written.
    pub out: View,
}

/// `out[j, i] = input[i, j]`.
#[derive(Clone, Debug)]
pub struct Transpose {
    /// `[M, N]`.
    pub input: View,
    /// `[N, M]`, written.
    pub out: View,
}

/// `out = op(a)·op(b) + bias`, op a transposition or nothing.
#[derive(Clone, Debug)]
pub struct MatMul {
    /// `[M, K]`, or `[K, M]` if transposed.
    pub a: View,
    /// Whether `a` is turned over.
    pub transpose_a: bool,
    /// `[K, N]`, or `[N, K]` if transposed.
    pub b: View,
    /// Whether `b` is turned over.
    pub transpose_b: bool,
    /// `[1, N]`, added to every row.
    pub bias: Option<View>,
    /// `[M, N]`, written.
    pub out: View,
}

/// The recurrence over T steps; forwards it fills the history, backwards it turns the gates into their gradients.
#[derive(Clone, Debug)]
pub struct Recurrence {
    /// The cell.
    pub cell: Cell,
    /// T.
    pub steps: usize,
    /// B.
    pub batch: usize,
    /// H.
    pub hidden: usize,
    /// U `[G·H, H]`.
    pub weight: View,
    /// Uᵀ `[H, G·H]`, where the device reads U better so, and always if the schedule is [`Schedule::Whole`]; only
    /// forwards.
    pub weight_transposed: Option<View>,
    /// b_U `[1, G·H]`; only forwards.
    pub bias: View,
    /// `[T, B, G·H]`. Forwards: W·x + b_W, read; a cell that needs them later leaves its activated gates in their
    /// place. Backwards: the gradient of W·x + b_W, written.
    pub gates: TensorId,
    /// h `[T+1, B, H]`, slot 0 the initial state. Forwards: slots 1 to T are written. Backwards: read.
    pub history: TensorId,
    /// What the cell keeps beside gates and h: c `[T+1, B, H]` of an LSTM (slot 0 the initial state; backwards its
    /// gradient takes its place), U·h + b_U `[T, B, G·H]` of a GRU (backwards its gradient).
    pub memory: Option<TensorId>,
    /// How it is cut into dispatches.
    pub schedule: Schedule,
}

impl Recurrence {
    /// `[T, B, G·H]`: after the backward pass, the gradient of U·h + b_U.
    pub fn recurrent_gradient(&self) -> TensorId {
        match (self.cell.memory(), self.memory) {
            (CellMemory::Recurrent, Some(memory)) => memory,
            _ => self.gates,
        }
    }
}

/// How a recurrence is cut into dispatches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// One dispatch a step, each over the whole batch.
    Steps,
    /// One dispatch, in which each workgroup takes one sequence from end to end.
    Whole,
}

/// The loss of R positions and its gradient; a position counts where its mask is 1.
#[derive(Clone, Debug)]
pub struct LossGradient {
    /// Which loss.
    pub loss: Loss,
    /// `[R, O]`, read; where `gradient` is set, overwritten by the gradient of the mean loss.
    pub outputs: View,
    /// `[R]` class ids or `[R, O]` numbers.
    pub targets: TensorId,
    /// `[R]`, 0 or 1.
    pub mask: TensorId,
    /// `[1]`: the number of positions that count.
    pub count: TensorId,
    /// `[R]`, written: each position's part of the mean loss.
    pub row_loss: TensorId,
    /// Whether `outputs` becomes the gradient.
    pub gradient: bool,
}

/// `weight = dᵀ·x` and `bias = Σ_r d[r]`, the rows cut into slices, one result a slice.
#[derive(Clone, Debug)]
pub struct WeightGradient {
    /// `[R, M]`: the gradient of the layer's output.
    pub d: View,
    /// `[R, N]`: the layer's input.
    pub x: View,
    /// `[S, flat]`, written at `weight` and `bias` of every slice.
    pub slices: TensorId,
    /// Where `[M, N]` starts in a slice.
    pub weight: usize,
    /// Where `[M]` starts in a slice.
    pub bias: usize,
}

/// `weight[j, v] = Σ d[r, j]` over the rows r whose token is v, and `bias = Σ_r d[r]`; cut into slices.
///
/// The host sorts the rows by token: those of v are `order[starts[v]..starts[v + 1]]`.
#[derive(Clone, Debug)]
pub struct GatherGradient {
    /// `[R, M]`: the gradient of the gathered rows.
    pub d: View,
    /// `[R]`: row numbers, by token and then by position.
    pub order: TensorId,
    /// `[I + 1]`.
    pub starts: TensorId,
    /// `[S, flat]`, written at `weight` and `bias` of every slice.
    pub slices: TensorId,
    /// Where `[M, I]` starts in a slice.
    pub weight: usize,
    /// Where `[M]` starts in a slice.
    pub bias: usize,
}

/// `gradients = Σ_s slices[s]`; each block of [`Combine::BLOCK`] elements leaves its largest magnitude, its sum of
/// squares over that magnitude squared, and whether all of it is finite (1 or 0).
#[derive(Clone, Debug)]
pub struct Combine {
    /// `[S, flat]`.
    pub slices: TensorId,
    /// `[flat]`, written.
    pub gradients: TensorId,
    /// `[blocks, 3]`, written.
    pub partials: TensorId,
}

impl Combine {
    /// Elements of the flat gradient that one workgroup takes.
    pub const BLOCK: usize = 2048;
}

/// Loss, gradient norm before clipping, clip scale and finite flag, into this step's slot of the metrics.
///
/// The norm is √Σg² without overflow: the partials carry their largest magnitude apart.
#[derive(Clone, Debug)]
pub struct Measure {
    /// `[R]`.
    pub row_loss: TensorId,
    /// `[blocks, 3]` of [`Combine`], where there is a gradient; else the norm is 0 and the scale 1.
    pub partials: Option<TensorId>,
    /// Decides the scale.
    pub clip: Clip,
    /// `[4]`: learning rate, 1 − β₁ᵗ, 1 − β₂ᵗ, slot.
    pub hyper: TensorId,
    /// `[METRICS_SLOTS, 4]`, one row written: loss, norm, scale, finite.
    pub metrics: TensorId,
}

/// The optimiser's step over the flat buffers; nothing changes where this step's finite flag is 0.
#[derive(Clone, Debug)]
pub struct Update {
    /// The rule.
    pub optimizer: Optimizer,
    /// [`Clip::Value`] is applied here, the others through the scale.
    pub clip: Clip,
    /// `[4]`: learning rate, 1 − β₁ᵗ, 1 − β₂ᵗ, slot.
    pub hyper: TensorId,
    /// `[METRICS_SLOTS, 4]`.
    pub metrics: TensorId,
    /// `[flat]`.
    pub gradients: TensorId,
    /// `[flat]`, read and written.
    pub parameters: TensorId,
    /// `[flat]`, read and written, as many as the optimiser keeps.
    pub moments: Vec<TensorId>,
}

impl Op {
    /// How many dispatches a GPU needs for it.
    pub fn dispatches(&self) -> usize {
        match self {
            Op::Copy { .. } | Op::Zero { .. } => 0,
            Op::Forward(r) | Op::Backward { recurrence: r, .. } => match r.schedule {
                Schedule::Steps => r.steps,
                Schedule::Whole => 1,
            },
            _ => 1,
        }
    }

    /// One line for a reader: what is computed from what.
    pub(super) fn describe(&self, plan: &Plan) -> String {
        let name = |id: TensorId| plan.get(id).name.clone();
        let view = |v: &View| format!("{}[{}..][{}, {}]", name(v.tensor), v.offset, v.rows, v.cols);
        let turned = |v: &View, t: bool| if t { format!("({})ᵀ", view(v)) } else { view(v) };
        match self {
            Op::Copy { from, to } => format!("copy {} ← {}", view(to), view(from)),
            Op::Zero { tensor } => format!("zero {}", name(*tensor)),
            Op::Gather(o) => format!("gather {} ← {} by {}", view(&o.out), view(&o.weight), name(o.tokens)),
            Op::Transpose(o) => format!("transpose {} ← {}", view(&o.out), view(&o.input)),
            Op::MatMul(o) => {
                let bias = o.bias.map_or(String::new(), |b| format!(" + {}", view(&b)));
                format!(
                    "matmul {} ← {}·{}{bias}",
                    view(&o.out),
                    turned(&o.a, o.transpose_a),
                    turned(&o.b, o.transpose_b)
                )
            }
            Op::Forward(o) => {
                format!(
                    "{} forward ({:?}) {} ← {}, {}",
                    o.cell.name(),
                    o.schedule,
                    name(o.history),
                    name(o.gates),
                    view(&o.weight)
                )
            }
            Op::Backward { recurrence: o, upstream } => {
                format!(
                    "{} backward ({:?}) {} ← {}, {}",
                    o.cell.name(),
                    o.schedule,
                    name(o.gates),
                    name(*upstream),
                    view(&o.weight)
                )
            }
            Op::LossGradient(o) => format!("{:?} of {} against {}", o.loss, view(&o.outputs), name(o.targets)),
            Op::WeightGradient(o) => {
                format!("weight gradient {}[{}] ← ({})ᵀ·{}", name(o.slices), o.weight, view(&o.d), view(&o.x))
            }
            Op::GatherGradient(o) => {
                format!("gather gradient {}[{}] ← {} by {}", name(o.slices), o.weight, view(&o.d), name(o.order))
            }
            Op::Combine(o) => format!("combine {} ← {}", name(o.gradients), name(o.slices)),
            Op::Measure(o) => format!("measure {} ({:?})", name(o.metrics), o.clip),
            Op::Update(o) => format!("update {} by {:?}", name(o.parameters), o.optimizer),
        }
    }
}
