//! Layer normalisation and its gradients (Ba, Kiros & Hinton 2016).

use super::{
    real::Real,
    sums::{ColumnSums, sum},
    tensors::Tensors,
    threads,
};
use crate::plan::{Normalize, NormalizeGradient, NormalizeWeightGradient};

/// Rows that are worth a thread's while.
const ROWS_PER_TASK: usize = 64;
/// Elements of a sum over rows that are.
const ELEMENTS_PER_TASK: usize = 1 << 15;

pub(super) fn normalize<T: Real>(op: &Normalize, memory: &mut Tensors<'_, T>) {
    let (mut out, mut statistics) = (memory.take(op.out.tensor), memory.take(op.statistics));
    let (x, gain, bias) = (memory.view(&op.x), memory.view(&op.gain), memory.view(&op.bias));
    let (width, epsilon) = (op.x.cols, T::from_f64(op.epsilon));
    let rows = out[op.out.range()].chunks_mut(ROWS_PER_TASK * width).zip(x.chunks(ROWS_PER_TASK * width));
    let tasks = rows.zip(statistics.chunks_mut(ROWS_PER_TASK * 2));
    threads::for_each(tasks, |((out, x), statistics)| {
        let rows = out.chunks_exact_mut(width).zip(x.chunks_exact(width));
        for ((out, x), statistics) in rows.zip(statistics.chunks_exact_mut(2)) {
            let count = T::from_f64(width as f64);
            let mean = sum(x.iter().copied()) / count;
            let variance = sum(x.iter().map(|x| (*x - mean) * (*x - mean))) / count;
            let inverse = T::one() / (variance + epsilon).sqrt();
            for (j, (out, x)) in out.iter_mut().zip(x).enumerate() {
                *out = (*x - mean) * inverse * gain[j] + bias[j];
            }
            statistics.copy_from_slice(&[mean, inverse]);
        }
    });
    memory.put(op.out.tensor, out);
    memory.put(op.statistics, statistics);
}

pub(super) fn normalize_gradient<T: Real>(op: &NormalizeGradient, memory: &mut Tensors<'_, T>) {
    let mut tensor = memory.take(op.d.tensor);
    let (x, gain, statistics) = (memory.view(&op.x), memory.view(&op.gain), memory.real(op.statistics));
    let width = op.x.cols;
    let rows = tensor[op.d.range()].chunks_mut(ROWS_PER_TASK * width).zip(x.chunks(ROWS_PER_TASK * width));
    let tasks = rows.zip(statistics.chunks(ROWS_PER_TASK * 2));
    threads::for_each(tasks, |((d, x), statistics)| {
        let rows = d.chunks_exact_mut(width).zip(x.chunks_exact(width));
        for ((d, x), statistics) in rows.zip(statistics.chunks_exact(2)) {
            let (mean, inverse, count) = (statistics[0], statistics[1], T::from_f64(width as f64));
            let normal = |x: T| (x - mean) * inverse;
            let of_gain = || d.iter().zip(gain).map(|(d, gain)| *d * *gain);
            let mean_g = sum(of_gain()) / count;
            let along = sum(of_gain().zip(x).map(|(g, x)| g * normal(*x))) / count;
            for ((d, gain), x) in d.iter_mut().zip(gain).zip(x) {
                *d = inverse * (*d * *gain - mean_g - normal(*x) * along);
            }
        }
    });
    memory.put(op.d.tensor, tensor);
}

pub(super) fn normalize_weight_gradient<T: Real>(op: &NormalizeWeightGradient, memory: &mut Tensors<'_, T>) {
    let mut tensor = memory.take(op.slices);
    let mut totals = std::mem::take(memory.totals);
    let (d, x, statistics) = (memory.view(&op.d), memory.view(&op.x), memory.real(op.statistics));
    let ((cuts, flat), (rows, width)) = (memory.matrix(op.slices), (op.d.rows, op.d.cols));
    totals.resize(width, 0.0);
    let share = width.div_ceil(threads::shares(rows * width / ELEMENTS_PER_TASK));
    for (s, slice) in tensor.chunks_exact_mut(flat).enumerate() {
        let part = rows * s / cuts..rows * (s + 1) / cuts;
        for (at, is_gain) in [(op.gain, true), (op.bias, false)] {
            // Each thread has columns of its own.
            let columns = slice[at..at + width].chunks_mut(share).zip(totals.chunks_mut(share)).enumerate();
            threads::for_each(columns, |(number, (out, totals))| {
                let (first, count) = (number * share, out.len());
                let mut sums = ColumnSums::new(out, totals);
                for r in part.clone() {
                    let of_row = r * width + first..r * width + first + count;
                    let (d, x) = (&d[of_row.clone()], &x[of_row]);
                    let (mean, inverse) = (statistics[2 * r], statistics[2 * r + 1]);
                    if is_gain {
                        sums.add(d.iter().zip(x).map(|(d, x)| *d * (*x - mean) * inverse));
                    } else {
                        sums.add(d.iter().copied());
                    }
                }
                sums.finish();
            });
        }
    }
    *memory.totals = totals;
    memory.put(op.slices, tensor);
}
