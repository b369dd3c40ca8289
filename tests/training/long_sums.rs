//! Sums over ten million terms: what a training of many rows adds up is right to six digits.
//!
//! The contract: every operation that sums over rows, sequences, steps or elements, on equal terms, whose sum is known;
//! terms that no power of two divides evenly, as each rounding of their sum then goes the same way.

use crate::common::executor::{Execute, gpu};
use recurrent::internals::cpu;
use recurrent::internals::plan::{
    DType, GatherGradient, GradientSegment, InitialStateGradient, Lifetime, LossGradient, METRICS_SLOTS, MetricsRow,
    NormPartial, Op, Phase, Plan, Pool, PoolKind, ProductTile, ReduceGradients, StepMetrics, StepParams, TensorId,
    View, WeightGradient,
};
use recurrent::recipe::{Clip, Loss};

const MANY: usize = 10_000_000;
/// Of a sum whose parts are operations of their own.
const PARTS: usize = 5000;
const ALLOWED: f64 = 1e-6;
const TERMS: [f32; 3] = [0.1, 0.7, -1.0 / 3.0];

/// A plan, and what its tensors hold: equal numbers, or ids.
struct Sums {
    plan: Plan,
    reals: Vec<(TensorId, f32)>,
    records: Vec<(TensorId, Vec<f64>)>,
    ids: Vec<(TensorId, Vec<u32>)>,
}

impl Sums {
    fn new() -> Self {
        Sums { plan: Plan::empty(), reals: Vec::new(), records: Vec::new(), ids: Vec::new() }
    }

    fn real(&mut self, shape: &[usize], value: f32) -> TensorId {
        let name = format!("tensor {}", self.plan.tensors().len());
        let id = self.plan.tensor(&name, shape, DType::F32, Lifetime::Scratch).unwrap();
        self.reals.push((id, value));
        id
    }

    fn record<const LEN: usize>(&mut self, members: [f32; LEN]) -> TensorId {
        let name = format!("tensor {}", self.plan.tensors().len());
        let id = self.plan.tensor(&name, &[LEN], DType::F32, Lifetime::Scratch).unwrap();
        self.records.push((id, members.map(f64::from).to_vec()));
        id
    }

    fn ids(&mut self, shape: &[usize], values: Vec<u32>) -> TensorId {
        let name = format!("tensor {}", self.plan.tensors().len());
        let id = self.plan.tensor(&name, shape, DType::U32, Lifetime::Input).unwrap();
        self.ids.push((id, values));
        id
    }

    fn push(&mut self, op: Op) {
        self.plan.push(Phase::Forward, op);
    }

    /// The first elements of a tensor after one run.
    #[track_caller]
    fn check<E: Execute>(self, mut executor: E, out: TensorId, expected: &[f64]) {
        let lengths: Vec<usize> = self.reals.iter().map(|(id, _)| self.plan.get(*id).len()).collect();
        let id = executor.prepare(self.plan);
        for ((tensor, value), len) in self.reals.iter().zip(lengths) {
            executor.write(id, *tensor, &vec![f64::from(*value); len]);
        }
        self.records.iter().for_each(|(tensor, values)| executor.write(id, *tensor, values));
        self.ids.iter().for_each(|(tensor, ids)| executor.write_ids(id, *tensor, ids));
        executor.run(id);
        for (at, (sum, expected)) in executor.read(id, out).into_iter().zip(expected).enumerate() {
            let error = (sum / expected - 1.0).abs();
            assert!(error <= ALLOWED, "sum {at} is {sum}, expected {expected}: off by {error:e}");
        }
    }
}

fn many(terms: f32) -> f64 {
    f64::from(terms) * MANY as f64
}

#[test]
fn of_a_weights_gradient_and_its_biass() {
    for term in TERMS {
        let mut sums = Sums::new();
        let (d, x, slices) = (sums.real(&[MANY, 2], term), sums.real(&[MANY, 1], 0.3), sums.real(&[1, 4], f32::NAN));
        let (d, x) = (View::new(d, 0, MANY, 2), View::new(x, 0, MANY, 1));
        let tile = ProductTile::Small;
        sums.push(Op::WeightGradient(WeightGradient { d, x, slices, weight: 0, bias: Some(2), tile }));
        let product = many(term) * f64::from(0.3f32);
        sums.check(cpu::Executor::<f32>::new(), slices, &[product, product, many(term), many(term)]);
    }
}

#[test]
fn of_a_gathered_gradient() {
    for term in TERMS {
        let mut sums = Sums::new();
        let (d, slices) = (sums.real(&[MANY, 1], term), sums.real(&[1, NormPartial::LEN], f32::NAN));
        // All of the first token but for the last row.
        let order = sums.ids(&[MANY], (0..MANY as u32).collect());
        let starts = sums.ids(&[1, 3], vec![0, MANY as u32 - 1, MANY as u32]);
        let (d, part, draw) = (View::new(d, 0, MANY, 1), 0, None);
        let (weight, bias, batch) = (0, Some(2), 1);
        sums.push(Op::GatherGradient(GatherGradient {
            d,
            order,
            starts,
            part,
            slices,
            weight,
            table: None,
            bias,
            draw,
            batch,
        }));
        let one = f64::from(term);
        sums.check(cpu::Executor::<f32>::new(), slices, &[many(term) - one, one, many(term)]);
    }
}

#[test]
fn of_a_learned_starts_gradient() {
    for term in TERMS {
        let mut sums = Sums::new();
        let (from, fresh) = (sums.real(&[1, MANY, 1], term), sums.real(&[1], 1.0));
        let slices = sums.real(&[1, 1], f32::NAN);
        sums.push(Op::InitialStateGradient(InitialStateGradient {
            from,
            slots: vec![0],
            resets: None,
            fresh,
            slices,
            weight: 0,
        }));
        sums.check(cpu::Executor::<f32>::new(), slices, &[many(term)]);
    }
}

#[test]
fn of_a_mean_over_steps() {
    for term in TERMS {
        let mut sums = Sums::new();
        let (history, out) = (sums.real(&[MANY + 1, 1, 1], term), sums.real(&[1], f32::NAN));
        let (lengths, excess) = (sums.ids(&[1], vec![MANY as u32]), sums.real(&[1, 1], f32::NAN));
        let (kind, directions, skipped) = (PoolKind::Mean, 1, 0);
        let (rows, out_view) = (View::new(history, 1, MANY, 1), View::new(out, 0, 1, 1));
        sums.push(Op::Pool(Pool { kind, directions, skipped, rows, lengths, out: out_view, excess }));
        sums.check(cpu::Executor::<f32>::new(), out, &[term.into()]);
    }
}

/// The mean over a sequence that is read in many chunks, one step each.
fn mean_over_chunks<E: Execute>(executor: E, term: f32) {
    let mut sums = Sums::new();
    let (history, out, excess) = (sums.real(&[2, 1, 1], term), sums.real(&[1], f32::NAN), sums.real(&[1, 1], f32::NAN));
    let lengths = sums.ids(&[1], vec![PARTS as u32]);
    for skipped in 0..PARTS {
        let (kind, directions, out) = (PoolKind::Mean, 1, View::new(out, 0, 1, 1));
        let rows = View::new(history, 1, 1, 1);
        sums.push(Op::Pool(Pool { kind, directions, skipped, rows, lengths, out, excess }));
    }
    sums.check(executor, out, &[term.into()]);
}

/// The gradient of a window that is cut into many segments.
fn gradient_of_segments<E: Execute>(executor: E, term: f32) {
    let mut sums = Sums::new();
    let (slices, gradients, excess) = (sums.real(&[1, 1], term), sums.real(&[1], f32::NAN), sums.real(&[1], f32::NAN));
    let (step_params, partials, parameter_flags) =
        (sums.real(&[StepParams::LEN], 0.0), sums.real(&[1, NormPartial::LEN], f32::NAN), sums.ids(&[1], vec![0]));
    for part in 0..PARTS {
        let segment = Some(GradientSegment { excess, adds: part > 0 });
        let loss_scale = None;
        sums.push(Op::ReduceGradients(ReduceGradients {
            slices,
            loss_scale,
            step_params,
            parameter_flags,
            clips_apart: false,
            first_flag: 0,
            gradients,
            segment,
            partials,
            first_block: 0,
        }));
    }
    sums.check(executor, gradients, &[f64::from(term) * PARTS as f64]);
}

#[test]
fn of_many_parts() {
    for term in TERMS {
        mean_over_chunks(cpu::Executor::<f32>::new(), term);
        gradient_of_segments(cpu::Executor::<f32>::new(), term);
    }
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn of_many_parts_on_a_gpu() {
    for term in TERMS {
        mean_over_chunks(gpu(), term);
        gradient_of_segments(gpu(), term);
    }
}

/// Of `rows` positions with as many outputs as make ten million, all equal.
fn loss(loss: Loss, rows: usize, term: f32, expected: f64) {
    let mut sums = Sums::new();
    let width = MANY / rows;
    let outputs = sums.real(&[rows, width], term);
    let targets = match loss {
        Loss::CrossEntropy => sums.ids(&[rows], vec![0; rows]),
        _ => sums.real(&[rows, width], 0.0),
    };
    let (mask, row_loss) = (sums.real(&[rows], 1.0), sums.real(&[rows], f32::NAN));
    let metrics = sums.real(&[METRICS_SLOTS, MetricsRow::LEN], 0.0);
    let step_params = sums.record(StepParams { divisor: rows as f32, ..StepParams::default() }.elements());
    let (outputs, gradient, loss_scale) = (View::new(outputs, 0, rows, width), true, None);
    sums.push(Op::LossGradient(LossGradient {
        loss: loss.kind(),
        outputs,
        targets,
        loss_weights: mask,
        settings: None,
        step_params,
        row_loss,
        gradient,
        loss_scale,
    }));
    sums.push(Op::StepMetrics(StepMetrics {
        row_loss: Some(row_loss),
        partials: None,
        clip: Clip::None,
        step_params,
        metrics,
        table: 0,
    }));
    sums.check(cpu::Executor::<f32>::new(), metrics, &[expected]);
}

#[test]
fn of_losses() {
    for term in TERMS {
        // ln O, whatever the outputs; of one position with many, and of many with two.
        for rows in [1, MANY / 2] {
            loss(Loss::CrossEntropy, rows, term, ((MANY / rows) as f64).ln());
        }
        for rows in [1, MANY] {
            loss(Loss::MeanSquared, rows, term, f64::from(term).powi(2));
        }
    }
}

#[test]
fn of_a_norm() {
    for term in TERMS {
        let mut sums = Sums::new();
        let (slices, gradients) = (sums.real(&[1, MANY], term), sums.real(&[MANY], f32::NAN));
        let partials = sums.real(&[MANY.div_ceil(ReduceGradients::BLOCK), NormPartial::LEN], f32::NAN);
        let (step_params, metrics, row_loss) = (
            sums.real(&[StepParams::LEN], 0.0),
            sums.real(&[METRICS_SLOTS, MetricsRow::LEN], 0.0),
            sums.real(&[1], 1.0),
        );
        let parameter_flags = sums.ids(&[MANY], vec![0; MANY]);
        let (loss_scale, segment) = (None, None);
        sums.push(Op::ReduceGradients(ReduceGradients {
            slices,
            loss_scale,
            step_params,
            parameter_flags,
            clips_apart: false,
            first_flag: 0,
            gradients,
            segment,
            partials,
            first_block: 0,
        }));
        let (partials, clip) = (Some(partials), Clip::None);
        sums.push(Op::StepMetrics(StepMetrics {
            row_loss: Some(row_loss),
            partials,
            clip,
            step_params,
            metrics,
            table: 0,
        }));
        let norm = f64::from(term).abs() * (MANY as f64).sqrt();
        sums.check(cpu::Executor::<f32>::new(), metrics, &[1.0, norm]);
    }
}
