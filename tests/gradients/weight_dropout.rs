//! Dropout of the recurrent weights: what it leaves out of U, of its gradient and of nothing else.
//!
//! The contract: a training step with it is one without it of a network whose U is the masked one, in every structure;
//! evaluation and inference read U as it is.

use recurrent::internals::cpu;
use recurrent::internals::plan::{Purpose, Target};
use recurrent::recipe::{Clip, Dropout, Loss, Optimizer, Recipe};
use recurrent::{Activation, Cell, Config, Directions, InputKind, Layout, Reset};

use crate::common::compare::{EXACT, F64, assert_close};
use crate::common::network::{Network, Window, random_parameters, step_into};
use crate::common::random::Random;

const RATE: f64 = 0.4;

fn configs() -> impl Iterator<Item = Config> {
    let cells = [
        Cell::Elman(Activation::Tanh),
        Cell::Lstm,
        Cell::Gru(Reset::AfterProduct),
        Cell::Gru(Reset::BeforeProduct),
        Cell::Cifg,
        Cell::PeepholeLstm,
    ];
    let ways = [Directions::Forward, Directions::Bidirectional, Directions::Reverse];
    cells.into_iter().flat_map(move |cell| {
        ways.map(|ways| Config::of_cell(cell, InputKind::Dense(3), 9, 4).with_layers(2).with_directions(ways))
    })
}

/// Loss and gradients of a step, the masked U of each layer, and the loss in evaluation.
fn trained(config: &Config, dropout: Dropout, parameters: &[f64], window: &Window) -> Trained {
    let mut network = Network::new(cpu::Executor::<f64>::new(), config, Target::webgpu());
    let recipe = Recipe::new(Loss::CrossEntropy).with_clip(Clip::None).with_optimizer(Optimizer::sgd(0.0), 0.1);
    let train = network.prepare_kept(Purpose::Train(&recipe.with_dropout(dropout)), window.steps, window.batch);
    network.write(&train, train.at.parameters, parameters);
    network.run(&train, window, step_into(0));
    let evaluate = network.prepare(Purpose::Evaluate(&Recipe::new(Loss::CrossEntropy)), window.steps, window.batch);
    let gradients = network.gradients(&train);
    let loss = network.metrics(&train, 0).loss;
    let masked = [0, 1].map(|layer| {
        let id = train.plan.find(&format!("weight_hh_l{layer}.masked"));
        id.map(|id| network.read(&train, id)).unwrap_or_default()
    });
    network.run(&evaluate, window, step_into(1));
    Trained { loss, gradients, masked, evaluated: network.metrics(&evaluate, 1).loss }
}

struct Trained {
    loss: f64,
    gradients: Vec<f64>,
    masked: [Vec<f64>; 2],
    evaluated: f64,
}

#[test]
fn a_step_is_that_of_the_network_with_the_masked_weights() {
    let (mut dropped, mut all) = (0u32, 0u32);
    for config in configs() {
        let (layout, mut random) = (Layout::new(&config).unwrap(), Random::new(3));
        let parameters = random_parameters(&mut random, &layout, 0.8);
        // Enough rows for more than one slice.
        let window = Window::random(&mut random, &config, true, 7, 40);
        let got = trained(&config, Dropout::NONE.with_weights(RATE), &parameters, &window);
        let kept = f64::from((1.0 / (1.0 - RATE)) as f32);
        let (mut other, mut factors) = (parameters.clone(), vec![1.0; parameters.len()]);
        for (layer, masked) in got.masked.iter().enumerate() {
            let start = layout.get(&format!("weight_hh_l{layer}")).unwrap().offset;
            // Both directions lie side by side.
            for (at, value) in (start..).zip(masked) {
                assert!(*value == 0.0 || *value == parameters[at] * kept, "{value}, U {}", parameters[at]);
                factors[at] = if *value == 0.0 { 0.0 } else { kept };
                other[at] = *value;
                (dropped, all) = (dropped + u32::from(*value == 0.0), all + 1);
            }
        }
        let zeros = |masked: &[f64]| masked.iter().map(|value| *value == 0.0).collect::<Vec<_>>();
        assert_ne!(zeros(&got.masked[0]), zeros(&got.masked[1]), "each layer has a mask of its own");
        let want = trained(&config, Dropout::NONE, &other, &window);
        assert_close("loss", &[got.loss], &[want.loss], F64);
        let gradients: Vec<f64> = want.gradients.iter().zip(&factors).map(|(g, m)| g * m).collect();
        assert_close(&format!("{config:?}: gradients"), &got.gradients, &gradients, F64);
        let whole = trained(&config, Dropout::NONE, &parameters, &window);
        assert_close("evaluation", &[got.evaluated], &[whole.evaluated], EXACT);
        assert!((got.loss - whole.loss).abs() > 1e-6, "nothing was dropped: {}", got.loss);
    }
    // The networks draw by the same keys: as many as the largest has are independent, within five deviations.
    let share = f64::from(dropped) / f64::from(all);
    assert!((share - RATE).abs() < 5.0 * (RATE * (1.0 - RATE) / 1296.0).sqrt(), "{share} of {all}, expected {RATE}");
}
