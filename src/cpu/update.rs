//! Combining the gradient's slices, measuring and clipping it, and the optimiser's step over the flat buffers.

use std::ops::Range;

use super::{real::Real, sums::compensated, tensors::Tensors, threads, vectorized::vectorized};
use crate::plan::{
    FROZEN, LossScale, METRICS_SLOTS, MetricsRow, NOT_DECAYED, NormPartial, ReduceGradients, StepMetrics, StepParams,
    Sum, TableRows, Update, UpdateLossScale,
};
use crate::recipe::{Clip, Optimizer};

/// Elements that are worth a thread's while: waking one takes longer than a small model.
const ELEMENTS_PER_TASK: usize = BLOCKS_PER_TASK * ReduceGradients::BLOCK;
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
    let slices = memory.real(op.slices);
    let adds = op.segment.is_some_and(|segment| segment.adds);
    let starts = !adds && StepParams::of(memory.real(op.step_params)).accumulate.is_zero();
    let flat = gradients.len();
    let unscaled = op.loss_scale.map_or(T::one(), |loss_scale| LossScale::of(memory.real(loss_scale)).inverse);
    let parameter_flags = memory.ids(op.parameter_flags);
    let block = |first: usize, block: &mut [T], excess: &mut [T], partial: &mut [T]| {
        vectorized!(|| {
            let range = first..first + block.len();
            if !adds {
                excess.fill(T::zero());
            }
            if starts {
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
            for (g, bits) in block.iter_mut().zip(&parameter_flags[op.first_flag + range.start..]) {
                *g = if bits & FROZEN != 0 { T::zero() } else { *g };
            }
            partial.copy_from_slice(&partial_norm(block).elements());
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
fn metrics_row<T: Real>(step: &StepParams<T>) -> Range<usize> {
    let first = step.metrics_row.as_f64() as usize * MetricsRow::LEN;
    first..first + MetricsRow::LEN
}

pub(super) fn update<T: Real>(op: &Update, memory: &mut Tensors<'_, T>) {
    let step = StepParams::of(memory.real(op.step_params));
    let metrics = MetricsRow::of(&memory.real(op.metrics)[metrics_row(&step)]);
    if metrics.updates.is_zero() {
        return;
    }
    let rate = step.learning_rate;
    let (scale, bound) = match op.clip {
        Clip::Value(bound) => (T::one(), T::from_f64(bound)),
        _ => (metrics.clip_scale, T::infinity()),
    };
    // Both for every kind of clipping: a choice between them would keep the loops around it from becoming vectors.
    let clipped = move |g: T| (g * scale).max(-bound).min(bound);
    let mut parameters = memory.take(op.parameters);
    // Of no optimiser more than two.
    let mut moments: [Vec<T>; 2] =
        std::array::from_fn(|at| op.moments.get(at).map(|id| memory.take(*id)).unwrap_or_default());
    let read = Read { gradients: memory.real(op.gradients), parameter_flags: memory.ids(op.parameter_flags) };
    let spans = Spans::new(op, memory);
    let constant = T::from_f64;
    match (op.optimizer, &mut moments) {
        (Optimizer::Sgd { momentum }, [velocity, _]) => {
            let momentum = constant(momentum);
            each(&spans, &mut parameters, read, velocity, move |p, g, v| {
                *v = momentum * *v + clipped(g);
                *p = *p - rate * *v;
            });
        }
        (Optimizer::RmsProp { alpha, epsilon }, [square, _]) => {
            let (alpha, rest, epsilon) = (constant(alpha), constant(1.0 - alpha), constant(epsilon));
            each(&spans, &mut parameters, read, square, move |p, g, v| {
                let g = clipped(g);
                *v = alpha * *v + rest * g * g;
                *p = *p - rate * g / (v.sqrt() + epsilon);
            });
        }
        (Optimizer::Adam { beta1, beta2, epsilon, weight_decay }, [first, second]) => {
            let ([beta1, rest1], [beta2, rest2]) =
                ([beta1, 1.0 - beta1].map(constant), [beta2, 1.0 - beta2].map(constant));
            let (epsilon, keep) = (constant(epsilon), (T::one() - rate * constant(weight_decay)).max(T::zero()));
            let (step, root) = (rate / step.first_correction, step.second_correction.sqrt());
            each_of_two(&spans, &mut parameters, read, (first, second), move |p, g, bits, m, v| {
                let g = clipped(g);
                *m = beta1 * *m + rest1 * g;
                *v = beta2 * *v + rest2 * g * g;
                let keep = if bits & NOT_DECAYED == 0 { keep } else { T::one() };
                *p = keep * *p - step * *m / (v.sqrt() / root + epsilon);
            });
        }
    }
    memory.put(op.parameters, parameters);
    for (id, values) in op.moments.iter().zip(moments) {
        memory.put(*id, values);
    }
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

/// What an update reads of every element.
#[derive(Clone, Copy)]
struct Read<'a, T> {
    /// As far as there is one.
    gradients: &'a [T],
    /// `[flat]`.
    parameter_flags: &'a [u32],
}

/// A part of the flat buffers that a thread updates: all of it, or rows of a table.
struct Span<'a> {
    range: Range<usize>,
    /// Where its gradient begins.
    gradient: usize,
    /// Which rows of the table are meant, the first of which begins the range, and how wide they are.
    rows: Option<(&'a [u32], usize)>,
}

/// The parts of an update, ascending.
#[derive(Clone)]
struct Spans<'a> {
    /// Elements of the gradient that no part was made of yet.
    left: Range<usize>,
    /// Which rows the gradient is of, if of some, where their table starts, and how wide they are.
    rows: Option<(&'a [u32], usize, usize)>,
}

impl<'a> Spans<'a> {
    fn new<T: Real>(op: &Update, memory: &'a Tensors<'_, T>) -> Self {
        let Some(TableRows { ids, vocabulary, offset, width }) = op.rows else {
            return Spans { left: 0..memory.real(op.gradients).len(), rows: None };
        };
        let ids = memory.ids(ids);
        let ids = &ids[..ids.iter().take_while(|id| (**id as usize) < vocabulary).count()];
        Spans { left: 0..ids.len() * width, rows: Some((ids, offset, width)) }
    }

    /// Elements of a part.
    fn each(&self) -> usize {
        self.rows.map_or(ELEMENTS_PER_TASK, |(_, _, width)| (ELEMENTS_PER_TASK / width).max(1) * width)
    }
}

impl<'a> Iterator for Spans<'a> {
    type Item = Span<'a>;

    fn next(&mut self) -> Option<Span<'a>> {
        let part = self.left.start..self.left.end.min(self.left.start + self.each());
        if part.is_empty() {
            return None;
        }
        self.left.start = part.end;
        Some(match self.rows {
            None => Span { range: part.clone(), gradient: part.start, rows: None },
            Some((ids, offset, width)) => {
                let ids = &ids[part.start / width..part.end / width];
                let [first, last] = [ids[0], ids[ids.len() - 1]].map(|id| offset + id as usize * width);
                Span { range: first..last + width, gradient: part.start, rows: Some((ids, width)) }
            }
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let parts = self.left.len().div_ceil(self.each());
        (parts, Some(parts))
    }
}

impl ExactSizeIterator for Spans<'_> {}

impl Span<'_> {
    /// Calls `work` with each part of the span that lies side by side: where it begins in the span and in the gradient,
    /// and its length.
    #[inline(always)]
    fn for_each(&self, mut work: impl FnMut(usize, usize, usize)) {
        match self.rows {
            None => work(0, self.gradient, self.range.len()),
            Some((ids, width)) => {
                for (number, id) in ids.iter().enumerate() {
                    work((id - ids[0]) as usize * width, self.gradient + number * width, width);
                }
            }
        }
    }
}

/// The parts of a flat buffer, ascending.
struct Parts<'a, 's, T> {
    spans: Spans<'s>,
    /// What is left of it.
    flat: &'a mut [T],
    /// Elements before that.
    before: usize,
}

impl<'a, T> Iterator for Parts<'a, '_, T> {
    type Item = &'a mut [T];

    fn next(&mut self) -> Option<&'a mut [T]> {
        let Span { range, .. } = self.spans.next()?;
        let (_, rest) = std::mem::take(&mut self.flat).split_at_mut(range.start - self.before);
        let (part, rest) = rest.split_at_mut(range.len());
        (self.flat, self.before) = (rest, range.end);
        Some(part)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.spans.size_hint()
    }
}

impl<T> ExactSizeIterator for Parts<'_, '_, T> {}

fn parts<'a, 's, T>(spans: &Spans<'s>, flat: &'a mut [T]) -> Parts<'a, 's, T> {
    Parts { spans: spans.clone(), flat, before: 0 }
}

/// `rule` at every element of the parts of parameters, gradients and one moment that is not frozen.
fn each<T: Real>(
    spans: &Spans<'_>,
    p: &mut [T],
    Read { gradients, parameter_flags }: Read<'_, T>,
    m: &mut [T],
    rule: impl Fn(&mut T, T, &mut T) + Copy + Sync,
) {
    let tasks = spans.clone().zip(parts(spans, p).zip(parts(spans, m)));
    threads::for_each(tasks, |(span, (p, m))| {
        vectorized!(|| span.for_each(|at, gradient, len| {
            let (g, flags) = (&gradients[gradient..][..len], &parameter_flags[span.range.start + at..][..len]);
            task(&mut p[at..][..len], g, flags, &mut m[at..][..len], rule);
        }));
    });
}

/// A task of [`each`]. As parameters of a function, the slices are known not to overlap.
#[inline(always)]
fn task<T: Real>(p: &mut [T], g: &[T], flags: &[u32], m: &mut [T], rule: impl Fn(&mut T, T, &mut T)) {
    for (((p, g), bits), m) in p.iter_mut().zip(g).zip(flags).zip(m) {
        // A choice between two results and not a branch around one: that becomes vector instructions.
        let (mut new_p, mut new_m) = (*p, *m);
        rule(&mut new_p, *g, &mut new_m);
        let frozen = bits & FROZEN != 0;
        *p = if frozen { *p } else { new_p };
        *m = if frozen { *m } else { new_m };
    }
}

/// `rule` at every element of the parts of parameters, gradients, flags, and two moments that is not frozen.
fn each_of_two<T: Real>(
    spans: &Spans<'_>,
    p: &mut [T],
    Read { gradients, parameter_flags }: Read<'_, T>,
    (m, v): (&mut [T], &mut [T]),
    rule: impl Fn(&mut T, T, u32, &mut T, &mut T) + Copy + Sync,
) {
    let moments = parts(spans, m).zip(parts(spans, v));
    let tasks = spans.clone().zip(parts(spans, p).zip(moments));
    threads::for_each(tasks, |(span, (p, (m, v)))| {
        vectorized!(|| span.for_each(|at, gradient, len| {
            let (g, flags) = (&gradients[gradient..][..len], &parameter_flags[span.range.start + at..][..len]);
            task_of_two(&mut p[at..][..len], g, flags, &mut m[at..][..len], &mut v[at..][..len], rule);
        }));
    });
}

/// A task of [`each_of_two`], as [`task`] is one of [`each`].
#[inline(always)]
fn task_of_two<T: Real>(
    p: &mut [T],
    g: &[T],
    flags: &[u32],
    m: &mut [T],
    v: &mut [T],
    rule: impl Fn(&mut T, T, u32, &mut T, &mut T),
) {
    for (((p, g), bits), (m, v)) in p.iter_mut().zip(g).zip(flags).zip(m.iter_mut().zip(v)) {
        let (mut new_p, mut new_m, mut new_v) = (*p, *m, *v);
        rule(&mut new_p, *g, *bits, &mut new_m, &mut new_v);
        let frozen = bits & FROZEN != 0;
        *p = if frozen { *p } else { new_p };
        *m = if frozen { *m } else { new_m };
        *v = if frozen { *v } else { new_v };
    }
}
