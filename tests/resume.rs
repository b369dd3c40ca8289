//! Exact resumption: a training that is saved and goes on in a new process is the training that was never interrupted.
//!
//! The contract is held to the last bit: weights, moments, carried state, step, and the losses of the second half.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, and so do its helpers"
)]

mod whole;

use std::path::Path;

use recurrent::data::Windows;
use recurrent::{
    Checkpoint, Clip, Config, Device, Error, Init, Input, Loss, Model, Optimizer, Recipe, Schedule, Start, Trainer,
};
use whole::bytes;

/// N. An epoch has fewer windows, so the second half begins in the middle of a carried state and passes a reset.
const HALF: usize = 17;

/// The optimisers, each with a schedule whose border the second half crosses.
fn recipes() -> Vec<(&'static str, Recipe)> {
    let recipe = |optimizer, rate| Recipe::new(Loss::CrossEntropy).with_optimizer(optimizer, rate);
    let cosine = Schedule::Cosine { warm_up: 20, total: 30, floor: 0.1 };
    let decay = Schedule::StepDecay { after: 15, every: 4, factor: 0.3 };
    vec![
        ("sgd", recipe(Optimizer::sgd(0.0), 0.3).with_clip(Clip::Norm(0.2))),
        ("momentum", recipe(Optimizer::sgd(0.9), 0.1).with_schedule(decay)),
        ("rms_prop", recipe(Optimizer::rms_prop(), 0.01).with_schedule(cosine).with_clip(Clip::Value(0.02))),
        ("adam", recipe(Optimizer::adam(), 0.01).with_schedule(cosine)),
        ("adam_w", recipe(Optimizer::adam_w(0.1), 0.01).with_schedule(decay).with_clip(Clip::Normalize(0.5))),
    ]
}

fn windows() -> Windows {
    let windows = Windows::new(whole::ids(&mut whole::rng(1), 130, 5), 4, 3).unwrap();
    assert_eq!(windows.get(HALF).sequences.start, Start::Carry, "the state must be carried over the interruption");
    assert!((HALF..2 * HALF).any(|step| windows.get(step).sequences.start == Start::Zero));
    windows
}

/// The network that a recipe trains: two layers of an LSTM for one of them, an Elman network for the others.
fn start(device: &Device, recipe: Recipe) -> Trainer {
    let input = Input::Tokens(5);
    let config = match recipe.optimizer {
        Optimizer::RmsProp { .. } => Config::lstm(input, 18, 5).with_layers(2),
        _ => Config::elman(input, 18, 5).with_init(Init::Orthogonal),
    };
    let config = config.with_seed(2);
    Trainer::new(device, &Model::new(config).unwrap(), recipe).unwrap()
}

/// Trains from step `from` on, and says what the losses were.
fn train(trainer: &mut Trainer, from: usize) -> String {
    (from..from + HALF).for_each(|step| trainer.step(&windows().get(step)).unwrap());
    trainer.metrics().unwrap().iter().map(|m| format!("{m:?}\n")).collect()
}

/// What the child process does in `folder`: resume each training, train on, save.
fn second_half(device: &Device, folder: &Path) {
    for (name, recipe) in recipes() {
        let mut checkpoint = Checkpoint::load(folder.join(name)).unwrap();
        let mut trainer = Trainer::resume(device, &checkpoint).unwrap();
        assert_eq!((*trainer.recipe(), trainer.steps()), (recipe, HALF as u64));
        let losses = train(&mut trainer, HALF);
        checkpoint = trainer.checkpoint().unwrap();
        checkpoint.notes.insert("losses".to_owned(), losses);
        checkpoint.save(folder.join(name)).unwrap();
    }
}

fn resumes_exactly(test: &str, device: &Device) {
    if let Some(folder) = whole::child_task() {
        return second_half(device, Path::new(&folder));
    }
    let folder = tempfile::tempdir().unwrap();
    let mut wanted = Vec::new();
    for (name, recipe) in recipes() {
        let mut trainer = start(device, recipe);
        train(&mut trainer, 0);
        trainer.checkpoint().unwrap().save(folder.path().join(name)).unwrap();
        let first_half = bytes(&mut trainer);
        let losses = train(&mut trainer, HALF);
        assert_eq!(losses.lines().count(), HALF);
        assert!(bytes(&mut trainer) != first_half, "{name}: the second half must change something");
        wanted.push((name, losses, bytes(&mut trainer)));
    }
    whole::run_child(test, folder.path().to_str().unwrap(), &[]);
    for (name, losses, want) in wanted {
        let mut got = Checkpoint::load(folder.path().join(name)).unwrap();
        assert_eq!(got.notes.remove("losses"), Some(losses), "{name}: the losses of the second half");
        assert!(got.to_bytes().unwrap() == want, "{name}: the resumed training ends elsewhere");
    }
}

#[test]
fn a_training_on_the_cpu_resumes_in_a_new_process() {
    resumes_exactly("a_training_on_the_cpu_resumes_in_a_new_process", &Device::cpu());
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn a_training_on_the_gpu_resumes_in_a_new_process() {
    resumes_exactly("a_training_on_the_gpu_resumes_in_a_new_process", &whole::gpu());
}

/// What is resumed on another executor starts from the same numbers.
#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn a_checkpoint_moves_between_devices_unchanged() {
    for (_, recipe) in recipes() {
        let mut trainer = start(&Device::cpu(), recipe);
        train(&mut trainer, 0);
        let mut moved = Trainer::resume(&whole::gpu(), &trainer.checkpoint().unwrap()).unwrap();
        assert!(bytes(&mut moved) == bytes(&mut trainer), "the GPU holds something else");
        let mut back = Trainer::resume(&Device::cpu(), &moved.checkpoint().unwrap()).unwrap();
        assert_eq!(train(&mut back, HALF), train(&mut trainer, HALF));
    }
}

#[test]
fn what_cannot_be_resumed_is_an_error() {
    let device = Device::cpu();
    let mut trainer = start(&device, recipes()[3].1);
    train(&mut trainer, 0);
    let whole = trainer.checkpoint().unwrap();

    let alone = Checkpoint::from(whole.model.clone());
    let error = Trainer::resume(&device, &alone).unwrap_err();
    assert!(matches!(error, Error::Data(_)), "{error:?}");
    assert_eq!(error.to_string(), "the checkpoint holds a model but no training to resume");

    let mut fewer = whole.clone();
    fewer.training.as_mut().unwrap().moments.pop();
    let error = Trainer::resume(&device, &fewer).unwrap_err();
    assert_eq!(error.to_string(), "the optimiser's moments has shape [1], expected [2]");

    let mut shorter = whole.clone();
    shorter.training.as_mut().unwrap().moments[1].pop();
    let error = Trainer::resume(&device, &shorter).unwrap_err();
    assert!(matches!(error, Error::Shape { .. }), "{error:?}");

    let mut narrower = whole.clone();
    narrower.training.as_mut().unwrap().state.as_mut().unwrap().values.pop();
    let refused = Trainer::resume(&device, &narrower).and_then(|mut trainer| trainer.step(&windows().get(HALF)));
    assert!(matches!(refused, Err(Error::Shape { .. })), "{refused:?}");

    let mut last = whole;
    last.training.as_mut().unwrap().steps = u64::MAX;
    let error = Trainer::resume(&device, &last).unwrap_err();
    assert_eq!(error.to_string(), format!("the checkpoint counts {} steps, too many to go on", u64::MAX));
}
