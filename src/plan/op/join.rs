//! What both directions of a layer say made one, and back.

use super::{Operand, Operation};
use crate::model::Join;
use crate::plan::{Plan, View};

/// `out[r, j] = rows[r, j] ∘ rows[r, H + j]`, ∘ being a sum, a mean or a product.
#[derive(Clone, Debug)]
pub struct JoinDirections {
    /// ∘.
    pub join: Join,
    /// `[R, 2·H]`.
    pub rows: View,
    /// `[R, H]`, written.
    pub out: View,
}

impl Operation for JoinDirections {
    fn name(&self) -> String {
        "join".to_owned()
    }

    fn operands(&self, _: &Plan) -> Vec<Operand> {
        vec![Operand::write(&self.out), Operand::read(&self.rows)]
    }

    fn flops(&self, _: &Plan) -> u64 {
        let each = if self.join == Join::Mean { 2 } else { 1 };
        each * self.out.len() as u64
    }

    fn note(&self) -> String {
        format!(" ({:?})", self.join)
    }
}

/// The gradient of what [`JoinDirections`] read, from that of what it made.
#[derive(Clone, Debug)]
pub struct JoinGradient {
    /// ∘.
    pub join: Join,
    /// `[R, H]`.
    pub d: View,
    /// `[R, 2·H]`: what was read, of a product.
    pub rows: Option<View>,
    /// `[R, 2·H]`, written.
    pub out: View,
}

impl Operation for JoinGradient {
    fn name(&self) -> String {
        "join gradient".to_owned()
    }

    fn operands(&self, _: &Plan) -> Vec<Operand> {
        let out = [Operand::write(&self.out), Operand::read(&self.d)].into_iter();
        out.chain(self.rows.iter().map(Operand::read)).collect()
    }

    fn flops(&self, _: &Plan) -> u64 {
        if self.join == Join::Sum { 0 } else { self.out.len() as u64 }
    }

    fn note(&self) -> String {
        format!(" ({:?})", self.join)
    }
}
