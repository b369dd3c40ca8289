//! Losses by themselves: the twin in f64 against central differences and against PyTorch's numbers, and all executors
//! in f32 against these.

use serde::Deserialize;

use recurrent::Loss;
use recurrent::internals::cpu;
use recurrent::internals::plan::{DType, Lifetime, LossGradient, Op, Phase, Plan, StepParams, TensorId, View};
use recurrent::recipe::TargetKind;

use crate::common::compare::{DIFFERENCES, F64, Tolerance, assert_close};
use crate::common::executor::{Execute, gpu};
use crate::common::heads::Targets;
use crate::common::losses;
use crate::common::random::Random;

/// A loss of some positions.
struct Case {
    loss: Loss,
    rows: usize,
    y: Vec<f64>,
    targets: Targets,
    weights: Vec<f64>,
    divisor: f64,
}

impl Case {
    /// The loss and its gradient.
    fn run<E: Execute>(&self, mut executor: E, gradient: bool) -> (f64, Vec<f64>) {
        let Case { loss, rows, .. } = self;
        let columns = self.y.len() / rows;
        let mut plan = Plan::empty();
        let real =
            |plan: &mut Plan, name: &str, len: usize| plan.tensor(name, &[len], DType::F32, Lifetime::Scratch).unwrap();
        let outputs = real(&mut plan, "outputs", self.y.len());
        let targets = match &self.targets {
            Targets::Classes(ids) => plan.tensor("targets", &[ids.len()], DType::U32, Lifetime::Input).unwrap(),
            Targets::Values(values) => real(&mut plan, "targets", values.len()),
        };
        let loss_weights = real(&mut plan, "loss_weights", self.weights.len());
        let settings: Vec<f64> = (0..loss.setting_count(columns)).map(|at| loss.setting(at)).collect();
        let setting_tensor = (!settings.is_empty()).then(|| real(&mut plan, "settings", settings.len()));
        let step_params = real(&mut plan, "step_params", StepParams::LEN);
        let row_loss = real(&mut plan, "row_loss", *rows);
        let op = LossGradient {
            loss: loss.kind(),
            outputs: View::new(outputs, 0, *rows, columns),
            targets,
            loss_weights,
            settings: setting_tensor,
            step_params,
            row_loss,
            gradient,
            loss_scale: None,
        };
        plan.push(Phase::Loss, Op::LossGradient(op));
        let id = executor.prepare(plan);
        let mut write = |tensor: TensorId, values: &[f64]| executor.write(id, tensor, values);
        write(outputs, &self.y);
        write(loss_weights, &self.weights);
        if let Some(tensor) = setting_tensor {
            write(tensor, &settings);
        }
        write(step_params, &StepParams { divisor: self.divisor, ..StepParams::default() }.elements());
        match &self.targets {
            Targets::Classes(ids) => executor.write_ids(id, targets, ids),
            Targets::Values(values) => executor.write(id, targets, values),
        }
        executor.run(id);
        (executor.read(id, row_loss).iter().sum(), executor.read(id, outputs))
    }
}

#[test]
fn gradients_of_every_loss_are_its_differences() {
    const STEP: f64 = 1e-4;
    let mut random = Random::new(171);
    for (loss, columns) in losses::all(3) {
        for each in [false, true] {
            if each && !loss.kind().is_elementwise() {
                continue;
            }
            let rows = 4;
            let y = random.reals(rows * columns, 2.0);
            let targets = losses::targets(&mut random, &loss, [rows, columns], 2.0);
            let count = if each { rows * loss.numbers(columns).unwrap() } else { rows };
            let mut weights: Vec<f64> = random.reals(count, 0.5).iter().map(|w| w + 0.75).collect();
            weights[1] = 0.0;
            let mut case = Case { loss: loss.clone(), rows, y, targets, weights, divisor: 2.5 };
            let (_, gradient) = case.run(cpu::Executor::<f64>::new(), true);
            let want: Vec<f64> = (0..case.y.len())
                .map(|at| {
                    let centre = case.y[at];
                    let mut moved = |step: f64| {
                        case.y[at] = centre + step;
                        let (loss, _) = case.run(cpu::Executor::<f64>::new(), false);
                        case.y[at] = centre;
                        loss
                    };
                    let far = moved(2.0 * STEP) - moved(-2.0 * STEP);
                    (8.0 * (moved(STEP) - moved(-STEP)) - far) / (12.0 * STEP)
                })
                .collect();
            assert_close(&format!("{loss:?}, weighed {each}"), &gradient, &want, DIFFERENCES);
        }
    }
}

/// What `scripts/loss_fixtures.py` writes.
#[derive(Deserialize)]
struct Fixture {
    name: String,
    loss: Loss,
    shape: [usize; 2],
    y: Vec<f64>,
    targets: Vec<f64>,
    weights: Vec<f64>,
    divisor: f64,
    value: f64,
    gradient: Vec<f64>,
}

/// Of numbers in f32 that may be differences of some that are ten times as large.
const F32_LOSS: Tolerance = Tolerance { relative: 1e-5, floor: 1.0, least: 1.0 };

fn check_fixtures<E: Execute>(executor: impl Fn() -> E, tolerance: impl Fn(f64) -> Tolerance) {
    let fixtures: Vec<Fixture> = serde_json::from_str(include_str!("../fixtures/losses.json")).unwrap();
    assert!(fixtures.len() > 40, "{} cases", fixtures.len());
    for Fixture { name, loss, shape: [rows, columns], y, targets, weights, divisor, value, gradient } in fixtures {
        loss.numbers(columns).unwrap();
        let targets = match loss.targets() {
            TargetKind::Classes => Targets::Classes(targets.iter().map(|target| *target as u32).collect()),
            _ => Targets::Values(targets),
        };
        let case = Case { loss, rows, y, targets, weights, divisor };
        let (loss, got) = case.run(executor(), true);
        assert_close(&format!("{name}: loss"), &[loss], &[value], tolerance(value));
        assert_close(&format!("{name}: gradient"), &got, &gradient, tolerance(1.0));
    }
}

#[test]
fn every_loss_is_pytorch_s() {
    check_fixtures(cpu::Executor::<f64>::new, |_| Tolerance { least: 0.1, ..F64 });
}

/// The terms of a loss are of its size.
fn in_f32(value: f64) -> Tolerance {
    Tolerance { least: value.abs().max(1.0), ..F32_LOSS }
}

#[test]
fn every_loss_is_pytorch_s_in_f32() {
    check_fixtures(cpu::Executor::<f32>::new, in_f32);
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn every_loss_is_pytorch_s_on_the_adapter() {
    check_fixtures(gpu, in_f32);
}
