//! The gradient's trace: against a closed form, between the executors, and at no cost where nobody asks.

use recurrent::internals::plan::{Phase, Plan, Purpose, Target};
use recurrent::recipe::GradientCheckpointing;
use recurrent::{
    Activation, Batch, BatchShape, Cell, Clip, Config, Device, Directions, Error, InputKind, Inputs, LayerTrace, Loss,
    Model, NotFinite, Optimizer, Pool, Predictor, Recipe, Reset, Sequences, Start, State, Targets, Trace, Trainer,
};

use crate::common::random::Random;
use crate::common::whole;

const CELLS: [Cell; 6] = [
    Cell::Elman(Activation::Tanh),
    Cell::Lstm,
    Cell::Gru(Reset::AfterProduct),
    Cell::Gru(Reset::BeforeProduct),
    Cell::Cifg,
    Cell::PeepholeLstm,
];

fn devices() -> Vec<Device> {
    let mut devices = vec![Device::cpu()];
    if cfg!(not(no_adapter)) {
        devices.push(whole::gpu());
    }
    devices
}

fn still(loss: Loss) -> Recipe {
    Recipe::new(loss).with_optimizer(Optimizer::sgd(0.0), 1e-3).with_clip(Clip::None)
}

fn batch(config: &Config, steps: usize, lengths: &[usize], seed: u64) -> Batch {
    let (mut random, size) = (Random::new(seed), lengths.len());
    let InputKind::Dense(inputs) = config.input else { panic!("vectors") };
    let values = random.reals(steps * size * inputs, 1.0).iter().map(|v| *v as f32).collect();
    let labels = config.label_count(BatchShape { steps, batch_size: size });
    let targets = random.reals(labels * config.outputs, 1.0).iter().map(|v| *v as f32).collect();
    let sequences =
        Sequences::new(BatchShape { steps, batch_size: size }, Inputs::Dense(values)).with_lengths(lengths.to_vec());
    Batch::new(sequences, Targets::Values(targets))
}

/// A model with these parameters, the rest as ever.
fn model(config: &Config, set: &[(&str, &[f32])]) -> Model {
    let drawn = Model::new(config.clone()).unwrap();
    let tensors = drawn.tensors().map(|(name, shape, values)| {
        (name, shape, set.iter().find(|(other, _)| *other == name).map_or(values, |(_, values)| *values))
    });
    Model::from_tensors(config.clone(), tensors).unwrap()
}

fn traced(device: &Device, model: &Model, recipe: Recipe, batches: &[Batch]) -> Trace {
    let mut trainer = Trainer::new(device, model, recipe.with_trace()).unwrap();
    trainer.step_accumulated(batches).unwrap();
    trainer.trace().unwrap()
}

/// h_t = relu(ρ·h_(t-1) + 1) with every unit by itself: positive, so dL/dh_t = ρ^(T−t)·dL/dh_T whatever the loss.
#[test]
fn a_linear_network_has_the_closed_form() {
    const STEPS: usize = 20;
    let config = Config::of_cell(Cell::Elman(Activation::Relu), InputKind::Dense(1), 4, 2).pool(Pool::Last);
    for rho in [0.5, 0.9, 1.0, 1.25] {
        let unit = (0..16).map(|i| if i % 5 == 0 { rho } else { 0.0 }).collect::<Vec<f32>>();
        let model = model(&config, &[("weight_hh_l0", &unit), ("weight_ih_l0", &[0.0; 4]), ("bias_ih_l0", &[1.0; 4])]);
        let batch = batch(&config, STEPS, &[STEPS; 3], 3);
        for device in devices() {
            let trace = traced(&device, &model, still(Loss::MeanSquared), std::slice::from_ref(&batch));
            assert_eq!((trace.step, trace.layers.len(), trace.clipped), (1, 1, None));
            let layer = &trace.layers[0];
            assert_eq!((layer.layer, layer.reverse, layer.norms.len()), (0, false, STEPS));
            let last = layer.norms[STEPS - 1];
            assert!(last > 1e-3, "{last}");
            for (t, norm) in layer.norms.iter().enumerate() {
                let want = last * f64::from(rho).powi((STEPS - 1 - t) as i32);
                assert!((norm / want - 1.0).abs() < 1e-5, "{} ρ {rho} t {t}: {norm}, not {want}", device.name());
            }
            assert!(
                (layer.per_step_factor().unwrap() / f64::from(rho) - 1.0).abs() < 1e-5,
                "{:?}",
                layer.per_step_factor()
            );
        }
    }
}

/// The same both ways, over sequences that end before the window does: of the reverse direction the last state is that
/// at the first step.
#[test]
fn a_linear_network_that_reads_both_ways_has_the_closed_form() {
    const STEPS: usize = 12;
    let config = Config::of_cell(Cell::Elman(Activation::Relu), InputKind::Dense(1), 4, 2).pool(Pool::Last);
    let config = config.with_directions(Directions::Bidirectional);
    let unit = |rho: f32| (0..16).map(|i| if i % 5 == 0 { rho } else { 0.0 }).collect::<Vec<f32>>();
    let (forward, reverse) = (0.9, 0.7);
    let alone = Config::of_cell(Cell::Elman(Activation::Relu), InputKind::Dense(1), 4, 2).pool(Pool::Last);
    let alone = alone.with_directions(Directions::Reverse);
    let of_alone: [(&str, &[f32]); 3] =
        [("weight_hh_l0", &unit(reverse)), ("weight_ih_l0", &[0.0; 4]), ("bias_ih_l0", &[1.0; 4])];
    let from_end = model(&alone, &of_alone);
    let model = model(
        &config,
        &[
            ("weight_hh_l0", &unit(forward)),
            ("weight_hh_l0_reverse", &unit(reverse)),
            ("weight_ih_l0", &[0.0; 4]),
            ("weight_ih_l0_reverse", &[0.0; 4]),
            ("bias_ih_l0", &[1.0; 4]),
            ("bias_ih_l0_reverse", &[1.0; 4]),
        ],
    );
    for length in [STEPS, 7] {
        let batch = batch(&config, STEPS, &[length; 3], 3);
        for device in devices() {
            let trace = traced(&device, &model, still(Loss::MeanSquared), std::slice::from_ref(&batch));
            let [there, back] = &trace.layers[..] else { panic!("{trace:?}") };
            assert_eq!([there.reverse, back.reverse], [false, true]);
            let trace = traced(&device, &from_end, still(Loss::MeanSquared), std::slice::from_ref(&batch));
            let [only] = &trace.layers[..] else { panic!("{trace:?}") };
            assert!(only.reverse);
            for t in 0..STEPS {
                let want = if t < length { only.norms[0] * f64::from(reverse).powi(t as i32) } else { 0.0 };
                assert!((only.norms[t] - want).abs() <= 1e-5 * want && only.norms[0] > 0.0, "{only:?}, not {want}");
            }
            for t in 0..STEPS {
                let wants = [
                    there.norms[length - 1] * f64::from(forward).powi(length as i32 - 1 - t as i32),
                    back.norms[0] * f64::from(reverse).powi(t as i32),
                ];
                for (layer, want) in [there, back].into_iter().zip(wants) {
                    let want = if t < length { want } else { 0.0 };
                    assert!(
                        (layer.norms[t] - want).abs() <= 1e-5 * want,
                        "length {length} t {t}: {layer:?}, not {want}"
                    );
                }
            }
        }
    }
}

/// dL/dh_1 is what the loss of the steps after it does where the state they start from is moved.
#[test]
fn the_first_step_s_norm_is_that_of_differences() {
    const STEPS: usize = 6;
    const MOVE: f32 = 1e-2;
    for cell in CELLS {
        let config = Config::of_cell(cell, InputKind::Dense(3), 4, 2).pool(Pool::Last).with_seed(2);
        let model = Model::new(config.clone()).unwrap();
        let whole = batch(&config, STEPS, &[STEPS; 2], 9);
        let Inputs::Dense(inputs) = &whole.sequences.inputs else { panic!("vectors") };
        let (first, rest) = inputs.split_at(2 * 3);
        let mut predictor = Predictor::new(&Device::cpu(), &model).unwrap();
        let state = predictor
            .run(&Sequences::dense(BatchShape { steps: 1, batch_size: 2 }, first.to_vec()))
            .unwrap()
            .state
            .values()
            .to_vec();
        let mut trainer = Trainer::new(&Device::cpu(), &model, still(Loss::MeanSquared)).unwrap();
        let mut loss = |at: usize, by: f32| {
            let mut moved = state.clone();
            moved[at] += by;
            let mut sequences = Sequences::dense(BatchShape { steps: STEPS - 1, batch_size: 2 }, rest.to_vec());
            sequences.start = Start::Given(State::new(&config, 2, moved).unwrap());
            trainer.evaluate([Batch::new(sequences, whole.targets.clone())]).unwrap()
        };
        // h comes before what else a cell carries.
        let slopes = (0..2 * 4).map(|at| (loss(at, MOVE) - loss(at, -MOVE)) / f64::from(2.0 * MOVE));
        let want = slopes.map(|slope| slope * slope).sum::<f64>().sqrt();
        for device in devices() {
            let trace = traced(&device, &model, still(Loss::MeanSquared), std::slice::from_ref(&whole));
            let norm = trace.layers[0].norms[0];
            assert!((norm / want - 1.0).abs() < 1e-3, "{cell:?} on {}: {norm}, not {want}", device.name());
        }
    }
}

#[test]
fn executors_agree_whatever_the_cell_and_the_lengths_and_the_segments() {
    const STEPS: usize = 9;
    let cells = CELLS.into_iter().map(|cell| (cell, None)).chain([(Cell::Lstm, Some(3)), (Cell::Cifg, Some(4))]);
    for (at, (cell, projection)) in cells.enumerate() {
        for (directions, read_out) in [(Directions::Forward, None), (Directions::Bidirectional, Some(Pool::Mean))] {
            let config = Config::of_cell(cell, InputKind::Dense(3), 5, 2).with_layers(2);
            let config = if let Some(size) = projection { config.with_projection(size) } else { config };
            let config = config.with_directions(directions).with_pool(read_out);
            let model = Model::new(config.clone()).unwrap();
            let batch = batch(&config, STEPS, &[STEPS, 4, 1], at as u64);
            let trace = |device: &Device, recipe| traced(device, &model, recipe, std::slice::from_ref(&batch));
            let mut recipes = vec![still(Loss::MeanSquared)];
            if directions == Directions::Forward {
                recipes.push(still(Loss::MeanSquared).with_gradient_checkpointing(GradientCheckpointing::Steps(4)));
            }
            let want = trace(&Device::cpu(), recipes[0].clone());
            assert_eq!(want.layers.len(), 2 * directions.count());
            assert!(want.layers.iter().all(|layer| layer.norms.iter().all(|norm| *norm > 0.0)), "{want:?}");
            for (device, recipe) in devices().iter().flat_map(|device| recipes.iter().map(move |r| (device, r.clone())))
            {
                let got = trace(device, recipe);
                assert_eq!((got.layers.len(), got.parameters.len()), (want.layers.len(), want.parameters.len()));
                for (got, want) in got.layers.iter().zip(&want.layers) {
                    let of = |layer: &LayerTrace| (layer.layer, layer.reverse, layer.norms.len());
                    assert_eq!(of(got), of(want));
                    for (got, want) in got.norms.iter().zip(&want.norms) {
                        assert!((got / want - 1.0).abs() < 1e-4, "{} {cell:?}: {got}, not {want}", device.name());
                    }
                }
                for (got, want) in got.parameters.iter().zip(&want.parameters) {
                    assert_eq!(got.name, want.name);
                    for (got, want) in [(&got.gradient, &want.gradient), (&got.weight, &want.weight)] {
                        assert!((got.norm - want.norm).abs() < 1e-4 * want.norm, "{got:?}, not {want:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn parameters_norms_are_those_of_the_model_and_their_squares_add_up_to_the_metrics() {
    let config = Config::lstm(InputKind::Dense(3), 5, 2);
    let model = Model::new(config.clone()).unwrap();
    let recipe = Recipe::new(Loss::MeanSquared).with_clip(Clip::Norm(1e-3)).with_trace();
    let mut trainer = Trainer::new(&Device::cpu(), &model, recipe).unwrap();
    for seed in 0..3 {
        trainer.step(&batch(&config, 6, &[6, 6], seed)).unwrap();
    }
    let trace = trainer.trace().unwrap();
    assert_eq!((trace.step, trace.clipped), (3, Some(1.0)));
    // The share of all steps: one of three by elements beyond the bound, none by a bound that none reaches.
    for (bound, loud, share) in [(1.0, 1, 1.0 / 3.0), (1e9, 3, 0.0)] {
        let recipe = still(Loss::MeanSquared).with_clip(Clip::Value(bound)).with_trace();
        let mut trainer = Trainer::new(&Device::cpu(), &model, recipe).unwrap();
        for step in 0..3 {
            let mut batch = batch(&config, 6, &[6, 6], 1);
            let Targets::Values(targets) = &mut batch.targets else { panic!("real targets") };
            targets.iter_mut().for_each(|target| *target = if step < loud { 100.0 } else { 0.0 });
            trainer.step(&batch).unwrap();
        }
        assert_eq!(trainer.trace().unwrap().clipped, Some(share));
    }
    let trained = trainer.model().unwrap();
    for parameter in &trace.parameters {
        let values = trained.parameter(&parameter.name).unwrap();
        let norm = values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        assert!((parameter.weight.norm - norm).abs() < 1e-12, "{parameter:?}");
        let counted = parameter.weight.decades.values().sum::<usize>() + parameter.weight.zeros;
        assert_eq!((counted, parameter.weight.not_finite), (values.len(), 0));
    }
    let all = trace.parameters.iter().map(|p| p.gradient.norm.powi(2)).sum::<f64>().sqrt();
    let metrics = trainer.metrics().unwrap();
    assert_eq!(metrics.len(), 3, "a trace takes no metrics away");
    assert!((all / metrics[2].grad_norm - 1.0).abs() < 1e-5, "{all} {}", metrics[2].grad_norm);
    let line = serde_json::to_value(&trace).unwrap();
    assert_eq!(line["layers"][0]["norms"].as_array().unwrap().len(), 6);
    assert!(line["parameters"][0]["gradient"]["decades"].is_object(), "{line}");
}

#[test]
fn what_is_not_finite_shows() {
    let config = Config::of_cell(Cell::Elman(Activation::Relu), InputKind::Dense(3), 5, 2);
    let model = model(&config, &[("weight_hh_l0", &[1e30; 25]), ("bias_ih_l0", &[1.0; 5])]);
    for device in devices() {
        let trace = traced(&device, &model, still(Loss::MeanSquared), &[batch(&config, 6, &[6], 1)]);
        assert!(!trace.layers[0].norms[0].is_finite(), "{trace:?}");
        assert!(trace.parameters.iter().any(|parameter| parameter.gradient.not_finite > 0), "{trace:?}");
        let mut trainer = Trainer::new(&device, &model, still(Loss::MeanSquared)).unwrap();
        trainer.step(&batch(&config, 6, &[6], 1)).unwrap();
        let error = trainer.metrics().unwrap_err();
        let Error::Diverged { step: 1, seen, .. } = &error else { panic!("{error:?}") };
        assert_eq!((&seen.first, seen.norms.len()), (&Some((1, NotFinite::State { layer: 0 })), 0), "{seen:?}");
    }
}

#[test]
fn a_recipe_without_a_trace_has_the_same_plan_as_ever_and_says_so_when_asked() {
    let config = Config::lstm(InputKind::Dense(3), 5, 2).with_layers(2);
    let recipe = Recipe::new(Loss::MeanSquared);
    let plan = |recipe| Plan::new(&config, Purpose::Train(&recipe), 7, 2, &Target::webgpu()).unwrap().0;
    let (without, with) = (plan(recipe.clone()), plan(recipe.clone().with_trace()));
    assert!(without.find("trace").is_none() && with.find("trace").is_some());
    assert_eq!(with.dispatches(Phase::Backward), without.dispatches(Phase::Backward) + 2);
    let lines = with.to_string();
    let left: Vec<&str> = lines.lines().filter(|line| !line.contains(" trace")).collect();
    assert_eq!(left, without.to_string().lines().collect::<Vec<_>>());

    let model = Model::new(config.clone()).unwrap();
    let error = Trainer::new(&Device::cpu(), &model, recipe.clone()).unwrap().trace().unwrap_err();
    assert!(matches!(&error, Error::Config(what) if what.contains("Recipe::with_trace")), "{error}");
    let error = Trainer::new(&Device::cpu(), &model, recipe.with_trace()).unwrap().trace().unwrap_err();
    assert!(matches!(&error, Error::Data(what) if what.contains("no step yet")), "{error}");
}
