//! Whole training steps over random networks and windows: whatever the sizes and options, another executor's numbers are
//! those of the f64 twin.
//!
//! The same cases are drawn in every run, so a failure repeats.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_oneof, proptest};
use proptest::test_runner::{RngSeed, TestCaseError};
use recurrent::plan::{Clip, Loss, Optimizer, Purpose, Recipe, Target};
use recurrent::{Activation, Cell, Config, Input, Model, ReadOut, cpu};

use common::compare::{F32_NETWORK, check_close};
use common::executor::{Execute, gpu};
use common::network::{Network, Window};
use common::random::Random;

/// A network, how it is trained, and the size of a window.
#[derive(Clone, Debug)]
struct Case {
    config: Config,
    recipe: Recipe,
    steps: usize,
    batch: usize,
    /// Whether the recurrence may run as a whole sequence.
    whole: bool,
    seed: u64,
}

/// The largest size. Several tiles of 16, and with 40·40 rows some slices, yet quick on a software adapter.
const LARGEST: usize = 40;
/// With max(0, x) a size of 12: rounding may put a pre-activation on the other side of the kink, and the fewer there are
/// the fewer cases have to be drawn again because one is near it.
const LARGEST_WITH_KINKS: usize = 12;
/// How near is near: some hundred roundings of f32.
const KINK_MARGIN: f64 = 1e-5;

fn cases() -> impl Strategy<Value = Case> {
    let sizes = (1..=LARGEST, 1..=LARGEST, 1..=LARGEST, 1..=LARGEST, 1..=LARGEST);
    let options = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    let tanh = Cell::Elman(Activation::Tanh);
    // Of relu one layer: the kinks of a second are not looked for.
    let relu = (Just(Cell::Elman(Activation::Relu)), Just(1));
    let cell = prop_oneof![relu, (prop_oneof![Just(tanh), Just(Cell::Lstm), Just(Cell::Gru)], 1..=3usize)];
    let clip = prop_oneof![
        Just(Clip::None),
        (0.001..2.0).prop_map(Clip::Norm),
        (0.001..0.1).prop_map(Clip::Value),
        (0.1..2.0).prop_map(Clip::Normalize),
    ];
    // With a small ε the optimisers turn a gradient of rounding errors into a step of full length. Kernels are held
    // against their twins with a small one, over the same gradient.
    let optimizer = prop_oneof![
        (0.0..0.95).prop_map(Optimizer::sgd),
        (0.5..0.99).prop_map(|alpha| Optimizer::RmsProp { alpha, epsilon: 0.1 }),
        (0.0..0.1).prop_map(|weight_decay| Optimizer::Adam { beta1: 0.9, beta2: 0.99, epsilon: 0.1, weight_decay }),
    ];
    (sizes, cell, options, clip, optimizer, 0..u64::MAX).prop_map(|(sizes, cell, options, clip, optimizer, seed)| {
        let ((cell, layers), (tokens, last, squared, whole)) = (cell, options);
        let relu = cell == Cell::Elman(Activation::Relu);
        let (steps, batch, inputs, hidden, outputs) = sizes;
        let small = |size: usize| if relu { 1 + size % LARGEST_WITH_KINKS } else { size };
        let input = if tokens { Input::Tokens(inputs) } else { Input::Dense(inputs) };
        let config = Config::new(cell, input, small(hidden), outputs)
            .with_layers(layers)
            .with_read_out(if last { ReadOut::Last } else { ReadOut::EveryStep })
            .with_seed(seed);
        let loss = if squared { Loss::MeanSquared } else { Loss::CrossEntropy };
        let recipe = Recipe::new(loss).with_clip(clip).with_optimizer(optimizer, 0.02);
        Case { config, recipe, steps: small(steps), batch: small(batch), whole, seed }
    })
}

/// As many cases as a software adapter takes in a quarter of a minute.
fn settings() -> ProptestConfig {
    ProptestConfig {
        cases: 64,
        rng_seed: RngSeed::Fixed(1990),
        failure_persistence: None,
        max_shrink_iters: 100,
        ..ProptestConfig::default()
    }
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn training_on_the_gpu_is_that_of_the_twin() {
    proptest!(settings(), |(case in cases())| {
        let executor = gpu();
        let target = executor.gpu().target();
        compare(&case, executor, target)?;
    });
}

#[test]
fn training_in_f32_on_the_cpu_is_that_in_f64() {
    proptest!(settings(), |(case in cases())| {
        compare(&case, cpu::Executor::<f32>::new(), Target::webgpu())?;
    });
}

/// Two training steps on one window, then an evaluation and an inference with the new parameters, on `executor` and on
/// the twin.
fn compare<E: Execute>(case: &Case, executor: E, target: Target) -> Result<(), TestCaseError> {
    let target = if case.whole { target } else { Target { workgroup_bytes: 0, ..target } };
    let classes = case.recipe.loss == Loss::CrossEntropy;
    let window = Window::random(&mut Random::new(case.seed), &case.config, classes, case.steps, case.batch);
    let parameters: Vec<f64> = Model::new(case.config.clone()).unwrap().flat().iter().map(|v| f64::from(*v)).collect();
    let mut twin = Network::new(cpu::Executor::<f64>::new(), &case.config, Target::cpu());
    if case.config.cell == Cell::Elman(Activation::Relu) {
        let near = twin.pre_activations(&window, &parameters).iter().any(|a| a.abs() < KINK_MARGIN);
        if near {
            return Err(TestCaseError::reject("a pre-activation near the kink of max(0, x)"));
        }
    }
    let want = run(&mut twin, case, &window, &parameters);
    let got = run(&mut Network::new(executor, &case.config, target), case, &window, &parameters);
    for ((what, got), (_, want)) in got.iter().zip(&want) {
        check_close(what, got, want, F32_NETWORK).map_err(TestCaseError::fail)?;
    }
    Ok(())
}

/// Everything that a run leaves, by name.
fn run<E: Execute>(
    network: &mut Network<E>,
    case: &Case,
    window: &Window,
    parameters: &[f64],
) -> Vec<(String, Vec<f64>)> {
    let mut all = Vec::new();
    let train = network.prepare(Purpose::Train(case.recipe), case.steps, case.batch);
    let training = train.at.training.unwrap();
    network.write(&train, train.at.parameters, parameters);
    for step in 1..=2 {
        let corrections = match case.recipe.optimizer {
            Optimizer::Adam { beta1, beta2, .. } => [1.0 - beta1.powi(step), 1.0 - beta2.powi(step)],
            _ => [1.0, 1.0],
        };
        network.run(&train, window, [case.recipe.learning_rate, corrections[0], corrections[1], f64::from(step)]);
        let metrics = network.metrics(&train, step as usize);
        for (name, value) in
            [("loss", metrics.loss), ("norm", metrics.norm), ("scale", metrics.scale), ("flag", metrics.finite)]
        {
            all.push((format!("{name} of step {step}"), vec![value]));
        }
        // Flat, so that a parameter whose gradient is a small difference is measured against the larger ones.
        let moments = training.moments.into_iter().flatten().map(|moment| ("moments", moment));
        for (name, tensor) in
            [("gradients", training.gradients), ("parameters", train.at.parameters)].into_iter().chain(moments)
        {
            all.push((format!("{name} of step {step}"), network.read(&train, tensor)));
        }
    }
    all.push(("final state".to_owned(), network.read(&train, train.at.state)));
    let evaluate = network.prepare(Purpose::Evaluate(case.recipe.loss), case.steps, case.batch);
    network.run(&evaluate, window, [0.0, 1.0, 1.0, 0.0]);
    all.push(("loss in evaluation".to_owned(), vec![network.metrics(&evaluate, 0).loss]));
    let infer = network.prepare(Purpose::Infer, case.steps, case.batch);
    network.run(&infer, window, [0.0; 4]);
    all.push(("outputs".to_owned(), network.read(&infer, infer.at.outputs)));
    all
}
