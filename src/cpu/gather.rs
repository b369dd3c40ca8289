//! W·x and its gradient where x is a token: columns of W gathered, and gradients brought back to them.

use rayon::prelude::*;

use super::{
    mask::Drawn,
    matmul::{Matrix, sum_rows},
    memory::Memory,
    real::Real,
};
use crate::plan::{Gather, GatherGradient};

/// Rows that are worth a thread's while.
const ROWS_A_TASK: usize = 256;

pub(super) fn gather<T: Real>(op: &Gather, memory: &mut Memory<'_, T>) {
    let mut tensor = memory.take(op.out.tensor);
    let (weight, tokens) = (memory.view(&op.weight), &memory.ids(op.tokens)[op.first..]);
    let bias = op.bias.map(|bias| memory.view(&bias));
    let drawn = op.draw.map(|draw| Drawn::new(&draw, memory));
    let symbols = op.weight.cols;
    let fill = |(task, (rows, tokens)): (usize, (&mut [T], &[u32]))| {
        for (r, (row, token)) in rows.chunks_exact_mut(op.out.cols).zip(tokens).enumerate() {
            let (b, token) = ((task * ROWS_A_TASK + r) % op.batch, *token as usize);
            let factor = drawn.as_ref().map_or(T::one(), |drawn| drawn.factor(b * symbols + token));
            for (j, value) in row.iter_mut().enumerate() {
                *value = weight[j * symbols + token] * factor;
            }
            if let Some(bias) = bias {
                row.iter_mut().zip(bias).for_each(|(value, bias)| *value += *bias);
            }
        }
    };
    let (out, tokens) = (&mut tensor[op.out.range()], &tokens[..op.out.rows]);
    if op.out.rows <= ROWS_A_TASK {
        fill((0, (out, tokens)));
    } else {
        let tasks = out.par_chunks_mut(ROWS_A_TASK * op.out.cols).zip(tokens.par_chunks(ROWS_A_TASK));
        tasks.enumerate().for_each(fill);
    }
    memory.put(op.out.tensor, tensor);
}

pub(super) fn gather_gradient<T: Real>(op: &GatherGradient, memory: &mut Memory<'_, T>) {
    let mut tensor = memory.take(op.slices);
    let mut sum = std::mem::take(memory.scratch);
    sum.resize(op.d.cols, T::zero());
    let (d, order, starts) = (memory.view(&op.d), memory.ids(op.order), memory.ids(op.starts));
    let drawn = op.draw.map(|draw| Drawn::new(&draw, memory));
    let ((cuts, flat), (rows, width)) = (memory.matrix(op.slices), (op.d.rows, op.d.cols));
    let row = memory.plan.get(op.starts).shape.last().copied().unwrap_or_default();
    let (symbols, starts) = (row - 1, &starts[op.part * row..][..row]);
    for (s, slice) in tensor.chunks_exact_mut(flat).enumerate() {
        for token in 0..symbols {
            let (first, end) = (starts[token] as usize, starts[token + 1] as usize);
            let of_token = &order[first..end];
            let part = &of_token[of_token.len() * s / cuts..of_token.len() * (s + 1) / cuts];
            sum[..width].fill(T::zero());
            for &row in part {
                let row = row as usize;
                let factor = drawn.as_ref().map_or(T::one(), |drawn| drawn.factor(row % op.batch * symbols + token));
                sum.iter_mut().zip(&d[row * width..][..width]).for_each(|(sum, value)| *sum += *value * factor);
            }
            for (j, value) in sum[..width].iter().enumerate() {
                slice[op.weight + j * symbols + token] = *value;
            }
        }
        if let Some(bias) = op.bias {
            let (first, end) = (rows * s / cuts, rows * (s + 1) / cuts);
            sum_rows(Matrix::new(&d[first * width..], width), end - first, false, &mut slice[bias..bias + width]);
        }
    }
    *memory.scratch = sum;
    memory.put(op.slices, tensor);
}
