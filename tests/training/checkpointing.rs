//! Gradient checkpointing: the gradient is that of the whole window, in less memory, by as many dispatches as are
//! counted.
//!
//! PyTorch's numbers are held against it in `tests/gradients/pytorch.rs` and `pytorch_matrix.rs`, random networks in
//! `properties.rs` beside them.

use recurrent::internals::plan::{Op, Phase, Plan, Purpose, Target};
use recurrent::recipe::{Clip, Dropout, GradientCheckpointing, Loss, Optimizer, Recipe};
use recurrent::{
    Activation, Batch, Cell, Checkpoint, Config, Device, Directions, Error, InputKind, Layout, Model, Pool, Recurrent,
    Reset, Start, Trainer,
};

use crate::common::compare::{F32_NETWORK, F64, Tolerance, assert_close};
use crate::common::executor::{Execute, gpu};
use crate::common::heads::with_head_losses;
use crate::common::lists::{lazy_if_it_can_be, mixed};
use crate::common::network::{Network, Window, random_parameters, step_into};
use crate::common::random::Random;
use crate::common::whole;

/// A GPU without the workgroup memory for whole sequences: the recurrence goes step by step.
const BY_STEPS: Target = Target { binding_bytes: u64::MAX, workgroup_bytes: 0, ..Target::webgpu() };

const CELLS: [Cell; 6] = [
    Cell::Elman(Activation::Tanh),
    Cell::Lstm,
    Cell::Gru(Reset::AfterProduct),
    Cell::Gru(Reset::BeforeProduct),
    Cell::Cifg,
    Cell::PeepholeLstm,
];
const STEPS: usize = 11;
const BATCH: usize = 3;

/// Every cell, depth and read-out, each with and without a learned start over tokens or vectors.
fn configs() -> Vec<Config> {
    let mut all = Vec::new();
    for cell in CELLS {
        for layers in [1, 2, 3] {
            for read_out in [None, Some(Pool::Last), Some(Pool::Mean)] {
                let number = all.len();
                let input = if number % 2 == 0 { InputKind::Tokens(5) } else { InputKind::Dense(4) };
                let config = Config::of_cell(cell, input, 6, 3).with_layers(layers).with_pool(read_out);
                // Every fourth is a list of layers that differ.
                let config = if number % 4 > 0 {
                    config
                } else {
                    mixed(config, &mut Random::new(9), &CELLS, &[Activation::Gelu, Activation::Tanh])
                };
                let c = if cell.states() > 1 { 0.4 } else { 0.0 };
                let config = if number % 4 == 1 { config.with_zoneout(0.3, c) } else { config };
                let config = config.with_learned_initial_state(number % 3 != 0).with_bias(number % 5 != 0);
                if number % 4 > 0 && matches!(cell, Cell::Lstm | Cell::Cifg) {
                    all.push(config.clone().with_projection(2 + number % 4));
                }
                all.push(config);
            }
        }
    }
    all
}

fn recipe(config: &Config, with_dropout: bool) -> Recipe {
    let recipe = Recipe::new(Loss::CrossEntropy).with_clip(Clip::None).with_optimizer(Optimizer::sgd(0.0), 0.1);
    let recipe = with_head_losses(recipe, config);
    let between = if config.recurrent_layers().count() > 1 { 0.4 } else { 0.0 };
    let dropout = Dropout::variational(0.2, 0.3).with_outputs(between).with_weights(0.2);
    if with_dropout { lazy_if_it_can_be(recipe.with_dropout(dropout), config) } else { recipe }
}

/// Loss, norm, final state and gradients of a training step, the second on the same executor: what the first left must
/// not be seen.
fn step<E: Execute>(executor: E, config: &Config, target: Target, recipe: &Recipe, window: &Window) -> [Vec<f64>; 3] {
    let mut network = Network::new(executor, config, target);
    let train = network.prepare(Purpose::Train(recipe), window.steps, window.batch);
    let parameters = random_parameters(&mut Random::new(3), &Layout::new(config).unwrap(), 0.7);
    let other: Vec<f64> = parameters.iter().map(|p| 2.0 * p).collect();
    for parameters in [other, parameters] {
        network.write(&train, train.at.parameters, &parameters);
        network.run(&train, window, step_into(5));
    }
    let metrics = network.metrics(&train, 5);
    assert_eq!(metrics.updates, 1.0);
    let gradients = network.gradients(&train);
    [vec![metrics.loss, metrics.grad_norm], network.read(&train, train.at.state), gradients]
}

/// Segments of one step, of some, of all but one, of all, of more than there are, and of √T.
const SEGMENTS: [GradientCheckpointing; 7] = [
    GradientCheckpointing::Steps(1),
    GradientCheckpointing::Steps(2),
    GradientCheckpointing::Steps(5),
    GradientCheckpointing::Steps(STEPS - 1),
    GradientCheckpointing::Steps(STEPS),
    GradientCheckpointing::Steps(100),
    GradientCheckpointing::Sqrt,
];

fn the_gradient_is_that_of_the_whole_window<E: Execute>(
    executor: impl Fn() -> E,
    targets: &[Target],
    segments: &[GradientCheckpointing],
    tolerance: Tolerance,
) {
    for (number, config) in configs().iter().enumerate() {
        let mut random = Random::new(number as u64);
        // Sequences that end in the first segment, in the middle and with the window.
        let window = Window::random(&mut random, config, true, STEPS, BATCH);
        let mut window = window.with_lengths(config, vec![1, 7, STEPS as u32]);
        for with_dropout in [false, true] {
            window.fresh = config.recurrent_layers().next().unwrap().learned_initial_state && with_dropout;
            let recipe = recipe(config, with_dropout);
            let want = step(recurrent::internals::cpu::Executor::<f64>::new(), config, Target::cpu(), &recipe, &window);
            for (target, checkpointing) in targets.iter().flat_map(|target| segments.iter().map(move |s| (target, s))) {
                let recipe = recipe.clone().with_gradient_checkpointing(*checkpointing);
                let got = step(executor(), config, *target, &recipe, &window);
                for ((got, want), what) in got.iter().zip(&want).zip(["loss and norm", "final state", "gradients"]) {
                    assert_close(&format!("{what} of {config:?}, {recipe:?}, {target:?}"), got, want, tolerance);
                }
            }
        }
    }
}

#[test]
fn the_gradient_is_that_of_the_whole_window_on_the_cpu() {
    let targets = [Target::cpu(), Target::webgpu()];
    the_gradient_is_that_of_the_whole_window(recurrent::internals::cpu::Executor::<f64>::new, &targets, &SEGMENTS, F64);
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn the_gradient_is_that_of_the_whole_window_on_the_gpu() {
    let segments = [GradientCheckpointing::Steps(4), GradientCheckpointing::Steps(1)];
    the_gradient_is_that_of_the_whole_window(gpu, &[BY_STEPS, Target::webgpu()], &segments, F32_NETWORK);
}

fn plan(config: &Config, checkpointing: GradientCheckpointing, steps: usize, batch: usize, target: &Target) -> Plan {
    let recipe = Recipe::new(Loss::CrossEntropy).with_gradient_checkpointing(checkpointing);
    let recipe = with_head_losses(recipe, config);
    Plan::new(config, Purpose::Train(&recipe), steps, batch, target).unwrap().0
}

#[test]
fn a_window_that_is_one_segment_is_planned_as_without() {
    for config in configs() {
        let want = plan(&config, GradientCheckpointing::None, STEPS, BATCH, &BY_STEPS).to_string();
        for checkpointing in [GradientCheckpointing::Steps(STEPS), GradientCheckpointing::Steps(usize::MAX)] {
            assert_eq!(plan(&config, checkpointing, STEPS, BATCH, &BY_STEPS).to_string(), want);
        }
        let one = plan(&config, GradientCheckpointing::Sqrt, 1, BATCH, &BY_STEPS).to_string();
        assert_eq!(one, plan(&config, GradientCheckpointing::None, 1, BATCH, &BY_STEPS).to_string());
    }
}

#[test]
fn dispatches_are_counted() {
    let config = Config::lstm(InputKind::Dense(65), 128, 65).with_layers(2);
    let phases = [Phase::Forward, Phase::Loss, Phase::Backward, Phase::Update];
    let count = |checkpointing| {
        let plan = plan(&config, checkpointing, 50, 32, &BY_STEPS);
        phases.map(|phase| plan.dispatches(phase))
    };
    assert_eq!(count(GradientCheckpointing::None), [2 * (1 + 50) + 1, 1, 2 + 2 * (50 + 2) + 1, 3]);
    // Seven segments of 8 steps and less. Forward, in each: what is left of the lengths (not in the first), two layers'
    // product with W, the read-out; in all 50 steps of both layers.
    let forward = 6 + 7 * (2 + 1) + 2 * 50;
    // Backward, in each: read-out and dV, dU and dW of both layers, what the lower one hears; 50 steps of both. But for
    // the first the gradient of the initial states; but for the last, again the forward pass without the read-out (the
    // lengths not in the first). The gradients are combined after each, the last time by the update.
    let backward = 7 * (2 + 2 * 2 + 1) + 2 * 50 + 6 * 2 + (5 + 6 * 2 + 2 * 48) + 6;
    assert_eq!(count(GradientCheckpointing::Sqrt), [forward, 1, backward, 3]);
}

#[test]
fn a_segment_s_history_is_kept_in_place_of_the_window_s() {
    let config = Config::lstm(InputKind::Dense(65), 128, 65).with_layers(2);
    let (steps, batch) = (100, 8);
    let [whole, cut] = [GradientCheckpointing::None, GradientCheckpointing::Sqrt].map(|checkpointing| {
        let plan = plan(&config, checkpointing, steps, batch, &BY_STEPS);
        let of = |name: &str| plan.find(name).map(|id| plan.get(id).shape.clone());
        let names = ["gates_l1", "history_l0", "cells_l1", "upstream_l0", "segment_states", "state_gradient"];
        (names.map(of), plan.bytes().scratch)
    });
    // h and c of two layers.
    let state = vec![2 * 2 * batch * 128];
    assert_eq!(whole.0[..4], [(100, 4), (101, 1), (101, 1), (101, 1)].map(|(t, g)| Some(vec![t, batch, g * 128])));
    assert_eq!(whole.0[4..], [None, None]);
    // Ten steps, and slots for the state before them and, of what gradients are carried by, for the one after.
    assert_eq!(cut.0[..4], [(10, 4), (11, 1), (12, 1), (12, 1)].map(|(t, g)| Some(vec![t, batch, g * 128])));
    assert_eq!(cut.0[4..], [Some([vec![9], state.clone()].concat()), Some(state)]);
    assert!(cut.1 * 2 < whole.1, "{} bytes in place of {}", cut.1, whole.1);
    // Of √T steps and √T states, the whole grows with √T.
    let scratch = |steps: usize, checkpointing| {
        let plan = plan(&config.clone().pool(Pool::Last), checkpointing, steps, batch, &Target::cpu());
        plan.bytes().scratch - plan.get(plan.find("gradient_slices").unwrap()).bytes()
    };
    let [short, long] = [100, 10_000].map(|steps| scratch(steps, GradientCheckpointing::Sqrt));
    assert!(long < 10 * short, "{short} bytes for 100 steps, {long} for 10000");
    assert!(scratch(10_000, GradientCheckpointing::None) > 50 * long);
}

#[test]
fn every_segment_reads_the_states_and_the_rows_of_its_own() {
    let config = Config::gru(InputKind::Tokens(5), 6, 3);
    let plan = plan(&config, GradientCheckpointing::Steps(4), STEPS, BATCH, &BY_STEPS);
    let rows = plan.stages().iter().filter_map(|stage| match &stage.op {
        Op::GatherGradient(op) => Some((op.part, op.d.rows)),
        _ => None,
    });
    assert_eq!(rows.collect::<Vec<_>>(), [(2, 3 * BATCH), (1, 4 * BATCH), (0, 4 * BATCH)]);
    assert_eq!(plan.get(plan.find("starts").unwrap()).shape, [3, 5 + 1]);
}

/// Steps of a training, over carried windows and over two windows at once, are those without checkpoints up to
/// rounding; a training that was saved goes on bit for bit.
#[test]
fn a_plan_of_short_segments_is_itself_not_large() {
    let config = Config::lstm(InputKind::Tokens(5), 6, 3).with_layers(2).with_learned_initial_state(true);
    for (steps, segment, segments) in [(65_536, 1, 1024), (65_536, 2, 1024), (65_536, 100, 656), (300, 2, 150)] {
        let plan = plan(&config, GradientCheckpointing::Steps(segment), steps, 1, &Target::webgpu());
        let backward = plan.stages().iter().filter(|stage| matches!(stage.op, Op::Backward(_))).count();
        assert_eq!(backward, 2 * segments, "T {steps}, {segment} a segment");
        // At most 1 KiB a step and layer where the window is long, beside what a segment takes anyway.
        let bytes = size_of_val(plan.stages());
        assert!(bytes <= 1024 * 2 * steps || steps < 1000, "{bytes} bytes for {steps} steps");
    }
}

fn a_training_is_the_same(device: &Device) {
    let config = Config::gru(InputKind::Tokens(5), 8, 5).with_layers(2).with_seed(1).with_learned_initial_state(true);
    let dropout = Dropout::variational(0.1, 0.1).with_outputs(0.2);
    let recipe = Recipe::new(Loss::CrossEntropy).with_optimizer(Optimizer::sgd(0.5), 0.1).with_dropout(dropout);
    let batches: Vec<Batch> =
        (0..4).map(|at| whole::batch(&mut whole::rng(at), &config, Loss::CrossEntropy, 9, 3)).collect();
    let run = |trainer: &mut Trainer| {
        trainer.step(&batches[0]).unwrap();
        trainer.step(&batches[1].clone().with_start(Start::Carry)).unwrap();
        trainer.step_accumulated(&batches[2..]).unwrap();
        trainer.metrics().unwrap().iter().flat_map(|metrics| [metrics.loss, metrics.grad_norm]).collect::<Vec<_>>()
    };
    let model = Model::new(config.clone()).unwrap();
    let mut plain = Trainer::new(device, &model, recipe.clone()).unwrap();
    let recipe = recipe.with_gradient_checkpointing(GradientCheckpointing::Sqrt);
    let mut cut = Trainer::new(device, &model, recipe).unwrap();
    let (want, got) = (run(&mut plain), run(&mut cut));
    assert_close("losses and norms", &got, &want, F32_NETWORK);
    let flat = |trainer: &mut Trainer| -> Vec<f64> {
        trainer.model().unwrap().values().iter().map(|value| f64::from(*value)).collect()
    };
    assert_close("parameters", &flat(&mut cut), &flat(&mut plain), F32_NETWORK);

    let saved = Checkpoint::from_bytes(&whole::bytes(&mut cut)).unwrap();
    let mut resumed = Trainer::resume(device, &saved).unwrap();
    assert_eq!(resumed.recipe().gradient_checkpointing, GradientCheckpointing::Sqrt);
    run(&mut cut);
    run(&mut resumed);
    assert!(whole::bytes(&mut cut) == whole::bytes(&mut resumed), "the resumed training is another");
}

whole::on_both!(a_training_is_the_same);

#[test]
fn what_cannot_be_checkpointed_is_refused() {
    let config = Config::lstm(InputKind::Tokens(5), 4, 5);
    let both = config.clone().with_directions(Directions::Bidirectional);
    let reverse = config.clone().layer(Recurrent::gru(3).reversed());
    let recipe = Recipe::new(Loss::CrossEntropy);
    for (config, checkpointing, what) in [
        (&both, GradientCheckpointing::Sqrt, "(Sqrt), but layer 0 (lstm) reads sequences both ways"),
        (&both, GradientCheckpointing::Steps(3), "(Steps(3)), but layer 0 (lstm) reads sequences both ways"),
        (&reverse, GradientCheckpointing::Sqrt, "(Sqrt), but layer 1 (gru) reads sequences from their end"),
        (&config, GradientCheckpointing::Steps(0), "every 0 steps, expected at least 1"),
    ] {
        let recipe = recipe.clone().with_gradient_checkpointing(checkpointing);
        for error in [
            Plan::new(config, Purpose::Train(&recipe), 5, 2, &Target::cpu()).unwrap_err(),
            Trainer::new(&Device::cpu(), &Model::new(config.clone()).unwrap(), recipe).unwrap_err(),
        ] {
            assert!(matches!(error, Error::Config(_)), "{error:?}");
            assert!(error.to_string().contains(what), "{error}");
        }
    }
    assert!(Trainer::new(&Device::cpu(), &Model::new(both).unwrap(), recipe).is_ok());
}
