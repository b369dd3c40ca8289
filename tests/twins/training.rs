//! Losses, the norm, and the optimisers: cases of any size.

use recurrent::plan::{
    Clip, FROZEN, GradientSegment, HYPER, Loss, LossGradient, METRICS_SLOTS, Op, Optimizer, ReduceGradients,
    StepMetrics, TensorId, Update, UpdateLossScale, View,
};

use crate::case::Case;
use crate::common::compare::{EXACT, F32_POINTWISE, F32_SUM, Tolerance};
use crate::common::random::Random;

/// The loss of `rows` positions of `width` outputs in ±`bound`. Where a position does not count, outputs are NaN and the
/// target is nonsense.
pub fn loss(random: &mut Random, loss: Loss, [rows, width]: [usize; 2], gradient: bool, bound: f64) -> Case {
    let mut case = Case::new(format!("{loss:?} of {rows}×{width} in ±{bound}, gradient {gradient}"));
    let mask = random.mask(rows);
    let counts = |row: usize| mask[row] == 1.0;
    // The gradient of the cross entropy is a difference of two such parts.
    let part = Tolerance { least: 1.0 / mask.iter().sum::<f64>(), ..F32_POINTWISE };
    let mut y = random.reals(rows * width, bound);
    (0..y.len()).filter(|at| !counts(at / width)).for_each(|at| y[at] = f64::NAN);
    let targets = if loss == Loss::CrossEntropy {
        let mut classes = random.ids(rows, width);
        (0..rows).filter(|&row| !counts(row)).for_each(|row| classes[row] = u32::MAX - row as u32);
        case.ids("targets", classes)
    } else {
        let mut values = random.reals(rows * width, bound);
        (0..values.len()).filter(|at| !counts(at / width)).for_each(|at| values[at] = f64::NAN);
        case.real("targets", &[rows, width], values)
    };
    let (before, after) = (3, 70);
    let mut all = vec![f64::NAN; before + y.len() + after];
    all[before..before + y.len()].copy_from_slice(&y);
    let row = |row: usize| before + row * width..before + (row + 1) * width;
    // Where no gradient is asked for, rows that do not count keep what they hold.
    let assigned =
        (0..rows).filter(|&r| gradient || counts(r)).map(|r| (row(r), if gradient { part } else { EXACT })).collect();
    let tensor = case.in_out("outputs", &[all.len()], all, assigned);
    let outputs = View::new(tensor, before, rows, width);
    let count = case.real("count", &[1], vec![mask.iter().sum()]);
    let mask = case.real("mask", &[rows], mask);
    let row_loss = case.out("row_loss", &[rows], std::iter::once(0..rows), F32_SUM);
    case.with(Op::LossGradient(LossGradient {
        loss,
        outputs,
        targets,
        loss_mask: mask,
        count,
        row_loss,
        gradient,
        scaling: None,
    }))
}

/// The same with the gradient multiplied by `scale`.
pub fn scaled_loss(random: &mut Random, of: Loss, sizes: [usize; 2], gradient: bool, scale: f64) -> Case {
    let mut case = loss(random, of, sizes, gradient, 4.0);
    let scaling = case.real("scaling", &[3], vec![scale, f64::NAN, f64::NAN]);
    case.widen("outputs", Tolerance { least: scale, ..F32_POINTWISE });
    case.changed(|op| {
        let Op::LossGradient(op) = op else { panic!("{op:?}") };
        op.scaling = Some(scaling);
    })
}

/// `count` slices of `flat` elements, to be divided by `scale`.
pub fn scaled_combine(random: &mut Random, flat: usize, count: usize, scale: f64) -> Case {
    let mut case = combine(random, flat, count, 1.0, &[]);
    let scaling = case.real("scaling", &[3], vec![f64::NAN, 1.0 / scale, f64::NAN]);
    case.changed(|op| {
        let Op::ReduceGradients(op) = op else { panic!("{op:?}") };
        op.scaling = Some(scaling);
    })
}

/// The factor on the gradient after a step that was finite or not.
pub fn rescale([scale, finite_before]: [f64; 2], finite: bool, more: bool) -> Case {
    let mut case = Case::new(format!("rescale {scale} after {finite_before} steps, finite {finite}, more {more}"));
    let slot = 7;
    let hyper = case.real("hyper", &[HYPER], hyper(slot as f64, false, more));
    let mut rows = vec![f64::NAN; METRICS_SLOTS * 4];
    rows[slot * 4 + 3] = f64::from(u8::from(finite));
    let metrics = case.real("metrics", &[METRICS_SLOTS, 4], rows);
    let values = vec![scale, 1.0 / scale, finite_before];
    let scaling = case.in_out("scaling", &[3], values, vec![(0..3, EXACT)]);
    case.with(Op::UpdateLossScale(UpdateLossScale { scaling, hyper, metrics }))
}

/// `count` slices of `flat` elements in ±`bound`, some of them replaced; some of the others are frozen.
pub fn combine(random: &mut Random, flat: usize, count: usize, bound: f64, replaced: &[(usize, f64)]) -> Case {
    let gradients = vec![f64::NAN; flat];
    combine_onto(random, gradients, false, [count as f64, bound], replaced)
}

/// The same with a gradient that is there already, to be added to or not.
pub fn combine_onto(
    random: &mut Random,
    gradients: Vec<f64>,
    keep: bool,
    [count, bound]: [f64; 2],
    replaced: &[(usize, f64)],
) -> Case {
    let (flat, count) = (gradients.len(), count as usize);
    let name = format!("combine {flat} in {count} slices in ±{bound:e}, {replaced:?}, keep {keep}");
    let mut case = Case::new(name);
    let mut values = random.reals(count * flat, bound);
    replaced.iter().for_each(|&(at, value)| values[at] = value);
    let mut bits = random.ids(flat, 4);
    replaced.iter().for_each(|&(at, _)| bits[at % flat] &= !FROZEN);
    // A frozen element does not count, whatever its gradient would be.
    bits.iter().zip(&mut values).filter(|(bits, _)| **bits & FROZEN != 0).for_each(|(_, value)| *value = f64::INFINITY);
    let slices = case.real("slices", &[count, flat], values);
    let finite: Vec<_> =
        (0..flat).filter(|at| !replaced.iter().any(|(r, v)| r % flat == *at && !v.is_finite())).collect();
    let runs = finite.chunk_by(|a, b| a + 1 == *b).map(|run| run[0]..run[run.len() - 1] + 1);
    let tolerance = Tolerance { least: bound, ..F32_SUM };
    let gradients = case.in_out("gradients", &[flat], gradients, runs.map(|run| (run, tolerance)).collect());
    let hyper = case.real("hyper", &[HYPER], hyper(f64::NAN, keep, false));
    let exempt = case.ids("exempt", bits);
    (0..flat).filter(|at| !finite.contains(at)).for_each(|at| case.leave_free(gradients, at..at + 1));
    let blocks = flat.div_ceil(ReduceGradients::BLOCK);
    let apart = (0..blocks * 3).map(|at| at..at + 1);
    let partials = case.out("partials", &[blocks, 3], apart, F32_POINTWISE);
    case.with(Op::ReduceGradients(ReduceGradients {
        slices,
        scaling: None,
        hyper,
        exempt,
        gradients,
        segment: None,
        partials,
    }))
}

/// The same of a segment of a window, which adds to those before it or is the first.
pub fn combine_segment(random: &mut Random, flat: usize, count: usize, adds: bool) -> Case {
    let there = random_or_nan(random, flat, adds);
    let mut case = combine_onto(random, there, false, [count as f64, 1.0], &[]);
    let before = random_or_nan(random, flat, adds).into_iter().map(|excess| excess * 1e-3).collect();
    let excess = case.in_out("excess", &[flat], before, Vec::new());
    case.leave_free(excess, 0..flat);
    case.changed(|op| {
        let Op::ReduceGradients(op) = op else { panic!("{op:?}") };
        op.segment = Some(GradientSegment { excess, adds });
    })
}

fn random_or_nan(random: &mut Random, len: usize, is_random: bool) -> Vec<f64> {
    if is_random { random.reals(len, 1.0) } else { vec![f64::NAN; len] }
}

/// What a measurement reads.
pub struct Measured {
    pub row_loss: Vec<f64>,
    /// `[blocks, 3]`.
    pub partials: Option<Vec<f64>>,
    pub clip: Clip,
    pub slot: usize,
    /// Whether all numbers of the row are finite, and so can be compared.
    pub finite: bool,
}

/// The tensor `hyper` of a kernel that reads no rates.
fn hyper(slot: f64, keep: bool, more: bool) -> Vec<f64> {
    let [keep, more] = [keep, more].map(|flag| f64::from(u8::from(flag)));
    vec![f64::NAN, f64::NAN, f64::NAN, slot, keep, more]
}

/// Loss, norm, scale and flag in one row of the metrics.
pub fn measure(name: &str, given: Measured) -> Case {
    measure_onto(name, given, None, false)
}

/// The same where the step may have a loss already, and windows to come.
pub fn measure_onto(name: &str, given: Measured, loss: Option<f64>, more: bool) -> Case {
    let Measured { row_loss, partials, clip, slot, finite } = given;
    let mut case = Case::new(format!("measure {name}, {clip:?}, slot {slot}, onto {loss:?}, more {more}"));
    let row_loss = case.real("row_loss", &[row_loss.len()], row_loss);
    let partials = partials.map(|p| case.real("partials", &[p.len() / 3, 3], p));
    let hyper = case.real("hyper", &[HYPER], hyper(slot as f64, loss.is_some(), more));
    let row = slot * 4..slot * 4 + 4;
    let compared = if finite { row.clone() } else { row.end - 1..row.end };
    let mut rows = vec![f64::NAN; METRICS_SLOTS * 4];
    rows[slot * 4] = loss.unwrap_or(f64::NAN);
    let compared = compared.map(|at| (at..at + 1, F32_POINTWISE)).collect();
    let metrics = case.in_out("metrics", &[METRICS_SLOTS, 4], rows, compared);
    case.leave_free(metrics, row);
    case.with(Op::StepMetrics(StepMetrics { row_loss, partials, clip, hyper, metrics }))
}

/// Partials of `blocks` blocks with magnitudes up to `largest`.
pub fn partials(random: &mut Random, blocks: usize, largest: f64) -> Vec<f64> {
    let (magnitudes, sums) = (random.reals(blocks, largest), random.reals(blocks, 900.0));
    magnitudes.iter().zip(&sums).flat_map(|(m, s)| [m.abs(), s.abs() + 1.0, 1.0]).collect()
}

/// A step of an optimiser over `flat` elements, some of them frozen and some that do not decay; `finite` is the flag of the
/// metrics.
pub fn update(random: &mut Random, optimizer: Optimizer, clip: Clip, flat: usize, finite: bool) -> Case {
    let mut case = Case::new(format!("{optimizer:?}, {clip:?}, {flat} elements, finite {finite}"));
    let slot = 517;
    let mut hyper = [0.05, 0.271, 0.003, slot as f64].map(|v| f64::from(v as f32)).to_vec();
    hyper.extend([f64::NAN, f64::NAN]);
    let hyper = case.real("hyper", &[HYPER], hyper);
    let bits = random.ids(flat, 4);
    let frozen: Vec<_> = (0..flat).filter(|&at| bits[at] & FROZEN != 0).collect();
    let exempt = case.ids("exempt", bits);
    let mut rows = vec![f64::NAN; METRICS_SLOTS * 4];
    rows[slot * 4 + 2..slot * 4 + 4].copy_from_slice(&[0.375, if finite { 1.0 } else { 0.0 }]);
    let metrics = case.real("metrics", &[METRICS_SLOTS, 4], rows);
    // The first element has no gradient and never had: 0 / 0 but for an ε.
    let mut drawn = || {
        let mut values = random.reals(flat, 1.0);
        values[0] = 0.0;
        values
    };
    let gradients = case.real("gradients", &[flat], drawn());
    let tolerance = if finite { F32_POINTWISE } else { EXACT };
    let mut changed = |name: &str, values: Vec<f64>| -> TensorId {
        let kept = frozen.iter().map(|&at| (at..at + 1, EXACT));
        case.in_out(name, &[flat], values, kept.chain([(0..flat, tolerance)]).collect())
    };
    let parameters = changed("parameters", drawn().into_iter().map(|v| f64::from((v - 0.5) as f32)).collect());
    // A mean of squares is not negative; the first moment of Adam and the velocity may be.
    let squares = |values: Vec<f64>| values.into_iter().map(|v| f64::from((v * v) as f32)).collect();
    let moments = match optimizer {
        Optimizer::Sgd { .. } => vec![changed("velocity", drawn())],
        Optimizer::RmsProp { .. } => vec![changed("square", squares(drawn()))],
        Optimizer::Adam { .. } => {
            vec![changed("first", drawn()), changed("second", squares(drawn()))]
        }
        _ => unreachable!("an optimiser that the tests do not know"),
    };
    case.with(Op::Update(Update { optimizer, clip, hyper, metrics, gradients, exempt, parameters, moments }))
}
