//! Whole training steps over random networks and windows: whatever the sizes and options, another executor's numbers
//! are those of the f64 twin, padding changes nothing, and sequences of a batch do not know of each other.
//!
//! The same cases are drawn in every run, so a failure repeats.

use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_oneof, proptest};
use proptest::test_runner::{RngSeed, TestCaseError};
use recurrent::internals::cpu;
use recurrent::internals::plan::{Purpose, StepParams, Target};
use recurrent::recipe::{Clip, Dropout, GradientCheckpointing, Loss, Optimizer, Recipe};
use recurrent::{
    Activation, BatchShape, Cell, Config, Directions, DropoutLayer, InputKind, Join, Layer, Model, Pool, Reset,
};

use crate::common::compare::{F32_NETWORK, F64, Tolerance, check_close};
use crate::common::executor::{Execute, gpu};
use crate::common::heads::{Targets, head_label_count, with_head_losses};
use crate::common::lists::{lazy_if_it_can_be, mixed};
use crate::common::network::{Inputs, Network, Prepared, Window, step_into};
use crate::common::random::Random;
use crate::common::states::states;
use crate::common::whole;

/// A network, how it is trained, and the size of a window.
#[derive(Clone, Debug)]
pub struct Case {
    pub config: Config,
    recipe: Recipe,
    steps: usize,
    batch: usize,
    /// Whether the sequences have lengths of their own.
    unequal: bool,
    /// Whether a learned initial state is used.
    fresh: bool,
    /// Whether the recurrence may run as a whole sequence.
    whole: bool,
    seed: u64,
}

/// The largest size. Several tiles of 16, and with 40·40 rows some slices, yet quick on a software adapter.
const LARGEST: usize = 40;
/// With max(0, x) a size of 12: rounding may put a pre-activation on the other side of the kink, and the fewer there
/// are the fewer cases have to be drawn again because one is near it.
const LARGEST_WITH_KINKS: usize = 12;
/// Those without a kink, which rounding might be on either side of; nor is there a maximum among the pools.
const FUNCTIONS: [Activation; 5] =
    [Activation::Tanh, Activation::Sigmoid, Activation::Gelu, Activation::Softplus, Activation::Identity];
const JOINS: [Join; 4] = [Join::Concat, Join::Sum, Join::Mean, Join::Product];
/// How near is near: some hundred roundings of f32.
const KINK_MARGIN: f64 = 1e-5;

pub fn cases() -> impl Strategy<Value = Case> {
    let sizes = (1..=LARGEST, 1..=LARGEST, 1..=LARGEST, 1..=LARGEST, 1..=LARGEST);
    let options = any::<[bool; 8]>();
    let read_out = prop_oneof![Just(None), Just(Some(Pool::Last)), Just(Some(Pool::First)), Just(Some(Pool::Mean))];
    let dropout = prop_oneof![
        2 => Just(Dropout::NONE),
        1 => (0.05..0.5).prop_map(Dropout::between_layers),
        1 => (0.0..0.5, 0.0..0.5).prop_map(|(inputs, hidden)| Dropout::variational(inputs, hidden)),
        1 => (0.0..0.5, 0.05..0.5)
            .prop_map(|(hidden, weights)| Dropout::variational(0.0, hidden).with_weights(weights)),
    ];
    let tanh = Cell::Elman(Activation::Tanh);
    // Of relu one layer: the kinks of a second are not looked for.
    let relu = (Just(Cell::Elman(Activation::Relu)), Just(1));
    let [gru, gru_before] = [Reset::AfterProduct, Reset::BeforeProduct].map(|reset| Just(Cell::Gru(reset)));
    let lstm_like = prop_oneof![Just(Cell::Cifg), Just(Cell::PeepholeLstm)];
    let cell = prop_oneof![
        1 => relu,
        3 => (prop_oneof![Just(tanh), Just(Cell::Lstm), gru, gru_before, lstm_like], 1..=3usize),
    ];
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
    let checkpointing = prop_oneof![
        2 => Just(GradientCheckpointing::None),
        1 => Just(GradientCheckpointing::Sqrt),
        1 => (1..LARGEST).prop_map(GradientCheckpointing::Steps),
    ];
    let drawn = (sizes, cell, options, read_out, (dropout, checkpointing), clip, optimizer, 0..u64::MAX);
    drawn.prop_map(|(sizes, (cell, layers), options, read_out, (dropout, checkpointing), clip, optimizer, seed)| {
        let [tokens, squared, whole, both, bias, learned_initial_state, unequal, fresh] = options;
        let relu = cell == Cell::Elman(Activation::Relu);
        let (steps, batch, inputs, hidden, outputs) = sizes;
        let small = |size: usize| if relu { 1 + size % LARGEST_WITH_KINKS } else { size };
        let input = if tokens { InputKind::Tokens(inputs) } else { InputKind::Dense(inputs) };
        let config = Config::of_cell(cell, input, small(hidden), outputs)
            .with_layers(layers)
            .with_directions(match both {
                false => Directions::Forward,
                // Of a list each layer is drawn.
                true if seed % 4 == 1 => Directions::Reverse,
                true => Directions::Bidirectional,
            })
            .with_join(JOINS[if both && seed % 4 == 3 { seed as usize / 4 % 4 } else { 0 }])
            .with_bias(bias)
            .with_learned_initial_state(learned_initial_state)
            .with_pool(read_out)
            .with_seed(seed);
        // Every second case is a list of layers that differ.
        let tanh = Cell::Elman(Activation::Tanh);
        let [gru, gru_before] = [Reset::AfterProduct, Reset::BeforeProduct].map(Cell::Gru);
        let cells = [tanh, Cell::Lstm, gru, gru_before, Cell::Cifg, Cell::PeepholeLstm];
        let config = if relu || !seed.is_multiple_of(2) {
            config
        } else {
            let mut config = mixed(config, &mut Random::new(seed), &cells, &FUNCTIONS);
            // Above a recurrent layer there are no tokens.
            let at = config.layers.iter().position(|layer| matches!(layer, Layer::Recurrent(_))).unwrap() + 1;
            let at = at + seed as usize / 2 % (config.layers.len() + 1 - at);
            if seed.is_multiple_of(4) {
                let layer = DropoutLayer::new(0.3);
                let layer = if seed.is_multiple_of(8) { layer.over_time() } else { layer };
                config.layers.insert(at, layer.into());
            }
            config
        };
        let loss = if squared { Loss::MeanSquared } else { Loss::CrossEntropy };
        let mut recipe = Recipe::new(loss).with_clip(clip).with_optimizer(optimizer, 0.02);
        // Kinks are looked for without dropout, and between the layers of one there is none.
        if !relu && (layers > 1 || dropout.outputs == 0.0) {
            recipe = recipe.with_dropout(dropout);
        }
        if !both {
            recipe = recipe.with_gradient_checkpointing(checkpointing);
        }
        let recipe = with_head_losses(recipe, &config);
        let recipe = if seed.is_multiple_of(3) { recipe } else { lazy_if_it_can_be(recipe, &config) };
        Case { config, recipe, steps: small(steps), batch: small(batch), unequal, fresh, whole, seed }
    })
}

impl Case {
    /// The data, and how many steps of each sequence are valid.
    fn window(&self, random: &mut Random) -> Window {
        let classes = self.recipe.loss == Loss::CrossEntropy;
        let mut window = Window::random(random, &self.config, classes, self.steps, self.batch);
        if self.unequal {
            let lengths = random.ids(self.batch, self.steps).into_iter().map(|length| length + 1).collect();
            window = window.with_lengths(&self.config, lengths);
        }
        window.fresh = self.fresh;
        window
    }

    /// As they are drawn, but for a learned initial state, which is zero before training.
    fn parameters(&self) -> Vec<f64> {
        let model = Model::new(self.config.clone()).unwrap();
        let mut flat: Vec<f64> = model.values().iter().map(|v| f64::from(*v)).collect();
        let mut random = Random::new(self.seed);
        for name in ["h_0", "c_0"] {
            if let Some(start) = model.layout().get(name) {
                flat[start.range()].copy_from_slice(&random.reals(start.len(), 0.9));
            }
        }
        flat
    }

    /// The target without whole sequences, where this case is not to have them.
    fn target(&self, target: Target) -> Target {
        if self.whole { target } else { Target { workgroup_bytes: 0, ..target } }
    }

    /// An error where a pre-activation is near the kink of max(0, x).
    fn far_from_kinks(&self, window: &Window) -> Result<(), TestCaseError> {
        if self.config.recurrent_layers().next().unwrap().cell == Cell::Elman(Activation::Relu) {
            let mut twin = Network::new(cpu::Executor::<f64>::new(), &self.config, Target::cpu());
            if twin.pre_activations(window, &self.parameters()).iter().any(|a| a.abs() < KINK_MARGIN) {
                return Err(TestCaseError::reject("a pre-activation near the kink of max(0, x)"));
            }
        }
        Ok(())
    }
}

/// The gradient of a first step on the executor.
pub fn gradients<E: Execute>(case: &Case, executor: E, target: Target) -> Vec<f64> {
    let (window, mut network) =
        (case.window(&mut Random::new(case.seed)), Network::new(executor, &case.config, target));
    let results = run(&mut network, case, &window, &case.parameters());
    results.into_iter().find(|(what, _)| what == "gradients of step 1").unwrap().1
}

/// As many cases as a software adapter takes in a quarter of a minute.
fn settings(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        rng_seed: RngSeed::Fixed(1990),
        failure_persistence: None,
        max_shrink_iters: 100,
        ..ProptestConfig::default()
    }
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn training_on_the_gpu_is_that_of_the_twin() {
    proptest!(settings(64), |(case in cases())| {
        compare(&case, gpu(), whole::gpu().target())?;
    });
}

#[test]
fn training_in_f32_on_the_cpu_is_that_in_f64() {
    proptest!(settings(64), |(case in cases())| {
        compare(&case, cpu::Executor::<f32>::new(), Target::webgpu())?;
    });
}

/// Two training steps on one window, then an evaluation and an inference with the new parameters, on `executor` and on
/// the twin.
fn compare<E: Execute>(case: &Case, executor: E, target: Target) -> Result<(), TestCaseError> {
    let window = case.window(&mut Random::new(case.seed));
    let parameters = case.parameters();
    case.far_from_kinks(&window)?;
    let mut twin = Network::new(cpu::Executor::<f64>::new(), &case.config, Target::cpu());
    // The twin keeps all steps, however few the executor does.
    let whole =
        Case { recipe: case.recipe.clone().with_gradient_checkpointing(GradientCheckpointing::None), ..case.clone() };
    let want = run(&mut twin, &whole, &window, &parameters);
    let got = run(&mut Network::new(executor, &case.config, case.target(target)), case, &window, &parameters);
    agree(&got, &want, F32_NETWORK)
}

/// What a run leaves, by name.
type Results = Vec<(String, Vec<f64>)>;

fn agree(got: &Results, want: &Results, tolerance: Tolerance) -> Result<(), TestCaseError> {
    assert_eq!(got.len(), want.len());
    for ((what, got), (_, want)) in got.iter().zip(want) {
        check_close(what, got, want, tolerance).map_err(TestCaseError::fail)?;
    }
    Ok(())
}

/// Everything that a run leaves, by name.
fn run<E: Execute>(network: &mut Network<E>, case: &Case, window: &Window, parameters: &[f64]) -> Results {
    let mut all = Vec::new();
    let train = network.prepare(Purpose::Train(&case.recipe), case.steps, case.batch);
    let training = train.at.training.unwrap();
    network.write(&train, train.at.parameters, parameters);
    for step in 1..=2 {
        let corrections = match case.recipe.optimizer {
            Optimizer::Adam { beta1, beta2, .. } => [1.0 - beta1.powi(step), 1.0 - beta2.powi(step)],
            _ => [1.0, 1.0],
        };
        network.run(
            &train,
            window,
            StepParams {
                learning_rate: case.recipe.learning_rate,
                first_correction: corrections[0],
                second_correction: corrections[1],
                ..step_into(step as usize)
            },
        );
        let metrics = network.metrics(&train, step as usize);
        for (name, value) in [
            ("loss", metrics.loss),
            ("norm", metrics.grad_norm),
            ("scale", metrics.clip_scale),
            ("flag", metrics.updates),
        ] {
            all.push((format!("{name} of step {step}"), vec![value]));
        }
        // Flat, so that a parameter whose gradient is a small difference is measured against the larger ones.
        let moments = training.moments.into_iter().flatten().map(|moment| ("moments", moment));
        all.push((format!("gradients of step {step}"), network.gradients(&train)));
        for (name, tensor) in std::iter::once(("parameters", train.at.parameters)).chain(moments) {
            all.push((format!("{name} of step {step}"), network.read(&train, tensor)));
        }
    }
    all.push(("final state".to_owned(), network.read(&train, train.at.state)));
    let evaluate = network.prepare(Purpose::Evaluate(&case.recipe), case.steps, case.batch);
    network.run(&evaluate, window, step_into(0));
    all.push(("loss in evaluation".to_owned(), vec![network.metrics(&evaluate, 0).loss]));
    let infer = network.prepare(Purpose::Infer, case.steps, case.batch);
    network.run(&infer, window, step_into(0));
    all.push(("outputs".to_owned(), network.read(&infer, infer.at.outputs)));
    all
}

/// The same sequences in a longer window, with nonsense behind their ends.
fn padded(random: &mut Random, config: &Config, window: &Window, extra: usize) -> Window {
    let (batch, steps) = (window.batch, window.steps + extra);
    let valid = |row: usize| row / batch < window.lengths[row % batch] as usize;
    let rows = steps * batch;
    let mut longer_of = |inputs: &Inputs, size: usize| match inputs {
        Inputs::Tokens(tokens) => {
            let nonsense = random.ids(rows, size);
            Inputs::Tokens((0..rows).map(|row| if valid(row) { tokens[row] } else { nonsense[row] }).collect())
        }
        Inputs::Dense(x) => {
            let nonsense = random.reals(rows * size, 1e6);
            Inputs::Dense((0..rows * size).map(|at| if valid(at / size) { x[at] } else { nonsense[at] }).collect())
        }
    };
    let inputs = longer_of(&window.inputs, config.input.size());
    let columns = window.columns.iter().zip(&config.columns).map(|(of, column)| longer_of(of, column.input.size()));
    let columns = columns.collect();
    let labels = config.label_count(BatchShape { steps, batch_size: batch });
    let mut longer = Window { steps, inputs, columns, ..window.clone() };
    let own = (&mut longer.targets, &mut longer.mask, labels, config.outputs);
    let heads = longer.heads.iter_mut().zip(&config.heads).map(|(labels, head)| {
        let count = head_label_count(config, head, steps, batch);
        (&mut labels.targets, &mut labels.mask, count, head.outputs)
    });
    for (targets, mask, labels, outputs) in std::iter::once(own).chain(heads) {
        mask.resize(labels, 0.0);
        match targets {
            Targets::Classes(classes) => classes.resize(labels, u32::MAX),
            Targets::Values(values) => values.resize(labels * outputs, f64::NAN),
        }
    }
    longer
}

/// One sequence of a window by itself, in a window of its own length.
fn alone(config: &Config, window: &Window, b: usize) -> Window {
    let steps = window.lengths[b] as usize;
    let of_rows = |width: usize| {
        (0..steps).flat_map(move |t| {
            let first = (t * window.batch + b) * width;
            first..first + width
        })
    };
    let cut = |inputs: &Inputs, size: usize| match inputs {
        Inputs::Tokens(tokens) => Inputs::Tokens(of_rows(1).map(|at| tokens[at]).collect()),
        Inputs::Dense(x) => Inputs::Dense(of_rows(size).map(|at| x[at]).collect()),
    };
    // Of every step or of the sequence.
    let labels: Vec<usize> = if config.pooling().is_none() { of_rows(1).collect() } else { vec![b] };
    let state = state_of(config, &window.state, window.batch, b);
    Window {
        steps,
        batch: 1,
        inputs: cut(&window.inputs, config.input.size()),
        columns: window.columns.iter().zip(&config.columns).map(|(of, c)| cut(of, c.input.size())).collect(),
        targets: match &window.targets {
            Targets::Classes(classes) => Targets::Classes(labels.iter().map(|&at| classes[at]).collect()),
            Targets::Values(values) => Targets::Values(
                labels.iter().flat_map(|at| &values[at * config.outputs..][..config.outputs]).copied().collect(),
            ),
        },
        mask: labels.iter().map(|&at| window.mask[at]).collect(),
        lengths: vec![window.lengths[b]],
        state,
        fresh: window.fresh,
        heads: Vec::new(),
    }
}

/// The outputs of an inference at the positions that are valid.
fn outputs<E: Execute>(network: &mut Network<E>, infer: &Prepared, window: &Window) -> Vec<f64> {
    network.run(infer, window, step_into(0));
    // No output of a row that is valid is exactly 0.
    network.outputs(infer, window).into_iter().filter(|y| *y != 0.0).collect()
}

/// Loss, gradients and final state of one training step whose update is nothing, and the outputs of an inference.
fn yields<E: Execute>(executor: E, target: Target, case: &Case, window: &Window) -> Results {
    let mut network = Network::new(executor, &case.config, target);
    let recipe = case.recipe.clone().with_clip(Clip::None).with_optimizer(Optimizer::sgd(0.0), 0.1);
    let train = network.prepare(Purpose::Train(&recipe), window.steps, window.batch);
    network.write(&train, train.at.parameters, &case.parameters());
    network.run(&train, window, step_into(0));
    let loss = network.metrics(&train, 0).loss;
    let gradients = network.gradients(&train);
    let state = network.read(&train, train.at.state);
    let infer = network.prepare(Purpose::Infer, window.steps, window.batch);
    let outputs = outputs(&mut network, &infer, window);
    vec![
        ("loss".to_owned(), vec![loss]),
        ("gradients".to_owned(), gradients),
        ("final state".to_owned(), state),
        ("outputs".to_owned(), outputs),
    ]
}

/// The state of one sequence of a batch.
fn state_of(config: &Config, state: &[f64], batch: usize, b: usize) -> Vec<f64> {
    let rows = states(config).into_iter().map(|part| (part.before * batch + b * part.width(), part.width()));
    rows.flat_map(|(first, width)| &state[first..first + width]).copied().collect()
}

/// What a padded window yields on `executor` is what the twin makes of the one without, dropout included.
fn padding_changes_nothing<E: Execute>(
    case: &Case,
    executor: E,
    target: Target,
    tolerance: Tolerance,
) -> Result<(), TestCaseError> {
    let mut random = Random::new(case.seed);
    let window = case.window(&mut random);
    case.far_from_kinks(&window)?;
    let longer = padded(&mut random, &case.config, &window, 1 + case.steps / 2);
    let want = yields(cpu::Executor::<f64>::new(), Target::cpu(), case, &window);
    agree(&yields(executor, case.target(target), case, &longer), &want, tolerance)
}

#[test]
fn padding_changes_nothing_on_the_cpu() {
    // The products take another number of rows, and so may add up in another order.
    proptest!(settings(64), |(case in cases())| {
        padding_changes_nothing(&case, cpu::Executor::<f64>::new(), Target::cpu(), F64)?;
    });
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn padding_changes_nothing_on_the_gpu() {
    proptest!(settings(24), |(case in cases())| {
        let executor = gpu();
        let target = whole::gpu().target();
        padding_changes_nothing(&case, executor, target, F32_NETWORK)?;
    });
}

/// What a window yields on `executor` is what the twin makes of each sequence alone; its gradient is the mean of
/// theirs, by how many positions of each count.
fn sequences_do_not_mix<E: Execute>(
    case: &Case,
    executor: E,
    target: Target,
    tolerance: Tolerance,
) -> Result<(), TestCaseError> {
    // Each sequence of a batch has masks of its own.
    let mut case = Case { recipe: case.recipe.clone().with_dropout(Dropout::NONE), ..case.clone() };
    case.config.layers.retain(|layer| !matches!(layer, Layer::Dropout(_)));
    case.config = case.config.with_zoneout(0.0, 0.0);
    // The means of heads are over other numbers of positions.
    case.config.heads.clear();
    case.recipe.heads.clear();
    let window = case.window(&mut Random::new(case.seed));
    case.far_from_kinks(&window)?;
    let [loss, gradients, state, outputs] =
        yields(executor, case.target(target), &case, &window).try_into().expect("four results");
    let mut sums = [vec![0.0], vec![0.0; gradients.1.len()]];
    let all: f64 = window.mask.iter().sum();
    let of_label = case.config.outputs;
    for b in 0..window.batch {
        let mut one = alone(&case.config, &window, b);
        let counts: f64 = one.mask.iter().sum();
        if counts == 0.0 {
            // A loss has to be of something; it adds nothing to the sums.
            one.mask.fill(1.0);
        }
        let yielded = yields(cpu::Executor::<f64>::new(), Target::cpu(), &case, &one);
        for (sum, (_, part)) in sums.iter_mut().zip(&yielded) {
            sum.iter_mut().zip(part).for_each(|(sum, part)| *sum += part * counts / all);
        }
        let of_state = state_of(&case.config, &state.1, window.batch, b);
        // Valid rows by time and then by sequence.
        let rows =
            (0..case.config.label_count(BatchShape { steps: window.steps, batch_size: window.batch })).filter(|row| {
                case.config.pooling().is_some() || row / window.batch < window.lengths[row % window.batch] as usize
            });
        let of_outputs = rows.zip(outputs.1.chunks_exact(of_label)).filter(|(row, _)| row % window.batch == b);
        let of_outputs = of_outputs.flat_map(|(_, outputs)| outputs).copied().collect();
        let got = vec![(format!("state of {b}"), of_state), (format!("outputs of {b}"), of_outputs)];
        agree(&got, &yielded[2..].to_vec(), tolerance)?;
    }
    let [mean_loss, mean_gradients] = sums;
    let want = vec![("loss".to_owned(), mean_loss), ("gradients".to_owned(), mean_gradients)];
    agree(&vec![loss, gradients], &want, tolerance)
}

#[test]
fn sequences_of_a_batch_do_not_mix_on_the_cpu() {
    proptest!(settings(32), |(case in cases())| {
        sequences_do_not_mix(&case, cpu::Executor::<f64>::new(), Target::cpu(), F64)?;
    });
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn sequences_of_a_batch_do_not_mix_on_the_gpu() {
    proptest!(settings(16), |(case in cases())| {
        let executor = gpu();
        let target = whole::gpu().target();
        sequences_do_not_mix(&case, executor, target, F32_NETWORK)?;
    });
}
