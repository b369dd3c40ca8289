//! The f64 twin, the CPU executor in f64, against the plain oracle of `reference/`: outputs, loss, final state and
//! every gradient of random networks; and the oracle against PyTorch.
//!
//! The contract: every cell, layer, direction and option is drawn, in the same cases in every run; and the comparison
//! is shown to fail where gates change places, where an element is off and where it is no number.

use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_oneof, proptest};
use proptest::test_runner::{RngSeed, TestCaseError};
use recurrent::internals::cpu;
use recurrent::internals::plan::{Hold, Op, Purpose, Target, TensorId};
use recurrent::recipe::{Clip, Loss, Optimizer, Recipe};
use recurrent::{Activation, Cell, Config, Directions, InputKind, Join, Layout, Pool, Reset, Zoneout};

use crate::common::compare::{ORACLE, check_close};
use crate::common::fixture::{Fixture, LISTS, MATRIX};
use crate::common::heads::with_head_losses;
use crate::common::lists::{lazy_if_it_can_be, mixed};
use crate::common::network::{Network, Prepared, Window, random_parameters, step_into};
use crate::common::random::Random;
use crate::reference::{self, Draws, Results};

const FUNCTIONS: [Activation; 6] = [
    Activation::Tanh,
    Activation::Relu,
    Activation::Sigmoid,
    Activation::Gelu,
    Activation::Softplus,
    Activation::Identity,
];
const CELLS: [Cell; 7] = [
    Cell::Elman(Activation::Tanh),
    Cell::Elman(Activation::Relu),
    Cell::Lstm,
    Cell::Gru(Reset::AfterProduct),
    Cell::Gru(Reset::BeforeProduct),
    Cell::Cifg,
    Cell::PeepholeLstm,
];

const JOINS: [Join; 4] = [Join::Concat, Join::Sum, Join::Mean, Join::Product];

/// A network with its parameters, and what it is trained on.
#[derive(Clone, Debug)]
struct Case {
    config: Config,
    loss: Loss,
    parameters: Vec<f64>,
    window: Window,
}

fn case(
    cell: Cell,
    [steps, batch, layers, inputs, hidden, outputs]: [usize; 6],
    pool: Option<Pool>,
    [tokens, squared, both, bias, learned, unequal, fresh]: [bool; 7],
    seed: u64,
) -> Case {
    let input = if tokens { InputKind::Tokens(inputs) } else { InputKind::Dense(inputs) };
    let config = Config::of_cell(cell, input, hidden, outputs)
        .with_layers(layers)
        .with_directions(match both {
            false => Directions::Forward,
            // Of a list each layer is drawn.
            true if seed % 4 == 1 => Directions::Reverse,
            true => Directions::Bidirectional,
        })
        .with_join(JOINS[if both && seed % 4 == 3 { seed as usize / 4 % 4 } else { 0 }])
        .with_bias(bias)
        .with_learned_initial_state(learned)
        .with_pool(pool);
    let projects = matches!(cell, Cell::Lstm | Cell::Cifg) && hidden > 1 && (seed / 4).is_multiple_of(2);
    let config = if projects { config.with_projection(1 + seed as usize / 8 % (hidden - 1)) } else { config };
    let loss = if squared { Loss::MeanSquared } else { Loss::CrossEntropy };
    let mut random = Random::new(seed);
    // Every second case is a list of layers that differ.
    let config = if seed.is_multiple_of(2) { mixed(config, &mut random, &CELLS, &FUNCTIONS) } else { config };
    let parameters = random_parameters(&mut random, &Layout::new(&config).unwrap(), 0.9);
    let mut window = Window::random(&mut random, &config, !squared, steps, batch);
    if unequal {
        let lengths = random.ids(batch, steps).into_iter().map(|length| length + 1).collect();
        window = window.with_lengths(&config, lengths);
    }
    window.fresh = fresh;
    Case { config, loss, parameters, window }
}

fn cases() -> impl Strategy<Value = Case> {
    let sizes = (1..=7usize, 1..=4usize, 1..=3usize, 1..=6usize, 1..=6usize, 1..=5usize);
    let read_out = prop_oneof![
        Just(None),
        Just(Some(Pool::Last)),
        Just(Some(Pool::First)),
        Just(Some(Pool::Mean)),
        Just(Some(Pool::Max)),
    ];
    let drawn = (0..CELLS.len(), sizes, read_out, any::<[bool; 7]>(), any::<u64>());
    drawn.prop_map(|(cell, sizes, read_out, options, seed)| case(CELLS[cell], sizes.into(), read_out, options, seed))
}

/// What the f64 twin makes of a case.
fn twin(case: &Case) -> Results {
    twin_by(case, |recipe| recipe).0
}

/// The same by another recipe, the outputs of an inference and the rest of a training step; with what zoneout drew for
/// that.
fn twin_by(case: &Case, change: impl Fn(Recipe) -> Recipe) -> (Results, Draws) {
    let Case { config, loss, parameters, window } = case;
    let mut network = Network::new(cpu::Executor::<f64>::new(), config, Target::cpu());
    let recipe = Recipe::new(loss.clone()).with_clip(Clip::None).with_optimizer(Optimizer::sgd(0.0), 0.1);
    let recipe = change(with_head_losses(recipe, config));
    let train = match config.recurrent_layers().any(|layer| layer.zoneout != Zoneout::default()) {
        true => network.prepare_kept(Purpose::Train(&recipe), window.steps, window.batch),
        false => network.prepare(Purpose::Train(&recipe), window.steps, window.batch),
    };
    network.write(&train, train.at.parameters, parameters);
    network.run(&train, window, step_into(0));
    let draws = draws(&mut network, &train);
    let infer = network.prepare(Purpose::Infer, window.steps, window.batch);
    let gradients = network.gradients(&train);
    let (loss, state) = (network.metrics(&train, 0).loss, network.read(&train, train.at.state));
    network.run(&infer, window, step_into(0));
    let outputs = network.outputs(&infer, window);
    (Results { outputs, loss, gradients, state }, draws)
}

/// What the last training step drew for zoneout: 1 where a unit kept its state.
fn draws(network: &mut Network<cpu::Executor<f64>>, train: &Prepared) -> Draws {
    let mut draws = Draws::new();
    for layer in 0..network.config.layers.len() {
        let Some(masks) = train.plan.find(&format!("masks_l{layer}")) else { continue };
        let of_layer = train.plan.stages().iter().find_map(|stage| match &stage.op {
            Op::Forward(op) if op.zoneout.iter().any(|hold| is_of(*hold, masks)) => Some(op.zoneout),
            _ => None,
        });
        let values = network.read(train, masks);
        for (kind, hold) in of_layer.unwrap().into_iter().enumerate() {
            if let Hold::Drawn(view) = hold {
                let drawn = &values[view.offset..view.offset + view.rows * view.cols];
                draws.insert((layer, kind), drawn.iter().map(|m| f64::from(u8::from(*m == 0.0))).collect());
            }
        }
    }
    draws
}

fn is_of(hold: Hold, masks: TensorId) -> bool {
    matches!(hold, Hold::Drawn(view) if view.tensor == masks)
}

/// Whether both make the same of a case; if not, what is off.
fn agree(case: &Case, got: &Results, want: &Results) -> Result<(), String> {
    check_close("outputs", &got.outputs, &want.outputs, ORACLE)?;
    check_close("loss", &[got.loss], &[want.loss], ORACLE)?;
    check_close("final state", &got.state, &want.state, ORACLE)?;
    // Of all parameters at once too, so that what lies in the gaps between them is seen.
    check_close("gradients", &got.gradients, &want.gradients, ORACLE)?;
    for parameter in Layout::new(&case.config).unwrap().parameters() {
        let [got, want] = [got, want].map(|results| &results.gradients[parameter.range()]);
        check_close(&format!("gradient of {}", parameter.name), got, want, ORACLE)?;
    }
    Ok(())
}

#[test]
fn the_f64_twin_computes_what_the_plain_oracle_computes() {
    let settings = ProptestConfig {
        cases: 600,
        rng_seed: RngSeed::Fixed(1990),
        failure_persistence: None,
        max_shrink_iters: 100,
        ..ProptestConfig::default()
    };
    proptest!(settings, |(case in cases())| {
        let Case { config, loss, parameters, window } = &case;
        let (got, draws) = twin_by(&case, |recipe| recipe);
        let mut want = reference::run(config, loss, parameters, window, &draws);
        if !draws.is_empty() {
            want.outputs = reference::run(config, loss, parameters, window, &Draws::new()).outputs;
        }
        agree(&case, &got, &want).map_err(TestCaseError::fail)?;
        let (lazy, _) = twin_by(&case, |recipe| lazy_if_it_can_be(recipe, config));
        agree(&case, &lazy, &want).map_err(TestCaseError::fail)?;
    });
}

#[test]
fn the_plain_oracle_computes_what_pytorch_computed() {
    for fixture in MATRIX.into_iter().chain([LISTS]).flat_map(Fixture::load_many) {
        let (config, loss, window) = (fixture.config(), fixture.loss(), fixture.window());
        let layout = Layout::new(&config).unwrap();
        let parameters = fixture.parameters(&layout, "");
        let got = reference::run(&config, &loss, &parameters, &window, &Draws::new());
        let want = Results {
            outputs: fixture.outputs(),
            loss: fixture.real("loss")[0],
            gradients: fixture.parameters(&layout, "grad."),
            state: fixture.state("hn", "cn"),
        };
        let case = Case { config, loss, parameters, window };
        agree(&case, &got, &want).unwrap_or_else(|what| panic!("{}: {what}", fixture.name));
    }
}

/// A case of two layers in which every option but a dense input and the mean squared error is on.
fn of_all_options(cell: Cell) -> Case {
    case(cell, [5, 3, 2, 4, 3, 3], None, [true, false, true, true, true, true, true], 7)
}

#[test]
fn gates_that_change_places_are_seen() {
    for cell in &CELLS[2..] {
        let case = of_all_options(*cell);
        let (got, layout) = (twin(&case), Layout::new(&case.config).unwrap());
        let of_gates = |name: &str| name.contains("_l") && !name.starts_with("weight_c");
        for parameter in layout.parameters().iter().filter(|parameter| of_gates(&parameter.name)) {
            for first in 1..cell.gates() {
                let mut parameters = case.parameters.clone();
                let gate = parameter.len() / cell.gates();
                let (before, after) = parameters[parameter.range()][(first - 1) * gate..].split_at_mut(gate);
                before.swap_with_slice(&mut after[..gate]);
                let want = reference::run(&case.config, &case.loss, &parameters, &case.window, &Draws::new());
                assert!(agree(&case, &got, &want).is_err(), "{cell:?}: {} from gate {first}", parameter.name);
            }
        }
    }
}

#[test]
fn peepholes_that_change_places_are_seen() {
    let case = of_all_options(Cell::PeepholeLstm);
    let (got, layout) = (twin(&case), Layout::new(&case.config).unwrap());
    let names = ["weight_ci_l0", "weight_cf_l0", "weight_co_l0", "weight_ci_l0_reverse", "weight_co_l1"];
    let at = names.map(|name| layout.get(name).unwrap().offset);
    for pair in at.windows(2) {
        let mut parameters = case.parameters.clone();
        (0..3).for_each(|j| parameters.swap(pair[0] + j, pair[1] + j));
        let want = reference::run(&case.config, &case.loss, &parameters, &case.window, &Draws::new());
        assert!(agree(&case, &got, &want).is_err(), "{pair:?}");
    }
}

#[test]
fn a_result_that_is_off_or_no_number_is_seen() {
    /// The last element that is not the zero of a position or of a gap.
    fn last(values: &mut [f64]) -> &mut f64 {
        values.iter_mut().rfind(|value| **value != 0.0).unwrap()
    }
    for cell in CELLS {
        let case = of_all_options(cell);
        let want = reference::run(&case.config, &case.loss, &case.parameters, &case.window, &Draws::new());
        assert_eq!(agree(&case, &twin(&case), &want), Ok(()));
        let faults: [fn(f64) -> f64; 3] = [|value| value * (1.0 + 1e-6), |_| f64::NAN, |value| -value];
        for fault in faults {
            for result in 0..4 {
                let mut got = twin(&case);
                let element = match result {
                    0 => last(&mut got.outputs),
                    1 => &mut got.loss,
                    2 => last(&mut got.gradients),
                    _ => last(&mut got.state),
                };
                *element = fault(*element);
                assert!(agree(&case, &got, &want).is_err(), "{cell:?}: result {result}");
            }
        }
    }
}
