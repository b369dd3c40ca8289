//! Losses, the norm, and the optimisers: cases of any size.

use recurrent::internals::plan::{
    AverageParameters, CLIPPED_APART, FROZEN, GROUP_SHIFT, GradientSegment, GroupNorm, LossGradient, LossScale,
    METRICS_SLOTS, MetricsRow, NormPartial, Op, ReduceGradients, ScaleGroup, StepMetrics, StepParams, TableRows,
    TensorId, Update, UpdateLossScale, View,
};
use recurrent::recipe::{Clip, Loss, Optimizer};

use crate::case::Case;
use crate::common::compare::{EXACT, F32_POINTWISE, F32_SUM, Tolerance};
use crate::common::heads::Targets;
use crate::common::losses;
use crate::common::random::Random;

/// The loss of `rows` positions of `width` outputs in ±`bound`, weighed by positions. Where one does not count, outputs
/// are NaN and the target is nonsense.
pub fn loss(random: &mut Random, loss: &Loss, sizes: [usize; 2], gradient: bool, bound: f64) -> Case {
    weighed_loss(random, loss, sizes, (gradient, false), bound)
}

/// The same, with the numbers of a position weighed each by itself where `each` says so.
pub fn weighed_loss(
    random: &mut Random,
    loss: &Loss,
    [rows, width]: [usize; 2],
    (gradient, each): (bool, bool),
    bound: f64,
) -> Case {
    let mut case = Case::new(format!("{loss:?} of {rows}×{width} in ±{bound}, gradient {gradient}, weighed {each}"));
    let numbers = loss.numbers(width).unwrap();
    let weighed = if each { numbers } else { 1 };
    let mask = random.mask(rows * weighed);
    let weights = random.reals(rows * weighed, 0.5);
    let weights: Vec<f64> = mask.iter().zip(weights).map(|(m, w)| m * f64::from((1.0 + w) as f32)).collect();
    let counts = |row: usize| each || weights[row] > 0.0;
    let divisor = f64::from(weights.iter().sum::<f64>() as f32 / weighed as f32);
    // Gradients are differences of such parts: of a class by its weight, of a number by how it is scaled.
    let part = Tolerance { least: 3.0 / divisor, ..F32_POINTWISE };
    let mut y = random.reals(rows * width, bound);
    (0..y.len()).filter(|at| !counts(at / width)).for_each(|at| y[at] = f64::NAN);
    let targets = match losses::targets(random, loss, [rows, width], bound) {
        Targets::Classes(mut classes) => {
            (0..rows).filter(|&row| !counts(row)).for_each(|row| classes[row] = u32::MAX - row as u32);
            case.ids("targets", classes)
        }
        Targets::Values(mut values) => {
            let is_left_out = |at: &usize| weights[if each { *at } else { at / numbers }] == 0.0;
            (0..values.len()).filter(is_left_out).for_each(|at| values[at] = f64::NAN);
            case.real("targets", &[rows, numbers], values)
        }
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
    let divisor = StepParams { divisor, ..StepParams::default().map(|_: f64| f64::NAN) };
    let step_params = case.real("step_params", &[StepParams::LEN], divisor.elements().to_vec());
    let shape = if each { vec![rows, numbers] } else { vec![rows] };
    let loss_weights = case.real("loss_weights", &shape, weights);
    let settings = (0..loss.setting_count(width)).map(|at| f64::from(loss.setting(at) as f32)).collect::<Vec<_>>();
    let settings = (!settings.is_empty()).then(|| case.real("settings", &[settings.len()], settings));
    let row_loss = case.out("row_loss", &[rows], std::iter::once(0..rows), F32_SUM);
    case.with(Op::LossGradient(LossGradient {
        loss: loss.kind(),
        outputs,
        targets,
        loss_weights,
        settings,
        step_params,
        row_loss,
        gradient,
        loss_scale: None,
    }))
}

/// The same with the gradient multiplied by `scale`.
pub fn scaled_loss(random: &mut Random, of: &Loss, sizes: [usize; 2], gradient: bool, scale: f64) -> Case {
    let mut case = loss(random, of, sizes, gradient, 4.0);
    let scale = LossScale { factor: scale, inverse: f64::NAN, finite_steps: f64::NAN };
    let loss_scale = case.real("loss_scale", &[LossScale::LEN], scale.elements().to_vec());
    case.widen("outputs", Tolerance { least: scale.factor, ..F32_POINTWISE });
    case.changed(|op| {
        let Op::LossGradient(op) = op else { panic!("{op:?}") };
        op.loss_scale = Some(loss_scale);
    })
}

/// `count` slices of `flat` elements, to be divided by `scale`.
pub fn scaled_combine(random: &mut Random, flat: usize, count: usize, scale: f64) -> Case {
    let mut case = combine(random, flat, count, 1.0, &[]);
    let scale = LossScale { factor: f64::NAN, inverse: 1.0 / scale, finite_steps: f64::NAN };
    let loss_scale = case.real("loss_scale", &[LossScale::LEN], scale.elements().to_vec());
    case.changed(|op| {
        let Op::ReduceGradients(op) = op else { panic!("{op:?}") };
        op.loss_scale = Some(loss_scale);
    })
}

/// The factor on the gradient after a step that was finite or not.
pub fn rescale([scale, finite_before]: [f64; 2], finite: bool, more: bool) -> Case {
    let mut case = Case::new(format!("rescale {scale} after {finite_before} steps, finite {finite}, more {more}"));
    let slot = 7;
    let step_params = case.real("step_params", &[StepParams::LEN], step_params(slot as f64, false, more));
    let row = MetricsRow { updates: f64::from(u8::from(finite)), ..UNREAD };
    let metrics = case.real("metrics", &[METRICS_SLOTS, MetricsRow::LEN], metrics_with(slot, row));
    let values = LossScale { factor: scale, inverse: 1.0 / scale, finite_steps: finite_before };
    let all = vec![(0..LossScale::LEN, EXACT)];
    let loss_scale = case.in_out("loss_scale", &[LossScale::LEN], values.elements().to_vec(), all);
    case.with(Op::UpdateLossScale(UpdateLossScale { loss_scale, step_params, metrics }))
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
    combine_apart(random, gradients, keep, [count, bound], replaced, [0, 0])
}

/// The same whose flags, and blocks, stand behind so many others and before as many.
pub fn combine_apart(
    random: &mut Random,
    gradients: Vec<f64>,
    keep: bool,
    [count, bound]: [f64; 2],
    replaced: &[(usize, f64)],
    [first_flag, first_block]: [usize; 2],
) -> Case {
    let (flat, count) = (gradients.len(), count as usize);
    let name = format!("combine {flat} in {count} slices in ±{bound:e}, {replaced:?}, keep {keep} at {first_flag}");
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
    let step_params = case.real("step_params", &[StepParams::LEN], step_params(f64::NAN, keep, false));
    let others = vec![FROZEN; first_flag];
    let parameter_flags = case.ids("parameter_flags", [others.clone(), bits, others].concat());
    (0..flat).filter(|at| !finite.contains(at)).for_each(|at| case.leave_free(gradients, at..at + 1));
    let blocks = flat.div_ceil(ReduceGradients::BLOCK);
    let apart = (0..blocks * NormPartial::LEN).map(|at| first_block * NormPartial::LEN + at).map(|at| at..at + 1);
    let partials = case.out("partials", &[blocks + 2 * first_block, NormPartial::LEN], apart, F32_POINTWISE);
    case.with(Op::ReduceGradients(ReduceGradients {
        slices,
        loss_scale: None,
        step_params,
        parameter_flags,
        clips_apart: false,
        first_flag,
        gradients,
        segment: None,
        partials,
        first_block,
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

/// A row of the metrics of which nothing is read.
const UNREAD: MetricsRow<f64> =
    MetricsRow { loss: f64::NAN, grad_norm: f64::NAN, clip_scale: f64::NAN, updates: f64::NAN };

/// All metrics, with this row among rows that nobody may read.
fn metrics_with(slot: usize, row: MetricsRow<f64>) -> Vec<f64> {
    let mut rows = vec![f64::NAN; METRICS_SLOTS * MetricsRow::LEN];
    rows[slot * MetricsRow::LEN..][..MetricsRow::LEN].copy_from_slice(&row.elements());
    rows
}

/// The tensor `step_params` of a kernel that reads no rates.
fn step_params(slot: f64, accumulates: bool, more: bool) -> Vec<f64> {
    let [accumulate, more_windows] = [accumulates, more].map(|flag| f64::from(u8::from(flag)));
    let unread = StepParams::default().map(|_: f64| f64::NAN);
    StepParams { metrics_row: slot, accumulate, more_windows, ..unread }.elements().to_vec()
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
    let partials = partials.map(|p| case.real("partials", &[p.len() / NormPartial::LEN, NormPartial::LEN], p));
    let step_params = case.real("step_params", &[StepParams::LEN], step_params(slot as f64, loss.is_some(), more));
    let row = slot * MetricsRow::LEN..(slot + 1) * MetricsRow::LEN;
    // The last says whether the step updates.
    let compared = if finite { row.clone() } else { row.end - 1..row.end };
    let rows = metrics_with(slot, MetricsRow { loss: loss.unwrap_or(f64::NAN), ..UNREAD });
    let compared = compared.map(|at| (at..at + 1, F32_POINTWISE)).collect();
    let metrics = case.in_out("metrics", &[METRICS_SLOTS, MetricsRow::LEN], rows, compared);
    case.leave_free(metrics, row);
    case.with(Op::StepMetrics(StepMetrics { row_loss: Some(row_loss), partials, clip, step_params, metrics, table: 0 }))
}

/// The same into one table of three; or, with no rows, into the first the sum of what the others say.
pub fn measure_table(random: &mut Random, rows: Option<usize>, table: usize) -> Case {
    let mut case = Case::new(format!("measure {rows:?} rows into table {table}"));
    let row_loss = rows.map(|rows| case.real("row_loss", &[rows], random.reals(rows, 1.0)));
    let slot = 7;
    // What the slot says is added to where the step accumulates, but not in the sum of several.
    let step_params = case.real("step_params", &[StepParams::LEN], step_params(slot as f64, true, false));
    let rows_of = |table: usize| (table * METRICS_SLOTS + slot) * MetricsRow::LEN;
    // A loss that is read stays what it was, in a table that is not written.
    let read = |at: usize| if row_loss.is_some() { at == table } else { at > 0 };
    let losses: Vec<f64> = (0..3).map(|at| if read(at) { random.reals(1, 1.0)[0] } else { f64::NAN }).collect();
    let all = losses.iter().flat_map(|&loss| metrics_with(slot, MetricsRow { loss, ..UNREAD })).collect();
    let written = rows_of(table)..rows_of(table) + MetricsRow::LEN;
    let kept = (0..3).filter(|&at| at != table && read(at)).map(rows_of);
    let compared = written.chain(kept).map(|at| (at..at + 1, F32_POINTWISE)).collect();
    let metrics = case.in_out("metrics", &[3 * METRICS_SLOTS, MetricsRow::LEN], all, compared);
    let (partials, clip) = (None, Clip::None);
    case.with(Op::StepMetrics(StepMetrics { row_loss, partials, clip, step_params, metrics, table }))
}

/// Partials of `blocks` blocks with magnitudes up to `largest`.
pub fn partials(random: &mut Random, blocks: usize, largest: f64) -> Vec<f64> {
    let (magnitudes, sums) = (random.reals(blocks, largest), random.reals(blocks, 900.0));
    let partial = |(m, s): (&f64, &f64)| NormPartial { largest: m.abs(), squares: s.abs() + 1.0, is_finite: 1.0 };
    magnitudes.iter().zip(&sums).flat_map(|pair| partial(pair).elements()).collect()
}

/// A step of an optimiser over `flat` elements, some of them frozen and some that do not decay; `finite` is the flag of
/// the metrics.
pub fn update(random: &mut Random, optimizer: Optimizer, clip: Clip, flat: usize, finite: bool) -> Case {
    update_part(random, optimizer, clip, (flat, flat), finite, None)
}

/// The same over rows of a table of `vocabulary` rows of `width`, which has others' elements around it; as many rows of
/// the gradient as the ids say nothing of are nobody's.
pub fn update_rows(
    random: &mut Random,
    optimizer: Optimizer,
    clip: Clip,
    [vocabulary, width]: [usize; 2],
    ids: &[u32],
    finite: bool,
) -> Case {
    let offset = 11;
    let elements = (offset + vocabulary * width + 6, ids.len() * width);
    update_part(random, optimizer, clip, elements, finite, Some(([vocabulary, width, offset], ids)))
}

/// Of `flat` elements, as far as there is a gradient; or of the rows of a table.
pub fn update_part(
    random: &mut Random,
    optimizer: Optimizer,
    clip: Clip,
    (flat, elements): (usize, usize),
    finite: bool,
    rows: Option<([usize; 3], &[u32])>,
) -> Case {
    update_grouped(random, optimizer, clip, (flat, elements), [finite, false], rows, 0.003)
}

/// The same with elements of three groups or none; `second_correction` is 0 in the first steps of RAdam.
pub fn update_grouped(
    random: &mut Random,
    optimizer: Optimizer,
    clip: Clip,
    (flat, elements): (usize, usize),
    [finite, grouped]: [bool; 2],
    rows: Option<([usize; 3], &[u32])>,
    second_correction: f64,
) -> Case {
    let mut case = Case::new(format!(
        "{optimizer:?}, {clip:?}, {elements} of {flat}, finite {finite}, grouped {grouped}, {second_correction}, \
        {rows:?}"
    ));
    let mut changes = vec![rows.is_none(); elements];
    changes.resize(flat, false);
    let rows = rows.map(|([vocabulary, width, offset], ids)| {
        for id in ids.iter().filter(|id| (**id as usize) < vocabulary) {
            changes[offset + *id as usize * width..][..width].fill(true);
        }
        TableRows { ids: case.ids("rows", ids.to_vec()), vocabulary, offset, width }
    });
    let slot = 517;
    let step_params = StepParams {
        learning_rate: 0.05,
        first_correction: 0.271,
        second_correction,
        metrics_row: slot as f64,
        ..StepParams::default().map(|_: f64| f64::NAN)
    };
    let step_params = step_params.map(|v| f64::from(v as f32)).elements().to_vec();
    let step_params = case.real("step_params", &[StepParams::LEN], step_params);
    let mut bits = random.ids(flat, 4);
    let kept: Vec<_> = (0..flat).filter(|&at| bits[at] & FROZEN != 0 || !changes[at]).collect();
    if grouped {
        // Runs of elements of one group, of which the first is none, and the groups' rates and decays behind them.
        for (at, bits) in bits.iter_mut().enumerate() {
            *bits |= (at as u32 / 5 % 4) << GROUP_SHIFT;
        }
        // One of them is clipped by itself.
        (0..flat).filter(|at| at / 5 % 4 == 1).for_each(|at| bits[at] |= CLIPPED_APART);
        bits.extend([0.5f32, 0.0, 3.0, 0.25, 1.0, 0.125].map(f32::to_bits));
    }
    let parameter_flags = case.ids("parameter_flags", bits);
    let row = MetricsRow { clip_scale: 0.375, updates: if finite { 1.0 } else { 0.0 }, ..UNREAD };
    let metrics = case.real("metrics", &[METRICS_SLOTS, MetricsRow::LEN], metrics_with(slot, row));
    // The first element has no gradient and never had: 0 / 0 but for an ε.
    let mut drawn = |len: usize| {
        let mut values = random.reals(len, 1.0);
        values[0] = 0.0;
        values
    };
    let gradients = case.real("gradients", &[elements], drawn(elements));
    let tolerance = if finite { F32_POINTWISE } else { EXACT };
    let mut changed = |name: &str, len: usize, values: Vec<f64>| -> TensorId {
        let kept = (0..len / flat).flat_map(|part| kept.iter().map(move |at| part * flat + at));
        case.in_out(name, &[len], values, kept.map(|at| (at..at + 1, EXACT)).chain([(0..len, tolerance)]).collect())
    };
    let away = |values: Vec<f64>| values.into_iter().map(|v| f64::from((v + 5f64.copysign(v)) as f32)).collect();
    let parameters =
        changed("parameters", flat, drawn(flat).into_iter().map(|v| f64::from((v - 0.5) as f32)).collect());
    // A mean of squares is not negative; the first moment of Adam and the velocity may be.
    let squares = |values: Vec<f64>| values.into_iter().map(|v| f64::from((v * v) as f32)).collect();
    let moments = match optimizer {
        Optimizer::Sgd { .. } | Optimizer::Nesterov { .. } => vec![changed("velocity", flat, drawn(flat))],
        Optimizer::RmsProp { .. } | Optimizer::Adagrad { .. } => vec![changed("square", flat, squares(drawn(flat)))],
        // Of the direction's sign a rounding decides where it is near 0: none of these is.
        Optimizer::Lion { .. } => vec![changed("first", flat, away(drawn(flat)))],
        Optimizer::AmsGrad { .. } => {
            vec![changed("first", flat, drawn(flat)), changed("second", 2 * flat, squares(drawn(2 * flat)))]
        }
        Optimizer::Adam { .. } | Optimizer::RAdam { .. } => {
            vec![changed("first", flat, drawn(flat)), changed("second", flat, squares(drawn(flat)))]
        }
        _ => unreachable!("an optimiser that the tests do not know"),
    };
    case.with(Op::Update(Update {
        optimizer,
        clip,
        step_params,
        metrics,
        gradients,
        rows,
        parameter_flags,
        parameters,
        moments,
    }))
}

/// A mean drawn to `elements` parameters by this weight.
pub fn average(random: &mut Random, elements: usize, weight: f64) -> Case {
    let mut case = Case::new(format!("a mean of {elements} drawn by {weight}"));
    let step_params = StepParams { average_weight: weight, ..StepParams::default().map(|_: f64| f64::NAN) };
    let step_params = case.real("step_params", &[StepParams::LEN], step_params.elements().to_vec());
    let parameters = case.real("parameters", &[elements], random.reals(elements, 1.0));
    // The first mean is the parameters, whatever was there.
    let before = if weight == 1.0 { vec![f64::NAN; elements] } else { random.reals(elements, 1.0) };
    let tolerance = if weight == 0.0 || weight == 1.0 { EXACT } else { F32_POINTWISE };
    let average = case.in_out("average", &[elements], before, vec![(0..elements, tolerance)]);
    case.with(Op::AverageParameters(AverageParameters { step_params, parameters, average }))
}

/// Slices of a gradient some of whose elements are clipped apart: they have no part in the norm, but in the flag.
pub fn combine_with_apart(random: &mut Random, flat: usize, infinite: Option<usize>) -> Case {
    let replaced: Vec<_> = infinite.map(|at| (at, f64::INFINITY)).into_iter().collect();
    let mut case = combine(random, flat, 2, 1.0, &replaced);
    case.change_ids("parameter_flags", |at, bits| if at % 3 == 0 { bits | CLIPPED_APART } else { bits });
    case.changed(|op| {
        let Op::ReduceGradients(op) = op else { panic!("{op:?}") };
        op.clips_apart = true;
    })
}

/// The flags of `flat` elements in runs of groups 0 to 3, behind as many others of group 2.
fn groups(case: &mut Case, flat: usize) -> TensorId {
    let own = (0..flat as u32).map(|at| (at / 5 % 4) << GROUP_SHIFT);
    case.ids("parameter_flags", std::iter::repeat_n(2 << GROUP_SHIFT, 7).chain(own).collect())
}

/// The norm of group 2 of `flat` elements, one of which may be infinite.
pub fn group_norm(random: &mut Random, flat: usize, infinite: Option<usize>) -> Case {
    let mut case = Case::new(format!("the norm of a group of {flat}, infinite {infinite:?}"));
    let mut values = random.reals(flat, 1.0);
    infinite.into_iter().for_each(|at| values[at] = f64::INFINITY);
    let gradients = case.real("gradients", &[flat], values);
    let parameter_flags = groups(&mut case, flat);
    let blocks = flat.div_ceil(ReduceGradients::BLOCK);
    let apart = (0..blocks * NormPartial::LEN).map(|at| 4 * NormPartial::LEN + at).map(|at| at..at + 1);
    let partials = case.out("partials", &[blocks + 5, NormPartial::LEN], apart, F32_POINTWISE);
    let (group, first_flag, first_block) = (2, 7, 4);
    case.with(Op::GroupNorm(GroupNorm { group, gradients, parameter_flags, first_flag, partials, first_block }))
}

/// Group 2 of `flat` elements, clipped by itself.
pub fn scale_group(random: &mut Random, flat: usize, clip: Clip, more: bool) -> Case {
    let mut case = Case::new(format!("a group of {flat} clipped, {clip:?}, more {more}"));
    let slot = 7;
    let step_params = case.real("step_params", &[StepParams::LEN], step_params(slot as f64, false, more));
    let parameter_flags = groups(&mut case, flat);
    let row = MetricsRow { clip_scale: 0.375, ..UNREAD };
    let metrics = (!matches!(clip, Clip::Value(_)))
        .then(|| case.real("metrics", &[METRICS_SLOTS, MetricsRow::LEN], metrics_with(slot, row)));
    let kept = (0..flat).filter(|at| more || at / 5 % 4 != 2).map(|at| (at..at + 1, EXACT));
    let ranges = kept.chain([(0..flat, F32_POINTWISE)]).collect();
    let gradients = case.in_out("gradients", &[flat], random.reals(flat, 1.0), ranges);
    let (group, first_flag) = (2, 7);
    let op = ScaleGroup { group, clip, gradients, parameter_flags, first_flag, step_params, metrics };
    case.with(Op::ScaleGroup(op))
}
