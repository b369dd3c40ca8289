//! Groups of parameters whose gradient is clipped by itself.
//!
//! The contract: each goes over a whole gradient and leaves what is not of its group as it is.

use super::{Operand, Operation, ReduceGradients, columns};
use crate::plan::walk::{REDUCE, Walk};
use crate::plan::{METRICS_SLOTS, Plan, TensorId};
use crate::recipe::Clip;

/// What [`ReduceGradients`] leaves of each block of a gradient, of the elements of one group alone.
#[derive(Clone, Debug)]
pub struct GroupNorm {
    /// The group's number, from 1 on.
    pub group: u32,
    /// `[N]`: of the flat buffers, or of rows of one table.
    pub gradients: TensorId,
    /// `[flat]`: the numbers of groups.
    pub parameter_flags: TensorId,
    /// The flag of the first element: of rows of a table, which have the same, that of the table's first row.
    pub first_flag: usize,
    /// `[blocks]` of [`NormPartial`](crate::plan::NormPartial), written from `first_block` on.
    pub partials: TensorId,
    /// Where this gradient's blocks begin among those of all.
    pub first_block: usize,
}

impl Operation for GroupNorm {
    fn name(&self) -> String {
        "group norm".to_owned()
    }

    fn operands(&self, plan: &Plan) -> Vec<Operand> {
        let len = plan.get(self.gradients).len();
        vec![
            Operand::write((self.partials, ReduceGradients::blocks(len) as u64 * columns(plan, self.partials))),
            Operand::read((plan, self.gradients)),
            Operand::read((self.parameter_flags, len as u64)),
        ]
    }

    fn flops(&self, plan: &Plan) -> u64 {
        3 * plan.get(self.gradients).len() as u64
    }

    fn walk(&self, _: &Plan) -> Walk {
        Walk::once((ReduceGradients::BLOCK / 256) as u64 * 2 + 3 * REDUCE)
    }

    fn note(&self) -> String {
        format!(", group {}", self.group)
    }
}

/// The gradient of a group's elements, held within a bound or multiplied by the clip scale in this step's slot of the
/// group's metrics; nothing changes where the step has more windows to come.
#[derive(Clone, Debug)]
pub struct ScaleGroup {
    /// The group's number, from 1 on.
    pub group: u32,
    /// How it is clipped.
    pub clip: Clip,
    /// `[N]`, read and written: of the flat buffers, or of rows of one table.
    pub gradients: TensorId,
    /// `[flat]`: the numbers of groups.
    pub parameter_flags: TensorId,
    /// The flag of the first element.
    pub first_flag: usize,
    /// [`StepParams`](crate::plan::StepParams).
    pub step_params: TensorId,
    /// `[METRICS_SLOTS]` of [`MetricsRow`](crate::plan::MetricsRow), but for [`Clip::Value`].
    pub metrics: Option<TensorId>,
}

impl Operation for ScaleGroup {
    fn name(&self) -> String {
        "scale group".to_owned()
    }

    fn operands(&self, plan: &Plan) -> Vec<Operand> {
        let len = plan.get(self.gradients).len() as u64;
        let row = |metrics| Operand::read((metrics, plan.get(metrics).len() as u64 / METRICS_SLOTS as u64));
        vec![
            Operand::update((plan, self.gradients)),
            Operand::read((self.parameter_flags, len)),
            Operand::read((plan, self.step_params)),
            // Where there are no metrics something else is bound in their place.
            self.metrics.map_or(Operand::read((self.step_params, 0)), row),
        ]
    }

    fn flops(&self, plan: &Plan) -> u64 {
        plan.get(self.gradients).len() as u64
    }

    fn note(&self) -> String {
        format!(", group {}, {:?}", self.group, self.clip)
    }
}
