//! The gradients of what is read: of numbers and of the state before the first step, by central differences in f64, and
//! on the adapter.

use recurrent::internals::cpu;
use recurrent::internals::plan::{Plan, Purpose, Target};
use recurrent::recipe::{Clip, Dropout, GradientCheckpointing, Loss, Optimizer, Recipe};
use recurrent::{Activation, Cell, Config, Dense, Directions, InputKind, LayerNorm, Pool, Recurrent, Reset};

use crate::common::compare::{DIFFERENCES, F32_NETWORK, assert_close};
use crate::common::executor::{Execute, gpu};
use crate::common::heads::with_head_losses;
use crate::common::network::{Inputs, Network, Window, random_parameters, step_into};
use crate::common::random::Random;

/// The row of the metrics.
const SLOT: usize = 3;
const STEP: f64 = 1e-4;

fn configs() -> Vec<Config> {
    let dense = InputKind::Dense(3);
    let new = || Config::new(dense);
    vec![
        Config::lstm(dense, 4, 2).with_layers(2),
        Config::gru(dense, 4, 2).with_directions(Directions::Bidirectional),
        Config::of_cell(Cell::Gru(Reset::BeforeProduct), dense, 4, 2).with_directions(Directions::Reverse),
        Config::elman(dense, 4, 2).with_learned_initial_state(true),
        Config::of_cell(Cell::PeepholeLstm, dense, 4, 2).with_directions(Directions::Bidirectional),
        new().layer(Recurrent::lstm(5).with_projection(3)).pool(Pool::Mean).outputs(2),
        new().dense(5, Activation::Tanh).layer(Recurrent::gru(4)).outputs(2),
        new().layer(LayerNorm::new()).layer(Recurrent::gru(3).residual()).head("value", 2).outputs(2),
        new().layer(Recurrent::gru(3).residual()).pool(Pool::Last).outputs(2),
        new().layer(Dense::new(3, Activation::Gelu).residual()).layer(Recurrent::gru(3)).pool(Pool::Max).outputs(2),
        new().token_column("kind", 4, 2).dense_column("more", 2).layer(Recurrent::lstm(4)).outputs(2),
        new().dense_column("more", 2).layer(Recurrent::gru(4)).outputs(2),
        Config::lstm(InputKind::Tokens(5), 4, 2),
    ]
}

fn recipe() -> Recipe {
    let recipe = Recipe::new(Loss::MeanSquared).with_clip(Clip::None).with_optimizer(Optimizer::sgd(0.0), 0.1);
    recipe.with_input_gradients()
}

/// The gradients of inputs and state.
fn gradients<E: Execute>(net: &mut Network<E>, recipe: &Recipe, window: &Window, parameters: &[f64]) -> [Vec<f64>; 2] {
    let train = net.prepare(Purpose::Train(recipe), window.steps, window.batch);
    net.write(&train, train.at.parameters, parameters);
    net.run(&train, window, step_into(SLOT));
    let read = train.at.training.as_ref().unwrap().read_gradients;
    [read.inputs, read.state].map(|tensor| tensor.map_or(Vec::new(), |tensor| net.read(&train, tensor)))
}

fn check(config: &Config, recipe: &Recipe, target: Target) {
    let what = format!("{config:?}, {recipe:?}");
    let (steps, batch) = (6, 2);
    let mut random = Random::new(77);
    let mut net = Network::new(cpu::Executor::<f64>::new(), config, target);
    let window = Window::random(&mut random, config, false, steps, batch).with_lengths(config, vec![6, 4]);
    let parameters = random_parameters(&mut random, &net.layout, 0.8);
    let [inputs, state] = gradients(&mut net, recipe, &window, &parameters);
    // With what is dropped held fixed.
    let evaluate = match recipe.dropout == Dropout::NONE {
        true => net.prepare(Purpose::Evaluate(recipe), steps, batch),
        false => net.prepare(Purpose::Train(recipe), steps, batch),
    };
    let mut differences = |count: usize, moved: &dyn Fn(&mut Window, usize, f64)| -> Vec<f64> {
        let mut of_one = |at: usize| {
            let mut loss = |step: f64| {
                let mut window = window.clone();
                moved(&mut window, at, step);
                net.write(&evaluate, evaluate.at.parameters, &parameters);
                net.run(&evaluate, &window, step_into(SLOT));
                net.metrics(&evaluate, SLOT).loss
            };
            let far = loss(-2.0 * STEP) - loss(2.0 * STEP);
            (far + 8.0 * (loss(STEP) - loss(-STEP))) / (12.0 * STEP)
        };
        (0..count).map(&mut of_one).collect()
    };
    let want = differences(state.len(), &|window, at, step| window.state[at] += step);
    assert_close(&format!("{what}: state"), &state, &want, DIFFERENCES);
    if let InputKind::Dense(_) = config.input {
        let want = differences(inputs.len(), &|window, at, step| match &mut window.inputs {
            Inputs::Dense(x) => x[at] += step,
            Inputs::Tokens(_) => panic!("numbers"),
        });
        assert_close(&format!("{what}: inputs"), &inputs, &want, DIFFERENCES);
        // Behind the end of the second sequence.
        assert!((4..6).all(|t| inputs[(t * batch + 1) * 3..][..3] == [0.0; 3]), "{what}: {inputs:?}");
    } else {
        assert!(inputs.is_empty(), "{what}");
    }
}

#[test]
fn gradients_of_what_is_read_are_differences() {
    for config in configs() {
        for target in [Target::cpu(), Target::webgpu()] {
            check(&config, &with_head_losses(recipe(), &config), target);
        }
    }
}

#[test]
fn with_dropout_and_in_segments() {
    for config in configs().into_iter().filter(|config| config.recurrent_layers().count() > 0) {
        check(
            &config,
            &with_head_losses(recipe(), &config).with_dropout(Dropout::variational(0.3, 0.2)),
            Target::cpu(),
        );
        let segments = with_head_losses(recipe(), &config).with_gradient_checkpointing(GradientCheckpointing::Steps(2));
        if Plan::new(&config, Purpose::Train(&segments), 6, 2, &Target::cpu()).is_ok() {
            check(&config, &segments, Target::cpu());
        }
    }
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn on_the_adapter_they_are_the_twin_s() {
    for config in configs() {
        let mut random = Random::new(78);
        let recipe = with_head_losses(recipe(), &config);
        let mut net = Network::new(cpu::Executor::<f64>::new(), &config, Target::cpu());
        let window = Window::random(&mut random, &config, false, 6, 2).with_lengths(&config, vec![6, 4]);
        let parameters = random_parameters(&mut random, &net.layout, 0.8);
        let want = gradients(&mut net, &recipe, &window, &parameters);
        let mut on_gpu = Network::new(gpu(), &config, Target::webgpu());
        let got = gradients(&mut on_gpu, &recipe, &window, &parameters);
        for (what, (got, want)) in ["inputs", "state"].iter().zip(got.iter().zip(&want)) {
            if !want.is_empty() {
                assert_close(&format!("{config:?}: {what}"), got, want, F32_NETWORK);
            }
        }
    }
}
