//! The optimisers' steps over the flat buffers, and the mean of the parameters over the steps.
//!
//! The contract: a rule is a few plain lines of one element, the same as in its shader; what is frozen keeps its bits.

use std::ops::Range;

use super::update::{ELEMENTS_PER_TASK, metrics_row};
use super::{real::Real, tensors::Tensors, threads, vectorized::vectorized};
use crate::plan::{
    AverageParameters, CLIPPED_APART, FROZEN, GROUP_SETTINGS, GROUP_SHIFT, MetricsRow, NOT_DECAYED, StepParams,
    TableRows, Update,
};
use crate::recipe::{Clip, Optimizer};

pub(super) fn update<T: Real>(op: &Update, memory: &mut Tensors<'_, T>) {
    let step = StepParams::of(memory.real(op.step_params));
    let metrics = MetricsRow::of(&memory.real(op.metrics)[metrics_row(&step)]);
    if metrics.updates.is_zero() {
        return;
    }
    let (scale, bound) = match op.clip {
        Clip::Value(bound) => (T::one(), T::from_f64(bound)),
        _ => (metrics.clip_scale, T::infinity()),
    };
    let mut parameters = memory.take(op.parameters);
    // Of no optimiser more than two.
    let mut moments: [Vec<T>; 2] =
        std::array::from_fn(|at| op.moments.get(at).map(|id| memory.take(*id)).unwrap_or_default());
    let constant = T::from_f64;
    let general = constant(op.optimizer.weight_decay().unwrap_or(0.0));
    let (parameter_flags, group_settings) = memory.ids(op.parameter_flags).split_at(parameters.len());
    let settings = Settings { rate: step.learning_rate, decay: general, scale, bound, group_settings };
    let read = Read { gradients: memory.real(op.gradients), parameter_flags, settings };
    let spans = Spans::new(op, memory);
    let adam = |beta1: f64, beta2: f64| {
        ([beta1, 1.0 - beta1].map(constant), [beta2, 1.0 - beta2].map(constant), step.first_correction)
    };
    match (op.optimizer, &mut moments) {
        (Optimizer::Sgd { momentum }, [velocity, _]) => {
            let momentum = constant(momentum);
            each(
                &spans,
                &mut parameters,
                read,
                [velocity],
                #[inline(always)]
                move |p, g, at, [v]| {
                    *v = momentum * *v + at.clipped(g);
                    *p = *p - at.rate * *v;
                },
            );
        }
        (Optimizer::Nesterov { momentum }, [velocity, _]) => {
            let momentum = constant(momentum);
            each(
                &spans,
                &mut parameters,
                read,
                [velocity],
                #[inline(always)]
                move |p, g, at, [v]| {
                    let g = at.clipped(g);
                    *v = momentum * *v + g;
                    *p = *p - at.rate * (g + momentum * *v);
                },
            );
        }
        (Optimizer::RmsProp { alpha, epsilon }, [square, _]) => {
            let (alpha, rest, epsilon) = (constant(alpha), constant(1.0 - alpha), constant(epsilon));
            each(
                &spans,
                &mut parameters,
                read,
                [square],
                #[inline(always)]
                move |p, g, at, [v]| {
                    let g = at.clipped(g);
                    *v = alpha * *v + rest * g * g;
                    *p = *p - at.rate * g / (v.sqrt() + epsilon);
                },
            );
        }
        (Optimizer::Adagrad { epsilon }, [square, _]) => {
            let epsilon = constant(epsilon);
            each(
                &spans,
                &mut parameters,
                read,
                [square],
                #[inline(always)]
                move |p, g, at, [v]| {
                    let g = at.clipped(g);
                    *v += g * g;
                    *p = *p - at.rate * g / (v.sqrt() + epsilon);
                },
            );
        }
        (Optimizer::Lion { beta1, beta2, .. }, [first, _]) => {
            let ([beta1, rest1], [beta2, rest2], _) = adam(beta1, beta2);
            each(
                &spans,
                &mut parameters,
                read,
                [first],
                #[inline(always)]
                move |p, g, at, [m]| {
                    let g = at.clipped(g);
                    let mixed = beta1 * *m + rest1 * g;
                    let direction = if mixed.is_zero() { mixed } else { mixed.signum() };
                    *m = beta2 * *m + rest2 * g;
                    *p = at.kept() * *p - at.rate * direction;
                },
            );
        }
        (Optimizer::Adam { beta1, beta2, epsilon, .. }, [first, second]) => {
            let ([beta1, rest1], [beta2, rest2], correction) = adam(beta1, beta2);
            let (epsilon, root) = (constant(epsilon), step.second_correction.sqrt());
            each(
                &spans,
                &mut parameters,
                read,
                [first, second],
                #[inline(always)]
                move |p, g, at, [m, v]| {
                    let g = at.clipped(g);
                    *m = beta1 * *m + rest1 * g;
                    *v = beta2 * *v + rest2 * g * g;
                    *p = at.kept() * *p - at.rate / correction * *m / (v.sqrt() / root + epsilon);
                },
            );
        }
        (Optimizer::RAdam { beta1, beta2, epsilon, .. }, [first, second]) => {
            let ([beta1, rest1], [beta2, rest2], correction) = adam(beta1, beta2);
            let (epsilon, rectified) = (constant(epsilon), step.second_correction);
            each(
                &spans,
                &mut parameters,
                read,
                [first, second],
                #[inline(always)]
                move |p, g, at, [m, v]| {
                    let g = at.clipped(g);
                    *m = beta1 * *m + rest1 * g;
                    *v = beta2 * *v + rest2 * g * g;
                    let step = at.rate / correction * *m;
                    let step = if rectified.is_zero() { step } else { step * rectified / (v.sqrt() + epsilon) };
                    *p = at.kept() * *p - step;
                },
            );
        }
        (Optimizer::AmsGrad { beta1, beta2, epsilon, .. }, [first, second]) => {
            let ([beta1, rest1], [beta2, rest2], correction) = adam(beta1, beta2);
            let (epsilon, root) = (constant(epsilon), step.second_correction.sqrt());
            let (second, largest) = second.split_at_mut(parameters.len());
            each(
                &spans,
                &mut parameters,
                read,
                [first, second, largest],
                #[inline(always)]
                move |p, g, at, [m, v, w]| {
                    let g = at.clipped(g);
                    *m = beta1 * *m + rest1 * g;
                    *v = beta2 * *v + rest2 * g * g;
                    *w = w.max(*v);
                    *p = at.kept() * *p - at.rate / correction * *m / (w.sqrt() / root + epsilon);
                },
            );
        }
    }
    memory.put(op.parameters, parameters);
    for (id, values) in op.moments.iter().zip(moments) {
        memory.put(*id, values);
    }
}

pub(super) fn average_parameters<T: Real>(op: &AverageParameters, memory: &mut Tensors<'_, T>) {
    let weight = StepParams::of(memory.real(op.step_params)).average_weight;
    if weight.is_zero() {
        return;
    }
    let mut average = memory.take(op.average);
    let parameters = memory.real(op.parameters).chunks(ELEMENTS_PER_TASK);
    threads::for_each(average.chunks_mut(ELEMENTS_PER_TASK).zip(parameters), |(average, parameters)| {
        vectorized!(|| for (mean, p) in average.iter_mut().zip(parameters) {
            *mean = if weight.is_one() { *p } else { *mean + weight * (*p - *mean) };
        });
    });
    memory.put(op.average, average);
}

/// The learning rate and the weight decay of all elements, and those of the groups.
#[derive(Clone, Copy)]
struct Settings<'a, T> {
    /// η of those that are of no group.
    rate: T,
    /// λ of those.
    decay: T,
    /// What a gradient is multiplied by, and then held within ±.
    scale: T,
    bound: T,
    /// [`GROUP_SETTINGS`] of each group, as they stand behind the flags.
    group_settings: &'a [u32],
}

/// Those of one element.
#[derive(Clone, Copy)]
struct Setting<T> {
    rate: T,
    /// max(1 − η·λ, 0).
    decayed: T,
    scale: T,
    bound: T,
    bits: u32,
}

impl<T: Real> Setting<T> {
    /// Scaled and held within a bound for every kind of clipping: a choice between them would keep the loops around it
    /// from becoming vectors.
    #[inline(always)]
    fn clipped(self, g: T) -> T {
        (g * self.scale).max(-self.bound).min(self.bound)
    }

    /// What weight decay leaves of the parameter.
    #[inline(always)]
    fn kept(self) -> T {
        if self.bits & NOT_DECAYED == 0 { self.decayed } else { T::one() }
    }
}

impl<T: Real> Settings<'_, T> {
    /// Of the elements with these flags, which are of one group.
    fn of(&self, bits: u32) -> Setting<T> {
        let number = (bits >> GROUP_SHIFT) as usize;
        let own = number.checked_sub(1).map(|at| &self.group_settings[at * GROUP_SETTINGS..][..GROUP_SETTINGS]);
        let (rate, decay) = match own {
            Some([rate, decay]) => {
                let [rate, decay] = [rate, decay].map(|bits| T::from_f64(f64::from(f32::from_bits(*bits))));
                (self.rate * rate, decay)
            }
            _ => (self.rate, self.decay),
        };
        let is_apart = bits & CLIPPED_APART != 0;
        let (scale, bound) = if is_apart { (T::one(), T::infinity()) } else { (self.scale, self.bound) };
        Setting { rate, decayed: (T::one() - rate * decay).max(T::zero()), scale, bound, bits }
    }

    /// How many of these flags are of the first one's group.
    fn run(&self, flags: &[u32]) -> usize {
        if self.group_settings.is_empty() {
            return flags.len();
        }
        flags.iter().take_while(|bits| *bits >> GROUP_SHIFT == flags[0] >> GROUP_SHIFT).count()
    }
}

/// What an update reads of every element.
#[derive(Clone, Copy)]
struct Read<'a, T> {
    /// As far as there is one.
    gradients: &'a [T],
    /// `[flat]`.
    parameter_flags: &'a [u32],
    settings: Settings<'a, T>,
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
    /// Calls `work` with each part of the span that lies side by side and is of one group: where it begins in the span
    /// and in the gradient, its flags and its settings.
    #[inline(always)]
    fn for_each<T: Real>(
        &self,
        settings: &Settings<'_, T>,
        parameter_flags: &[u32],
        mut work: impl FnMut(usize, usize, &[u32], Setting<T>),
    ) {
        let flags = &parameter_flags[self.range.clone()];
        let all = self.rows.is_none().then_some((0, self.gradient, flags));
        let rows = self.rows.into_iter().flat_map(|(ids, width)| {
            ids.iter().enumerate().map(move |(number, id)| {
                let at = (id - ids[0]) as usize * width;
                (at, self.gradient + number * width, &flags[at..][..width])
            })
        });
        // One loop for both, and no closure: a function that is called twice is compiled for any machine.
        for (at, gradient, flags) in all.into_iter().chain(rows) {
            let mut begin = 0;
            while begin < flags.len() {
                let run = &flags[begin..][..settings.run(&flags[begin..])];
                work(at + begin, gradient + begin, run, settings.of(run[0]));
                begin += run.len();
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

/// `rule` at every element of the parts of parameters, gradients and moments that is not frozen.
fn each<T: Real, const N: usize>(
    spans: &Spans<'_>,
    p: &mut [T],
    Read { gradients, parameter_flags, settings }: Read<'_, T>,
    moments: [&mut [T]; N],
    rule: impl Fn(&mut T, T, Setting<T>, &mut [T; N]) + Copy + Sync,
) {
    let mut moments = moments.map(|moment| parts(spans, moment));
    let tasks = spans.clone().zip(parts(spans, p));
    let tasks = tasks.map(|(span, p)| (span, p, moments.each_mut().map(|parts| parts.next().unwrap_or_default())));
    threads::for_each(tasks, |(span, p, mut moments)| {
        vectorized!(|| span.for_each(
            &settings,
            parameter_flags,
            #[inline(always)]
            |at, gradient, flags, setting| {
                let (len, g) = (flags.len(), &gradients[gradient..][..flags.len()]);
                let moments = moments.each_mut().map(|moment| &mut moment[at..][..len]);
                task(&mut p[at..][..len], g, (flags, setting), moments, rule);
            }
        ));
    });
}

/// Elements that are updated side by side. As arrays, they are known not to overlap, and become vectors.
const LANES: usize = 32;

/// A task of [`each`].
#[inline(always)]
fn task<T: Real, const N: usize>(
    p: &mut [T],
    g: &[T],
    (flags, setting): (&[u32], Setting<T>),
    mut moments: [&mut [T]; N],
    rule: impl Fn(&mut T, T, Setting<T>, &mut [T; N]) + Copy,
) {
    let whole = p.len() / LANES * LANES;
    for at in (0..whole).step_by(LANES) {
        let moments = moments.each_mut().map(|moment| &mut moment[at..]);
        side_by_side::<T, N, LANES>(&mut p[at..], &g[at..], (&flags[at..], setting), moments, rule);
    }
    for at in whole..p.len() {
        let moments = moments.each_mut().map(|moment| &mut moment[at..]);
        side_by_side::<T, N, 1>(&mut p[at..], &g[at..], (&flags[at..], setting), moments, rule);
    }
}

/// The first elements of a [`task`].
#[inline(always)]
fn side_by_side<T: Real, const N: usize, const LANES: usize>(
    p: &mut [T],
    g: &[T],
    (flags, setting): (&[u32], Setting<T>),
    moments: [&mut [T]; N],
    rule: impl Fn(&mut T, T, Setting<T>, &mut [T; N]),
) {
    let mut of_p: [T; LANES] = first(p);
    let mut of_moments: [[T; LANES]; N] = std::array::from_fn(|number| first(moments[number]));
    let (g, flags): ([T; LANES], [u32; LANES]) = (first(g), first(flags));
    for j in 0..LANES {
        // A choice between two results and not a branch around one: that becomes vector instructions.
        let (mut new_p, mut new) = (of_p[j], std::array::from_fn(|number| of_moments[number][j]));
        rule(&mut new_p, g[j], Setting { bits: flags[j], ..setting }, &mut new);
        let frozen = flags[j] & FROZEN != 0;
        of_p[j] = if frozen { of_p[j] } else { new_p };
        for (of_moment, new) in of_moments.iter_mut().zip(new) {
            of_moment[j] = if frozen { of_moment[j] } else { new };
        }
    }
    p[..LANES].copy_from_slice(&of_p);
    for (moment, new) in moments.into_iter().zip(of_moments) {
        moment[..LANES].copy_from_slice(&new);
    }
}

#[inline(always)]
fn first<T: Copy, const LANES: usize>(values: &[T]) -> [T; LANES] {
    let values = &values[..LANES];
    std::array::from_fn(|j| values[j])
}
