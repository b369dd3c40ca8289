//! Whole runs of training: what a run of steps must do, whatever computes it; the modules hold what a training can be
//! told, what it says, and what it learns.
//!
//! Where two executors are compared a named tolerance holds; where one is compared with itself, every bit does.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, and so do its helpers"
)]

#[path = "../common/mod.rs"]
mod common;

mod anything;
mod bad_input;
mod bad_lists;
mod checkpointing;
mod columns;
mod ctc;
mod divergence;
mod external;
mod fit;
mod gradients;
#[cfg(feature = "gpu")]
mod half;
mod heads;
mod initialisation;
mod lazy;
mod learned_initial_state;
mod learning;
mod long_sums;
mod losses;
mod options;
mod profile;
mod resets;
mod resume;
mod trace;

use common::whole::{self, assert_close, assert_same, bytes, part, rng};
use recurrent::data::Windows;
use recurrent::internals::plan::METRICS_SLOTS;
use recurrent::{
    Batch, BatchShape, Clip, Config, Device, Error, Init, InputKind, LearningRateSchedule, Loss, Metrics, Model,
    Optimizer, Recipe, Start, State, StreamingPredictor, Targets, Trainer,
};

/// Losses and norms of two executors over 50 steps, relative: each step rounds some hundred sums by 6e-8, and each
/// update carries the difference on. llvmpipe is within 3e-7; hardware has its own tanh and exp, good to a few 1e-6.
const FIFTY_STEPS: f64 = 3e-5;

/// The same sums in f32 by kernels for other numbers of rows, ten steps long; tanh holds the differences down.
const OTHER_ROWS: f32 = 2e-6;

/// A step of an optimiser, seen as the difference of weights: these are below 1, so their rounding is below 6e-8,
/// against steps of 1e-3 and more.
const DIFFERENCE: f32 = 2e-4;

/// A rate so small that no f32 weight is changed by it.
const FROZEN: f64 = 1e-30;

fn tokens() -> Config {
    Config::elman(InputKind::Tokens(7), 20, 7).with_init(Init::Orthogonal).with_seed(3)
}

fn dense() -> Config {
    Config::elman(InputKind::Dense(3), 20, 2).with_seed(4)
}

fn plain(loss: Loss, rate: f64) -> Recipe {
    Recipe::new(loss).with_clip(Clip::None).with_optimizer(Optimizer::sgd(0.0), rate)
}

fn trainer(device: &Device, config: &Config, recipe: Recipe) -> Trainer {
    Trainer::new(device, &Model::new(config.clone()).unwrap(), recipe).unwrap()
}

/// Windows over a text of random ids, T = 6, B = 3.
fn windows(seed: u64) -> Windows {
    Windows::new(whole::ids(&mut rng(seed), 200, 7), BatchShape { steps: 6, batch_size: 3 }).unwrap()
}

fn state(trainer: &mut Trainer) -> Vec<f32> {
    trainer.state().unwrap().expect("there was a window").values().to_vec()
}

fn flat(trainer: &mut Trainer) -> Vec<f32> {
    trainer.model().unwrap().values().to_vec()
}

#[track_caller]
fn assert_near(what: &str, got: f64, want: f64, relative: f64) {
    assert!((got - want).abs() <= relative * want.abs(), "{what} is {got}, expected {want} within {relative:e} of it");
}

fn agree_for_fifty_steps(config: &Config, recipe: Recipe, batches: impl Fn(usize) -> Batch) {
    let run = |device: &Device| -> Vec<Metrics> {
        let mut trainer = trainer(device, config, recipe.clone());
        for step in 0..50 {
            trainer.step(&batches(step)).unwrap();
        }
        trainer.metrics().unwrap()
    };
    let (want, got) = (run(&Device::cpu()), run(&whole::gpu()));
    assert_eq!((want.len(), got.len()), (50, 50));
    assert!(want[49].loss < 0.98 * want[0].loss, "the run must learn something: {} to {}", want[0].loss, want[49].loss);
    let mut worst = 0.0f64;
    for (want, got) in want.iter().zip(&got) {
        worst = worst
            .max((got.loss - want.loss).abs() / want.loss)
            .max((got.grad_norm - want.grad_norm).abs() / want.grad_norm);
        assert_near(&format!("the loss at step {}", want.step), got.loss, want.loss, FIFTY_STEPS);
        assert_near(&format!("the norm at step {}", want.step), got.grad_norm, want.grad_norm, FIFTY_STEPS);
    }
    println!("the two differ by {worst:.1e} at most");
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn both_executors_train_alike_on_tokens() {
    let recipe = Recipe::new(Loss::CrossEntropy).with_clip(Clip::Norm(0.5)).with_optimizer(Optimizer::adam(), 5e-3);
    let windows = windows(1);
    agree_for_fifty_steps(&tokens(), recipe, |step| windows.get(step % windows.len()).unwrap());
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn both_executors_train_alike_on_numbers() {
    let config = dense();
    let recipe = Recipe::new(Loss::MeanSquared).with_clip(Clip::None).with_optimizer(Optimizer::sgd(0.9), 0.02);
    let fixed: Vec<Batch> = (0..3).map(|seed| whole::batch(&mut rng(seed), &config, Loss::MeanSquared, 9, 5)).collect();
    agree_for_fifty_steps(&config, recipe, |step| fixed[step % 3].clone());
}

fn the_same_seed_gives_the_same_bits(device: &Device) {
    let run = |seed| {
        let recipe = Recipe::new(Loss::CrossEntropy);
        let (mut trainer, windows) = (trainer(device, &tokens().with_seed(seed), recipe), windows(2));
        (0..20).for_each(|step| trainer.step(&windows.get(step % windows.len()).unwrap()).unwrap());
        bytes(&mut trainer)
    };
    let first = run(5);
    assert!(first == run(5), "two runs from one seed differ");
    assert!(first != run(6), "two seeds give the same");
}

/// The step that one batch makes with gradient descent at a rate of 1, and its metrics.
fn one_step(device: &Device, clip: Clip) -> (Vec<f32>, Metrics) {
    let config = dense();
    let mut trainer = trainer(device, &config, plain(Loss::MeanSquared, 1.0).with_clip(clip));
    let before = flat(&mut trainer);
    trainer.step(&whole::batch(&mut rng(8), &config, Loss::MeanSquared, 5, 4)).unwrap();
    let after = flat(&mut trainer);
    (before.iter().zip(&after).map(|(before, after)| before - after).collect(), trainer.metrics().unwrap()[0].clone())
}

fn norm(step: &[f32]) -> f64 {
    step.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt()
}

fn clipping_does_what_the_metrics_say(device: &Device) {
    let tolerance = f64::from(DIFFERENCE);
    let (gradient, free) = one_step(device, Clip::None);
    assert_eq!(free.clip_scale, 1.0);
    assert_near("the norm", norm(&gradient), free.grad_norm, tolerance);
    let length = free.grad_norm;
    assert!(length > 0.1, "too short a gradient to tell: {length}");

    for (clip, bound) in [
        (Clip::Norm(length / 4.0), length / 4.0),
        (Clip::Norm(length * 4.0), length),
        (Clip::Normalize(length / 4.0), length / 4.0),
        (Clip::Normalize(length * 4.0), length * 4.0),
    ] {
        let (step, metrics) = one_step(device, clip);
        assert_near(&format!("{clip:?}: the norm before clipping"), metrics.grad_norm, length, 1e-6);
        assert_near(&format!("{clip:?}: the scale"), metrics.clip_scale, bound / length, 1e-5);
        assert_near(&format!("{clip:?}: the length of the step"), norm(&step), bound, tolerance);
        let scaled: Vec<f32> = gradient.iter().map(|g| g * metrics.clip_scale as f32).collect();
        assert_close(&format!("{clip:?}: the step"), &step, &scaled, DIFFERENCE);
    }
    let (_, unclipped) = one_step(device, Clip::Norm(length * 4.0));
    assert_eq!(unclipped.clip_scale, 1.0, "what is short enough is left alone");

    let bound = gradient.iter().fold(0.0, |max: f32, g| max.max(g.abs())) / 3.0;
    let (step, metrics) = one_step(device, Clip::Value(bound.into()));
    let clamped: Vec<f32> = gradient.iter().map(|g| g.clamp(-bound, bound)).collect();
    assert_close("by value: the step", &step, &clamped, DIFFERENCE);
    assert_near("by value: the scale of the largest element", metrics.clip_scale, 1.0 / 3.0, 1e-5);
    assert_near("by value: the norm before clipping", metrics.grad_norm, length, 1e-6);
    let (step, metrics) = one_step(device, Clip::Value(f64::from(bound) * 4.0));
    assert_close("by a value that none reaches: the step", &step, &gradient, DIFFERENCE);
    assert_eq!(metrics.clip_scale, 1.0);
}

/// A step on `bad` between good ones: it changes no weight and no moment, is named, and training goes on.
fn skips(device: &Device, model: &Model, good: &Batch, bad: &Batch, expected: &str) {
    let recipe = Recipe::new(Loss::MeanSquared);
    let mut trainer = Trainer::new(device, model, recipe).unwrap();
    trainer.step(good).unwrap();
    let before = trainer.checkpoint().unwrap();
    trainer.step(bad).unwrap();
    let after = trainer.checkpoint().unwrap();
    assert_same("the weights", after.model.values(), before.model.values());
    let [before, after] = [before, after].map(|checkpoint| checkpoint.training.unwrap());
    for (after, before) in after.moments.iter().zip(&before.moments) {
        assert_same("the moments", after, before);
    }
    trainer.step(good).unwrap();
    match trainer.metrics() {
        Err(Error::Diverged { step: 2, what, .. }) => assert_eq!(what, expected),
        other => panic!("step 2 diverged, but the metrics are {other:?}"),
    }
    let there = flat(&mut trainer);
    trainer.step(good).unwrap();
    assert_ne!(flat(&mut trainer), there, "training goes on");
    let metrics = trainer.metrics().unwrap();
    assert_eq!(metrics.iter().map(|m| m.step).collect::<Vec<_>>(), [4]);
    assert!(metrics[0].loss.is_finite());
}

fn a_loss_that_overflows_changes_nothing(device: &Device) {
    let config = dense();
    let good = whole::batch(&mut rng(9), &config, Loss::MeanSquared, 4, 2);
    let bad = good.clone().with_targets(Targets::Values(vec![3e38; 16]));
    skips(device, &Model::new(config).unwrap(), &good, &bad, "the loss");
}

fn a_gradient_that_overflows_changes_nothing(device: &Device) {
    let (model, [good, bad]) = whole::overflowing();
    skips(device, &model, &good, &bad, "the gradient");
}

fn steps_beyond_the_slots_lose_no_metrics(device: &Device) {
    let config = Config::elman(InputKind::Tokens(3), 4, 3);
    let windows = Windows::new(whole::ids(&mut rng(4), 90, 3), BatchShape { steps: 2, batch_size: 2 }).unwrap();
    let recipe = Recipe::new(Loss::CrossEntropy);
    let (mut late, mut early) = (trainer(device, &config, recipe.clone()), trainer(device, &config, recipe));
    let mut want = Vec::new();
    let mut got = Vec::new();
    let total = 2 * METRICS_SLOTS + 100;
    for step in 0..total {
        late.step(&windows.get(step % windows.len()).unwrap()).unwrap();
        early.step(&windows.get(step % windows.len()).unwrap()).unwrap();
        // Often enough that the ring wraps in the middle of what is read.
        if (step + 1) % 300 == 0 {
            want.extend(early.metrics().unwrap());
        }
    }
    want.extend(early.metrics().unwrap());
    got.extend(late.metrics().unwrap());
    let steps: Vec<u64> = got.iter().map(|m| m.step).collect();
    assert_eq!(steps, (1..=total as u64).collect::<Vec<_>>());
    assert_eq!(got, want);
    let distinct: std::collections::HashSet<u64> = got.iter().map(|m| m.loss.to_bits()).collect();
    assert!(distinct.len() > total * 9 / 10, "losses that are all alike would hide a wrong order");
    assert_eq!(late.metrics().unwrap(), []);
}

fn evaluation_disturbs_nothing(device: &Device) {
    let run = |evaluate: bool| {
        let (mut trainer, windows, held) =
            (trainer(device, &tokens(), Recipe::new(Loss::CrossEntropy)), windows(3), windows(4));
        for step in 0..12 {
            trainer.step(&windows.get(step % windows.len()).unwrap()).unwrap();
            if evaluate && step % 3 == 1 {
                // Windows of the training's own size, whose plans must stay apart, and of another.
                trainer
                    .evaluate([
                        held.get(0).unwrap(),
                        held.get(1).unwrap(),
                        windows.get(5 * held.len() % windows.len()).unwrap(),
                    ])
                    .unwrap();
                let other =
                    Windows::new(whole::ids(&mut rng(5), 40, 7), BatchShape { steps: 4, batch_size: 2 }).unwrap();
                trainer.evaluate(other.iter()).unwrap();
            }
        }
        (trainer.metrics().unwrap(), bytes(&mut trainer))
    };
    let (want, got) = (run(false), run(true));
    assert_eq!(got.0, want.0);
    assert!(got.1 == want.1, "the training with evaluations in it ends elsewhere");
}

/// The cross entropy of each position, in f64.
fn losses(logits: &[f32], batch: &Batch, outputs: usize) -> Vec<f64> {
    let Targets::Classes(targets) = &batch.targets else { panic!("classes") };
    logits
        .chunks_exact(outputs)
        .zip(targets)
        .map(|(y, target)| {
            let sum: f64 = y.iter().map(|y| f64::from(*y).exp()).sum();
            sum.ln() - f64::from(y[*target as usize])
        })
        .collect()
}

/// The cross entropy of each position, from the outputs of a stream.
fn by_hand(stream: &mut StreamingPredictor, batch: &Batch, outputs: usize) -> Vec<f64> {
    if batch.sequences.start == Start::Initial {
        stream.reset().unwrap();
    }
    losses(stream.sequence(batch.sequences.steps, &batch.sequences.inputs).unwrap(), batch, outputs)
}

fn evaluation_is_the_mean_over_what_counts(device: &Device) {
    let config = tokens();
    // Weights that tell the classes apart, so that every position has another loss.
    let mut learned = trainer(device, &config, Recipe::new(Loss::CrossEntropy).with_optimizer(Optimizer::adam(), 0.05));
    windows(7).iter().cycle().take(20).for_each(|window| learned.step(&window).unwrap());
    let model = learned.model().unwrap();

    let mut random = rng(6);
    let mut make = |steps: usize, size: usize, start: Start, counts: fn(usize) -> bool| {
        let batch = whole::batch(&mut random, &config, Loss::CrossEntropy, steps, size);
        batch.with_start(start).with_loss_mask((0..steps * size).map(counts).collect())
    };
    let batches = [
        make(5, 3, Start::Initial, |r| r != 7),
        make(2, 3, Start::Carry, |r| r == 4),
        make(5, 3, Start::Carry, |_| true),
        make(7, 1, Start::Initial, |r| r % 2 == 0),
        make(7, 1, Start::Initial, |r| r < 2),
    ];
    let (mut sum, mut count) = (0.0, 0.0);
    let mut streams = [3, 1].map(|size| StreamingPredictor::new(device, &model, size).unwrap());
    for batch in &batches {
        let losses = by_hand(&mut streams[usize::from(batch.sequences.batch_size == 1)], batch, config.outputs);
        for (loss, counts) in losses.iter().zip(batch.loss_mask.as_ref().unwrap()) {
            (sum, count) = if *counts { (sum + loss, count + 1.0) } else { (sum, count) };
        }
    }
    assert_eq!(count, 14.0 + 1.0 + 15.0 + 4.0 + 2.0);
    assert_near("the evaluated loss", learned.evaluate(batches).unwrap(), sum / count, 1e-6);
}

fn an_evaluation_of_many_windows_is_whole(device: &Device) {
    // More windows of one size than the device keeps losses of.
    let config = Config::elman(InputKind::Tokens(3), 4, 3);
    let mut trainer = trainer(device, &config, Recipe::new(Loss::CrossEntropy));
    let mut random = rng(11);
    let kinds: Vec<Batch> = (0..5).map(|_| whole::batch(&mut random, &config, Loss::CrossEntropy, 1, 1)).collect();
    let each: Vec<f64> = kinds.iter().map(|batch| trainer.evaluate([batch.clone()]).unwrap()).collect();
    let count = METRICS_SLOTS + 7;
    let want = (0..count).map(|i| each[i % 5]).sum::<f64>() / count as f64;
    let got = trainer.evaluate((0..count).map(|i| kinds[i % 5].clone())).unwrap();
    assert_near("the evaluated loss", got, want, 1e-9);
}

/// Two windows, or three of other lengths, that carry on are one long window, as far as the forward pass goes.
fn a_carried_state_continues_the_window(device: &Device) {
    for (config, loss) in [(tokens(), Loss::CrossEntropy), (dense(), Loss::MeanSquared)] {
        let whole = whole::batch(&mut rng(12), &config, loss.clone(), 10, 3);
        let mut long = trainer(device, &config, plain(loss.clone(), FROZEN));
        long.step(&whole).unwrap();
        let want = state(&mut long);
        let (want_loss, evaluated) = (long.metrics().unwrap()[0].loss, long.evaluate([whole.clone()]).unwrap());
        assert_near("the loss of training and of evaluation", evaluated, want_loss, 1e-6);
        for cuts in [vec![0, 5, 10], vec![0, 3, 8, 10], vec![0, 1, 2, 10], vec![0, 9, 10]] {
            let parts: Vec<Batch> = cuts.windows(2).map(|cut| part(&whole, &config, cut[0]..cut[1])).collect();
            let mut short = trainer(device, &config, plain(loss.clone(), FROZEN));
            parts.iter().for_each(|part| short.step(part).unwrap());
            assert_close(&format!("the last state, cut at {cuts:?}"), &state(&mut short), &want, OTHER_ROWS);
            let steps = parts.iter().map(|part| part.sequences.steps as f64);
            let mean = short.metrics().unwrap().iter().zip(steps).map(|(m, steps)| m.loss * steps).sum::<f64>() / 10.0;
            assert_near(&format!("the mean loss, cut at {cuts:?}"), mean, want_loss, 1e-6);
            let evaluated = short.evaluate(parts).unwrap();
            assert_near(&format!("the evaluated loss, cut at {cuts:?}"), evaluated, want_loss, 1e-6);
        }
    }
}

fn a_window_starts_where_it_is_told(device: &Device) {
    let config = tokens();
    let whole = whole::batch(&mut rng(13), &config, Loss::CrossEntropy, 8, 2);
    let (first, carried) = (part(&whole, &config, 0..4), part(&whole, &config, 4..8));
    let after = |windows: &[&Batch]| {
        let mut trainer = trainer(device, &config, plain(Loss::CrossEntropy, FROZEN));
        assert_eq!(trainer.state().unwrap(), None, "there was no window yet");
        windows.iter().for_each(|window| trainer.step(window).unwrap());
        let held = trainer.state().unwrap().unwrap();
        assert_eq!((held.batch_size(), held.values().len()), (2, 2 * 20));
        held.values().to_vec()
    };
    let middle = after(&[&first]);
    let given = carried.clone().with_start(Start::Given(State::new(&config, 2, middle).unwrap()));
    let zero = carried.clone().with_start(Start::Initial);
    let want = after(&[&first, &carried]);
    assert_same("from the given state", &after(&[&given]), &want);
    assert_same("from the given state, whatever was before", &after(&[&first, &zero, &given]), &want);
    let fresh = after(&[&zero]);
    assert_same("from zero, whatever was before", &after(&[&first, &zero]), &fresh);
    assert!(fresh.iter().zip(&want).any(|(a, b)| (a - b).abs() > 1e-3), "the start must matter");
}

fn a_refused_batch_changes_nothing(device: &Device) {
    let config = tokens();
    let whole = whole::batch(&mut rng(14), &config, Loss::CrossEntropy, 8, 2);
    let run = |refused: &[Batch]| {
        let mut trainer = trainer(device, &config, Recipe::new(Loss::CrossEntropy));
        trainer.step(&part(&whole, &config, 0..4)).unwrap();
        for batch in refused {
            assert!(trainer.step(batch).is_err());
        }
        trainer.step(&part(&whole, &config, 4..8)).unwrap();
        bytes(&mut trainer)
    };
    let mut random = rng(15);
    let wider = whole::batch(&mut random, &config, Loss::CrossEntropy, 4, 3);
    let refused = [
        Batch::tokens(BatchShape { steps: 4, batch_size: 3 }, vec![9; 12], vec![0; 12]),
        wider.clone().with_start(Start::Carry),
        wider.with_start(Start::Given(Model::new(config.clone()).unwrap().initial_state(2).unwrap())),
    ];
    assert!(run(&refused) == run(&[]), "a refused batch left a trace");
}

fn the_schedule_moves_the_rate(device: &Device) {
    let config = dense();
    let batch = whole::batch(&mut rng(16), &config, Loss::MeanSquared, 3, 2);
    // The floor of 0 is reached at step 3.
    let schedule = LearningRateSchedule::Cosine { warm_up: 1, total: 3, floor: 0.0 };
    let mut trainer = trainer(device, &config, plain(Loss::MeanSquared, 0.1).with_schedule(schedule));
    let mut lengths = Vec::new();
    for _ in 0..5 {
        let before = flat(&mut trainer);
        trainer.step(&batch).unwrap();
        let after = flat(&mut trainer);
        lengths.push(norm(&before.iter().zip(&after).map(|(b, a)| b - a).collect::<Vec<_>>()));
    }
    for (length, metrics) in lengths.iter().zip(trainer.metrics().unwrap()) {
        let want = 0.1 * schedule.factor(metrics.step) * metrics.grad_norm;
        assert!((length - want).abs() <= 1e-3 * want + 1e-12, "step {}: {length}, expected {want}", metrics.step);
    }
    assert!(lengths[0] > lengths[1] && lengths[1] > 0.0 && lengths[2..] == [0.0; 3], "{lengths:?}");
}

whole::on_both!(
    the_same_seed_gives_the_same_bits,
    clipping_does_what_the_metrics_say,
    a_loss_that_overflows_changes_nothing,
    a_gradient_that_overflows_changes_nothing,
    steps_beyond_the_slots_lose_no_metrics,
    evaluation_disturbs_nothing,
    evaluation_is_the_mean_over_what_counts,
    an_evaluation_of_many_windows_is_whole,
    a_carried_state_continues_the_window,
    a_window_starts_where_it_is_told,
    a_refused_batch_changes_nothing,
    the_schedule_moves_the_rate,
);

#[test]
fn schedules_have_their_borders_where_they_say() {
    let expect = |schedule: LearningRateSchedule, values: &[(u64, f64)]| {
        for (step, want) in values {
            let got = schedule.factor(*step);
            assert!((got - want).abs() <= 1e-12, "{schedule:?} at step {step}: {got}, expected {want}");
        }
    };
    expect(LearningRateSchedule::Constant, &[(1, 1.0), (u64::MAX, 1.0)]);
    let decay = LearningRateSchedule::StepDecay { after: 10, every: 5, factor: 0.5 };
    expect(decay, &[(1, 1.0), (10, 1.0), (11, 0.5), (15, 0.5), (16, 0.25), (20, 0.25), (21, 0.125), (u64::MAX, 0.0)]);
    let cosine = LearningRateSchedule::Cosine { warm_up: 4, total: 12, floor: 0.1 };
    expect(cosine, &[(1, 0.25), (3, 0.75), (4, 1.0), (8, 0.55), (12, 0.1), (13, 0.1), (u64::MAX, 0.1)]);
    let cold = LearningRateSchedule::Cosine { warm_up: 0, total: 2, floor: 0.0 };
    expect(cold, &[(1, 0.5), (2, 0.0), (3, 0.0)]);
    let short = LearningRateSchedule::Cosine { warm_up: 5, total: 3, floor: 0.2 };
    expect(short, &[(1, 0.2), (5, 1.0), (6, 0.2)]);
}
