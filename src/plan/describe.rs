//! The dispatch count and a one-line description of each operation.
//!
//! The contract: lowering makes as many dispatches as are counted here; a test holds the two against each other.

use super::{Op, Plan, TensorId, View};

impl Op {
    /// How many dispatches a GPU needs for it.
    pub fn dispatches(&self, plan: &Plan) -> usize {
        self.cut(plan).dispatches()
    }

    /// One line for a reader: what is computed from what.
    pub(super) fn describe(&self, plan: &Plan) -> String {
        let name = |id: TensorId| plan.get(id).name.clone();
        let view = |v: &View| format!("{}[{}..][{}, {}]", name(v.tensor), v.offset, v.rows, v.cols);
        let transposed = |v: &View, t: bool| if t { format!("({})ᵀ", view(v)) } else { view(v) };
        match self {
            Op::Copy { from, to } => format!("copy {} ← {}", view(to), view(from)),
            Op::Zero { tensor } => format!("zero {}", name(*tensor)),
            Op::InitialState(o) => format!("initial state {} ← {} where fresh", name(o.state), view(&o.learned)),
            Op::RemainingLengths(o) => {
                format!("remaining lengths {} ← {} − {}", name(o.out), name(o.lengths), o.skipped)
            }
            Op::InitialStateGradient(o) => {
                format!(
                    "initial state gradient {}[{}] ← {} slots {:?}",
                    name(o.slices),
                    o.weight,
                    name(o.from),
                    o.slots
                )
            }
            Op::Dropout(o) => {
                let input = o.input.map_or("1".to_owned(), |input| view(&input));
                format!("dropout {} ← {input}, site {}, p {}", view(&o.out), o.draw.site, o.draw.rate)
            }
            Op::GradientNorms(o) => {
                format!("gradient norms {}[{}][{}..] ← {}", name(o.out), o.row, o.first, name(o.upstream))
            }
            Op::Pool(o) => format!("pool {} ← {:?} of {}", view(&o.out), o.kind, name(o.history)),
            Op::PoolGradient(o) => format!("pool gradient {} ← {} ({:?})", name(o.upstream), view(&o.d), o.kind),
            Op::Gather(o) => format!("gather {} ← {} by {}", view(&o.out), view(&o.weight), name(o.tokens)),
            Op::Transpose(o) => format!("transpose {} ← {}", view(&o.out), view(&o.input)),
            Op::MatMul(o) => {
                let bias = o.bias.map_or(String::new(), |b| format!(" + {}", view(&b)));
                format!(
                    "matmul {} ← {}·{}{bias}",
                    view(&o.out),
                    transposed(&o.a, o.transpose_a),
                    transposed(&o.b, o.transpose_b)
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
            Op::Backward { recurrence: o, upstream, .. } => {
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
            Op::Sum(o) => format!("sum {} ← {}", name(o.to), name(o.from)),
            Op::ReduceGradients(o) => format!("reduce gradients {} ← {}", name(o.gradients), name(o.slices)),
            Op::StepMetrics(o) => format!("step metrics {} ({:?})", name(o.metrics), o.clip),
            Op::UpdateLossScale(o) => format!("update loss scale {} by {}", name(o.loss_scale), name(o.metrics)),
            Op::Update(o) => format!("update {} by {:?}", name(o.parameters), o.optimizer),
        }
    }
}
