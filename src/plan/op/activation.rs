//! The functions around a dense layer's sums.

use super::{Operand, Operation};
use crate::model::Activation;
use crate::plan::{Plan, View};

/// `x = f(x)`.
#[derive(Clone, Debug)]
pub struct Activate {
    /// f.
    pub activation: Activation,
    /// `[R, N]`, read and written.
    pub x: View,
}

impl Operation for Activate {
    fn name(&self) -> String {
        "activation".to_owned()
    }

    fn operands(&self, _: &Plan) -> Vec<Operand> {
        vec![Operand::update(&self.x)]
    }

    fn flops(&self, _: &Plan) -> u64 {
        self.x.len() as u64
    }

    fn note(&self) -> String {
        format!(" ({:?})", self.activation)
    }
}

/// `d = d·f′`: from the gradient of f's values to that of what f is of.
#[derive(Clone, Debug)]
pub struct ActivateGradient {
    /// f.
    pub activation: Activation,
    /// `[R, N]`: f's values or, of gelu and softplus, what f is of.
    pub kept: View,
    /// `[R, N]`, read and written.
    pub d: View,
}

impl Operation for ActivateGradient {
    fn name(&self) -> String {
        "activation gradient".to_owned()
    }

    fn operands(&self, _: &Plan) -> Vec<Operand> {
        vec![Operand::update(&self.d), Operand::read(&self.kept)]
    }

    fn flops(&self, _: &Plan) -> u64 {
        3 * self.d.len() as u64
    }

    fn note(&self) -> String {
        format!(" ({:?})", self.activation)
    }
}
