//! Zoneout: what a training step keeps of every state, and that evaluation, predictors and streams keep the rate's
//! part.
//!
//! The contract: gradients and formulas with what was drawn are held against the oracle and central differences in
//! `twin.rs` and `finite_differences.rs`; here are the draws themselves, read from what a step has left.

use recurrent::internals::cpu;
use recurrent::internals::plan::{Purpose, Target};
use recurrent::recipe::{Clip, Dropout, Loss, Optimizer, Recipe};
use recurrent::{
    Activation, BatchShape, Cell, Config, Device, Directions, InputKind, Layout, Model, Predictor, Reset, Sequences,
    StreamingPredictor,
};

use crate::common::compare::{F32_NETWORK, F64, assert_close};
use crate::common::network::{Network, Prepared, Window, random_parameters, step_into};
use crate::common::random::Random;
use crate::reference::{self, Draws};

const CELLS: [Cell; 7] = [
    Cell::Elman(Activation::Tanh),
    Cell::Elman(Activation::Relu),
    Cell::Lstm,
    Cell::Gru(Reset::AfterProduct),
    Cell::Gru(Reset::BeforeProduct),
    Cell::Cifg,
    Cell::PeepholeLstm,
];
const RATES: [f64; 2] = [0.3, 0.6];

/// The same network with zoneout of all its states.
fn zoned(config: Config) -> Config {
    let has_c = config.recurrent_layers().all(|layer| layer.cell.states() > 1);
    config.with_zoneout(RATES[0], if has_c { RATES[1] } else { 0.0 })
}

/// A network after a training step.
fn trained(config: &Config, dropout: Dropout, window: &Window) -> (Network<cpu::Executor<f64>>, Prepared) {
    let mut network = Network::new(cpu::Executor::<f64>::new(), config, Target::cpu());
    let recipe = Recipe::new(Loss::CrossEntropy).with_clip(Clip::None).with_optimizer(Optimizer::sgd(0.0), 0.1);
    let train = network.prepare_kept(Purpose::Train(&recipe.with_dropout(dropout)), window.steps, window.batch);
    let parameters = random_parameters(&mut Random::new(5), &network.layout, 0.8);
    network.write(&train, train.at.parameters, &parameters);
    network.run(&train, window, step_into(0));
    (network, train)
}

/// What a plan leaves in a tensor.
fn left(network: &mut Network<cpu::Executor<f64>>, of: &Prepared, name: &str) -> Vec<f64> {
    network.read(of, of.plan.find(name).unwrap_or_else(|| panic!("no {name}")))
}

#[test]
fn a_share_of_the_units_keeps_its_state_at_every_step() {
    let (steps, batch, hidden) = (7, 24, 25);
    for cell in CELLS {
        for directions in [Directions::Forward, Directions::Bidirectional, Directions::Reverse] {
            let config = Config::of_cell(cell, InputKind::Dense(3), hidden, 4).with_directions(directions);
            let (config, ways) = (zoned(config), directions.count());
            let window = Window::random(&mut Random::new(9), &config, true, steps, batch);
            let (mut network, train) = trained(&config, Dropout::NONE, &window);
            let (masks, history) = (left(&mut network, &train, "masks_l0"), left(&mut network, &train, "history_l0"));
            let (width, slot) = (ways * hidden, batch * ways * hidden);
            assert_eq!(masks.len(), cell.states() * steps * slot, "{cell:?}: of every state and step");
            for (kind, drawn) in masks.chunks_exact(steps * slot).enumerate() {
                for (t, drawn) in drawn.chunks_exact(slot).enumerate() {
                    let (share, rate) = (drawn.iter().filter(|m| **m == 0.0).count() as f64 / slot as f64, RATES[kind]);
                    // The draws are independent: five standard deviations.
                    let allowed = 5.0 * (rate * (1.0 - rate) / slot as f64).sqrt();
                    assert!((share - rate).abs() < allowed, "{cell:?}, state {kind}, step {t}: {share}");
                    assert!(t == 0 || drawn != &masks[kind * steps * slot..][..slot], "a mask for all steps");
                }
            }
            for t in 0..steps {
                for at in 0..slot {
                    let reads_back = directions == Directions::Reverse || at % width >= hidden;
                    let before = history[if reads_back { t + 2 } else { t } * slot + at];
                    let (h, held) = (history[(t + 1) * slot + at], masks[t * slot + at] == 0.0);
                    // Relu may make the same zero again.
                    assert!(
                        (h == before) == held || (h == 0.0 && before == 0.0),
                        "{cell:?}, {directions:?}, step {t}, {at}: {before} became {h}, kept {held}"
                    );
                }
            }
        }
    }
}

/// Those of dropout keep their keys, whatever a layer keeps; layers and states have draws of their own.
#[test]
fn draws_are_apart_from_those_of_dropout() {
    let plain = || Config::lstm(InputKind::Dense(3), 20, 4).with_layers(2).dropout(0.3).dense(5, Activation::Tanh);
    let dropout = Dropout::variational(0.2, 0.3).with_outputs(0.3).with_weights(0.4);
    let window = Window::random(&mut Random::new(9), &plain(), true, 5, 12);
    let (mut without, train) = trained(&plain(), dropout, &window);
    let (mut with, zoned_train) = trained(&zoned(plain()), dropout, &window);
    let slot = 12 * 20;
    for layer in 0..2 {
        let want = left(&mut without, &train, &format!("hidden_mask_l{layer}"));
        assert_eq!(left(&mut with, &zoned_train, &format!("masks_l{layer}"))[..slot], want);
        let name = format!("lstm.weight_hh_l{layer}.masked");
        assert_eq!(left(&mut with, &zoned_train, &name), left(&mut without, &train, &name));
    }
    let zeros = |values: Vec<f64>| values.iter().map(|value| *value == 0.0).collect::<Vec<_>>();
    let [got, want] =
        [(&mut with, &zoned_train), (&mut without, &train)].map(|(n, of)| zeros(left(n, of, "dropout_l2")));
    assert_eq!(got, want);
    // And without dropout of the weights, whose keys come before theirs, they are the same.
    let (mut alone, alone_train) = trained(&zoned(plain()), Dropout::NONE, &window);
    let mut all = Vec::new();
    for layer in 0..2 {
        let name = format!("masks_l{layer}");
        let [beside, own] =
            [left(&mut with, &zoned_train, &name)[slot..].to_vec(), left(&mut alone, &alone_train, &name)];
        assert_eq!(beside, own);
        all.extend(own.chunks_exact(5 * slot).map(|drawn| zeros(drawn.to_vec())).collect::<Vec<_>>());
    }
    for (at, drawn) in all.iter().enumerate() {
        assert!(all[..at].iter().all(|other| other != drawn), "two states share their draws");
    }
}

#[test]
fn evaluation_keeps_the_rate_s_part() {
    for cell in CELLS {
        for directions in [Directions::Forward, Directions::Bidirectional, Directions::Reverse] {
            let config = Config::of_cell(cell, InputKind::Dense(3), 6, 4).with_layers(2).with_directions(directions);
            let config = zoned(config.with_learned_initial_state(true));
            let mut random = Random::new(9);
            let window = Window::random(&mut random, &config, true, 5, 3).with_lengths(&config, vec![5, 1, 3]);
            let parameters = random_parameters(&mut random, &Layout::new(&config).unwrap(), 0.8);
            let want = reference::run(&config, &Loss::CrossEntropy, &parameters, &window, &Draws::new());
            for target in [Target::cpu(), Target::webgpu()] {
                let mut network = Network::new(cpu::Executor::<f64>::new(), &config, target);
                let recipe = Recipe::new(Loss::CrossEntropy);
                let evaluate = network.prepare(Purpose::Evaluate(&recipe), window.steps, window.batch);
                network.write(&evaluate, evaluate.at.parameters, &parameters);
                network.run(&evaluate, &window, step_into(1));
                assert_close("loss", &[network.metrics(&evaluate, 1).loss], &[want.loss], F64);
                let state = network.read(&evaluate, evaluate.at.state);
                assert_close("state", &state, &want.state, F64);
            }
        }
    }
}

#[test]
fn a_stream_says_what_a_predictor_says() {
    let shape = BatchShape { steps: 6, batch_size: 2 };
    for cell in CELLS {
        let config = Config::of_cell(cell, InputKind::Dense(3), 9, 4).with_layers(2).with_seed(3);
        let x: Vec<f32> = Random::new(2).reals(6 * 2 * 3, 1.0).iter().map(|x| *x as f32).collect();
        let said = |config: &Config| {
            let mut predictor = Predictor::new(&Device::cpu(), &Model::new(config.clone()).unwrap()).unwrap();
            let outputs = predictor.run(&Sequences::dense(shape, x.clone())).unwrap().outputs;
            outputs.iter().map(|y| f64::from(*y)).collect::<Vec<_>>()
        };
        let config = zoned(config);
        let want = said(&config);
        let mut stream = StreamingPredictor::new(&Device::cpu(), &Model::new(config.clone()).unwrap(), 2).unwrap();
        let steps = x.chunks_exact(2 * 3).flat_map(|x| stream.step(x).unwrap().to_vec());
        assert_close("steps", &steps.map(f64::from).collect::<Vec<_>>(), &want, F32_NETWORK);
        let other = said(&config.with_zoneout(0.0, 0.0));
        assert!(want.iter().zip(&other).any(|(a, b)| (a - b).abs() > 1e-3), "{cell:?}: nothing was kept");
    }
}
