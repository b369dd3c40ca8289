//! Which transient tensors share memory: those whose lives, from the first operation that touches one to the last, do
//! not overlap.
//!
//! The contract: tensors of one operation lie in different blocks, so no dispatch has one buffer twice; everything else
//! that a plan holds lies apart.

use std::ops::RangeInclusive;

use super::{Lifetime, Op, Plan, TensorId};

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
            stage.op.touch(&mut |tensor| {
                if let Some(life) = lives.get_mut(tensor.0) {
                    let first = life.as_ref().map_or(at, |life| *life.start());
                    *life = Some(first..=at);
                }
            });
        }
        lives
    }
}

impl Op {
    /// Names every tensor that the operation reads or writes.
    pub(crate) fn touch(&self, name: &mut impl FnMut(TensorId)) {
        match self {
            Op::Copy { from, to } => [from, to].into_iter().for_each(|view| name(view.tensor)),
            Op::Zero { tensor } => name(*tensor),
            Op::InitialState(o) => [o.learned.tensor, o.fresh, o.state].into_iter().for_each(name),
            Op::RemainingLengths(o) => [o.lengths, o.out].into_iter().for_each(name),
            Op::Dropout(o) => o.input.map(|v| v.tensor).into_iter().chain([o.out.tensor, o.draw.keys]).for_each(name),
            Op::Gather(o) => {
                [o.tokens, o.weight.tensor, o.out.tensor].into_iter().for_each(&mut *name);
                o.bias.map(|v| v.tensor).into_iter().chain(o.draw.map(|d| d.keys)).for_each(name);
            }
            Op::Transpose(o) => [o.input, o.out].into_iter().for_each(|view| name(view.tensor)),
            Op::MatMul(o) => [o.a, o.b, o.out].into_iter().chain(o.bias).for_each(|view| name(view.tensor)),
            Op::Forward(o) => o.touch(name),
            Op::Backward { recurrence, upstream, .. } => {
                recurrence.touch(name);
                name(*upstream);
            }
            Op::GradientNorms(o) => {
                [o.upstream, o.lengths, o.step_params, o.out].into_iter().chain(o.loss_scale).for_each(name)
            }
            Op::Pool(o) => [o.history, o.lengths, o.out.tensor, o.excess].into_iter().for_each(name),
            Op::PoolGradient(o) => [o.d.tensor, o.lengths, o.upstream].into_iter().for_each(name),
            Op::LossGradient(o) => {
                let inputs = [o.outputs.tensor, o.targets, o.loss_mask, o.step_params, o.row_loss];
                inputs.into_iter().chain(o.loss_scale).for_each(name);
            }
            Op::WeightGradient(o) => [o.d.tensor, o.x.tensor, o.slices].into_iter().for_each(name),
            Op::GatherGradient(o) => {
                [o.d.tensor, o.order, o.starts, o.slices].into_iter().chain(o.draw.map(|d| d.keys)).for_each(name);
            }
            Op::InitialStateGradient(o) => [o.from, o.fresh, o.slices].into_iter().for_each(name),
            Op::Sum(o) => [o.from, o.to].into_iter().for_each(name),
            Op::ReduceGradients(o) => {
                let all = [o.slices, o.step_params, o.parameter_flags, o.gradients, o.partials];
                all.into_iter().chain(o.loss_scale).chain(o.segment.map(|segment| segment.excess)).for_each(name);
            }
            Op::UpdateLossScale(o) => [o.loss_scale, o.step_params, o.metrics].into_iter().for_each(name),
            Op::StepMetrics(o) => [o.row_loss, o.step_params, o.metrics].into_iter().chain(o.partials).for_each(name),
            Op::Update(o) => {
                let flat = [o.step_params, o.metrics, o.gradients, o.parameter_flags, o.parameters];
                flat.into_iter().chain(o.moments.iter().copied()).for_each(name);
            }
        }
    }
}

impl super::Recurrence {
    fn touch(&self, name: &mut impl FnMut(TensorId)) {
        [self.lengths, self.weight.tensor, self.gates, self.history].into_iter().for_each(&mut *name);
        let views = self.weight_transposed.into_iter().chain(self.bias).map(|view| view.tensor);
        views.chain(self.dropout_mask).chain(self.saved).for_each(name);
    }
}
