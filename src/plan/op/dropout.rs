//! Dropout: elements left out at random, the same ones wherever the numbers of a draw are the same.

use super::{Operand, Operation, rows};
use crate::plan::{Plan, TensorId, View};

/// Which elements a dropout keeps: those whose number is not among the lowest part `rate` of 32 bits. An element's
/// number is Threefry's of key and position, and the keys are Threefry's of seed, step, window and site.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DropoutDraw {
    /// `[sites, 2]`: a key for each place of the network, new in every step.
    pub keys: TensorId,
    /// Which key.
    pub site: usize,
    /// The probability p that an element is dropped; those kept are multiplied by 1 / (1 − p).
    pub rate: f64,
}

impl DropoutDraw {
    /// The key that it reads.
    pub(super) fn operand(&self) -> Operand {
        Operand::read((self.keys, 2))
    }
}

/// `out[r, j] = input[r, j]·m((first + r) mod period, j)`, m being 0 where dropped and 1 / (1 − p) where kept.
#[derive(Clone, Debug)]
pub struct DropoutMask {
    /// `[R, N]`; all ones where there is none.
    pub input: Option<View>,
    /// `[R, N]`, written.
    pub out: View,
    /// The position of an element is ((first + r) mod period)·N + j.
    pub draw: DropoutDraw,
    /// How many rows of the same masking come before the first.
    pub first: usize,
    /// After how many rows the mask repeats: B for one mask over all steps, R for one without repetition.
    pub period: usize,
}

impl Operation for DropoutMask {
    fn name(&self) -> String {
        "dropout".to_owned()
    }

    fn operands(&self, _: &Plan) -> Vec<Operand> {
        let out = [Operand::write(&self.out)].into_iter();
        out.chain(self.input.iter().map(Operand::read)).chain([self.draw.operand()]).collect()
    }

    fn flops(&self, _: &Plan) -> u64 {
        self.input.map_or(0, |input| input.len() as u64)
    }

    fn note(&self) -> String {
        format!(", site {}, p {}", self.draw.site, self.draw.rate)
    }
}

/// `slices[s, weight + j] = slices[s, weight + j]·m(j)` for every slice s: the gradient of a matrix of which
/// [`DropoutMask`] left some elements out, m being its mask.
#[derive(Clone, Debug)]
pub struct MaskSlices {
    /// `[S, flat]`, read and written from `weight` on.
    pub slices: TensorId,
    /// Where the matrix starts in a slice.
    pub weight: usize,
    /// How many elements it has.
    pub len: usize,
    /// The position of an element is its place in the matrix.
    pub draw: DropoutDraw,
}

impl Operation for MaskSlices {
    fn name(&self) -> String {
        "masked gradient".to_owned()
    }

    fn operands(&self, plan: &Plan) -> Vec<Operand> {
        vec![Operand::update((self.slices, self.flops(plan))), self.draw.operand()]
    }

    fn flops(&self, plan: &Plan) -> u64 {
        rows(plan, self.slices) * self.len as u64
    }

    fn note(&self) -> String {
        format!(" at {}, site {}, p {}", self.weight, self.draw.site, self.draw.rate)
    }
}
