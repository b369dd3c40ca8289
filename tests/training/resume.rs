//! Exact resumption: a training that is saved and goes on in a new process is the training that was never interrupted.
//!
//! The contract is held to the last bit: weights, moments, carried state, step, and the losses of the second half.

use std::path::Path;

use crate::common::whole::{self, bytes};
use recurrent::data::Windows;
use recurrent::recipe::Average;
use recurrent::{
    Activation, Batch, BatchShape, Cell, Checkpoint, Clip, Config, Device, Directions, Dropout, Error, Group, Init,
    InputKind, LearningRateSchedule, Loss, Model, Optimizer, Recipe, Recurrent, Reset, Start, Trainer,
};

/// N. An epoch has fewer windows, so the second half begins in the middle of a carried state and passes a reset.
const HALF: usize = 17;

/// Two seeds that are one number in f64.
const SEEDS: [u64; 2] = [1 << 53, (1 << 53) + 1];

/// A training: its network, its recipe, and the windows of each step.
struct Case {
    name: &'static str,
    config: Config,
    recipe: Recipe,
    windows: fn(usize) -> Vec<Batch>,
}

/// The optimisers, each with a schedule whose border the second half crosses, and the options that have something to
/// resume.
fn cases() -> Vec<Case> {
    let case = |name, config: Config, recipe| {
        let windows = |step| vec![window(step)];
        Case { name, config: config.with_seed(2), recipe, windows }
    };
    let input = InputKind::Tokens(5);
    let elman = || Config::elman(input, 18, 5).with_init(Init::Orthogonal);
    let lstm = || Config::lstm(input, 18, 5).with_layers(2);
    let recipe = |optimizer, rate| Recipe::new(Loss::CrossEntropy).with_optimizer(optimizer, rate);
    let adam = recipe(Optimizer::adam(), 0.01);
    let cosine = LearningRateSchedule::Cosine { warm_up: 20, total: 30, floor: 0.1 };
    let decay = LearningRateSchedule::StepDecay { after: 15, every: 4, factor: 0.3 };
    let dropout = Dropout::variational(0.2, 0.3).with_outputs(0.25).with_weights(0.2).with_seed(SEEDS[1]);
    let both = Config::of_cell(Cell::Gru(Reset::BeforeProduct), InputKind::Dense(3), 18, 2).with_layers(2);
    let list = Config::new(input).layer(Recurrent::gru(7).with_learned_initial_state(true));
    let list = list.layer(Recurrent::lstm(18)).dense(13, Activation::Tanh).layer(Recurrent::lstm(11)).outputs(5);
    vec![
        case("sgd", elman(), recipe(Optimizer::sgd(0.0), 0.3).with_clip(Clip::Norm(0.2))),
        case("momentum", elman(), recipe(Optimizer::sgd(0.9), 0.1).with_schedule(decay)),
        case(
            "rms_prop",
            lstm(),
            recipe(Optimizer::rms_prop(), 0.01).with_schedule(cosine).with_clip(Clip::Value(0.02)),
        ),
        case("adam", elman(), adam.clone().with_schedule(cosine)),
        case(
            "adam_w",
            elman(),
            recipe(Optimizer::adam_w(0.1), 0.01).with_schedule(decay).with_clip(Clip::Normalize(0.5)),
        ),
        case("nesterov", elman(), recipe(Optimizer::nesterov(0.9), 0.1).with_schedule(decay).with_warm_up(20)),
        case("adagrad", elman(), recipe(Optimizer::adagrad(), 0.1).with_averaged_weights(Average::stochastic(16, 4))),
        case("ams_grad", elman(), recipe(Optimizer::ams_grad(0.1), 0.01).with_averaged_weights(Average::ema(0.9))),
        case("r_adam", lstm(), recipe(Optimizer::r_adam(0.1), 0.01).with_group(Group::new("bias*").with_rate(0.5))),
        case(
            "lion",
            elman(),
            recipe(Optimizer::lion(0.1), 0.002)
                .with_schedule(LearningRateSchedule::one_cycle(40))
                .with_group(Group::new("weight_ih*").with_rate(0.5).with_weight_decay(1.0))
                .with_group(Group::new("bias*").with_weight_decay(0.0).with_clip(Clip::Norm(0.01))),
        ),
        case("dropout", lstm(), adam.clone().with_dropout(dropout)),
        case("list", list, adam.clone().with_dropout(dropout)),
        Case {
            windows: |step| [3 * step, 3 * step + 1, 3 * step + 2].map(window).to_vec(),
            ..case("zoneout", Config::lstm(input, 18, 5).with_layers(2).with_zoneout(0.2, 0.4), adam.clone())
        },
        case(
            "learned_initial_state",
            Config::gru(input, 18, 5).with_layers(2).with_learned_initial_state(true),
            adam.clone(),
        ),
        Case {
            windows: |step| vec![unequal(step)],
            ..case(
                "both_directions",
                both.with_directions(Directions::Bidirectional),
                Recipe::new(Loss::MeanSquared).with_dropout(dropout),
            )
        },
        // Masks depend on a window's place in its step.
        Case {
            windows: |step| [2 * step, 2 * step + 1].map(window).to_vec(),
            ..case("two_windows_a_step", lstm().with_learned_initial_state(true), adam.with_dropout(dropout))
        },
    ]
}

/// The window of a step, epoch after epoch.
fn window(step: usize) -> Batch {
    let windows = windows();
    windows.get(step % windows.len()).unwrap()
}

fn windows() -> Windows {
    let windows = Windows::new(whole::ids(&mut whole::rng(1), 130, 5), BatchShape { steps: 4, batch_size: 3 }).unwrap();
    for first in [HALF, 2 * HALF] {
        let start = windows.get(first % windows.len()).unwrap().sequences.start;
        assert_eq!(start, Start::Carry, "the state must be carried over the interruption");
    }
    assert!((HALF..2 * HALF).any(|step| windows.get(step % windows.len()).unwrap().sequences.start == Start::Initial));
    windows
}

/// Numbers in two sizes of window, the sequences of each of other lengths.
fn unequal(step: usize) -> Batch {
    let config = Config::elman(InputKind::Dense(3), 18, 2);
    let steps = 4 + step % 2;
    let batch = whole::batch(&mut whole::rng(step as u64), &config, Loss::MeanSquared, steps, 3);
    batch.with_lengths(vec![steps, 1 + step % 3, 2])
}

fn start(device: &Device, case: &Case) -> Trainer {
    Trainer::new(device, &Model::new(case.config.clone()).unwrap(), case.recipe.clone()).unwrap()
}

/// Trains from step `from` on, and says what the losses were.
fn train(trainer: &mut Trainer, case: &Case, from: usize) -> String {
    for step in from..from + HALF {
        match (case.windows)(step).as_slice() {
            [window] => trainer.step(window).unwrap(),
            windows => trainer.step_accumulated(windows).unwrap(),
        }
    }
    trainer.metrics().unwrap().iter().map(|m| format!("{m:?}\n")).collect()
}

/// What the child process does in `folder`: resume each training, train on, save.
fn second_half(device: &Device, folder: &Path) {
    for case in cases() {
        let mut checkpoint = Checkpoint::load(folder.join(case.name)).unwrap();
        let mut trainer = Trainer::resume(device, &checkpoint).unwrap();
        assert_eq!((trainer.recipe(), trainer.steps_done()), (&case.recipe, HALF as u64));
        let losses = train(&mut trainer, &case, HALF);
        checkpoint = trainer.checkpoint().unwrap();
        checkpoint.notes.insert("losses".to_owned(), losses);
        checkpoint.save(folder.join(case.name)).unwrap();
    }
}

fn resumes_exactly(test: &str, device: &Device) {
    if let Some(folder) = whole::child_task() {
        return second_half(device, Path::new(&folder));
    }
    let folder = tempfile::tempdir().unwrap();
    let mut wanted = Vec::new();
    for case in cases() {
        let name = case.name;
        let mut trainer = start(device, &case);
        train(&mut trainer, &case, 0);
        let first_half = trainer.checkpoint().unwrap();
        first_half.save(folder.path().join(name)).unwrap();
        let losses = train(&mut trainer, &case, HALF);
        assert_eq!(losses.lines().count(), HALF);
        let end = trainer.checkpoint().unwrap();
        for ((parameter, _, before), (_, _, after)) in first_half.model.tensors().zip(end.model.tensors()) {
            assert!(before != after, "{name}: the second half must change {parameter}");
        }
        wanted.push((name, losses, end.to_bytes().unwrap()));
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
    resumes_exactly("resume::a_training_on_the_cpu_resumes_in_a_new_process", &Device::cpu());
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn a_training_on_the_gpu_resumes_in_a_new_process() {
    resumes_exactly("resume::a_training_on_the_gpu_resumes_in_a_new_process", &whole::gpu());
}

/// What is resumed on another executor starts from the same numbers.
#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn a_checkpoint_moves_between_devices_unchanged() {
    for case in cases() {
        let mut trainer = start(&Device::cpu(), &case);
        train(&mut trainer, &case, 0);
        let mut moved = Trainer::resume(&whole::gpu(), &trainer.checkpoint().unwrap()).unwrap();
        assert!(bytes(&mut moved) == bytes(&mut trainer), "the GPU holds something else");
        let mut back = Trainer::resume(&Device::cpu(), &moved.checkpoint().unwrap()).unwrap();
        assert_eq!(train(&mut back, &case, HALF), train(&mut trainer, &case, HALF), "{}", case.name);
    }
}

fn dropout_is_drawn_from_its_seed(device: &Device) {
    for case in cases().into_iter().filter(|case| case.recipe.dropout != Dropout::NONE) {
        let run = |seed| {
            let recipe = case.recipe.clone().with_dropout(case.recipe.dropout.with_seed(seed));
            let case = Case { config: case.config.clone(), recipe, ..case };
            let mut trainer = start(device, &case);
            let losses = train(&mut trainer, &case, 0);
            (losses, trainer.model().unwrap())
        };
        let [first, again, other] = [SEEDS[0], SEEDS[0], SEEDS[1]].map(run);
        assert_eq!(first.0, again.0, "{}: two runs from one seed differ", case.name);
        whole::assert_same(case.name, again.1.values(), first.1.values());
        assert_ne!(first.0, other.0, "{}: two seeds give the same losses", case.name);
        assert!(first.1.values() != other.1.values(), "{}: two seeds give the same weights", case.name);
    }
}

whole::on_both!(dropout_is_drawn_from_its_seed);

#[test]
fn what_cannot_be_resumed_is_an_error() {
    let device = Device::cpu();
    let case = cases().remove(3);
    let mut trainer = start(&device, &case);
    train(&mut trainer, &case, 0);
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

    let other = Model::new(Config::elman(InputKind::Tokens(3), 5, 3)).unwrap();
    let mut narrower = whole.clone();
    narrower.training.as_mut().unwrap().state = Some(other.initial_state(2).unwrap());
    let refused = Trainer::resume(&device, &narrower);
    assert!(matches!(refused, Err(Error::Data(_))), "{refused:?}");

    let mut last = whole;
    last.training.as_mut().unwrap().steps = u64::MAX;
    let error = Trainer::resume(&device, &last).unwrap_err();
    assert_eq!(error.to_string(), format!("the checkpoint counts {} steps, too many to go on", u64::MAX));
}

/// Large enough that every operation is shared by the threads there are.
#[test]
fn a_training_on_the_cpu_does_not_depend_on_the_number_of_threads() {
    let after_three_steps = |threads: usize, config: &Config| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let recipe = Recipe::new(Loss::CrossEntropy).with_clip(Clip::Norm(1.0));
            let mut trainer = Trainer::new(&Device::cpu(), &Model::new(config.clone()).unwrap(), recipe).unwrap();
            for seed in 0..3 {
                trainer.step(&whole::batch(&mut whole::rng(seed), config, Loss::CrossEntropy, 40, 21)).unwrap();
            }
            bytes(&mut trainer)
        })
    };
    for config in
        [Config::lstm(InputKind::Dense(40), 96, 50), Config::gru(InputKind::Tokens(30), 100, 30).with_layers(2)]
    {
        let alone = after_three_steps(1, &config);
        for threads in [2, 3] {
            assert!(after_three_steps(threads, &config) == alone, "{threads} threads, {config:?}");
        }
    }
}
