//! Parameters that are frozen, and those that decay: neither they nor their moments move, in a resumed training either.

use recurrent::internals::plan::parameter_flags;
use recurrent::internals::plan::{FROZEN, NOT_DECAYED};
use recurrent::{
    Activation, Batch, Checkpoint, Clip, Config, DecayScope, Device, Error, InputKind, LayerNorm, Layout, Loss, Model,
    Optimizer, Recipe, Recurrent, Trainer,
};

use super::{batch, bytes, doubles, elman, lstm, plain, trainer, values};
use crate::common::compare::{F32_STEP, assert_close};
use crate::common::random::Random;
use crate::common::whole;

whole::on_both!(
    frozen_parameters_do_not_move,
    frozen_parameters_have_no_part_in_the_norm,
    weight_decay_shrinks_what_it_should,
    a_training_resumes_with_what_is_frozen,
);

/// The optimisers, each with all the decay it has.
fn optimizers() -> [Recipe; 9] {
    let recipe = Recipe::new(Loss::CrossEntropy).with_decay_scope(DecayScope::All);
    let optimizers = [
        Optimizer::sgd(0.0),
        Optimizer::sgd(0.9),
        Optimizer::rms_prop(),
        Optimizer::adam_w(0.1),
        Optimizer::nesterov(0.9),
        Optimizer::adagrad(),
        Optimizer::ams_grad(0.1),
        Optimizer::r_adam(0.1),
        Optimizer::lion(0.1),
    ];
    optimizers.map(|optimizer| recipe.clone().with_optimizer(optimizer, 0.01))
}

/// Whether a parameter and its moments moved between two checkpoints.
fn moved(before: &Checkpoint, after: &Checkpoint, name: &str) -> [bool; 2] {
    let [b, a] = [before, after].map(|checkpoint| checkpoint.training.as_ref().unwrap());
    let range = before.model.layout().get(name).unwrap().range();
    let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    let moments = b.moments.iter().zip(&a.moments).any(|(b, a)| bits(&b[range.clone()]) != bits(&a[range.clone()]));
    let [b, a] = [before, after].map(|checkpoint| bits(checkpoint.model.parameter(name).unwrap()));
    [b != a, moments]
}

fn frozen_parameters_do_not_move(device: &Device) {
    let config = elman();
    let mut random = Random::new(6);
    let windows: Vec<Batch> = (0..3).map(|_| batch(&mut random, &config, 5, 3)).collect();
    for recipe in optimizers() {
        let mut trainer = trainer(device, &config, recipe.clone());
        let run = |trainer: &mut Trainer| {
            let before = trainer.checkpoint().unwrap();
            trainer.step(&windows[0]).unwrap();
            trainer.step_accumulated(&windows).unwrap();
            let after = trainer.checkpoint().unwrap();
            let parameters = before.model.layout().parameters().to_vec();
            for parameter in parameters {
                let name = parameter.name;
                let trained = !trainer.frozen().contains(&name);
                assert_eq!(moved(&before, &after, &name), [trained; 2], "{:?}: {name}", recipe.optimizer);
            }
        };
        // With moments that would move them still.
        run(&mut trainer);
        trainer.freeze(&["weight_ih_l0", "bias_*"]).unwrap();
        assert_eq!(trainer.frozen(), ["weight_ih_l0", "bias_ih_l0", "bias_hh_l0"]);
        run(&mut trainer);
        trainer.freeze(&["weight"]).unwrap();
        trainer.unfreeze(&["bias*"]).unwrap();
        assert_eq!(trainer.frozen(), ["weight_ih_l0", "weight"]);
        run(&mut trainer);
        trainer.unfreeze(&["*"]).unwrap();
        assert!(trainer.frozen().is_empty());
        run(&mut trainer);
        assert_eq!(trainer.metrics().unwrap().len(), 8);
    }
}

#[test]
fn names_that_freeze_nothing_or_everything_are_errors() {
    let mut trainer = trainer(&Device::cpu(), &elman(), Recipe::new(Loss::CrossEntropy));
    trainer.freeze(&["bias"]).unwrap();
    let there = "weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0, weight, bias";
    for name in ["weight_ih_l1", "Weight*", "weight_ih", ""] {
        let expected = format!("invalid configuration: the model has no parameter `{name}`; there are {there}");
        assert_eq!(trainer.freeze(&["weight", name]).unwrap_err().to_string(), expected);
        assert_eq!(trainer.unfreeze(&["bias", name]).unwrap_err().to_string(), expected);
    }
    let error = trainer.freeze(&["weight*", "bias_*"]).unwrap_err();
    assert!(matches!(error, Error::Config(_)), "{error:?}");
    assert!(error.to_string().contains("all parameters would be frozen"), "{error}");
    assert_eq!(trainer.frozen(), ["bias"], "what failed changes nothing");
    trainer.freeze::<&str>(&[]).unwrap();
    trainer.freeze(&[String::from("bias")]).unwrap();
    assert_eq!(trainer.frozen(), ["bias"]);
}

fn frozen_parameters_have_no_part_in_the_norm(device: &Device) {
    let config = lstm();
    let window = batch(&mut Random::new(7), &config, 5, 4);
    let frozen = ["weight_hh_l0", "weight", "bias"];
    // With gradient descent at a rate of 1 the step is the gradient.
    let step = |clip: Clip, frozen: &[&str]| {
        let mut trainer = trainer(device, &config, plain(Loss::MeanSquared, 1.0).with_clip(clip));
        trainer.freeze(frozen).unwrap();
        let before = trainer.model().unwrap();
        trainer.step(&window).unwrap();
        let after = trainer.model().unwrap();
        let differences: Vec<(String, Vec<f64>)> = before
            .tensors()
            .zip(after.tensors())
            .map(|((name, _, b), (_, _, a))| {
                (name.to_owned(), b.iter().zip(a).map(|(b, a)| f64::from(*b) - f64::from(*a)).collect())
            })
            .collect();
        (differences, trainer.metrics().unwrap()[0].clone())
    };
    let norm = |step: &[(String, Vec<f64>)], without: &[&str]| {
        let counted = step.iter().filter(|(name, _)| !without.contains(&name.as_str()));
        counted.flat_map(|(_, values)| values).map(|v| v * v).sum::<f64>().sqrt()
    };
    let (gradient, all) = step(Clip::None, &[]);
    let want = norm(&gradient, &frozen);
    assert!(want < 0.9 * all.grad_norm, "what is frozen has too small a part: {want} of {}", all.grad_norm);
    let (_, rest) = step(Clip::None, &frozen);
    assert_close("the norm of what is trained", &[rest.grad_norm], &[want], F32_STEP);
    assert_eq!(rest.loss, all.loss);
    let (clipped, metrics) = step(Clip::Norm(want / 2.0), &frozen);
    assert_close("the scale", &[metrics.clip_scale], &[0.5], F32_STEP);
    assert_close("the clipped step", &[norm(&clipped, &[])], &[want / 2.0], F32_STEP);
}

fn weight_decay_shrinks_what_it_should(device: &Device) {
    let config = elman();
    let window = batch(&mut Random::new(8), &config, 5, 4);
    let (rate, lambda) = (0.01, 0.5);
    let before = Model::new(config.clone()).unwrap();
    let after = |optimizer: Optimizer, decay_scope: DecayScope| {
        let recipe = Recipe::new(Loss::CrossEntropy).with_optimizer(optimizer, rate).with_decay_scope(decay_scope);
        let mut trainer = trainer(device, &config, recipe);
        trainer.step(&window).unwrap();
        trainer.model().unwrap()
    };
    assert_eq!(Recipe::new(Loss::CrossEntropy).decay_scope, DecayScope::Weights);
    let plain = after(Optimizer::adam(), DecayScope::All);
    for (decay, all) in [(DecayScope::Weights, false), (DecayScope::All, true)] {
        let decayed = after(Optimizer::adam_w(lambda), decay);
        for (name, _, got) in decayed.tensors() {
            let shrinks = all || name.starts_with("weight");
            let (plain, before) = (values(&plain, name), values(&before, name));
            if shrinks {
                // Beside each other, so that a decay of nothing is far off.
                let lost: Vec<f64> = plain.iter().zip(doubles(got)).map(|(plain, got)| plain - got).collect();
                let want: Vec<f64> = before.iter().map(|v| v * rate * lambda).collect();
                assert_close(&format!("{decay:?}: what {name} loses"), &lost, &want, F32_STEP);
            } else {
                assert_eq!(doubles(got), plain, "{decay:?}: {name}");
            }
        }
    }
}

#[test]
fn biases_and_learned_states_are_exempt_from_decay() {
    let layout = Layout::new(&lstm().with_learned_initial_state(true)).unwrap();
    let frozen = ["c_0".to_owned(), "weight".to_owned()];
    for (decay, spared) in [(DecayScope::Weights, NOT_DECAYED), (DecayScope::All, 0)] {
        let parameter_flags = parameter_flags(decay, &layout, &frozen).unwrap();
        let mut want = vec![0; layout.buffer_len()];
        for parameter in layout.parameters() {
            let is_weight = parameter.name.starts_with("weight");
            let bits = if is_weight { 0 } else { spared } | if frozen.contains(&parameter.name) { FROZEN } else { 0 };
            want[parameter.range()].fill(bits);
        }
        assert_eq!(parameter_flags, want);
        assert_eq!(parameter_flags[layout.get("h_0").unwrap().offset], spared);
    }
}

#[test]
fn of_a_list_the_weights_of_all_modules_decay_and_a_gain_does_not() {
    let config = Config::new(InputKind::Tokens(5)).embedding(3).layer(Recurrent::lstm(4));
    let config = config.layer(LayerNorm::new()).layer(Recurrent::gru(3)).dense(6, Activation::Relu).outputs(2);
    let layout = Layout::new(&config).unwrap();
    let flags = parameter_flags(DecayScope::Weights, &layout, &[]).unwrap();
    let decayed = layout.parameters().iter().filter(|p| flags[p.offset] != NOT_DECAYED).map(|p| p.name.as_str());
    assert_eq!(
        decayed.collect::<Vec<_>>(),
        [
            "embedding.weight",
            "lstm.weight_ih_l0",
            "lstm.weight_hh_l0",
            "gru.weight_ih_l0",
            "gru.weight_hh_l0",
            "dense.weight",
            "head.0.weight"
        ]
    );
}

fn a_training_resumes_with_what_is_frozen(device: &Device) {
    let config = elman();
    let mut random = Random::new(9);
    let windows: Vec<Batch> = (0..4).map(|_| batch(&mut random, &config, 5, 3)).collect();
    for recipe in optimizers() {
        let mut trainer = trainer(device, &config, recipe);
        trainer.step(&windows[0]).unwrap();
        trainer.freeze(&["weight_hh*", "bias"]).unwrap();
        trainer.step(&windows[1]).unwrap();
        let saved = bytes(&mut trainer);
        let loaded = Checkpoint::from_bytes(&saved).unwrap();
        assert_eq!(loaded.training.as_ref().unwrap().frozen, ["weight_hh_l0", "bias"]);
        let mut resumed = Trainer::resume(device, &loaded).unwrap();
        assert_eq!(resumed.frozen(), trainer.frozen());
        assert!(bytes(&mut resumed) == saved);
        trainer.metrics().unwrap();
        for trainer in [&mut trainer, &mut resumed] {
            windows.iter().for_each(|window| trainer.step(window).unwrap());
            trainer.step_accumulated(&windows[1..]).unwrap();
        }
        assert_eq!(resumed.metrics().unwrap(), trainer.metrics().unwrap());
        assert!(bytes(&mut resumed) == bytes(&mut trainer), "the resumed training ends elsewhere");
        let end = trainer.checkpoint().unwrap();
        assert_eq!(moved(&loaded, &end, "bias"), [false; 2]);
        assert_eq!(moved(&loaded, &end, "bias_hh_l0"), [true; 2]);
    }
}

#[test]
fn a_checkpoint_that_freezes_what_it_cannot_is_refused() {
    let mut trainer = trainer(&Device::cpu(), &elman(), Recipe::new(Loss::CrossEntropy));
    trainer.freeze(&["weight", "bias_ih_l0"]).unwrap();
    let good = trainer.checkpoint().unwrap();
    let text = String::from_utf8_lossy(&good.to_bytes().unwrap()).into_owned();
    assert!(text.contains(r#"\"frozen\":[\"bias_ih_l0\",\"weight\"]"#), "{text}");
    let all: Vec<String> = good.model.layout().parameters().iter().map(|parameter| parameter.name.clone()).collect();
    for (frozen, expected) in [
        (vec!["weight_hh_l1".to_owned()], "the frozen parameter `weight_hh_l1` is not one of the network's"),
        (vec!["weight*".to_owned()], "the frozen parameter `weight*` is not one of the network's"),
        (vec!["bias".to_owned(), "bias".to_owned()], "the parameter `bias` is frozen twice"),
        (all, "all parameters are frozen"),
    ] {
        let mut bad = good.clone();
        bad.training.as_mut().unwrap().frozen = frozen;
        let error = bad.to_bytes().unwrap_err();
        assert!(matches!(error, Error::Checkpoint { .. }) && error.to_string().contains(expected), "{error}");
    }
    // A file is held to the same: here with another name of the same length.
    let mut bytes = good.to_bytes().unwrap();
    let before = br#"\"frozen\":[\""#;
    let at = bytes.windows(before.len()).position(|w| w == before).unwrap() + before.len();
    bytes[at..at + 10].copy_from_slice(b"bias_ih_l7");
    let error = Checkpoint::from_bytes(&bytes).unwrap_err();
    assert!(error.to_string().contains("the frozen parameter `bias_ih_l7` is not one of the network's"), "{error}");
    let mut bad = good;
    bad.training.as_mut().unwrap().frozen = vec!["weight_hh_l1".to_owned()];
    let error = Trainer::resume(&Device::cpu(), &bad).unwrap_err();
    assert!(error.to_string().contains("no parameter `weight_hh_l1`; there are weight_ih_l0, "), "{error}");
}
