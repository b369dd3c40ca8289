//! What a training can be told beside its recipe: steps over several windows, frozen parameters, what decays, when to
//! stop.
//!
//! Where a step in parts is compared with a whole one a named tolerance holds; what must not change is held to the bit.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;
mod whole;

use recurrent::plan::{FROZEN, NOT_DECAYED};
use recurrent::{
    Batch, Checkpoint, Clip, Config, DecayScope, Device, EarlyStopping, Error, InputKind, Inputs, Layout, Loss, Model,
    Optimizer, Recipe, Sequences, Start, Targets, Trainer,
};

use common::compare::{ACCUMULATED, F32_STEP, assert_close};
use common::random::Random;

whole::on_both!(
    parts_are_the_whole,
    one_part_is_a_step,
    parts_carry_on_from_each_other,
    windows_without_a_label_are_none_of_the_loss,
    a_part_that_diverges_changes_nothing,
    parts_that_do_not_fit_are_named_before_any_runs,
    frozen_parameters_do_not_move,
    frozen_parameters_have_no_part_in_the_norm,
    weight_decay_shrinks_what_it_should,
    a_training_resumes_with_what_is_frozen,
    the_best_model_is_kept,
);

fn elman() -> Config {
    Config::elman(InputKind::Tokens(7), 20, 7).with_seed(3)
}

fn lstm() -> Config {
    Config::lstm(InputKind::Dense(3), 18, 4).with_layers(2).with_seed(4)
}

fn plain(loss: Loss, rate: f64) -> Recipe {
    Recipe::new(loss).with_clip(Clip::None).with_optimizer(Optimizer::sgd(0.0), rate)
}

fn trainer(device: &Device, config: &Config, recipe: Recipe) -> Trainer {
    Trainer::new(device, &Model::new(config.clone()).unwrap(), recipe).unwrap()
}

fn singles(values: Vec<f64>) -> Vec<f32> {
    values.into_iter().map(|v| v as f32).collect()
}

fn doubles(values: &[f32]) -> Vec<f64> {
    values.iter().copied().map(f64::from).collect()
}

/// Random sequences for a network that reads out every step, some of whose positions do not count.
fn batch(random: &mut Random, config: &Config, steps: usize, size: usize) -> Batch {
    let rows = steps * size;
    let sequences = match config.input {
        InputKind::Tokens(tokens) => Sequences::tokens(steps, size, random.ids(rows, tokens)),
        _ => Sequences::dense(steps, size, singles(random.reals(rows * config.input.size(), 1.0))),
    };
    let targets = match config.input {
        InputKind::Tokens(_) => Targets::Classes(random.ids(rows, config.outputs)),
        _ => Targets::Values(singles(random.reals(rows * config.outputs, 1.0))),
    };
    let mask = Some(random.mask(rows).into_iter().map(|counts| counts == 1.0).collect());
    Batch { sequences, targets, loss_mask: mask }
}

fn loss_of(config: &Config) -> Loss {
    if matches!(config.input, InputKind::Tokens(_)) { Loss::CrossEntropy } else { Loss::MeanSquared }
}

/// Some of a batch's sequences.
fn part(whole: &Batch, config: &Config, columns: std::ops::Range<usize>) -> Batch {
    let (steps, all) = (whole.sequences.steps, whole.sequences.batch_size);
    fn cut<V: Copy>(values: &[V], all: usize, width: usize, columns: &std::ops::Range<usize>) -> Vec<V> {
        let rows = values.chunks_exact(all * width);
        rows.flat_map(|row| row[columns.start * width..columns.end * width].to_vec()).collect()
    }
    let sequences = match &whole.sequences.inputs {
        Inputs::Tokens(ids) => Sequences::tokens(steps, columns.len(), cut(ids, all, 1, &columns)),
        Inputs::Dense(x) => Sequences::dense(steps, columns.len(), cut(x, all, config.input.size(), &columns)),
    };
    let targets = match &whole.targets {
        Targets::Classes(ids) => Targets::Classes(cut(ids, all, 1, &columns)),
        Targets::Values(y) => Targets::Values(cut(y, all, config.outputs, &columns)),
    };
    Batch { sequences, targets, loss_mask: whole.loss_mask.as_ref().map(|mask| cut(mask, all, 1, &columns)) }
}

/// All that a training is, as bytes.
fn bytes(trainer: &mut Trainer) -> Vec<u8> {
    trainer.checkpoint().unwrap().to_bytes().unwrap()
}

fn values(model: &Model, name: &str) -> Vec<f64> {
    doubles(model.parameter(name).expect("a parameter of that name"))
}

fn parts_are_the_whole(device: &Device) {
    for config in [elman(), lstm()] {
        // Momentum adds the gradients up, so that what is wrong with one of them shows in the next steps too.
        let recipe = Recipe::new(loss_of(&config)).with_optimizer(Optimizer::sgd(0.9), 0.2);
        for clip in [Clip::None, Clip::Norm(0.05), Clip::Value(0.01)] {
            let [mut whole, mut parts] = [(); 2].map(|()| trainer(device, &config, recipe.with_clip(clip)));
            let mut random = Random::new(1);
            for _ in 0..3 {
                let all = batch(&mut random, &config, 6, 7);
                // One of them with few positions that count, so that a mean of means is not the mean.
                let windows = [0..1, 1..5, 5..7].map(|columns| part(&all, &config, columns));
                let counts: Vec<usize> = windows.iter().map(|window| window.count(&config)).collect();
                assert_eq!(counts.iter().sum::<usize>(), all.count(&config));
                assert_ne!(counts[0] * 4, counts[1], "windows whose means count alike would hide a wrong count");
                whole.step(&all).unwrap();
                parts.step_accumulated(&windows).unwrap();
            }
            let what = format!("{} {clip:?}", config.cell.name());
            let [want, got] = [&mut whole, &mut parts].map(|trainer| trainer.metrics().unwrap());
            assert_eq!((want.len(), got.len()), (3, 3));
            for (want, got) in want.iter().zip(&got) {
                assert_eq!(want.step, got.step);
                let [want, got] = [want, got].map(|m| [m.loss, m.grad_norm, m.clip_scale]);
                for at in 0..3 {
                    assert_close(&format!("{what}: metrics"), &got[at..=at], &want[at..=at], ACCUMULATED);
                }
            }
            let [want, got] = [&mut whole, &mut parts].map(|trainer| trainer.checkpoint().unwrap());
            for (name, _, want) in want.model.tensors() {
                assert_close(&format!("{what}: {name}"), &values(&got.model, name), &doubles(want), ACCUMULATED);
            }
            let [want, got] = [want, got].map(|checkpoint| doubles(&checkpoint.training.unwrap().moments[0]));
            assert_close(&format!("{what}: the velocity"), &got, &want, ACCUMULATED);
        }
    }
}

fn one_part_is_a_step(device: &Device) {
    let config = elman();
    let recipe = Recipe::new(Loss::CrossEntropy);
    let [mut one, mut other] = [(); 2].map(|()| trainer(device, &config, recipe));
    let mut random = Random::new(2);
    for _ in 0..3 {
        let window = batch(&mut random, &config, 5, 3);
        one.step(&window).unwrap();
        other.step_accumulated(&[window]).unwrap();
    }
    assert_eq!(one.metrics().unwrap(), other.metrics().unwrap());
    assert!(bytes(&mut one) == bytes(&mut other));
}

fn parts_carry_on_from_each_other(device: &Device) {
    let config = elman();
    let mut random = Random::new(3);
    let mut windows: Vec<Batch> = [4, 6, 4, 4].into_iter().map(|steps| batch(&mut random, &config, steps, 3)).collect();
    windows[1..].iter_mut().for_each(|window| window.sequences.start = Start::Carry);
    // So small a rate that no weight changes.
    let recipe = plain(Loss::CrossEntropy, 1e-30);
    let [mut apart, mut together] = [(); 2].map(|()| trainer(device, &config, recipe));
    windows.iter().for_each(|window| apart.step(window).unwrap());
    together.step_accumulated(&windows[..2]).unwrap();
    together.step_accumulated(&windows[2..]).unwrap();
    assert_eq!(together.state().unwrap(), apart.state().unwrap());
    assert_eq!(together.steps(), 2);

    let of = |at: usize| windows[at].count(&config) as f64;
    let (apart, together) = (apart.metrics().unwrap(), together.metrics().unwrap());
    for (step, first) in [0, 2].into_iter().enumerate() {
        let second = first + 1;
        let want = (apart[first].loss * of(first) + apart[second].loss * of(second)) / (of(first) + of(second));
        assert_close("the loss of two windows", &[together[step].loss], &[want], ACCUMULATED);
    }
}

/// A window without a label brings the state up for the one after it, or is nothing among others that have labels.
fn windows_without_a_label_are_none_of_the_loss(device: &Device) {
    for config in [elman(), lstm()] {
        let mut random = Random::new(5);
        let of = |window: &Batch| window.count(&config);
        let unlabelled = |window: &Batch| window.clone().with_loss_mask(vec![false; config.label_count(6, 3)]);
        let [burn_in, labelled] = [(); 2].map(|()| batch(&mut random, &config, 6, 3).with_start(Start::Initial));
        let recipe = plain(loss_of(&config), 0.1);
        let [mut together, mut apart] = [(); 2].map(|()| trainer(device, &config, recipe));
        let mut lone = trainer(device, &config, plain(loss_of(&config), 1e-30));
        lone.step(&burn_in.clone().with_loss_mask((0..config.label_count(6, 3)).map(|r| r == 0).collect())).unwrap();
        let state = lone.state().unwrap().unwrap().values;
        let carried = labelled.clone().with_start(Start::Carry);
        let windows = [unlabelled(&burn_in), carried.clone()];
        assert_eq!((of(&windows[0]), of(&windows[1])), (0, of(&labelled)));
        // The same from the state that it left; then one that has no label behind one that has.
        let given = labelled.clone().with_start(Start::Given(state));
        let (got, want) = (together.evaluate(windows.clone()).unwrap(), apart.evaluate([given.clone()]).unwrap());
        assert_close("the evaluated loss", &[got], &[want], ACCUMULATED);
        together.step_accumulated(&windows).unwrap();
        apart.step(&given).unwrap();
        together.step_accumulated(&[labelled.clone(), unlabelled(&burn_in)]).unwrap();
        apart.step(&labelled).unwrap();
        let [got, want] = [&mut together, &mut apart].map(|trainer| trainer.metrics().unwrap());
        for (got, want) in got.iter().zip(&want) {
            assert_close("loss and norm", &[got.loss, got.grad_norm], &[want.loss, want.grad_norm], ACCUMULATED);
        }
        let [got, want] = [&mut together, &mut apart].map(|trainer| doubles(trainer.model().unwrap().flat()));
        assert_close("the weights", &got, &want, ACCUMULATED);
    }
}

/// `bad` at every place among good windows: no weight and no moment changes, the step is named, and training goes on.
fn diverges(device: &Device, model: &Model, good: &Batch, bad: &Batch, expected: &str) {
    for at in 0..3 {
        let mut trainer = Trainer::new(device, model, Recipe::new(Loss::MeanSquared)).unwrap();
        trainer.step(good).unwrap();
        let before = trainer.checkpoint().unwrap();
        let mut windows = vec![good.clone(); 3];
        windows[at] = bad.clone();
        trainer.step_accumulated(&windows).unwrap();
        let after = trainer.checkpoint().unwrap();
        assert_eq!(after.model, before.model, "{expected}, window {at}");
        assert_eq!(after.training.unwrap().moments, before.training.unwrap().moments, "{expected}, window {at}");
        match trainer.metrics() {
            Err(Error::Diverged { step: 2, what, .. }) => assert_eq!(what, expected, "window {at}"),
            other => panic!("window {at} of step 2 diverged, but the metrics are {other:?}"),
        }
        // What the step left in the gradient must not be added to.
        trainer.step_accumulated(&[good.clone(), good.clone()]).unwrap();
        let metrics = trainer.metrics().unwrap();
        assert!(metrics[0].step == 3 && metrics[0].grad_norm > 0.0, "{metrics:?}");
        assert_ne!(trainer.model().unwrap(), before.model);
    }
}

fn a_part_that_diverges_changes_nothing(device: &Device) {
    let config = Config::elman(InputKind::Dense(3), 20, 2).with_seed(4);
    let mut good = batch(&mut Random::new(4), &config, 4, 2);
    good.loss_mask = None;
    let bad = Batch { targets: Targets::Values(vec![3e38; 16]), ..good.clone() };
    diverges(device, &Model::new(config).unwrap(), &good, &bad, "the loss");

    let (model, [good, bad]) = whole::overflowing();
    diverges(device, &model, &good, &bad, "the gradient");
}

fn parts_that_do_not_fit_are_named_before_any_runs(device: &Device) {
    let config = elman();
    let mut trainer = trainer(device, &config, Recipe::new(Loss::CrossEntropy));
    let mut random = Random::new(5);
    let good = batch(&mut random, &config, 4, 3);
    let mut carried = batch(&mut random, &config, 4, 2);
    carried.sequences.start = Start::Carry;
    let mut nonsense = good.clone();
    nonsense.targets = Targets::Classes(vec![7; 12]);
    let mut shorter = good.clone();
    shorter.loss_mask = Some(vec![true]);
    trainer.step(&good).unwrap();
    let before = bytes(&mut trainer);
    for (windows, expected) in [
        (vec![], "there is no batch to learn from"),
        (
            vec![good.clone(), nonsense.clone()],
            "batches[1]: targets[0] (step 0, sequence 0) is id 7, but the network has 7 outputs, counted from 0",
        ),
        (vec![good.clone(), good.clone(), shorter], "batches[2]: mask has shape [1], expected [12]"),
        (vec![good.clone(), carried.clone()], "batches[1]: the carried state's batch has shape [3], expected [2]"),
        // A window alone is named by nothing.
        (vec![carried], "the carried state's batch has shape [3], expected [2]"),
    ] {
        assert_eq!(trainer.step_accumulated(&windows).unwrap_err().to_string(), expected);
        assert!(bytes(&mut trainer) == before, "{expected}: something was run");
    }
    assert_eq!(trainer.metrics().unwrap().len(), 1);
}

/// The optimisers, each with all the decay it has.
fn optimizers() -> [Recipe; 4] {
    let recipe = Recipe::new(Loss::CrossEntropy).with_decay_scope(DecayScope::All);
    [Optimizer::sgd(0.0), Optimizer::sgd(0.9), Optimizer::rms_prop(), Optimizer::adam_w(0.1)]
        .map(|optimizer| recipe.with_optimizer(optimizer, 0.01))
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
        let mut trainer = trainer(device, &config, recipe);
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
        (differences, trainer.metrics().unwrap()[0])
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
    let recipe = Recipe::new(Loss::MeanSquared);
    let frozen = ["c_0".to_owned(), "weight".to_owned()];
    for (decay, spared) in [(DecayScope::Weights, NOT_DECAYED), (DecayScope::All, 0)] {
        let parameter_flags = recipe.with_decay_scope(decay).parameter_flags(&layout, &frozen).unwrap();
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

fn the_best_model_is_kept(device: &Device) {
    let config = elman();
    let mut trainer = trainer(device, &config, Recipe::new(Loss::CrossEntropy));
    let window = batch(&mut Random::new(10), &config, 4, 2);
    let mut stopping = EarlyStopping::new(2);
    assert!(stopping.best().is_none());
    let mut models = Vec::new();
    let mut evaluate = |stopping: &mut EarlyStopping, loss: f64| {
        trainer.step(&window).unwrap();
        models.push(trainer.model().unwrap());
        let should_continue = stopping.observe(loss, &mut trainer).unwrap();
        let best = stopping.best().map(|(loss, model)| (loss, models.iter().position(|m| m == model).unwrap()));
        (should_continue, best, stopping.since_best())
    };
    // Nothing to keep before the first that is finite; an equal loss is no better.
    let (nan, infinite) = (f64::NAN, f64::INFINITY);
    assert_eq!(evaluate(&mut stopping, nan), (true, None, 1));
    assert_eq!(evaluate(&mut stopping, 3.0), (true, Some((3.0, 1)), 0));
    assert_eq!(evaluate(&mut stopping, infinite), (true, Some((3.0, 1)), 1));
    assert_eq!(evaluate(&mut stopping, 2.0), (true, Some((2.0, 3)), 0));
    assert_eq!(evaluate(&mut stopping, 2.0), (true, Some((2.0, 3)), 1));
    // Rebuilt in the middle it goes on alike.
    let best = stopping.best().map(|(loss, model)| (loss, model.clone()));
    let mut resumed = EarlyStopping::resume(2, best, stopping.since_best()).unwrap();
    assert_eq!(resumed, stopping);
    let mut improves = stopping.clone();
    assert_eq!(evaluate(&mut resumed, nan), (false, Some((2.0, 3)), 2));
    assert_eq!(evaluate(&mut improves, 1.5), (true, Some((1.5, 6)), 0));
    assert_eq!(evaluate(&mut stopping, 2.5), (false, Some((2.0, 3)), 2));
    let (loss, model) = stopping.into_best().unwrap();
    assert!(loss == 2.0 && model == models[3] && model != models[4]);
}

#[test]
fn patience_is_how_many_evaluations_may_be_no_better() {
    let config = elman();
    let model = Model::new(config.clone()).unwrap();
    let mut trainer = trainer(&Device::cpu(), &config, Recipe::new(Loss::CrossEntropy));
    for (patience, expected) in [(0, 1), (1, 1), (2, 2), (5, 5)] {
        let mut stopping = EarlyStopping::new(patience);
        assert!(stopping.observe(1.0, &mut trainer).unwrap());
        let lasted = (1..9).find(|_| !stopping.observe(1.0, &mut trainer).unwrap()).unwrap_or(0);
        assert_eq!(lasted, expected, "patience {patience}");
    }
    for loss in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let error = EarlyStopping::resume(1, Some((loss, model.clone())), 0).unwrap_err();
        assert_eq!(error.to_string(), format!("the best loss is {loss}, expected a finite number"));
    }
}
