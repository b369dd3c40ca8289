//! The gradients of the f64 executor against central differences of its loss: every element of every parameter and of
//! the initial state, for every combination of cell, layers, input, loss and read-out.
//!
//! The loss comes from an evaluation plan, the gradients from a training plan, so a fault in what the two share is left
//! for `pytorch.rs`. With dropout both come from the training plan, whose keys, and so its masks, stay the same.

use recurrent::internals::cpu;
use recurrent::internals::plan::{BackwardRecurrence, Op, Purpose, Recurrence, RecurrenceMode, Target};
use recurrent::recipe::{Clip, Dropout, GradientCheckpointing, Loss, Optimizer, Recipe};
use recurrent::{
    Activation, Cell, Config, Dense, Directions, DropoutLayer, GateActivation, InputKind, Join, Layer, LayerNorm, Pool,
    Recurrent, Reset, Zoneout,
};

use crate::common::compare::{DIFFERENCES, EXACT, F64, assert_close};
use crate::common::heads::Targets;
use crate::common::network::{Network, Prepared, Window, random_parameters, slices, step_into};
use crate::common::random::Random;

type Net = Network<cpu::Executor<f64>>;

/// The distance of the two inner points of a central difference from its centre.
const STEP: f64 = 1e-4;
/// No pre-activation may be nearer to the kink of max(0, x) than this, several times what a step moves it by.
const KINK_MARGIN: f64 = 2e-3;
/// Sizes that differ from each other.
const INPUTS: usize = 3;
const HIDDEN: usize = 4;
const OUTPUTS: usize = 5;
/// The row of the metrics. Only the gradient of the mean is looked at: nothing is clipped, and the rate is 0.
const SLOT: usize = 7;

fn recipe(loss: Loss) -> Recipe {
    Recipe::new(loss).with_clip(Clip::None).with_optimizer(Optimizer::sgd(0.0), 0.1)
}

/// All networks of these tests.
fn configs() -> Vec<Config> {
    let mut configs = Vec::new();
    let elman = Cell::Elman;
    // Of relu one layer: the kinks of a second are not looked for.
    for (cell, layers) in [
        (elman(Activation::Tanh), 1),
        (elman(Activation::Relu), 1),
        (elman(Activation::Tanh), 2),
        (Cell::Lstm, 1),
        (Cell::Lstm, 2),
        (Cell::Gru(Reset::AfterProduct), 1),
        (Cell::Gru(Reset::AfterProduct), 2),
        (Cell::Gru(Reset::BeforeProduct), 1),
        (Cell::Gru(Reset::BeforeProduct), 2),
        (Cell::Cifg, 1),
        (Cell::Cifg, 2),
        (Cell::PeepholeLstm, 1),
        (Cell::PeepholeLstm, 2),
    ] {
        for input in [InputKind::Dense(INPUTS), InputKind::Tokens(INPUTS)] {
            for read_out in [None, Some(Pool::Last), Some(Pool::Mean)] {
                let config = Config::of_cell(cell, input, HIDDEN, OUTPUTS).with_layers(layers).with_pool(read_out);
                // Every second learns its initial state: only then is there a gradient of it.
                let learned_initial_state = configs.len() % 2 == 0;
                configs.push(config.with_learned_initial_state(learned_initial_state));
            }
        }
    }
    configs.extend(lists());
    // Without padding, whose gradient is not the loss's.
    let words = |width: usize| Config::new(InputKind::Tokens(OUTPUTS)).embedding(width).layer(Recurrent::lstm(HIDDEN));
    configs.push(words(3).outputs(OUTPUTS));
    configs.push(
        words(2)
            .layer(Recurrent::gru(3))
            .dense(2, Activation::Tanh)
            .outputs(OUTPUTS)
            .tied()
            .with_learned_initial_state(true),
    );
    configs.push(words(3).pool(Pool::Mean).dense(3, Activation::Gelu).outputs(OUTPUTS).tied());
    configs
}

/// Layers of every kind, function and pool: dense ones below, between and above recurrent ones of different sizes.
fn lists() -> impl Iterator<Item = Config> {
    let functions = [
        [Activation::Tanh, Activation::Identity],
        [Activation::Gelu, Activation::Sigmoid],
        [Activation::Softplus, Activation::Gelu],
    ];
    let pools = [None, Some(Pool::Last), Some(Pool::First), Some(Pool::Mean), Some(Pool::Max)];
    pools.into_iter().enumerate().map(move |(number, pool)| {
        let [below, above] = functions[number % 3];
        let input = if number % 2 == 0 { InputKind::Dense(INPUTS) } else { InputKind::Tokens(INPUTS) };
        Config::new(input)
            .dense(5, below)
            .layer(Recurrent::lstm(HIDDEN))
            .layer(LayerNorm::new().with_epsilon(0.1))
            .layer(Dense::new(4, above).with_bias(false))
            // Through a map where the widths differ.
            .layer(Recurrent::gru(4 - number % 2).residual())
            .with_pool(pool)
            .layer(Dense::new(4, above).residual())
            .dense(3, above)
            .layer(LayerNorm::new().with_epsilon(0.1))
            .outputs(OUTPUTS)
            .with_learned_initial_state(number % 2 == 0)
    })
}

/// Every cell with one direction, both and the other, with and without biases, over sequences of unequal length.
fn structures() -> Vec<Config> {
    let mut configs = configs();
    for (number, config) in configs.iter_mut().enumerate() {
        let directions = [Directions::Forward, Directions::Bidirectional, Directions::Reverse]
            // Each of the three meets each of the three pools.
            [(number + number / 3) % 3];
        let mut both = config.clone().with_directions(directions).with_bias(number % 4 < 2);
        if directions == Directions::Bidirectional {
            // A product of two relus may be zero whatever the initial state is.
            let relu = config.recurrent_layers().any(|layer| layer.cell == Cell::Elman(Activation::Relu));
            let product = if relu { Join::Sum } else { Join::Product };
            both = both.with_join([Join::Sum, Join::Concat, Join::Mean, product][(number + number / 6) % 4]);
        }
        *config = both;
    }
    configs
}

#[test]
fn gradients_are_those_of_the_loss_in_every_structure() {
    for config in structures() {
        for target in [Target::cpu(), Target::webgpu()] {
            let lengths = Some(vec![3, 6, 1, 5]);
            check_case(&Case { lengths: lengths.clone(), target, ..Case::of(&config, Loss::CrossEntropy, 6, 4) });
            if config.recurrent_layers().next().unwrap().learned_initial_state {
                let case = Case { lengths, target, fresh: true, ..Case::of(&config, Loss::MeanSquared, 6, 4) };
                check_case(&case);
            }
        }
    }
}

/// Some of c cut off and some not; none of the draws has one so near the bound that a difference goes across.
#[test]
fn gradients_are_those_of_the_loss_with_c_cut_off() {
    for cell in [Cell::Lstm, Cell::Cifg, Cell::PeepholeLstm] {
        for directions in [Directions::Forward, Directions::Bidirectional, Directions::Reverse] {
            let config = Config::of_cell(cell, InputKind::Dense(INPUTS), HIDDEN, OUTPUTS).with_directions(directions);
            let config = config.with_cell_clip(0.3).with_learned_initial_state(true);
            check_case(&Case { lengths: Some(vec![5, 2, 3]), ..Case::of(&config, Loss::CrossEntropy, 5, 3) });
        }
    }
}

/// Of one layer and more, each as wide as the h below it, in every direction, joined, and with dropout of inputs, h
/// and U.
#[test]
fn gradients_are_those_of_the_loss_with_h_projected() {
    for (number, cell) in [Cell::Lstm, Cell::Cifg, Cell::Lstm].into_iter().enumerate() {
        for directions in [Directions::Forward, Directions::Bidirectional, Directions::Reverse] {
            let config = Config::of_cell(cell, InputKind::Dense(INPUTS), HIDDEN, OUTPUTS).with_directions(directions);
            let config = config.with_projection(3 - number).with_layers(1 + number).with_bias(number != 1);
            let config = config.with_learned_initial_state(number != 0);
            let joins = directions == Directions::Bidirectional && number == 1;
            let config = if joins { config.with_join(Join::Sum) } else { config };
            let config = if number == 2 { config.with_pool(Some(Pool::Last)) } else { config };
            let weights = Dropout::NONE.with_weights(0.4);
            for dropout in [Dropout::NONE, Dropout::variational(0.3, 0.4), weights] {
                for loss in [Loss::CrossEntropy, Loss::MeanSquared] {
                    let recipe = recipe(loss.clone()).with_dropout(dropout);
                    for target in [Target::cpu(), Target::webgpu()] {
                        let case = Case { recipe: recipe.clone(), target, ..Case::of(&config, loss.clone(), 6, 3) };
                        check_case(&Case { lengths: Some(vec![6, 2, 5]), fresh: number != 0, ..case });
                    }
                }
            }
        }
    }
}

/// Gates on both sides of the ends of the straight lines; none of the draws has one so near an end that a difference
/// goes across.
#[test]
fn gradients_are_those_of_the_loss_with_gates_of_straight_lines() {
    let gates = [GateActivation::HardSigmoid, GateActivation::SteepHardSigmoid];
    let grus = [Cell::Gru(Reset::AfterProduct), Cell::Gru(Reset::BeforeProduct)];
    for cell in [Cell::Lstm, Cell::Cifg, Cell::PeepholeLstm].into_iter().chain(grus) {
        for (gate, directions) in gates.into_iter().zip([Directions::Forward, Directions::Bidirectional]) {
            let config = Config::of_cell(cell, InputKind::Dense(INPUTS), HIDDEN, OUTPUTS).with_directions(directions);
            let config = config.with_gate_activation(gate).with_learned_initial_state(true);
            check_case(&Case { lengths: Some(vec![4, 2]), ..Case::of(&config, Loss::CrossEntropy, 4, 2) });
        }
    }
}

#[test]
fn gradients_are_those_of_the_loss_with_dropout_held_fixed() {
    // Not of relu: its kinks are looked for without dropout.
    for config in structures()
        .into_iter()
        .filter(|config| config.recurrent_layers().next().unwrap().cell != Cell::Elman(Activation::Relu))
    {
        // Both kinds at once would hide neither's fault.
        let weights = Dropout::NONE.with_weights(0.4);
        let kinds = [Dropout::between_layers(0.4), Dropout::variational(0.3, 0.4), weights];
        for dropout in kinds.into_iter().skip(usize::from(config.recurrent_layers().count() == 1)) {
            let recipe = recipe(Loss::CrossEntropy).with_dropout(dropout);
            check_case(&Case { recipe, lengths: Some(vec![6, 2, 5]), ..Case::of(&config, Loss::CrossEntropy, 6, 3) });
        }
    }
}

/// Of h, projected or not, of c and of both with c cut off as above; over segments and beside dropout of the hidden
/// state, whose mask lies in the same tensor.
#[test]
fn gradients_are_those_of_the_loss_with_zoneout_held_fixed() {
    for (cell, projection) in [
        (Cell::Elman(Activation::Tanh), None),
        (Cell::Lstm, None),
        (Cell::Lstm, Some(2)),
        (Cell::Cifg, None),
        (Cell::Cifg, Some(1)),
        (Cell::PeepholeLstm, None),
        (Cell::Gru(Reset::AfterProduct), None),
        (Cell::Gru(Reset::BeforeProduct), None),
    ] {
        let rates: &[[f64; 2]] = if cell.states() > 1 { &[[0.4, 0.0], [0.0, 0.4], [0.3, 0.5]] } else { &[[0.4, 0.0]] };
        for (number, [h, c]) in rates.iter().enumerate() {
            for directions in [Directions::Forward, Directions::Bidirectional, Directions::Reverse] {
                let config = Config::of_cell(cell, InputKind::Dense(INPUTS), HIDDEN, OUTPUTS).with_layers(2);
                let config = config.with_directions(directions).with_learned_initial_state(true).with_zoneout(*h, *c);
                let config = if number == 2 { config.with_cell_clip(0.5) } else { config };
                let config = if let Some(size) = projection { config.with_projection(size) } else { config };
                let mut recipe = recipe(Loss::CrossEntropy);
                if number != 1 {
                    recipe = recipe.with_dropout(Dropout::variational(0.0, 0.3));
                }
                let lengths = Some(vec![6, 2, 5]);
                let case = Case { recipe, lengths, ..Case::of(&config, Loss::CrossEntropy, 6, 3) };
                check_case(&case);
                check_case(&Case { fresh: true, recipe: case.recipe.clone(), lengths: case.lengths.clone(), ..case });
                if directions == Directions::Forward {
                    let recipe = case.recipe.clone().with_gradient_checkpointing(GradientCheckpointing::Steps(4));
                    let lengths = case.lengths.clone();
                    check_case(&Case { recipe, lengths, ..Case::of(&config, Loss::CrossEntropy, 6, 3) });
                }
            }
        }
    }
}

#[test]
fn gradients_are_those_of_the_loss_with_layers_of_dropout_held_fixed() {
    let below = || Config::new(InputKind::Dense(INPUTS)).dropout(0.2).layer(Recurrent::lstm(HIDDEN));
    let between = || Config::new(InputKind::Tokens(INPUTS)).embedding(4).layer(DropoutLayer::new(0.3).over_time());
    let between = || between().layer(Recurrent::gru(HIDDEN)).layer(Recurrent::gru(HIDDEN).residual()).dropout(0.4);
    let between = || between().layer(Recurrent::gru(HIDDEN)).layer(Recurrent::lstm(2).residual());
    let above = || between().pool(Pool::Mean).dropout(0.3).dense(3, Activation::Tanh);
    for config in [below(), between(), above()].map(|config| config.outputs(OUTPUTS)) {
        let dropout = Dropout::between_layers(if config.recurrent_layers().count() > 1 { 0.4 } else { 0.0 });
        for dropout in [Dropout::NONE, dropout] {
            let recipe = recipe(Loss::CrossEntropy).with_dropout(dropout);
            check_case(&Case { recipe, lengths: Some(vec![6, 2, 5]), ..Case::of(&config, Loss::CrossEntropy, 6, 3) });
        }
    }
}

#[test]
fn gradients_are_those_of_the_loss_over_one_step() {
    for config in configs() {
        for loss in [Loss::CrossEntropy, Loss::MeanSquared] {
            check(&config, loss, 1, 3, Target::cpu());
        }
    }
}

#[test]
fn gradients_are_those_of_the_loss_over_seven_steps() {
    for config in configs() {
        for loss in [Loss::CrossEntropy, Loss::MeanSquared] {
            check(&config, loss, 7, 3, Target::cpu());
        }
    }
}

#[test]
fn gradients_are_those_of_the_loss_where_the_sums_are_sliced_and_the_sequence_is_whole() {
    for config in configs() {
        let train = check(&config, Loss::CrossEntropy, 5, 40, Target::webgpu());
        assert_eq!(slices(&train.plan), 3, "200 rows, in slices of at least 64");
        let whole = train.plan.stages().iter().filter(|s| {
            let is_whole = |r: &Recurrence| r.schedule == RecurrenceMode::WholeSequence;
            matches!(&s.op, Op::Forward(r) | Op::Backward(BackwardRecurrence { recurrence: r, .. }) if is_whole(r))
        });
        assert_eq!(whole.count(), 2 * config.recurrent_layers().count());
    }
}

#[test]
fn how_a_plan_is_cut_does_not_change_its_numbers() {
    for config in configs() {
        let mut random = Random::new(5);
        let (steps, batch) = (5, 40);
        let window = Window::random(&mut random, &config, true, steps, batch);
        let [cpu, webgpu] = [Target::cpu(), Target::webgpu()].map(|target| {
            let mut net = Net::new(cpu::Executor::new(), &config, target);
            let train = net.prepare(Purpose::Train(&recipe(Loss::CrossEntropy)), steps, batch);
            let parameters = random_parameters(&mut Random::new(6), &net.layout, 0.6);
            net.write(&train, train.at.parameters, &parameters);
            net.run(&train, &window, step_into(SLOT));
            let metrics = net.metrics(&train, SLOT);
            let gradients = net.gradients(&train);
            (slices(&train.plan), [metrics.loss, metrics.grad_norm, metrics.clip_scale, metrics.updates], gradients)
        });
        assert_eq!((cpu.0, webgpu.0), (1, 3));
        assert_close("metrics", &webgpu.1, &cpu.1, F64);
        assert_close("gradients", &webgpu.2, &cpu.2, F64);
    }
}

#[test]
fn positions_that_do_not_count_may_hold_anything() {
    for config in configs() {
        let mut random = Random::new(8);
        for (loss, classes) in [(Loss::CrossEntropy, true), (Loss::MeanSquared, false)] {
            let clean = Window::random(&mut random, &config, classes, 7, 3);
            let mut dirty = clean.clone();
            let masked = |at: usize| clean.mask[at] == 0.0;
            match &mut dirty.targets {
                Targets::Classes(ids) => (0..ids.len()).filter(|&r| masked(r)).for_each(|r| ids[r] = u32::MAX),
                Targets::Values(values) => {
                    (0..values.len()).filter(|&i| masked(i / OUTPUTS)).for_each(|i| values[i] = f64::NAN);
                }
            }
            let [clean, dirty] = [clean, dirty].map(|window| {
                let mut net = Net::new(cpu::Executor::new(), &config, Target::cpu());
                let train = net.prepare(Purpose::Train(&recipe(loss.clone())), 7, 3);
                let parameters = random_parameters(&mut Random::new(9), &net.layout, 0.6);
                net.write(&train, train.at.parameters, &parameters);
                net.run(&train, &window, step_into(SLOT));
                net.gradients(&train)
            });
            assert_close("gradients", &dirty, &clean, EXACT);
        }
    }
}

/// A network and what it is trained on.
struct Case<'a> {
    config: &'a Config,
    recipe: Recipe,
    steps: usize,
    batch: usize,
    /// `None` where all are as long as the window.
    lengths: Option<Vec<u32>>,
    /// Whether the learned initial state is used.
    fresh: bool,
    target: Target,
}

impl<'a> Case<'a> {
    fn of(config: &'a Config, loss: Loss, steps: usize, batch: usize) -> Self {
        Case { config, recipe: recipe(loss), steps, batch, lengths: None, fresh: false, target: Target::cpu() }
    }
}

fn check(config: &Config, loss: Loss, steps: usize, batch: usize, target: Target) -> Prepared {
    check_case(&Case { target, ..Case::of(config, loss, steps, batch) })
}

/// Every element of every parameter and, where its gradient is there, of the initial state; gives the training run
/// back.
fn check_case(case: &Case<'_>) -> Prepared {
    let Case { config, ref recipe, steps, batch, .. } = *case;
    let what = format!("{config:?}, {recipe:?}, T {steps}, B {batch}, {:?}, fresh {}", case.lengths, case.fresh);
    let (mut net, window, mut parameters) = draw(case);
    let train = net.prepare_kept(Purpose::Train(recipe), steps, batch);
    // What is dropped is so in training alone.
    let keeps = config.recurrent_layers().any(|layer| layer.zoneout != Zoneout::default());
    let drops = keeps || config.layers.iter().any(|layer| matches!(layer, Layer::Dropout(_)));
    let evaluate = if recipe.dropout == Dropout::NONE && !drops {
        net.prepare(Purpose::Evaluate(recipe), steps, batch)
    } else {
        net.prepare(Purpose::Train(recipe), steps, batch)
    };
    net.write(&train, train.at.parameters, &parameters);
    net.run(&train, &window, step_into(SLOT));
    let metrics = net.metrics(&train, SLOT);
    let gradients = net.gradients(&train);
    let state_gradient =
        config.recurrent_layers().next().unwrap().learned_initial_state.then(|| net.state_gradient(&train));

    let norm = gradients.iter().map(|g| g * g).sum::<f64>().sqrt();
    assert_close(&format!("{what}: loss"), &[metrics.loss], &[evaluated(&mut net, &evaluate, &window)], F64);
    assert_close(&format!("{what}: norm"), &[metrics.grad_norm], &[norm], F64);

    for parameter in net.layout.parameters().to_vec() {
        let want: Vec<f64> = parameter
            .range()
            .map(|at| {
                let centre = parameters[at];
                let difference = central_difference(|step| {
                    parameters[at] = centre + step;
                    net.write(&evaluate, evaluate.at.parameters, &parameters);
                    evaluated(&mut net, &evaluate, &window)
                });
                parameters[at] = centre;
                difference
            })
            .collect();
        let learned = matches!(parameter.name.as_str(), "h_0" | "c_0");
        assert_eq!(learned && case.fresh, learned && want.iter().any(|g| *g != 0.0), "{what}: {}", parameter.name);
        assert_close(&format!("{what}: {}", parameter.name), &gradients[parameter.range()], &want, DIFFERENCES);
    }

    if let (Some(state_gradient), false) = (state_gradient, case.fresh) {
        net.write(&evaluate, evaluate.at.parameters, &parameters);
        let mut moved = window.clone();
        let want: Vec<f64> = (0..window.state.len())
            .map(|at| {
                let difference = central_difference(|step| {
                    moved.state[at] = window.state[at] + step;
                    evaluated(&mut net, &evaluate, &moved)
                });
                moved.state[at] = window.state[at];
                difference
            })
            .collect();
        assert_close(&format!("{what}: initial state"), &state_gradient, &want, DIFFERENCES);
    }
    train
}

/// The derivative at 0 by four points, wrong by the fifth derivative times STEP⁴ / 30.
fn central_difference(mut f: impl FnMut(f64) -> f64) -> f64 {
    let [a, b, c, d] = [-2.0, -1.0, 1.0, 2.0].map(|n| f(n * STEP));
    (a - d + 8.0 * (c - b)) / (12.0 * STEP)
}

fn evaluated(net: &mut Net, evaluate: &Prepared, window: &Window) -> f64 {
    net.run(evaluate, window, step_into(SLOT));
    net.metrics(evaluate, SLOT).loss
}

/// A network, data and parameters, drawn again until no pre-activation is near the kink of max(0, x).
fn draw(case: &Case<'_>) -> (Net, Window, Vec<f64>) {
    let Case { config, ref recipe, steps, batch, .. } = *case;
    for seed in 0..100 {
        let mut random = Random::new(seed);
        let mut net = Net::new(cpu::Executor::new(), config, case.target);
        let mut window = Window::random(&mut random, config, recipe.loss == Loss::CrossEntropy, steps, batch);
        if let Some(lengths) = &case.lengths {
            window = window.with_lengths(config, lengths.clone());
        }
        window.fresh = case.fresh;
        let parameters = random_parameters(&mut random, &net.layout, 0.8);
        let far = |a: &f64| a.abs() > KINK_MARGIN;
        if config.recurrent_layers().next().unwrap().cell != Cell::Elman(Activation::Relu)
            || net.pre_activations(&window, &parameters).iter().all(far)
        {
            return (net, window, parameters);
        }
    }
    panic!("every draw has a pre-activation near the kink");
}
