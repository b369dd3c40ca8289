//! Layer normalisation and its gradients (Ba, Kiros & Hinton 2016).

use super::{Operand, Operation, rows};
use crate::plan::walk::{REDUCE, Walk};
use crate::plan::{Plan, TensorId, View};

/// `out[r] = (x[r] − μ)·σ⁻¹·gain + bias`, with μ and σ² + ε of each row's elements.
#[derive(Clone, Debug)]
pub struct Normalize {
    /// `[R, N]`.
    pub x: View,
    /// `[1, N]` each.
    pub gain: View,
    /// See `gain`.
    pub bias: View,
    /// ε.
    pub epsilon: f64,
    /// `[≥ R, 2]`: μ and σ⁻¹ of each row, written.
    pub statistics: TensorId,
    /// `[R, N]`, written.
    pub out: View,
}

/// Threads that share a row.
pub(crate) const THREADS: usize = 64;

/// The iterations of so many sums over a row.
fn sums(columns: usize, count: u64) -> Walk {
    Walk::once(count * (columns.div_ceil(THREADS) as u64 + 1 + REDUCE) + columns.div_ceil(THREADS) as u64 + 1)
}

impl Operation for Normalize {
    fn name(&self) -> String {
        "normalisation".to_owned()
    }

    fn operands(&self, _: &Plan) -> Vec<Operand> {
        vec![
            Operand::write(&self.out),
            Operand::read(&self.x),
            Operand::read(&self.gain),
            Operand::read(&self.bias),
            Operand::write((self.statistics, 2 * self.x.rows as u64)),
        ]
    }

    fn flops(&self, _: &Plan) -> u64 {
        8 * self.x.len() as u64
    }

    fn walk(&self, _: &Plan) -> Walk {
        sums(self.x.cols, 2)
    }
}

/// `d[r]` from the gradient of a row's outputs to that of what was normalised.
#[derive(Clone, Debug)]
pub struct NormalizeGradient {
    /// `[R, N]`.
    pub x: View,
    /// `[1, N]`.
    pub gain: View,
    /// As [`Normalize`] left them.
    pub statistics: TensorId,
    /// `[R, N]`, read and written.
    pub d: View,
}

impl Operation for NormalizeGradient {
    fn name(&self) -> String {
        "normalisation gradient".to_owned()
    }

    fn operands(&self, _: &Plan) -> Vec<Operand> {
        vec![
            Operand::update(&self.d),
            Operand::read(&self.x),
            Operand::read(&self.gain),
            Operand::read((self.statistics, 2 * self.x.rows as u64)),
        ]
    }

    fn flops(&self, _: &Plan) -> u64 {
        12 * self.x.len() as u64
    }

    fn walk(&self, _: &Plan) -> Walk {
        sums(self.x.cols, 2)
    }
}

/// `gain = Σ_r d[r]·(x[r] − μ)·σ⁻¹` and `bias = Σ_r d[r]`: the gradients of a norm's parameters, cut into slices.
#[derive(Clone, Debug)]
pub struct NormalizeWeightGradient {
    /// `[R, N]`: the gradient of the outputs.
    pub d: View,
    /// `[R, N]`.
    pub x: View,
    /// As [`Normalize`] left them.
    pub statistics: TensorId,
    /// `[S, flat]`, written at `gain` and `bias` of every slice.
    pub slices: TensorId,
    /// Where `[N]` starts in a slice.
    pub gain: usize,
    /// Where `[N]` starts in a slice.
    pub bias: usize,
}

impl Operation for NormalizeWeightGradient {
    fn name(&self) -> String {
        "normalisation weight gradient".to_owned()
    }

    fn operands(&self, plan: &Plan) -> Vec<Operand> {
        vec![
            Operand::write((self.slices, rows(plan, self.slices) * 2 * self.d.cols as u64)),
            Operand::read(&self.d),
            Operand::read(&self.x),
            Operand::read((self.statistics, 2 * self.x.rows as u64)),
        ]
    }

    fn flops(&self, _: &Plan) -> u64 {
        5 * self.d.len() as u64
    }

    fn walk(&self, plan: &Plan) -> Walk {
        // Eight groups of threads share the rows.
        Walk::sum(self.d.rows.div_ceil(plan.get(self.slices).shape[0].max(1)), 8, 5)
    }

    fn note(&self) -> String {
        format!(" at {}", self.gain)
    }
}
