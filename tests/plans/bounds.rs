//! What a dispatch does is bounded: counted from plans of any size, and seen on the adapter where one dispatch would be
//! too long for it.

use crate::common::compare::{Tolerance, check_close};
use crate::common::executor::{Execute, gpu};
use crate::common::heads::with_heads;
use crate::common::lists::with_dense;
use crate::common::network::{Network, Window, evaluation, for_heads, random_parameters, step_into, training};
use crate::common::random::Random;
use recurrent::internals::cpu;
use recurrent::internals::plan::{
    BackwardRecurrence, Bounds, Op, Plan, Purpose, RecurrenceMode, StepParams, Target, WindowForm, Work,
};
use recurrent::{
    Activation, Cell, Clip, Config, Directions, Dropout, Error, GradientCheckpointing, InputKind, Layout, Loss,
    Optimizer, Pool, Precision, Recipe, Reset,
};

const CELLS: [Cell; 7] = [
    Cell::Elman(Activation::Tanh),
    Cell::Elman(Activation::Relu),
    Cell::Lstm,
    Cell::Gru(Reset::AfterProduct),
    Cell::Gru(Reset::BeforeProduct),
    Cell::Cifg,
    Cell::PeepholeLstm,
];

/// A large GPU, whose tensors may be of any size that 32-bit indices reach.
const LARGE: Target = Target { binding_bytes: u64::MAX, ..Target::webgpu() };
const SOFTWARE: Target = Target { software: true, workgroups: 2, bounds: Bounds::SOFTWARE, ..LARGE };
const HALF: Target = Target { has_f16: true, precision: Precision::F16, ..LARGE };
/// One that asks for little.
const WEAK: Target = Target {
    bounds: Bounds {
        iterations: 2048,
        dispatch: Work { flops: 1 << 26, bytes: 1 << 26 },
        submission: Work { flops: 1 << 28, bytes: 1 << 28 },
    },
    ..LARGE
};

/// Holds every operation of a plan against the bounds; says how many were cut.
fn check(what: &str, plan: &Plan) -> usize {
    let bounds = plan.bounds();
    let mut cut = 0;
    for stage in plan.stages() {
        let (iterations, dispatches) = (stage.op.iterations(plan), stage.op.dispatches(plan));
        assert!(iterations <= bounds.iterations, "{what}: {iterations} iterations of {:?}", stage.op);
        let work = stage.op.cost(plan).work().share(dispatches);
        let is_copy = dispatches == 0;
        assert!(is_copy || work.fits(bounds.dispatch), "{what}: {work:?} a dispatch of {:?}", stage.op);
        let by_steps = matches!(
            &stage.op,
            Op::Forward(r) | Op::Backward(BackwardRecurrence { recurrence: r, .. })
                if r.schedule == RecurrenceMode::PerStep
        );
        cut += usize::from(dispatches > 1 && !by_steps);
    }
    cut
}

fn purposes(pool: Option<Pool>, directions: Directions) -> Vec<Purpose<'static>> {
    let recipe = Recipe::new(Loss::CrossEntropy);
    let mut all = vec![
        Purpose::Infer,
        evaluation(Loss::MeanSquared),
        training(recipe.clone().with_dropout(Dropout::variational(0.1, 0.2)).with_trace()),
        training(Recipe::new(Loss::MeanSquared).with_clip(Clip::Value(1.0)).with_optimizer(Optimizer::sgd(0.9), 0.1)),
    ];
    if directions == Directions::Forward && pool != Some(Pool::Mean) {
        all.push(training(recipe.with_gradient_checkpointing(GradientCheckpointing::Sqrt)));
    }
    all
}

#[test]
fn every_dispatch_of_a_plan_of_any_size_keeps_to_the_bounds() {
    let (mut plans, mut cut, mut refused) = (0, 0, 0);
    // [T, B, inputs, H, outputs]; of tokens and of numbers.
    let sizes: [[usize; 5]; 13] = [
        [1_000_000, 1, 3, 2, 3],
        [1_000_000, 10, 3, 1, 2],
        [1000, 10_000, 2, 2, 2],
        [3, 3_333_333, 1, 1, 1],
        [1, 10_000_000, 2, 1, 2],
        [20, 2, 1_000_000, 8, 4],
        [20, 2, 5, 8, 1_000_000],
        [4, 1, 300_000, 40, 300_000],
        [4096, 1, 16, 8, 4],
        [10_000, 4, 7, 90, 5],
        [5000, 64, 33, 128, 65],
        [50, 4096, 512, 1024, 512],
        [2, 3, 5, 8192, 5],
    ];
    for [steps, batch, inputs, hidden, outputs] in sizes {
        for (number, cell) in CELLS.into_iter().enumerate() {
            for directions in [Directions::Forward, Directions::Bidirectional] {
                for read_out in [None, Some(Pool::Last), Some(Pool::First), Some(Pool::Mean), Some(Pool::Max)] {
                    let input = if number % 2 == 0 { InputKind::Tokens(inputs) } else { InputKind::Dense(inputs) };
                    let config = Config::of_cell(cell, input, hidden, outputs)
                        .with_layers(1 + number % 2)
                        .with_directions(directions)
                        .with_bias(number != 1)
                        .with_learned_initial_state(number > 1)
                        .with_pool(read_out);
                    let projects = cell == Cell::Cifg && hidden > 1;
                    let config = if projects { config.with_projection(hidden.div_ceil(2)) } else { config };
                    let config = if hidden % 3 == 0 { with_heads(with_dense(config)) } else { config };
                    for purpose in purposes(read_out, directions) {
                        let purpose = for_heads(purpose, &config);
                        for target in [LARGE, SOFTWARE, HALF, WEAK] {
                            let what = format!("T={steps} B={batch} {config:?} {purpose:?} {target:?}");
                            match Plan::new(&config, purpose, steps, batch, &target) {
                                Ok((plan, _)) => {
                                    plans += 1;
                                    cut += check(&what, &plan);
                                }
                                // Beyond 32-bit indices, or rows of a loss beyond what a weak target does.
                                Err(Error::Limit { limit, .. }) if target == WEAK || limit != "the target's bounds" => {
                                    refused += 1
                                }
                                Err(error) => panic!("{what}: {error}"),
                            }
                        }
                    }
                }
            }
        }
    }
    assert!(plans > 3000 && cut > 3000, "{plans} plans, {cut} cut operations, {refused} refused");
}

#[test]
fn every_dispatch_of_a_loss_of_label_sequences_keeps_to_the_bounds() {
    let mut cut = 0;
    for [steps, batch, outputs, labels] in
        [[1, 1, 2, 0], [400, 16, 30, 64], [10_000, 2, 100, 1024], [200_000, 1, 5, 32], [30, 4096, 4, 16]]
    {
        let config = Config::gru(InputKind::Dense(2), 3, outputs);
        for purpose in [evaluation(Loss::ctc()), training(Recipe::new(Loss::ctc()))] {
            for target in [LARGE, SOFTWARE, HALF, WEAK] {
                let form = WindowForm { labels, ..WindowForm::new(steps, batch) };
                let (plan, _) = Plan::of_form(&config, purpose, form, &target).unwrap();
                let states = plan.stages().iter().find(|stage| matches!(stage.op, Op::CtcStates(_))).unwrap();
                cut += usize::from(states.op.dispatches(&plan) > 1);
                check(&format!("T={steps} B={batch} O={outputs} L={labels} {purpose:?} {target:?}"), &plan);
            }
        }
    }
    assert!(cut > 10, "{cut}");
}

#[test]
fn what_cannot_be_kept_to_is_an_error() {
    // Rows of a loss are not cut.
    let config = Config::elman(InputKind::Tokens(2), 1, 4_000_000);
    let error = Plan::new(&config, Purpose::Evaluate(&Recipe::new(Loss::CrossEntropy)), 1, 1, &LARGE).unwrap_err();
    assert!(matches!(error, Error::Limit { allowed: 32_768, .. }), "{error}");
    assert!(error.to_string().contains("cross entropy row_loss"), "{error}");
}

/// What of a training both executors are asked for.
const TENSORS: [&str; 2] = ["gradients", "parameters"];

/// One training step on the adapter against the CPU: loss, gradients, parameters.
fn compare_training(
    config: &Config,
    recipe: &Recipe,
    steps: usize,
    batch: usize,
    target: Target,
    tolerance: Tolerance,
) {
    let mut random = Random::new(7);
    let layout = Layout::new(config).unwrap();
    let parameters = random_parameters(&mut random, &layout, 0.3);
    let window = Window::random(&mut random, config, recipe.loss == Loss::CrossEntropy, steps, batch);
    let purpose = Purpose::Train(recipe);
    let [got, want] = [
        trained(Network::new(gpu(), config, target), purpose, &window, &parameters),
        trained(Network::new(cpu::Executor::<f64>::new(), config, Target::cpu()), purpose, &window, &parameters),
    ];
    let what = format!("T={steps} B={batch} {config:?}");
    for ((name, got), want) in ["loss", "gradients", "parameters"].iter().zip(&got).zip(&want) {
        check_close(&format!("{what}: {name}"), got, want, tolerance).unwrap();
    }
}

fn trained<E: Execute>(
    mut network: Network<E>,
    purpose: Purpose,
    window: &Window,
    parameters: &[f64],
) -> [Vec<f64>; 3] {
    let train = network.prepare(purpose, window.steps, window.batch);
    network.write(&train, train.at.parameters, parameters);
    if let Some(loss_scale) = train.at.training.and_then(|training| training.loss_scale) {
        network.write(&train, loss_scale, &[1024.0, 1.0 / 1024.0, 0.0]);
    }
    network.run(
        &train,
        window,
        StepParams { learning_rate: 0.01, first_correction: 0.1, second_correction: 0.001, ..step_into(0) },
    );
    let loss = network.metrics(&train, 0).loss;
    let [gradients, parameters] = TENSORS.map(|name| {
        let tensor = train.plan.find(name).unwrap();
        network.read(&train, tensor)
    });
    [vec![loss], gradients, parameters]
}

/// A thousand steps of rounding in f32, measured against the largest element.
const LONG: Tolerance = Tolerance { relative: 2e-4, floor: 1.0, least: 0.0 };

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn a_long_window_and_a_large_batch_train_as_on_the_cpu() {
    let whole = gpu().gpu().target();
    let recipe = Recipe::new(Loss::CrossEntropy);
    // Of each the adapter would end a loop in the middle.
    compare_training(&Config::lstm(InputKind::Dense(16), 8, 3), &recipe, 4096, 1, whole, LONG);
    let gru = Config::gru(InputKind::Dense(2), 2, 3).pool(Pool::Last);
    compare_training(&gru, &recipe, 3, 70_000, whole, LONG);
    let learned = Config::gru(InputKind::Dense(1), 2, 3).with_learned_initial_state(true).pool(Pool::Mean);
    compare_training(&learned, &recipe, 3, 70_000, whole, LONG);
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn every_cell_trains_over_a_long_window_as_on_the_cpu() {
    let whole = gpu().gpu().target();
    let recipe = Recipe::new(Loss::CrossEntropy);
    for (number, cell) in CELLS.into_iter().enumerate() {
        for directions in [Directions::Forward, Directions::Bidirectional] {
            let config = Config::of_cell(cell, InputKind::Tokens(5), 8, 3).with_directions(directions);
            let config = if number % 2 == 0 { config } else { config.pool(Pool::Mean) };
            let dropped = recipe.clone().with_dropout(Dropout::variational(0.1, 0.1));
            compare_training(&config, if number % 2 == 0 { &recipe } else { &dropped }, 3000, 1, whole, LONG);
        }
        // In segments that are long themselves.
        let config = Config::of_cell(cell, InputKind::Tokens(5), 8, 3);
        compare_training(
            &config,
            &recipe.clone().with_gradient_checkpointing(GradientCheckpointing::Steps(3000)),
            3500,
            1,
            whole,
            LONG,
        );
    }
    // By steps nothing is long but the sums behind them.
    let by_steps = Target { workgroup_bytes: 0, ..whole };
    compare_training(&Config::lstm(InputKind::Tokens(5), 3, 3), &recipe, 600, 120, by_steps, LONG);
}

#[test]
#[cfg_attr(no_f16, ignore = "RECURRENT_ADAPTER=none or RECURRENT_F16=none")]
fn a_long_window_trains_in_half_precision() {
    let whole = gpu().gpu().target();
    let half = Target { precision: Precision::F16, ..whole };
    let tolerance = Tolerance { relative: 3e-2, floor: 1.0, least: 0.0 };
    compare_training(
        &Config::lstm(InputKind::Tokens(5), 8, 3),
        &Recipe::new(Loss::CrossEntropy),
        3000,
        1,
        half,
        tolerance,
    );
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn large_vocabularies_and_inputs_train_as_on_the_cpu() {
    let whole = gpu().gpu().target();
    // No division by a gradient's own size, which of the smallest is rounding.
    let recipe = Recipe::new(Loss::CrossEntropy).with_optimizer(Optimizer::sgd(0.0), 0.1);
    let dense = Config::elman(InputKind::Dense(120_000), 3, 2).pool(Pool::Last);
    compare_training(&dense, &recipe, 2, 2, whole, LONG);
    let outputs = Config::elman(InputKind::Tokens(3), 3, 120_000).pool(Pool::Last);
    compare_training(&outputs, &recipe, 2, 2, whole, LONG);
    let tokens = Config::gru(InputKind::Tokens(120_000), 2, 3).pool(Pool::Last);
    compare_training(&tokens, &recipe, 2, 2, whole, LONG);
}

/// An inference both ways over a long window, of which the adapter would end a loop.
#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn an_inference_both_ways_reads_to_the_end() {
    let config = Config::elman(InputKind::Dense(4), 20, 3).with_directions(Directions::Bidirectional);
    let mut random = Random::new(9);
    let layout = Layout::new(&config).unwrap();
    let parameters = random_parameters(&mut random, &layout, 0.2);
    let window = Window::random(&mut random, &config, true, 2000, 8);
    fn outputs<E: Execute>(mut network: Network<E>, window: &Window, parameters: &[f64]) -> Vec<f64> {
        let infer = network.prepare(Purpose::Infer, window.steps, window.batch);
        network.write(&infer, infer.at.parameters, parameters);
        network.run(&infer, window, step_into(0));
        network.read(&infer, infer.at.outputs)
    }
    let got = outputs(Network::new(gpu(), &config, gpu().gpu().target()), &window, &parameters);
    let want = outputs(Network::new(cpu::Executor::<f64>::new(), &config, Target::cpu()), &window, &parameters);
    check_close("outputs", &got, &want, LONG).unwrap();
}
