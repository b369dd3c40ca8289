//! Whatever a caller may say: drawn batches, recipes and gradients, most of them wrong somewhere.
//!
//! The contract: each is taken or refused, and nothing panics; what is refused changes nothing of the training. What is
//! found is drawn again by its seed, which the failure names. `RECURRENT_FUZZ_CASES` draws more.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use rand::RngExt;
use rand::rngs::ChaCha12Rng;
use recurrent::metrics::{Auroc, ConfusionMatrix, Coverage, ErrorRate, MultiLabelF1, Perplexity, PinballLoss};
use recurrent::recipe::{Average, CrossEntropy, Divisor, LearningRateSchedule};
use recurrent::{
    Batch, BatchShape, Clip, Config, Device, Fit, Group, HeadTargets, InputKind, Inputs, Loss, Model, Optimizer,
    OutputGradients, Plateau, Pool, Recipe, Recurrent, Sequences, Start, Targets, Trainer, ctc,
};

use crate::common::losses;
use crate::common::whole::{bytes, rng};

/// How many cases are drawn of each.
fn cases() -> u64 {
    let asked = std::env::var("RECURRENT_FUZZ_CASES").ok();
    asked.map_or(2000, |cases| cases.parse().expect("RECURRENT_FUZZ_CASES is a number"))
}

/// Draws every case, and says which one panicked.
fn each(what: &str, case: impl Fn(&mut ChaCha12Rng)) {
    for seed in 0..cases() {
        let outcome = catch_unwind(AssertUnwindSafe(|| case(&mut rng(seed))));
        assert!(outcome.is_ok(), "{what} of seed {seed} panicked");
    }
}

/// Mostly what is asked for, else something beside it.
fn about(rng: &mut ChaCha12Rng, right: usize) -> usize {
    match rng.random_range(0..50) {
        0 => 0,
        1 => right + 1,
        2 => right.saturating_sub(1),
        3 => 2 * right,
        _ => right,
    }
}

fn number(rng: &mut ChaCha12Rng) -> f32 {
    let odd = [f32::NAN, f32::INFINITY, -f32::INFINITY, f32::MAX, -f32::MAX, f32::MIN_POSITIVE, -0.0, 1e30, 0.0, -1.0];
    match rng.random_range(0..900) {
        at @ 0..10 => odd[at],
        _ => rng.random_range(0.0..1.0),
    }
}

fn setting(rng: &mut ChaCha12Rng) -> f64 {
    match rng.random_range(0..8) {
        0 if rng.random_range(0..4) == 0 => f64::from(number(rng)),
        0 if rng.random_range(0..4) == 0 => rng.random_range(-2.0..0.0),
        2 => 1.0,
        _ => rng.random_range(0.0..1.0),
    }
}

fn numbers(rng: &mut ChaCha12Rng, right: usize) -> Vec<f32> {
    (0..about(rng, right)).map(|_| number(rng)).collect()
}

fn ids(rng: &mut ChaCha12Rng, right: usize, below: u32) -> Vec<u32> {
    let id = |rng: &mut ChaCha12Rng| if rng.random_range(0..300) == 0 { u32::MAX } else { rng.random_range(0..below) };
    (0..about(rng, right)).map(|_| id(rng)).collect()
}

fn targets(rng: &mut ChaCha12Rng, rows: usize, [outputs, numbers]: [usize; 2], size: usize, loss: &Loss) -> Targets {
    let kind = if rng.random_range(0..10) == 0 { rng.random_range(0..4) } else { kind_of(loss) };
    match kind {
        0 => Targets::Classes(ids(rng, rows, outputs as u32)),
        1 => Targets::Values(self::numbers(rng, rows * numbers)),
        2 => {
            let count = about(rng, size);
            let of_one = |rng: &mut ChaCha12Rng| {
                let len = rng.random_range(0..4);
                ids(rng, len, outputs as u32)
            };
            Targets::Sequences((0..count).map(|_| of_one(rng)).collect())
        }
        _ => Targets::None,
    }
}

fn kind_of(loss: &Loss) -> usize {
    match loss.targets() {
        _ if *loss == Loss::External => 3,
        recurrent::recipe::TargetKind::Classes => 0,
        recurrent::recipe::TargetKind::Sequences => 2,
        _ => 1,
    }
}

fn any_loss(rng: &mut ChaCha12Rng) -> (Loss, usize) {
    let mut all = losses::all(3);
    all.push((Loss::ctc(), 4));
    all.push((Loss::Ctc { blank: rng.random_range(0..6), zero_infeasible: true }, 4));
    all.push((CrossEntropy::new().with_ignored(1).into(), 3));
    all.push((CrossEntropy::new().with_smoothing(setting(rng)).with_focus(setting(rng)).into(), 3));
    all.push((CrossEntropy::new().with_class_weights([setting(rng), setting(rng), 1.0]).into(), 3));
    all.push((Loss::huber(setting(rng)), 3));
    all.push((Loss::quantiles([setting(rng), 0.9]), 6));
    all.push((Loss::Gaussian { floor: setting(rng) }, 6));
    all.push((Loss::GaussianMixture { components: rng.random_range(0..4), floor: 0.1 }, 7));
    all.push((Loss::External, 3));
    let at = rng.random_range(0..all.len());
    all.swap_remove(at)
}

fn any_recipe(rng: &mut ChaCha12Rng, loss: Loss, has_head: bool) -> Recipe {
    let optimizers = [
        Optimizer::sgd(setting(rng)),
        Optimizer::nesterov(0.5),
        Optimizer::adagrad(),
        Optimizer::adam_w(setting(rng)),
        Optimizer::ams_grad(0.0),
        Optimizer::r_adam(0.01),
        Optimizer::Lion { beta1: setting(rng), beta2: 0.9, weight_decay: 0.0 },
        Optimizer::rms_prop(),
    ];
    let optimizer = optimizers[rng.random_range(0..optimizers.len())];
    let mut recipe = Recipe::new(loss).with_optimizer(optimizer, 0.1 * setting(rng));
    if rng.random_range(0..3) == 0 {
        let schedules = [
            LearningRateSchedule::one_cycle(rng.random_range(0..9)),
            LearningRateSchedule::Linear { total: rng.random_range(0..5), start: setting(rng), end: 0.0 },
            LearningRateSchedule::Polynomial { total: 5, power: setting(rng) },
            LearningRateSchedule::CosineRestarts { first: rng.random_range(0..3), growth: 2, floor: setting(rng) },
            LearningRateSchedule::Exponential { factor: 3.0 * setting(rng) },
        ];
        recipe = recipe.with_schedule(schedules[rng.random_range(0..schedules.len())]);
    }
    if rng.random_range(0..3) == 0 {
        let name = ["gru.*", "*", "weight", "gru.bias*", "head.0.*", ""][rng.random_range(0..6)];
        let clips = [Clip::Norm(setting(rng)), Clip::Value(0.5), Clip::Normalize(1.0), Clip::None];
        let clip = clips[rng.random_range(0..clips.len())];
        let group = Group::new(name).with_rate(setting(rng)).with_clip(clip);
        recipe = recipe.with_group(if rng.random_range(0..4) == 0 { group.with_frozen() } else { group });
    }
    if rng.random_range(0..4) == 0 {
        let averages =
            [Average::ema(setting(rng)), Average::stochastic(rng.random_range(0..3), rng.random_range(0..3))];
        recipe = recipe.with_averaged_weights(averages[rng.random_range(0..2)]);
    }
    let divisors = [Divisor::Positions, Divisor::Weights, Divisor::Sequences, Divisor::Batch];
    recipe = recipe.with_divisor(divisors[rng.random_range(0..4)]);
    if has_head {
        recipe.with_head("value", [Loss::MeanSquared, Loss::External][rng.random_range(0..2)].clone(), setting(rng))
    } else {
        recipe
    }
}

fn any_batch(rng: &mut ChaCha12Rng, config: &Config, loss: &Loss) -> Batch {
    let shape = BatchShape { steps: rng.random_range(1..5), batch_size: rng.random_range(1..4) };
    let (steps, size) = (shape.steps, shape.batch_size);
    let rows = if config.pooling().is_some() { size } else { steps * size };
    let inputs = match config.input {
        InputKind::Dense(width) => Inputs::Dense(numbers(rng, steps * size * width)),
        _ => Inputs::Tokens(ids(rng, steps * size, 5)),
    };
    let of_numbers = loss.numbers(config.outputs).unwrap_or(1);
    let targets = targets(rng, rows, [config.outputs, of_numbers], size, loss);
    let mut batch = Batch::new(Sequences::new(shape, inputs), targets);
    if rng.random_range(0..3) == 0 {
        batch = batch.with_lengths((0..about(rng, size)).map(|_| about(rng, steps)).collect());
    }
    let resets = rng.random_range(0..3);
    if resets > 0 && rng.random_range(0..3) == 0 {
        let reset = |rng: &mut ChaCha12Rng| (rng.random_range(0..steps + 1), rng.random_range(0..size + 1));
        batch = batch.with_resets((0..resets).map(|_| reset(rng)).collect::<Vec<_>>());
    }
    let counted = if rng.random_range(0..2) == 0 { rows } else { rows * of_numbers };
    if rng.random_range(0..3) == 0 {
        batch = batch.with_loss_mask((0..about(rng, counted)).map(|_| rng.random_range(0..3) > 0).collect());
    }
    if rng.random_range(0..3) == 0 {
        batch = batch.with_loss_weights(numbers(rng, counted));
    }
    if rng.random_range(0..6) == 0 {
        batch = batch.with_start(Start::Carry);
    }
    if config.heads.is_empty() == (rng.random_range(0..12) == 0) {
        let values =
            if rng.random_range(0..2) == 0 { Targets::None } else { Targets::Values(numbers(rng, steps * size)) };
        batch = batch.with_head(HeadTargets::new("value", values));
    }
    batch
}

fn any_config(rng: &mut ChaCha12Rng, outputs: usize) -> Config {
    let dense = rng.random_range(0..2) == 0;
    let input = if dense { InputKind::Dense(2) } else { InputKind::Tokens(5) };
    let config = Config::new(input).layer(Recurrent::gru(3));
    let config = if rng.random_range(0..4) == 0 { config.head("value", 1) } else { config };
    let config = if rng.random_range(0..6) == 0 { config.pool(Pool::Last) } else { config };
    config.outputs(outputs)
}

#[test]
fn any_batch_is_taken_or_refused() {
    let taken = std::cell::Cell::new(0);
    each("a batch", |rng| {
        let (loss, outputs) = any_loss(rng);
        let outputs = about(rng, outputs).max(1);
        let config = any_config(rng, outputs);
        let Ok(model) = Model::new(config.clone()) else { return };
        let recipe = any_recipe(rng, loss.clone(), !config.heads.is_empty());
        let Ok(mut trainer) = Trainer::new(&Device::cpu(), &model, recipe.clone()) else { return };
        for _ in 0..3 {
            let batch = any_batch(rng, &config, &loss);
            let before = trainer.checkpoint().and_then(|checkpoint| checkpoint.to_bytes());
            let stepped = if loss == Loss::External || rng.random_range(0..9) == 0 {
                trainer.step_with(&batch, |outputs| {
                    let gradient = (0..about(rng, outputs.outputs.len())).map(|_| number(rng)).collect();
                    let gradients = OutputGradients::new(f64::from(number(rng)), gradient);
                    match outputs.heads.first() {
                        Some((name, y)) if rng.random_range(0..4) > 0 => {
                            gradients.with_head(name, 0.5, vec![0.1; about(rng, y.len())])
                        }
                        _ => gradients,
                    }
                })
            } else {
                trainer.step(&batch)
            };
            match (stepped, before) {
                (Ok(()), _) => taken.set(taken.get() + 1),
                // A forward pass that was read moves the state on.
                (Err(_), Ok(before)) if !recipe.loss.eq(&Loss::External) && config.heads.is_empty() => {
                    assert!(bytes(&mut trainer) == before, "a refused step changed something: {batch:?}");
                }
                (Err(_), _) => {}
            }
            drop(trainer.evaluate([&batch]));
            drop(trainer.metrics());
            drop(trainer.gradients());
            drop(trainer.set_learning_rate(setting(rng)));
            drop(trainer.evaluate_averaged([&batch]));
        }
    });
    assert!(taken.get() > cases() / 8, "only {} of {} cases had a step that was taken", taken.get(), cases());
}

#[test]
fn any_outputs_are_decoded_or_refused() {
    each("outputs", |rng| {
        let (outputs, steps) = (rng.random_range(0..6), rng.random_range(0..7));
        let logits = numbers(rng, outputs * steps);
        let blank = rng.random_range(0..outputs as u32 + 2);
        drop(ctc::greedy(&logits, outputs, blank));
        if let Ok(beams) = ctc::prefix_beam(&logits, outputs, blank, rng.random_range(0..5)) {
            assert!(beams.iter().all(|(labels, ln_p)| labels.len() <= steps.max(logits.len()) && *ln_p <= 1e-9));
        }
        let count = rng.random_range(0..5);
        drop(ctc::align(&logits, outputs, blank, &ids(rng, count, outputs as u32 + 1)));
        let shape = BatchShape { steps: about(rng, steps), batch_size: rng.random_range(0..3) };
        drop(ctc::rows_of(&logits, shape, outputs, (rng.random_range(0..3), about(rng, steps))));
    });
}

#[test]
fn any_numbers_are_measured_or_refused() {
    each("numbers", |rng| {
        let rows = rng.random_range(0..6);
        let mask: Option<Vec<bool>> =
            (rng.random_range(0..2) == 0).then(|| (0..about(rng, rows)).map(|at| at % 2 == 0).collect());
        let mask = mask.as_deref();
        let (classes, y) = (rng.random_range(0..4), numbers(rng, rows * 3));
        if let Ok(mut matrix) = ConfusionMatrix::new(classes) {
            drop(matrix.add(&ids(rng, rows, 3), &ids(rng, rows, 3), mask));
            drop(matrix.add_outputs(&ids(rng, rows, 3), &y, mask));
            let _ = (matrix.accuracy(), matrix.f1_macro());
        }
        let flags: Vec<bool> = (0..about(rng, rows)).map(|at| at % 3 == 0).collect();
        let mut auroc = Auroc::new();
        drop(auroc.add(&flags, &y, mask));
        let _ = auroc.value();
        if let Ok(mut f1) = MultiLabelF1::new(classes, setting(rng)) {
            drop(f1.add(&flags, &y, mask));
            let _ = f1.f1_macro();
        }
        let mut perplexity = Perplexity::new();
        drop(perplexity.add(setting(rng), rows));
        let _ = perplexity.value();
        if let Ok(mut pinball) = PinballLoss::new(setting(rng)) {
            drop(pinball.add(&y, &numbers(rng, y.len()), mask));
            let _ = pinball.value();
        }
        let mut coverage = Coverage::new();
        drop(coverage.add(&y, &numbers(rng, y.len()), &numbers(rng, y.len()), mask));
        let _ = coverage.value();
        let mut rate = ErrorRate::new();
        drop(rate.add(&ids(rng, rows, 3), &ids(rng, 4, 3)));
        let _ = rate.value();
        let mut plateau = Plateau::new(setting(rng), rng.random_range(0..2)).with_threshold(setting(rng));
        for _ in 0..3 {
            drop(plateau.observe(f64::from(number(rng)), setting(rng)));
        }
    });
}

#[test]
fn any_training_of_epochs_ends_or_is_refused() {
    each("a training", |rng| {
        let (loss, outputs) = any_loss(rng);
        let config = any_config(rng, outputs);
        let Ok(model) = Model::new(config.clone()) else { return };
        let recipe = any_recipe(rng, loss.clone(), !config.heads.is_empty());
        let batches: Vec<Batch> = (0..rng.random_range(0..3)).map(|_| any_batch(rng, &config, &loss)).collect();
        let device = Device::cpu();
        let mut steps = 0;
        let fit = Fit::new(&device, &model, recipe)
            .with_epochs(rng.random_range(0..3))
            .with_resume(rng.random_range(0..20) == 0);
        let fit = if rng.random_range(0..2) == 0 { fit.with_patience(rng.random_range(0..2)) } else { fit };
        let fit = fit.on_step(|_, _| {
            steps += 1;
            Ok(if steps == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        });
        let held = batches.iter().take(1);
        drop(fit.run(|_| Ok(batches.iter()), held));
    });
}
