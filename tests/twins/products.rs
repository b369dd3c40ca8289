//! Products and gatherings: cases of any size.

use recurrent::Activation;
use recurrent::internals::plan::{
    Activate, ActivateGradient, DropoutDraw, Gather, GatherGradient, MatMul, Normalize, NormalizeGradient,
    NormalizeWeightGradient, Op, ProductTile, TableGradient, TableRows, Transpose, View, WeightGradient,
};

use crate::case::Case;
use crate::common::compare::{EXACT, F32_RECURRENCE, F32_ROUNDING, F32_SUM, Tolerance};
use crate::common::network::sort_by_token;
use crate::common::random::Random;

/// `[m, k]·[k, n]`, either transposed, with or without a bias.
pub fn matmul(
    random: &mut Random,
    [m, n, k]: [usize; 3],
    [ta, tb]: [bool; 2],
    with_bias: bool,
    tile: ProductTile,
) -> Case {
    let case = Case::new(format!("matmul {m}×{k}·{k}×{n}, turned {ta} {tb}, bias {with_bias}, {tile:?}"));
    let mut case = if tile == ProductTile::Lanes { case.of_fours() } else { case };
    let (a_rows, a_cols) = if ta { (k, m) } else { (m, k) };
    let (b_rows, b_cols) = if tb { (n, k) } else { (k, n) };
    let a = case.matrix("a", a_rows, a_cols, random.reals(m * k, 1.0));
    let b = case.matrix("b", b_rows, b_cols, random.reals(k * n, 1.0));
    let bias = with_bias.then(|| case.matrix("bias", 1, n, random.reals(n, 1.0)));
    let out = case.out_matrix("out", m, n, F32_SUM);
    case.with(Op::MatMul(MatMul { a, transpose_a: ta, b, transpose_b: tb, bias, out, tile }))
}

/// `[m, n]` transposed.
pub fn transpose(random: &mut Random, m: usize, n: usize) -> Case {
    let mut case = Case::new(format!("transpose {m}×{n}"));
    let input = case.matrix("input", m, n, random.reals(m * n, 1.0));
    let out = case.out_matrix("out", n, m, EXACT);
    case.with(Op::Transpose(Transpose { input, out }))
}

/// Numbers of every size up to the largest: most between ±20, where functions bend.
fn of_all_sizes(random: &mut Random, len: usize, largest: f64) -> Vec<f64> {
    let ends = [0.0, -0.0, 1e-30, -1e-30, 88.0, -88.0, 1e4, -1e4, largest, -largest];
    let drawn = random.reals(len.saturating_sub(ends.len()), 20.0).into_iter();
    ends.into_iter().chain(drawn).take(len).map(|x| f64::from(x as f32)).collect()
}

/// The function around a dense layer's sums, of `len` numbers.
pub fn activate(random: &mut Random, activation: Activation, len: usize, largest: f64) -> Case {
    let mut case = Case::new(format!("{activation:?} of {len}"));
    let values = of_all_sizes(random, len, largest);
    // Not against the largest: beside 3e38 all else would be right.
    let tolerance = Tolerance { relative: 1e-5, floor: 0.0, least: 0.1 };
    let held = [vec![f64::NAN; 3], values, vec![f64::NAN; 2]].concat();
    let x = case.in_out("x", &[len + 5], held, vec![(3..3 + len, tolerance)]);
    case.with(Op::Activate(Activate { activation, x: View::new(x, 3, len, 1) }))
}

/// Its gradient.
pub fn activate_gradient(random: &mut Random, activation: Activation, len: usize, largest: f64) -> Case {
    let mut case = Case::new(format!("slope of {activation:?} at {len}"));
    let of_value = !matches!(activation, Activation::Gelu | Activation::Softplus);
    // A value lies where the function's do.
    let kept = if of_value { random.reals(len, 1.0) } else { of_all_sizes(random, len, largest) };
    let kept = case.matrix("kept", len, 1, kept);
    let tolerance = Tolerance { relative: 1e-5, floor: 0.0, least: 0.1 };
    let d = case.in_out("d", &[len], random.reals(len, 1.0), vec![(0..len, tolerance)]);
    case.with(Op::ActivateGradient(ActivateGradient { activation, kept, d: View::new(d, 0, len, 1) }))
}

/// μ and σ⁻¹ of the rows of a matrix.
fn statistics(values: &[f64], columns: usize, epsilon: f64) -> Vec<f64> {
    let of_row = |row: &[f64]| {
        let mean = row.iter().sum::<f64>() / columns as f64;
        let variance = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / columns as f64;
        [mean, 1.0 / (variance + epsilon).sqrt()].map(|value| f64::from(value as f32))
    };
    values.chunks_exact(columns).flat_map(of_row).collect()
}

/// Rows of `[rows, columns]` normalised, about a mean that is not zero.
pub fn normalize(random: &mut Random, [rows, columns]: [usize; 2], epsilon: f64) -> Case {
    let mut case = Case::new(format!("normalisation of {rows}×{columns}, ε {epsilon}"));
    let values = random.reals(rows * columns, 1.0).iter().map(|x| f64::from((x + 0.5) as f32)).collect();
    let x = case.matrix("x", rows, columns, values);
    // Both in one tensor, as all parameters are.
    let weights = case.matrix("weights", 2, columns, random.reals(2 * columns, 1.0));
    let [gain, bias] = [0, columns].map(|at| View { offset: weights.offset + at, rows: 1, ..weights });
    let statistics = case.out("statistics", &[rows + 1, 2], std::iter::once(0..2 * rows), F32_SUM);
    let out = case.out_matrix("out", rows, columns, F32_RECURRENCE);
    case.with(Op::Normalize(Normalize { x, gain, bias, epsilon, statistics, out }))
}

/// The gradient of what was normalised.
pub fn normalize_gradient(random: &mut Random, [rows, columns]: [usize; 2]) -> Case {
    let mut case = Case::new(format!("gradient of a normalisation of {rows}×{columns}"));
    let values = random.reals(rows * columns, 1.0);
    let statistics = case.real("statistics", &[rows, 2], statistics(&values, columns, 0.1));
    let x = case.matrix("x", rows, columns, values);
    let gain = case.matrix("gain", 1, columns, random.reals(columns, 1.0));
    let len = rows * columns;
    let d = case.in_out("d", &[len], random.reals(len, 1.0), vec![(0..len, F32_RECURRENCE)]);
    case.with(Op::NormalizeGradient(NormalizeGradient { x, gain, statistics, d: View::new(d, 0, rows, columns) }))
}

/// The gradients of its gain and bias, in `count` slices.
pub fn normalize_weight_gradient(random: &mut Random, [rows, columns]: [usize; 2], count: usize) -> Case {
    let mut case = Case::new(format!("gradients of a norm from {rows}×{columns} in {count} slices"));
    let values = random.reals(rows * columns, 1.0);
    let statistics = case.real("statistics", &[rows, 2], statistics(&values, columns, 0.1));
    let x = case.matrix("x", rows, columns, values);
    let d = case.matrix("d", rows, columns, random.reals(rows * columns, 1.0));
    let at = Slices::new(count, columns, columns);
    let slices = case.out("slices", &[count, at.flat], at.assigned, F32_SUM);
    let (gain, bias) = (at.weight, at.bias);
    case.with(Op::NormalizeWeightGradient(NormalizeWeightGradient { d, x, statistics, slices, gain, bias }))
}

/// What a gathering and its gradient may have or not.
#[derive(Clone, Copy, Debug)]
pub struct Gathering {
    pub bias: bool,
    pub draw: bool,
    /// Rows of the tokens before the first that is gathered.
    pub first: usize,
    /// Whether a token has a row; without a bias.
    pub by_rows: bool,
    /// Whether a gradient is added to what is there, and which token has none; by rows.
    pub adds: bool,
    pub padding: Option<usize>,
    /// What lies between the rows that are gathered, or whose gradient is read.
    pub apart: usize,
    /// Of a gradient whether the tokens are every so many of a larger vocabulary; by rows.
    pub wanted: Option<u32>,
}

impl Gathering {
    /// From the first token on, with a bias and without dropout.
    pub const PLAIN: Gathering = Gathering {
        bias: true,
        draw: false,
        first: 0,
        by_rows: false,
        adds: false,
        padding: None,
        apart: 0,
        wanted: None,
    };
    /// The same by rows.
    pub const ROWS: Gathering = Gathering { bias: false, by_rows: true, ..Gathering::PLAIN };

    fn draw(self, random: &mut Random, case: &mut Case) -> Option<DropoutDraw> {
        // Two keys before it are another site's, one after it too.
        self.draw.then(|| DropoutDraw { keys: case.ids("keys", random.ids(8, 1 << 32)), site: 2, rate: 0.4 })
    }
}

/// B of the gatherings: of no importance but for what dropout drops.
const BATCH: usize = 3;

/// Columns of `[width, vocabulary]` for `rows` tokens.
pub fn gather(random: &mut Random, [rows, width, vocabulary]: [usize; 3], options: Gathering) -> Case {
    let mut case = Case::new(format!("gather {rows} rows of {width} of {vocabulary} tokens, {options:?}"));
    // What is not gathered is no token.
    let mut tokens = vec![u32::MAX; options.first];
    tokens.extend(random.ids(rows, vocabulary));
    let tokens = case.ids("tokens", tokens);
    let [of, each] = if options.by_rows { [vocabulary, width] } else { [width, vocabulary] };
    let weight = case.matrix("weight", of, each, random.reals(width * vocabulary, 1.0));
    let bias = options.bias.then(|| case.matrix("bias", 1, width, random.reals(width, 1.0)));
    let draw = options.draw(random, &mut case);
    // With dropout a product is rounded, and then its sum with the bias.
    let tolerance = if options.draw { F32_SUM } else { F32_ROUNDING };
    let out = match options.apart {
        0 => case.out_matrix("out", rows, width, tolerance),
        apart => {
            let stride = width + apart;
            // What lies between is nobody's.
            let assigned = (0..rows).map(|row| row * stride..row * stride + width);
            let out = case.out("out", &[rows, stride], assigned, tolerance);
            View::new(out, 0, rows, stride).columns(0, width)
        }
    };
    case.with(Op::Gather(Gather {
        tokens,
        first: options.first,
        weight,
        by_rows: options.by_rows,
        bias,
        draw,
        batch: BATCH,
        out,
    }))
}

/// A slice of the flat gradient: something else, a weight of `weight` elements, a gap, a bias of `bias`, which may be
/// none, a gap.
struct Slices {
    weight: usize,
    bias: usize,
    flat: usize,
    assigned: Vec<std::ops::Range<usize>>,
}

impl Slices {
    fn new(count: usize, weight: usize, bias: usize) -> Self {
        Slices::apart(count, weight, bias, [3, 2, 7])
    }

    /// With so many elements before the weight, between the two, and behind the bias.
    fn apart(count: usize, weight: usize, bias: usize, [before, between, behind]: [usize; 3]) -> Self {
        let at_bias = before + weight + between;
        let flat = at_bias + bias + behind;
        let assigned = (0..count)
            .flat_map(|s| {
                [before..before + weight, at_bias..at_bias + bias].map(|r| s * flat + r.start..s * flat + r.end)
            })
            .filter(|range| !range.is_empty());
        Slices { weight: before, bias: at_bias, flat, assigned: assigned.collect() }
    }
}

/// What a weight gradient may have or not.
#[derive(Clone, Copy, Debug)]
pub struct Weighting {
    pub bias: bool,
    /// Columns of d and of x that are another's, before theirs and behind them.
    pub apart: [usize; 2],
    pub tile: ProductTile,
}

impl Weighting {
    /// With a bias, the rows side by side.
    pub const PLAIN: Weighting = Weighting { bias: true, apart: [0, 0], tile: ProductTile::Small };
}

/// A matrix to be read whose rows have `apart` elements between them that are not.
fn strided(case: &mut Case, name: &str, values: &[f64], cols: usize, apart: usize) -> View {
    let rows = values.len() / cols;
    let row = |row: &[f64]| [row, &vec![f64::NAN; apart]].concat();
    let all = values.chunks_exact(cols).flat_map(row).collect();
    case.matrix(name, rows, cols + apart, all).columns(0, cols)
}

/// `[rows, m]ᵀ·[rows, n]` in `count` slices.
pub fn weight_gradient(random: &mut Random, rows: usize, [m, n]: [usize; 2], count: usize, options: Weighting) -> Case {
    let case = Case::new(format!("weight gradient {m}×{n} from {rows} rows in {count} slices, {options:?}"));
    let mut case = if options.tile == ProductTile::Lanes { case.of_fours() } else { case };
    let d = strided(&mut case, "d", &random.reals(rows * m, 1.0), m, options.apart[0]);
    let x = strided(&mut case, "x", &random.reals(rows * n, 1.0), n, options.apart[1]);
    let apart = if options.tile == ProductTile::Lanes { [4, 8, 4] } else { [3, 2, 7] };
    let at = Slices::apart(count, m * n, if options.bias { m } else { 0 }, apart);
    let slices = case.out("slices", &[count, at.flat], at.assigned, F32_SUM);
    let bias = options.bias.then_some(at.bias);
    case.with(Op::WeightGradient(WeightGradient { d, x, slices, weight: at.weight, bias, tile: options.tile }))
}

/// `[rows, m]` summed by token, in `count` slices.
pub fn gather_gradient(
    random: &mut Random,
    [rows, m, vocabulary]: [usize; 3],
    count: usize,
    options: Gathering,
) -> Case {
    let mut case =
        Case::new(format!("gather gradient {m}×{vocabulary} from {rows} rows in {count} slices, {options:?}"));
    let d = strided(&mut case, "d", &random.reals(rows * m, 1.0), m, options.apart);
    let (rows_by_token, first) = sort_by_token(&random.ids(rows, vocabulary), vocabulary);
    let order = case.ids("order", rows_by_token);
    let starts = case.ids("starts", first);
    let draw = options.draw(random, &mut case);
    let rows = options.wanted.map(|apart| {
        let ids = (0..vocabulary as u32).map(|v| v * apart).collect();
        let all = vocabulary * apart as usize;
        TableRows { ids: case.ids("rows", ids), vocabulary: all, offset: 0, width: m }
    });
    let at = Slices::new(count, m * vocabulary, if options.bias { m } else { 0 });
    let slices = if options.adds {
        let mut held = vec![f64::NAN; count * at.flat];
        at.assigned.iter().for_each(|range| held[range.clone()].copy_from_slice(&random.reals(range.len(), 1.0)));
        let assigned = at.assigned.into_iter().map(|range| (range, F32_SUM)).collect();
        case.in_out("slices", &[count, at.flat], held, assigned)
    } else {
        case.out("slices", &[count, at.flat], at.assigned, F32_SUM)
    };
    let (weight, bias, batch) = (at.weight, options.bias.then_some(at.bias), BATCH);
    let Gathering { adds, padding, .. } = options;
    let table = options.by_rows.then_some(TableGradient { adds, padding, rows });
    case.with(Op::GatherGradient(GatherGradient {
        d,
        order,
        starts,
        part: 0,
        slices,
        weight,
        table,
        bias,
        draw,
        batch,
    }))
}
