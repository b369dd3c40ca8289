//! What an operation costs: floating-point operations and bytes, computed from the tensor shapes.
//!
//! The contract: the figures are those of the mathematics and of the plan, the same on every device of one precision,
//! whatever an executor does. What is counted:
//!
//! * a product of matrices `[M, K]` and `[K, N]` is 2·M·N·K, whatever its sums begin with, a bias say;
//! * element by element an addition, a multiplication, a division and a function (tanh, logistic, exp, root) are one
//!   each; what is done once a row, choices, and the integers of dropout and lengths are nothing;
//! * an element is moved once where an operation reads it and once where it writes it, however often it does; of a
//!   recurrence by steps that is once a dispatch, so U is moved at every step. Caches may keep what is moved often:
//!   more GB/s than the memory has are no error.

use super::op::Access;
use super::{Op, Plan, Work};

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

impl Op {
    /// What it costs where it runs once; of flags that the host sets (keep, fresh, lengths) the costlier way.
    pub fn cost(&self, plan: &Plan) -> Cost {
        let operands = self.operands(plan);
        let bytes = operands.iter().map(|operand| operand.elements * plan.get(operand.tensor).dtype.bytes()).sum();
        let mut names = operands.iter();
        let to = names.next().map_or(String::new(), |operand| plan.get(operand.tensor).name.clone());
        // The first two that are read, each once: enough to tell a layer's operations apart.
        let mut from: Vec<&str> = Vec::new();
        for operand in names.filter(|operand| operand.access != Access::Write) {
            let name = plan.get(operand.tensor).name.as_str();
            if !from.contains(&name) && from.len() < 2 {
                from.push(name);
            }
        }
        let tensors = if from.is_empty() { to } else { format!("{to} ← {}", from.join(", ")) };
        Cost { op: self.name(), tensors, flops: self.operation().flops(plan), bytes }
    }

    /// One line for a reader: what is computed from what.
    pub(super) fn describe(&self, plan: &Plan) -> String {
        let operands = self.operands(plan);
        let (first, rest) = operands.split_first().map_or((None, &[][..]), |(first, rest)| (Some(first), rest));
        let name = |operand: &super::Operand| operand.describe(plan);
        let to = first.map(name).unwrap_or_default();
        let from: Vec<String> = rest.iter().filter(|operand| operand.access != Access::Write).map(name).collect();
        let arrow = if from.is_empty() { "" } else { " ← " };
        format!("{} {to}{arrow}{}{}", self.name(), from.join(", "), self.operation().note())
    }
}

impl Cost {
    /// How much it is.
    pub fn work(&self) -> Work {
        Work { flops: self.flops, bytes: self.bytes }
    }
}
