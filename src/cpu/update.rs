//! Combining the gradient's slices, measuring it, and the loss scale.

use std::ops::Range;

use super::{real::Real, sums::compensated, tensors::Tensors, threads, vectorized::vectorized};
use crate::plan::{
    CLIPPED_APART, FROZEN, LossScale, METRICS_SLOTS, MetricsRow, NormPartial, ReduceGradients, StepMetrics, StepParams,
    Sum, UpdateLossScale,
};
use crate::recipe::Clip;

/// Elements that are worth a thread's while: waking one takes longer than a small model.
pub(super) const ELEMENTS_PER_TASK: usize = BLOCKS_PER_TASK * ReduceGradients::BLOCK;
const BLOCKS_PER_TASK: usize = 16;
/// The largest factor on a gradient, which f32 can hold.
const LARGEST_SCALE: f64 = 3e38;

pub(super) fn sum<T: Real>(op: &Sum, memory: &mut Tensors<'_, T>) {
    let mut to = memory.take(op.to);
    let blocks = memory.real(op.from).chunks(Sum::BLOCK);
    for (to, block) in to.iter_mut().zip(blocks) {
        *to = T::from_f64(block.iter().map(|value| value.as_f64()).sum());
    }
    memory.put(op.to, to);
}

pub(super) fn reduce_gradients<T: Real>(op: &ReduceGradients, memory: &mut Tensors<'_, T>) {
    let mut gradients = memory.take(op.gradients);
    let mut partials = memory.take(op.partials);
    let mut excess = op.segment.map(|segment| memory.take(segment.excess)).unwrap_or_default();
    let adds = op.segment.is_some_and(|segment| segment.adds);
    let starts = !adds && StepParams::of(memory.real(op.step_params)).accumulate.is_zero();
    let flat = gradients.len();
    // One slice that nothing is added to is the gradient: the two change places, which moves no number.
    let is_whole = starts && op.segment.is_none() && op.loss_scale.is_none();
    let is_whole = is_whole && memory.real(op.slices).len() == flat;
    if is_whole {
        let slice = memory.take(op.slices);
        memory.put(op.slices, std::mem::replace(&mut gradients, slice));
    }
    let slices = if is_whole { &[][..] } else { memory.real(op.slices) };
    let unscaled = op.loss_scale.map_or(T::one(), |loss_scale| LossScale::of(memory.real(loss_scale)).inverse);
    let parameter_flags = memory.ids(op.parameter_flags);
    let block = |first: usize, block: &mut [T], excess: &mut [T], partial: &mut [T]| {
        vectorized!(|| {
            let range = first..first + block.len();
            if !adds {
                excess.fill(T::zero());
            }
            if starts && !is_whole {
                block.fill(T::zero());
            }
            for slice in slices.chunks_exact(flat) {
                let pairs = block.iter_mut().zip(&slice[range.clone()]);
                if excess.is_empty() {
                    pairs.for_each(|(sum, value)| *sum += *value * unscaled);
                } else {
                    for ((sum, value), excess) in pairs.zip(&mut *excess) {
                        (*sum, *excess) = compensated(*sum, *excess, *value * unscaled);
                    }
                }
            }
            let flags = &parameter_flags[op.first_flag + range.start..][..block.len()];
            // Not written where nothing is frozen.
            if flags.iter().fold(0, |all, bits| all | bits) & FROZEN != 0 {
                for (g, bits) in block.iter_mut().zip(flags) {
                    *g = if bits & FROZEN != 0 { T::zero() } else { *g };
                }
            }
            let norm = if op.clips_apart {
                let counts = |at: usize| parameter_flags[op.first_flag + range.start + at] & CLIPPED_APART == 0;
                let rest = partial_norm_of(block, counts);
                // Whether they are finite all of them say.
                NormPartial { is_finite: partial_norm_of(block, |_| true).is_finite, ..rest }
            } else {
                partial_norm(block)
            };
            partial.copy_from_slice(&norm.elements());
        });
    };
    let mut excesses = excess.chunks_mut(ELEMENTS_PER_TASK);
    let own = op.first_block * NormPartial::LEN..(op.first_block + ReduceGradients::blocks(flat)) * NormPartial::LEN;
    let tasks = gradients
        .chunks_mut(ELEMENTS_PER_TASK)
        .zip(partials[own].chunks_mut(NormPartial::LEN * BLOCKS_PER_TASK))
        .enumerate();
    let tasks = tasks.map(|(task, part)| (task, part, excesses.next().unwrap_or_default()));
    threads::for_each(tasks, |(task, (values, partials), excess)| {
        let mut excesses = excess.chunks_mut(ReduceGradients::BLOCK);
        let blocks =
            values.chunks_mut(ReduceGradients::BLOCK).zip(partials.chunks_exact_mut(NormPartial::LEN)).enumerate();
        for (i, (values, partial)) in blocks {
            let excess = excesses.next().unwrap_or_default();
            block(task * ELEMENTS_PER_TASK + i * ReduceGradients::BLOCK, values, excess, partial);
        }
    });
    if let Some(segment) = op.segment {
        memory.put(segment.excess, excess);
    }
    memory.put(op.gradients, gradients);
    memory.put(op.partials, partials);
}

/// Numbers side by side that are compared or summed: they become vectors, and sums round less.
const LANES: usize = 32;

/// The largest magnitude, the sum of squares over that magnitude squared, and whether all is finite: of what is not,
/// the rest.
#[inline(always)]
fn partial_norm<T: Real>(block: &[T]) -> NormPartial<T> {
    let (mut largest, mut sums, mut finite) = ([T::zero(); LANES], [T::zero(); LANES], [true; LANES]);
    for part in block.chunks(LANES) {
        for ((max, finite), g) in largest.iter_mut().zip(&mut finite).zip(part) {
            *max = if g.abs() > *max && g.is_finite() { g.abs() } else { *max };
            *finite &= g.is_finite();
        }
    }
    let is_finite = if finite.iter().all(|finite| *finite) { T::one() } else { T::zero() };
    let max = largest.iter().fold(T::zero(), |max, g| max.max(*g));
    if max.is_zero() {
        return NormPartial { largest: max, squares: T::zero(), is_finite };
    }
    for part in block.chunks(LANES) {
        for (sum, g) in sums.iter_mut().zip(part) {
            let ratio = *g / max;
            *sum += if g.is_finite() { ratio * ratio } else { T::zero() };
        }
    }
    let sum: f64 = sums.iter().map(|sum| sum.as_f64()).sum();
    NormPartial { largest: max, squares: T::from_f64(sum), is_finite }
}

/// The same of those elements of a block that count.
pub(super) fn partial_norm_of<T: Real>(block: &[T], counts: impl Fn(usize) -> bool) -> NormPartial<T> {
    let counted = || block.iter().enumerate().filter(|(at, _)| counts(*at)).map(|(_, g)| *g);
    let finite = || counted().filter(|g| g.is_finite());
    let largest = finite().fold(T::zero(), |max, g| max.max(g.abs()));
    let is_finite = if counted().all(|g| g.is_finite()) { T::one() } else { T::zero() };
    let ratio = |g: T| if largest.is_zero() { 0.0 } else { (g / largest).as_f64() };
    let squares = T::from_f64(finite().map(|g| ratio(g) * ratio(g)).sum());
    NormPartial { largest, squares, is_finite }
}

pub(super) fn step_metrics<T: Real>(op: &StepMetrics, memory: &mut Tensors<'_, T>) {
    let mut metrics = memory.take(op.metrics);
    let step = StepParams::of(memory.real(op.step_params));
    let table = METRICS_SLOTS * MetricsRow::LEN;
    let of_table = |at: usize| at * table + metrics_row(&step).start..at * table + metrics_row(&step).end;
    let loss_of = |at: usize| MetricsRow::of(&metrics[of_table(at)]).loss.as_f64();
    let loss = match op.row_loss {
        None => (1..=op.losses(memory.plan)).map(loss_of).sum::<f64>(),
        Some(row_loss) => {
            let before = if step.accumulate.is_zero() { 0.0 } else { loss_of(op.table) };
            before + memory.real(row_loss).iter().map(|l| l.as_f64()).sum::<f64>()
        }
    };
    let (largest, norm, finite) = op.partials.map_or((0.0, 0.0, true), |partials| {
        let partials = memory.real(partials).chunks_exact(NormPartial::LEN).map(NormPartial::of);
        let partials = partials.map(|partial| partial.map(T::as_f64));
        let largest = partials.clone().fold(0.0f64, |max, p| max.max(p.largest));
        let squares = |p: NormPartial<f64>| p.squares * if largest > 0.0 { (p.largest / largest).powi(2) } else { 0.0 };
        let sum: f64 = partials.clone().map(squares).sum();
        (largest, largest * sum.sqrt(), partials.clone().all(|p| p.is_finite == 1.0))
    });
    let scale = match op.clip {
        Clip::None => 1.0,
        // What the update makes of the largest element.
        Clip::Value(bound) if largest > bound => bound / largest,
        Clip::Value(_) => 1.0,
        Clip::Norm(bound) => (bound / (norm + 1e-6)).min(1.0),
        // A gradient of zero has no direction to keep.
        Clip::Normalize(bound) if norm > 0.0 => (bound / norm).min(LARGEST_SCALE),
        Clip::Normalize(_) => 1.0,
    };
    let written = MetricsRow { loss, grad_norm: norm, clip_scale: scale, updates: 1.0 }.map(T::from_f64);
    let finite = finite && written.elements().iter().all(|v| v.is_finite());
    let updates = if finite && step.more_windows.is_zero() { T::one() } else { T::zero() };
    metrics[of_table(op.table)].copy_from_slice(&MetricsRow { updates, ..written }.elements());
    memory.put(op.metrics, metrics);
}

/// Returns where the step's row is among the elements of the metrics.
pub(super) fn metrics_row<T: Real>(step: &StepParams<T>) -> Range<usize> {
    let first = step.metrics_row.as_f64() as usize * MetricsRow::LEN;
    first..first + MetricsRow::LEN
}

pub(super) fn update_loss_scale<T: Real>(op: &UpdateLossScale, memory: &mut Tensors<'_, T>) {
    let step = StepParams::of(memory.real(op.step_params));
    if !step.more_windows.is_zero() {
        return;
    }
    let is_finite = !MetricsRow::of(&memory.real(op.metrics)[metrics_row(&step)]).updates.is_zero();
    let mut loss_scale = memory.take(op.loss_scale);
    let LossScale { factor: scale, inverse, finite_steps } = LossScale::of(&loss_scale).map(T::as_f64);
    let finite = finite_steps + 1.0;
    let (factor, finite) = if !is_finite {
        (if scale > f64::from(UpdateLossScale::MIN_SCALE) { 0.5 } else { 1.0 }, 0.0)
    } else if finite < UpdateLossScale::INTERVAL as f64 {
        (1.0, finite)
    } else {
        (if scale < f64::from(UpdateLossScale::MAX_SCALE) { 2.0 } else { 1.0 }, 0.0)
    };
    let changed = LossScale { factor: scale * factor, inverse: inverse / factor, finite_steps: finite };
    loss_scale.copy_from_slice(&changed.map(T::from_f64).elements());
    memory.put(op.loss_scale, loss_scale);
}
