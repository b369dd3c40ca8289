//! Products, gatherings and copies: cases of any size.

use recurrent::plan::{Gather, GatherGradient, MatMul, Op, Transpose, WeightGradient};

use crate::case::Case;
use crate::common::compare::{EXACT, F32_ROUNDING, F32_SUM};
use crate::common::network::sort_by_token;
use crate::common::random::Random;

/// `[m, k]·[k, n]`, either turned over, with or without a bias.
pub fn matmul(random: &mut Random, [m, n, k]: [usize; 3], [ta, tb]: [bool; 2], with_bias: bool) -> Case {
    let mut case = Case::new(format!("matmul {m}×{k}·{k}×{n}, turned {ta} {tb}, bias {with_bias}"));
    let (a_rows, a_cols) = if ta { (k, m) } else { (m, k) };
    let (b_rows, b_cols) = if tb { (n, k) } else { (k, n) };
    let a = case.matrix("a", a_rows, a_cols, random.reals(m * k, 1.0));
    let b = case.matrix("b", b_rows, b_cols, random.reals(k * n, 1.0));
    let bias = with_bias.then(|| case.matrix("bias", 1, n, random.reals(n, 1.0)));
    let out = case.out_matrix("out", m, n, F32_SUM);
    case.with(Op::MatMul(MatMul { a, transpose_a: ta, b, transpose_b: tb, bias, out }))
}

/// `[m, n]` turned over.
pub fn transpose(random: &mut Random, m: usize, n: usize) -> Case {
    let mut case = Case::new(format!("transpose {m}×{n}"));
    let input = case.matrix("input", m, n, random.reals(m * n, 1.0));
    let out = case.out_matrix("out", n, m, EXACT);
    case.with(Op::Transpose(Transpose { input, out }))
}

/// `[m, n]` copied.
pub fn copy(random: &mut Random, m: usize, n: usize) -> Case {
    let mut case = Case::new(format!("copy {m}×{n}"));
    let from = case.matrix("from", m, n, random.reals(m * n, 1.0));
    let to = case.out_matrix("to", m, n, EXACT);
    case.with(Op::Copy { from, to })
}

/// A tensor zeroed.
pub fn zero(len: usize) -> Case {
    let mut case = Case::new(format!("zero {len}"));
    let tensor = case.out("tensor", &[len], std::iter::once(0..len), EXACT);
    case.with(Op::Zero { tensor })
}

/// Columns of `[width, symbols]` for `rows` tokens.
pub fn gather(random: &mut Random, rows: usize, width: usize, symbols: usize) -> Case {
    let mut case = Case::new(format!("gather {rows} rows of {width} for {symbols} symbols"));
    let tokens = case.ids("tokens", random.ids(rows, symbols));
    let weight = case.matrix("weight", width, symbols, random.reals(width * symbols, 1.0));
    let bias = case.matrix("bias", 1, width, random.reals(width, 1.0));
    let out = case.out_matrix("out", rows, width, F32_ROUNDING);
    case.with(Op::Gather(Gather { tokens, weight, bias, out }))
}

/// A slice of the flat gradient: something else, a weight of `weight` elements, a gap, a bias of `bias`, a gap.
struct Slices {
    weight: usize,
    bias: usize,
    flat: usize,
    assigned: Vec<std::ops::Range<usize>>,
}

impl Slices {
    fn new(count: usize, weight: usize, bias: usize) -> Self {
        let at_bias = 3 + weight + 2;
        let flat = at_bias + bias + 7;
        let assigned = (0..count)
            .flat_map(|s| [3..3 + weight, at_bias..at_bias + bias].map(|r| s * flat + r.start..s * flat + r.end));
        Slices { weight: 3, bias: at_bias, flat, assigned: assigned.collect() }
    }
}

/// `[rows, m]ᵀ·[rows, n]` in `count` slices.
pub fn weight_gradient(random: &mut Random, rows: usize, m: usize, n: usize, count: usize) -> Case {
    let mut case = Case::new(format!("weight gradient {m}×{n} from {rows} rows in {count} slices"));
    let d = case.matrix("d", rows, m, random.reals(rows * m, 1.0));
    let x = case.matrix("x", rows, n, random.reals(rows * n, 1.0));
    let at = Slices::new(count, m * n, m);
    let slices = case.out("slices", &[count, at.flat], at.assigned, F32_SUM);
    case.with(Op::WeightGradient(WeightGradient { d, x, slices, weight: at.weight, bias: at.bias }))
}

/// `[rows, m]` summed by token, in `count` slices.
pub fn gather_gradient(random: &mut Random, rows: usize, m: usize, symbols: usize, count: usize) -> Case {
    let mut case = Case::new(format!("gather gradient {m}×{symbols} from {rows} rows in {count} slices"));
    let d = case.matrix("d", rows, m, random.reals(rows * m, 1.0));
    let (by_token, first) = sort_by_token(&random.ids(rows, symbols), symbols);
    let order = case.ids("order", by_token);
    let starts = case.ids("starts", first);
    let at = Slices::new(count, m * symbols, m);
    let slices = case.out("slices", &[count, at.flat], at.assigned, F32_SUM);
    case.with(Op::GatherGradient(GatherGradient { d, order, starts, slices, weight: at.weight, bias: at.bias }))
}
