//! Steps over several windows: the parts are the whole, carry on from each other, and diverge or are refused together.

use recurrent::{
    Batch, BatchShape, Clip, Config, Device, Error, InputKind, Inputs, Loss, Model, Optimizer, Recipe, Sequences,
    Start, Targets, Trainer,
};

use super::{batch, bytes, doubles, elman, lstm, plain, trainer, values};
use crate::common::compare::{ACCUMULATED, assert_close};
use crate::common::random::Random;
use crate::common::whole;

whole::on_both!(
    parts_are_the_whole,
    one_part_is_a_step,
    parts_carry_on_from_each_other,
    windows_without_a_label_are_none_of_the_loss,
    a_part_that_diverges_changes_nothing,
    parts_that_do_not_fit_are_named_before_any_runs,
);

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
        Inputs::Tokens(ids) => {
            Sequences::tokens(BatchShape { steps, batch_size: columns.len() }, cut(ids, all, 1, &columns))
        }
        Inputs::Dense(x) => Sequences::dense(
            BatchShape { steps, batch_size: columns.len() },
            cut(x, all, config.input.size(), &columns),
        ),
        _ => panic!("another kind"),
    };
    let targets = match &whole.targets {
        Targets::Classes(ids) => Targets::Classes(cut(ids, all, 1, &columns)),
        Targets::Values(y) => Targets::Values(cut(y, all, config.outputs, &columns)),
        _ => panic!("another kind"),
    };
    let batch = Batch::new(sequences, targets);
    match &whole.loss_mask {
        Some(mask) => batch.with_loss_mask(cut(mask, all, 1, &columns)),
        None => batch,
    }
}

fn parts_are_the_whole(device: &Device) {
    for config in [elman(), lstm()] {
        // Momentum adds the gradients up, so that what is wrong with one of them shows in the next steps too.
        let recipe = Recipe::new(loss_of(&config)).with_optimizer(Optimizer::sgd(0.9), 0.2);
        for clip in [Clip::None, Clip::Norm(0.05), Clip::Value(0.01)] {
            let [mut whole, mut parts] = [(); 2].map(|()| trainer(device, &config, recipe.clone().with_clip(clip)));
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
            let what = format!("{} {clip:?}", config.recurrent_layers().next().unwrap().cell.name());
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
    let [mut one, mut other] = [(); 2].map(|()| trainer(device, &config, recipe.clone()));
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
    let [mut apart, mut together] = [(); 2].map(|()| trainer(device, &config, recipe.clone()));
    windows.iter().for_each(|window| apart.step(window).unwrap());
    together.step_accumulated(&windows[..2]).unwrap();
    together.step_accumulated(&windows[2..]).unwrap();
    assert_eq!(together.state().unwrap(), apart.state().unwrap());
    assert_eq!(together.steps_done(), 2);

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
        let unlabelled = |window: &Batch| {
            window.clone().with_loss_mask(vec![false; config.label_count(BatchShape { steps: 6, batch_size: 3 })])
        };
        let [burn_in, labelled] = [(); 2].map(|()| batch(&mut random, &config, 6, 3).with_start(Start::Initial));
        let recipe = plain(loss_of(&config), 0.1);
        let [mut together, mut apart] = [(); 2].map(|()| trainer(device, &config, recipe.clone()));
        let mut lone = trainer(device, &config, plain(loss_of(&config), 1e-30));
        lone.step(
            &burn_in.clone().with_loss_mask(
                (0..config.label_count(BatchShape { steps: 6, batch_size: 3 })).map(|r| r == 0).collect(),
            ),
        )
        .unwrap();
        let state = lone.state().unwrap().unwrap();
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
        let [got, want] = [&mut together, &mut apart].map(|trainer| doubles(trainer.model().unwrap().values()));
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
    let bad = good.clone().with_targets(Targets::Values(vec![3e38; 16]));
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
            "batches[1]: targets[0] (step 0, sequence 0) is id 7, but the model has 7 outputs, counted from 0",
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
