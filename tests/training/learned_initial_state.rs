//! A learned initial state: where it is used, where a carried one takes its place, and what becomes of it in training.

use recurrent::{
    Config, DecayScope, Device, InputKind, Loss, Model, Optimizer, Predictor, Recipe, Start, StreamingPredictor,
    Trainer,
};

use crate::common::whole::{self, assert_close, assert_same, part, rng};
use crate::{DIFFERENCE, assert_near, by_hand, flat, losses, plain};

/// An LSTM whose learned initial state is no longer the zeros that it is drawn as.
fn learned() -> Model {
    let config = Config::lstm(InputKind::Tokens(7), 20, 7).with_layers(2).with_learned_initial_state(true).with_seed(5);
    let model = Model::new(config.clone()).unwrap();
    let mut random = rng(17);
    let mut start = |name: &str, values: &[f32]| match name {
        "h_0" | "c_0" => whole::reals(&mut random, values.len(), 0.9),
        _ => values.to_vec(),
    };
    let tensors: Vec<_> = model.tensors().map(|(name, shape, values)| (name, shape, start(name, values))).collect();
    Model::from_tensors(config, tensors.iter().map(|(name, shape, v)| (*name, *shape, v.as_slice()))).unwrap()
}

/// How far gradient descent moved a parameter.
fn step_of(before: &Model, after: &Model, name: &str) -> Vec<f32> {
    let [before, after] = [before, after].map(|model| model.parameter(name).unwrap());
    before.iter().zip(after).map(|(before, after)| before - after).collect()
}

fn a_window_that_carries_on_leaves_the_learned_start_alone(device: &Device) {
    let first_model = learned();
    let config = first_model.config();
    let whole = whole::batch(&mut rng(18), config, Loss::CrossEntropy, 8, 2);
    let (first, carried) = (part(&whole, config, 0..4), part(&whole, config, 4..8));
    let start = |model: &Model| Trainer::new(device, model, plain(Loss::CrossEntropy, 1.0)).unwrap();
    let mut trainer = start(&first_model);
    trainer.step(&first).unwrap();
    let model = trainer.model().unwrap();
    let held = trainer.state().unwrap().unwrap();
    trainer.step(&carried).unwrap();
    let (want, metrics) = (trainer.model().unwrap(), trainer.metrics().unwrap());

    let mut told = start(&model);
    told.step(&carried.clone().with_start(Start::Given(held))).unwrap();
    assert_same("the weights, told the state", &flat(&mut told), want.values());
    let same = told.metrics().unwrap()[0].clone();
    assert_eq!((same.loss, same.grad_norm), (metrics[1].loss, metrics[1].grad_norm));

    // From the learned state the same window is another.
    let mut fresh = start(&model);
    fresh.step(&carried.clone().with_start(Start::Initial)).unwrap();
    let (moved, other) = (fresh.model().unwrap(), fresh.metrics().unwrap()[0].clone());
    assert!(
        (other.loss - metrics[1].loss).abs() > 1e-3,
        "the start must matter: {} and {}",
        other.loss,
        metrics[1].loss
    );
    // In one step with the window before, whose share of the positions is a half.
    let mut both = start(&first_model);
    both.step_accumulated(&[first, carried]).unwrap();
    let both = both.model().unwrap();
    for name in ["h_0", "c_0"] {
        assert_same(name, want.parameter(name).unwrap(), model.parameter(name).unwrap());
        assert!(step_of(&model, &moved, name).iter().all(|step| *step != 0.0), "a fresh window must move {name}");
        let half: Vec<f32> = step_of(&first_model, &model, name).iter().map(|step| step / 2.0).collect();
        assert_close(&format!("half the step of {name}"), &step_of(&first_model, &both, name), &half, DIFFERENCE);
    }
    assert!(step_of(&model, &want, "weight_hh_l0").iter().any(|step| *step != 0.0), "it must move the rest");
}

fn an_evaluation_carries_the_state_from_size_to_size(device: &Device) {
    let model = learned();
    let config = model.config();
    let mut batches = Vec::new();
    // A size that comes again, at once and later, and new starts between.
    for (seed, cuts) in [(19, vec![0, 3, 8, 11, 14]), (20, vec![0, 1, 4]), (21, vec![0, 5, 6])] {
        let whole = whole::batch(&mut rng(seed), config, Loss::CrossEntropy, cuts[cuts.len() - 1], 2);
        batches.extend(cuts.windows(2).map(|cut| part(&whole, config, cut[0]..cut[1])));
    }
    let mut stream = StreamingPredictor::new(device, &model, 2).unwrap();
    let mut predictor = Predictor::new(device, &model).unwrap();
    let mut held = model.initial_state(2).unwrap();
    let (mut of_stream, mut of_predictor) = (Vec::new(), Vec::new());
    for batch in &batches {
        of_stream.extend(by_hand(&mut stream, batch, config.outputs));
        let start = if batch.sequences.start == Start::Carry { Start::Given(held) } else { Start::Initial };
        let prediction = predictor.run(&batch.sequences.clone().with_start(start)).unwrap();
        of_predictor.extend(losses(&prediction.outputs, batch, config.outputs));
        held = prediction.state;
    }
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    let got = Trainer::new(device, &model, Recipe::new(Loss::CrossEntropy)).unwrap().evaluate(batches).unwrap();
    assert_eq!(of_stream.len(), 2 * (14 + 4 + 6));
    assert_near("the evaluated loss, by a stream", got, mean(&of_stream), 1e-6);
    assert_near("the evaluated loss, by a predictor", got, mean(&of_predictor), 1e-6);
}

fn a_frozen_start_is_read_and_stays(device: &Device) {
    let model = learned();
    let config = model.config();
    let whole = whole::batch(&mut rng(22), config, Loss::CrossEntropy, 8, 2);
    let windows = [part(&whole, config, 0..4), part(&whole, config, 4..8)];
    let recipe =
        Recipe::new(Loss::CrossEntropy).with_optimizer(Optimizer::adam_w(0.1), 0.01).with_decay_scope(DecayScope::All);
    let run = |trainer: &mut Trainer| {
        windows.iter().for_each(|window| trainer.step(window).unwrap());
        trainer.step_accumulated(&windows).unwrap();
        trainer.model().unwrap()
    };
    let [mut free, mut frozen] = [(); 2].map(|()| Trainer::new(device, &model, recipe.clone()).unwrap());
    frozen.freeze(&["h_0"]).unwrap();
    let (moved, stayed) = (run(&mut free), run(&mut frozen));
    for (name, _, before) in model.tensors() {
        assert_ne!(moved.parameter(name).unwrap(), before, "{name} must move where nothing is frozen");
        if name == "h_0" {
            assert_same(name, stayed.parameter(name).unwrap(), before);
        } else {
            assert_ne!(stayed.parameter(name).unwrap(), before, "{name} is not frozen");
        }
    }
    assert_eq!(frozen.metrics().unwrap()[0].loss, free.metrics().unwrap()[0].loss, "what is frozen is read");
    frozen.unfreeze(&["h_0"]).unwrap();
    assert_ne!(run(&mut frozen).parameter("h_0"), stayed.parameter("h_0"), "no longer frozen");
}

whole::on_both!(
    a_window_that_carries_on_leaves_the_learned_start_alone,
    an_evaluation_carries_the_state_from_size_to_size,
    a_frozen_start_is_read_and_stays,
);
