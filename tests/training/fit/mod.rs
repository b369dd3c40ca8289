//! Whole trainings: what is kept of them, how they end, and what is told meanwhile.
//!
//! The contract: every number is that of the same steps and evaluations taken by hand, bit for bit. `resuming` holds
//! what is taken up again, `refusals` what is not.

mod refusals;
mod resuming;

use std::cell::{Cell, RefCell};
use std::ops::ControlFlow::{self, Break, Continue};

use recurrent::data::{HeldOutWindows, Windows};
use recurrent::fit::{Begin, Ended, Epoch, Fitted, Progress, Step};
use recurrent::recipe::Average;
use recurrent::{
    Batch, BatchShape, Checkpoint, Config, Device, Dropout, Error, Fit, InputKind, LearningRateSchedule, Loss, Model,
    Plateau, Recipe, Targets, Trainer,
};
use tempfile::TempDir;

use crate::common::whole::{self, bytes, ids, rng};

whole::on_both!(
    a_fit_is_its_steps_and_evaluations_taken_by_hand,
    the_mean_of_the_weights_is_what_is_evaluated_and_kept,
    what_is_not_finite_ends_it_with_the_best_before,
);

const SHAPE: BatchShape = BatchShape { steps: 4, batch_size: 3 };

fn config() -> Config {
    Config::lstm(InputKind::Tokens(5), 6, 5).with_layers(2).with_seed(3)
}

fn model() -> Model {
    Model::new(config()).unwrap()
}

/// 30 windows, whose state is carried, and 6 held-out ones.
fn data() -> (Windows, HeldOutWindows) {
    let mut random = rng(7);
    let windows = Windows::new(ids(&mut random, 361, 5), SHAPE).unwrap();
    assert_eq!(windows.len(), 30);
    (windows, HeldOutWindows::new(ids(&mut random, 70, 5), SHAPE).unwrap())
}

fn recipe() -> Recipe {
    Recipe::new(Loss::CrossEntropy)
        .with_learning_rate(0.03)
        .with_schedule(LearningRateSchedule::Exponential { factor: 0.99 })
        .with_dropout(Dropout::between_layers(0.2).with_seed(5))
}

fn go_on() -> recurrent::Result<ControlFlow<()>> {
    Ok(Continue(()))
}

fn a_fit_is_its_steps_and_evaluations_taken_by_hand(device: &Device) {
    let (model, (windows, held)) = (model(), data());
    let fitted = Fit::new(device, &model, recipe()).with_epochs(3);
    let mut fitted = fitted.run(|_| Ok(windows.iter()), held.iter()).unwrap();
    assert!(matches!(fitted.ended, Ended::Epochs));

    let mut trainer = Trainer::new(device, &model, recipe()).unwrap();
    let (mut best, mut models) = (f64::INFINITY, Vec::new());
    for (at, epoch) in fitted.epochs.iter().enumerate() {
        windows.iter().for_each(|window| trainer.step(&window).unwrap());
        let sum: f64 = trainer.metrics().unwrap().iter().map(|metrics| metrics.loss).sum();
        let loss = trainer.evaluate(held.iter()).unwrap();
        let is_best = loss < best;
        best = best.min(loss);
        models.push(trainer.model().unwrap());
        let rate = recipe().rate(30 * (at as u64 + 1));
        assert_eq!((epoch.number, epoch.steps, epoch.is_best), (at as u64 + 1, 30, is_best));
        assert_eq!((epoch.train_loss, epoch.held_loss, epoch.metric), (sum / 30.0, Some(loss), None));
        assert_eq!(epoch.learning_rate, rate);
    }
    assert_eq!(fitted.epochs.len(), 3);
    assert!(fitted.best == models[fitted.best_epoch as usize - 1]);
    assert_eq!(fitted.epochs[fitted.best_epoch as usize - 1].held_loss, Some(best));
    assert!(bytes(&mut fitted.trainer) == bytes(&mut trainer));
}

fn the_mean_of_the_weights_is_what_is_evaluated_and_kept(device: &Device) {
    let (model, (windows, held)) = (model(), data());
    let recipe = recipe().with_averaged_weights(Average::ema(0.8));
    let means = RefCell::new(Vec::new());
    let fit = Fit::new(device, &model, recipe).with_epochs(3).on_epoch(|epoch, trainer| {
        assert_eq!(epoch.held_loss, Some(trainer.evaluate_averaged(held.iter())?));
        assert_ne!(epoch.held_loss, Some(trainer.evaluate(held.iter())?));
        means.borrow_mut().push(trainer.averaged_model()?);
        go_on()
    });
    let fitted = fit.run(|_| Ok(windows.iter()), held.iter()).unwrap();
    assert!(fitted.best == means.borrow()[fitted.best_epoch as usize - 1]);
}

/// A network that adds, at inputs of about 1 and, in the last epoch, at ones whose squares are no f32.
fn what_is_not_finite_ends_it_with_the_best_before(device: &Device) {
    let folder = TempDir::new().unwrap();
    let [best, checkpoint] = ["best", "training"].map(|name| folder.path().join(format!("{name}.safetensors")));
    let model = Model::new(Config::elman(InputKind::Dense(1), 3, 1)).unwrap();
    let batch = |target| Batch::dense(BatchShape { steps: 1, batch_size: 1 }, vec![0.5], Targets::Values(vec![target]));
    let run = |broken: u64| {
        let fit = Fit::new(device, &model, Recipe::new(Loss::MeanSquared)).with_epochs(5);
        let fit = fit.with_best(&best).with_checkpoint(&checkpoint);
        let target = |epoch| if epoch == broken { 1e30 } else { 0.25 };
        fit.run(|epoch| Ok([batch(0.25), batch(target(epoch))]), &[batch(0.25)])
    };
    let fitted = run(2).unwrap();
    let Ended::Diverged(Error::Diverged { step: 6, .. }) = fitted.ended else { panic!("{:?}", fitted.ended) };
    assert_eq!((fitted.epochs.len(), fitted.best_epoch), (2, 2));
    assert!(Model::load(&best).unwrap() == fitted.best);
    // To go on from at another rate, say.
    assert_eq!(Checkpoint::load(&checkpoint).unwrap().training.unwrap().steps, 4);
    assert!(matches!(run(0), Err(Error::Diverged { step: 2, .. })));

    // An evaluation that is not finite, after an epoch whose steps were.
    let fit = Fit::new(device, &model, Recipe::new(Loss::MeanSquared)).with_epochs(1);
    let error = fit.run(|_| Ok([batch(0.25)]), &[batch(1e30)]).unwrap_err();
    assert!(matches!(error, Error::LossNotFinite { .. }), "{error}");
}

/// A fit on the CPU whose evaluations give these numbers, and the models that it had at each.
fn evaluated(numbers: &[f64], change: impl FnOnce(Fit<'_>) -> Fit<'_>) -> (recurrent::Result<Fitted>, Vec<Model>) {
    let (device, model, (windows, _)) = (Device::cpu(), model(), data());
    let (models, mut numbers) = (RefCell::new(Vec::new()), numbers.iter());
    let fit = Fit::new(&device, &model, recipe()).with_epochs(numbers.len() as u64).with_evaluation(|trainer| {
        models.borrow_mut().push(trainer.model()?);
        Ok(*numbers.next().unwrap())
    });
    let result = change(fit).run(|_| Ok(windows.iter().take(1)), [] as [Batch; 0]);
    (result, models.into_inner())
}

#[test]
fn training_ends_where_none_better_comes() {
    let numbers = [3.0, 2.0, 2.0, f64::NAN, 1.0];
    let (fitted, models) = evaluated(&numbers, |fit| fit.with_patience(2));
    let fitted = fitted.unwrap();
    assert!(matches!(fitted.ended, Ended::NoImprovement));
    assert_eq!((fitted.epochs.len(), fitted.best_epoch), (4, 2));
    assert!(fitted.best == models[1] && fitted.best != models[3]);
    let metrics: Vec<Option<f64>> = fitted.epochs.iter().map(|epoch| epoch.metric).collect();
    assert_eq!(metrics, [Some(3.0), Some(2.0), Some(2.0), None]);
    assert!(fitted.epochs.iter().all(|epoch| epoch.held_loss.is_none()));

    let (fitted, models) = evaluated(&numbers, |fit| fit.with_patience(3));
    let fitted = fitted.unwrap();
    assert_eq!((fitted.epochs.len(), fitted.best_epoch), (5, 5));
    assert!(fitted.best == models[4]);
}

#[test]
fn the_most_may_be_the_best() {
    let (fitted, models) = evaluated(&[0.5, f64::INFINITY, 0.75, 0.7], |fit| fit.with_maximum());
    let fitted = fitted.unwrap();
    assert_eq!(fitted.best_epoch, 3);
    assert!(fitted.best == models[2]);
}

#[test]
fn a_plateau_lowers_the_rate_of_the_epochs_after_it() {
    let (device, model, (windows, held)) = (Device::cpu(), model(), data());
    let plain = Recipe::new(Loss::CrossEntropy).with_learning_rate(0.01);
    // Nothing is better by all of itself.
    let plateau = Plateau::new(0.5, 0).with_threshold(1.0);
    let fit = Fit::new(&device, &model, plain).with_epochs(3).with_plateau(plateau);
    let fitted = fit.run(|_| Ok(windows.iter().take(2)), held.iter()).unwrap();
    let rates: Vec<f64> = fitted.epochs.iter().map(|epoch| epoch.learning_rate).collect();
    assert_eq!((rates, fitted.trainer.learning_rate()), (vec![0.01, 0.01, 0.005], 0.0025));
}

#[test]
fn a_callback_ends_the_training_with_its_step_or_its_epoch() {
    let (device, model, (windows, held)) = (Device::cpu(), model(), data());
    let stop = |is_over: bool| Ok(if is_over { Break(()) } else { Continue(()) });
    let fit = Fit::new(&device, &model, recipe()).on_step(|step, _| stop(step.epoch == 2 && step.step == 7));
    let mut fitted = fit.run(|_| Ok(windows.iter()), held.iter()).unwrap();
    assert!(matches!(fitted.ended, Ended::Stopped));
    let steps: Vec<u64> = fitted.epochs.iter().map(|epoch| epoch.steps).collect();
    assert_eq!((steps, fitted.trainer.steps_done()), (vec![30, 7], 37));
    // What was learned of it is measured like a whole one.
    assert_eq!(fitted.epochs[1].held_loss, Some(fitted.trainer.evaluate(held.iter()).unwrap()));

    let fit = Fit::new(&device, &model, recipe()).on_epoch(|epoch, _| stop(epoch.number == 2));
    let fitted = fit.run(|_| Ok(windows.iter().take(2)), held.iter()).unwrap();
    assert!(matches!(fitted.ended, Ended::Stopped));
    assert_eq!((fitted.epochs.len(), fitted.trainer.steps_done()), (2, 4));
}

#[test]
fn a_caller_s_own_error_comes_back() {
    let (device, model, (windows, held)) = (Device::cpu(), model(), data());
    let fit = || Fit::<'_, anyhow::Error>::with_errors(&device, &model, recipe());
    let run =
        |fit: Fit<'_, anyhow::Error>| fit.run(|_| Ok(windows.iter().take(1)), held.iter()).unwrap_err().to_string();
    assert_eq!(run(fit().on_step(|_, _| anyhow::bail!("of a step"))), "of a step");
    assert_eq!(run(fit().on_epoch(|_, _| anyhow::bail!("of an epoch"))), "of an epoch");
    assert_eq!(run(fit().with_evaluation(|_| anyhow::bail!("of an evaluation"))), "of an evaluation");
    let none = |_| -> anyhow::Result<[Batch; 0]> { anyhow::bail!("of batches") };
    assert_eq!(fit().run(none, held.iter()).unwrap_err().to_string(), "of batches");
    assert!(run(fit().with_epochs(0)).contains("epochs is 0"));
}

/// What is told, in order.
#[derive(Default)]
struct Told {
    begins: Vec<(u64, u64, u64)>,
    steps: Vec<Step>,
    epochs: Vec<Epoch>,
    ends: Vec<String>,
}

impl Progress for Told {
    fn begin(&mut self, begin: &Begin<'_>) {
        self.begins.push((begin.epochs, begin.epochs_done, begin.steps_done));
    }

    fn step(&mut self, step: &Step) {
        self.steps.push(*step);
    }

    fn epoch(&mut self, epoch: &Epoch) {
        self.epochs.push(*epoch);
    }

    fn end(&mut self, ended: &Ended) {
        self.ends.push(format!("{ended:?}"));
    }
}

#[test]
fn batches_are_taken_one_by_one_and_every_step_is_told() {
    let (device, model, (windows, held)) = (Device::cpu(), model(), data());
    let (made, mut told) = (Cell::new(0), Told::default());
    let fit = Fit::new(&device, &model, recipe()).with_epochs(2).with_progress(&mut told).on_step(|step, _| {
        assert_eq!(made.get(), step.steps_done);
        go_on()
    });
    let batches = |epoch| {
        // Of the second epoch nobody knows beforehand how long it is.
        let batches = windows.iter().filter(move |_| epoch == 1).chain(windows.iter().filter(move |_| epoch == 0));
        Ok(batches.inspect(|_| made.set(made.get() + 1)))
    };
    let fitted = fit.run(batches, held.iter()).unwrap();
    assert_eq!(told.begins, [(2, 0, 0)]);
    assert_eq!((told.epochs, told.ends), (fitted.epochs, vec!["Epochs".to_owned()]));
    let at: Vec<(u64, u64, u64)> = told.steps.iter().map(|step| (step.epoch, step.step, step.steps_done)).collect();
    assert_eq!(at, (0..60).map(|step| (step / 30 + 1, step % 30 + 1, step + 1)).collect::<Vec<_>>());
    let read: Vec<u64> = told.steps.iter().filter(|step| step.loss.is_some()).map(|step| step.step).collect();
    assert_eq!(read, [20, 20]);
    assert!(told.steps.iter().all(|step| (step.steps, step.epochs) == (None, 2)));

    let mut told = Told::default();
    let fit = Fit::new(&device, &model, recipe()).with_epochs(1).with_progress(&mut told);
    let fitted = fit.run(|_| Ok(windows.iter()), held.iter()).unwrap();
    let read: Vec<u64> = told.steps.iter().filter(|step| step.loss.is_some()).map(|step| step.step).collect();
    assert_eq!(read, [20, 30]);
    assert!(told.steps.iter().all(|step| step.steps == Some(30)));
    assert_eq!(told.steps[29].loss, Some(fitted.epochs[0].train_loss));
}

#[cfg(feature = "progress")]
#[test]
fn a_bar_moves_to_its_end() {
    let (device, model, (windows, held)) = (Device::cpu(), model(), data());
    let bar = indicatif::ProgressBar::hidden();
    let at = RefCell::new(Vec::new());
    let fit = Fit::new(&device, &model, recipe()).with_epochs(2).with_progress(bar.clone()).on_step(|_, _| {
        at.borrow_mut().push((bar.position(), bar.length()));
        go_on()
    });
    fit.run(|_| Ok(windows.iter()), held.iter()).unwrap();
    assert_eq!(*at.borrow(), (1..=60).map(|step| (step, Some(60))).collect::<Vec<_>>());
    assert!(bar.message().starts_with("epoch 2  loss ") && bar.is_finished(), "{}", bar.message());
}
