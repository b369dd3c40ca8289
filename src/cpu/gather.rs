//! W·x and its gradient where x is a token: columns of W gathered, and gradients brought back to them.

use rayon::prelude::*;

use super::{matmul::sum_rows, memory::Memory, real::Real};
use crate::plan::{Gather, GatherGradient};

/// Rows that are worth a thread's while.
const ROWS_A_TASK: usize = 256;

pub(super) fn gather<T: Real>(op: &Gather, memory: &mut Memory<'_, T>) {
    let mut tensor = memory.take(op.out.tensor);
    let (weight, bias, tokens) = (memory.view(&op.weight), memory.view(&op.bias), memory.ids(op.tokens));
    let symbols = op.weight.cols;
    let fill = |(rows, tokens): (&mut [T], &[u32])| {
        for (row, token) in rows.chunks_exact_mut(op.out.cols).zip(tokens) {
            for (j, value) in row.iter_mut().enumerate() {
                *value = weight[j * symbols + *token as usize] + bias[j];
            }
        }
    };
    let out = &mut tensor[op.out.range()];
    if op.out.rows <= ROWS_A_TASK {
        fill((out, tokens));
    } else {
        out.par_chunks_mut(ROWS_A_TASK * op.out.cols).zip(tokens.par_chunks(ROWS_A_TASK)).for_each(fill);
    }
    memory.put(op.out.tensor, tensor);
}

pub(super) fn gather_gradient<T: Real>(op: &GatherGradient, memory: &mut Memory<'_, T>) {
    let mut tensor = memory.take(op.slices);
    let mut sum = std::mem::take(memory.scratch);
    sum.resize(op.d.cols, T::zero());
    let (d, order, starts) = (memory.view(&op.d), memory.ids(op.order), memory.ids(op.starts));
    let ((cuts, flat), (rows, width)) = (memory.matrix(op.slices), (op.d.rows, op.d.cols));
    let symbols = starts.len() - 1;
    for (s, slice) in tensor.chunks_exact_mut(flat).enumerate() {
        for token in 0..symbols {
            let (first, end) = (starts[token] as usize, starts[token + 1] as usize);
            let of_token = &order[first..end];
            let part = &of_token[of_token.len() * s / cuts..of_token.len() * (s + 1) / cuts];
            sum.fill(T::zero());
            for &row in part {
                let row = &d[row as usize * width..][..width];
                sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += *value);
            }
            for (j, value) in sum.iter().enumerate() {
                slice[op.weight + j * symbols + token] = *value;
            }
        }
        let part = rows * s / cuts * width..rows * (s + 1) / cuts * width;
        sum_rows(&d[part], &mut slice[op.bias..op.bias + width]);
    }
    *memory.scratch = sum;
    memory.put(op.slices, tensor);
}
