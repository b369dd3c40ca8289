//! Groups of parameters whose gradient is clipped by itself.

use super::{
    real::Real,
    tensors::Tensors,
    update::{metrics_row, partial_norm_of},
};
use crate::plan::{GROUP_SHIFT, GroupNorm, MetricsRow, NormPartial, ReduceGradients, ScaleGroup, StepParams};
use crate::recipe::Clip;

pub(super) fn group_norm<T: Real>(op: &GroupNorm, memory: &mut Tensors<'_, T>) {
    let mut partials = memory.take(op.partials);
    let flags = &memory.ids(op.parameter_flags)[op.first_flag..];
    let blocks = memory.real(op.gradients).chunks(ReduceGradients::BLOCK).zip(flags.chunks(ReduceGradients::BLOCK));
    let own = partials.chunks_exact_mut(NormPartial::LEN).skip(op.first_block);
    for ((block, flags), partial) in blocks.zip(own) {
        partial.copy_from_slice(&partial_norm_of(block, |at| flags[at] >> GROUP_SHIFT == op.group).elements());
    }
    memory.put(op.partials, partials);
}

pub(super) fn scale_group<T: Real>(op: &ScaleGroup, memory: &mut Tensors<'_, T>) {
    let step = StepParams::of(memory.real(op.step_params));
    if !step.more_windows.is_zero() {
        return;
    }
    let scale = op.metrics.map_or(T::one(), |id| MetricsRow::of(&memory.real(id)[metrics_row(&step)]).clip_scale);
    let mut gradients = memory.take(op.gradients);
    let flags = &memory.ids(op.parameter_flags)[op.first_flag..];
    for (g, _) in gradients.iter_mut().zip(flags).filter(|(_, bits)| *bits >> GROUP_SHIFT == op.group) {
        *g = match op.clip {
            Clip::Value(bound) => g.max(T::from_f64(-bound)).min(T::from_f64(bound)),
            _ => *g * scale,
        };
    }
    memory.put(op.gradients, gradients);
}
