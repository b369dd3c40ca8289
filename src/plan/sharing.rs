//! Which transient tensors share memory: those whose lives, from the first operation that touches one to the last, do
//! not overlap.
//!
//! The contract: tensors of one operation lie in different blocks, so no dispatch has one buffer twice; everything else
//! that a plan holds lies apart.

use std::ops::RangeInclusive;

use super::{Lifetime, Plan, TensorId};

impl Plan {
    /// The tensors that share a block of memory, block by block; a block is as large as the first of its tensors.
    ///
    /// Largest first, each takes the smallest block that is free for all of its life (Pisarchyk & Lee 2020, "greedy by
    /// size").
    pub fn blocks(&self) -> Vec<Vec<TensorId>> {
        let lives = self.lives();
        let mut by_size: Vec<usize> =
            (0..self.tensors.len()).filter(|&t| self.tensors[t].lifetime == Lifetime::Transient).collect();
        by_size.sort_by_key(|&t| (std::cmp::Reverse(self.tensors[t].bytes()), t));
        let mut blocks: Vec<Vec<TensorId>> = Vec::new();
        for tensor in by_size {
            let overlaps = |other: &TensorId| match (&lives[tensor], &lives[other.0]) {
                (Some(a), Some(b)) => a.start() <= b.end() && b.start() <= a.end(),
                _ => false,
            };
            // Blocks are made from the largest down, so the last one that is free is the smallest.
            match blocks.iter_mut().rev().find(|block| !block.iter().any(overlaps)) {
                Some(block) => block.push(TensorId(tensor)),
                None => blocks.push(vec![TensorId(tensor)]),
            }
        }
        blocks
    }

    /// Keeps the values of a transient tensor until the next run, for whoever reads them after it: it gets memory of
    /// its own.
    pub fn keep(&mut self, tensor: TensorId) {
        let storage = &mut self.tensors[tensor.0].lifetime;
        if *storage == Lifetime::Transient {
            *storage = Lifetime::Scratch;
        }
    }

    /// [`Plan::keep`] of every tensor: nothing is shared.
    pub fn keep_all(&mut self) {
        (0..self.tensors.len()).for_each(|tensor| self.keep(TensorId(tensor)));
    }

    /// The first and the last operation that touches each tensor.
    fn lives(&self) -> Vec<Option<RangeInclusive<usize>>> {
        let mut lives: Vec<Option<RangeInclusive<usize>>> = vec![None; self.tensors.len()];
        for (at, stage) in self.stages.iter().enumerate() {
            for operand in stage.op.operands(self) {
                if let Some(life) = lives.get_mut(operand.tensor.0) {
                    let first = life.as_ref().map_or(at, |life| *life.start());
                    *life = Some(first..=at);
                }
            }
        }
        lives
    }
}
