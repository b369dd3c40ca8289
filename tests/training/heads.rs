//! Several read-outs of one network: that each learns, what the metrics say of each, and what is refused.
//!
//! A network with heads is held against what its own parts say, one by one; its gradient is the oracle's.

use recurrent::data::Example;
use recurrent::train::HeadMetrics;
use recurrent::{
    Activation, Batch, BatchShape, Checkpoint, Clip, Config, Device, Error, HeadTargets, InputKind, Loss, Model,
    Optimizer, Pool, Recipe, Recurrent, Targets, Trainer,
};

use crate::common::heads::{head_label_count, with_head_losses};
use crate::common::whole::{self, assert_close, assert_same, bytes, refuses, rng};

/// Metrics of one step on the two executors.
const ONE_STEP: f32 = 1e-5;

/// A tag for each step from the lower layer, a value from the pool, and a class for the sequence.
fn config() -> Config {
    Config::new(InputKind::Tokens(6))
        .embedding(4)
        .layer(Recurrent::gru(9))
        .head("value", 1)
        .layer(Recurrent::lstm(7))
        .head("tag", 5)
        .pool(Pool::Mean)
        .head("kind", 2)
        .dense(6, Activation::Tanh)
        .outputs(3)
}

fn recipe(config: &Config) -> Recipe {
    with_head_losses(Recipe::new(Loss::CrossEntropy).with_learning_rate(0.02), config)
}

fn trainer(device: &Device, config: &Config) -> Trainer {
    Trainer::new(device, &Model::new(config.clone()).unwrap(), recipe(config)).unwrap()
}

fn batch(config: &Config, steps: usize) -> Batch {
    whole::batch(&mut rng(3), config, Loss::CrossEntropy, steps, 3)
}

fn weighted(config: &Config, heads: &[HeadMetrics]) -> f64 {
    let recipe = recipe(config);
    let weight = |name: &str| recipe.heads.iter().find(|head| head.name == name).map_or(1.0, |head| head.weight);
    heads.iter().map(|head| weight(&head.name) * head.loss).sum()
}

whole::on_both!(
    every_head_learns_and_says_its_loss,
    windows_add_up,
    a_training_goes_on_bit_for_bit,
    what_counts_nowhere_teaches_nothing,
);

fn every_head_learns_and_says_its_loss(device: &Device) {
    let (config, mut trainer) = (config(), trainer(device, &config()));
    let window = batch(&config, 5);
    let before = trainer.evaluate_heads([&window]).unwrap();
    let names: Vec<&str> = before.iter().map(|head| head.name.as_str()).collect();
    assert_eq!(names, ["outputs", "value", "tag", "kind"]);
    let all = trainer.evaluate([&window]).unwrap();
    assert!((all - weighted(&config, &before)).abs() < 1e-6 * all, "{all} of {before:?}");
    for _ in 0..60 {
        trainer.step(&window).unwrap();
    }
    let metrics = trainer.metrics().unwrap();
    // The first step's losses are those before it.
    for (of_step, evaluated) in metrics[0].heads.iter().zip(&before) {
        assert_eq!(of_step.name, evaluated.name);
        assert!((of_step.loss - evaluated.loss).abs() < 1e-5 * evaluated.loss, "{of_step:?}, {evaluated:?}");
    }
    for step in [&metrics[0], &metrics[59]] {
        assert!((step.loss - weighted(&config, &step.heads)).abs() < 1e-5 * step.loss, "{step:?}");
    }
    for (first, last) in metrics[0].heads.iter().zip(&metrics[59].heads) {
        assert!(last.loss < 0.7 * first.loss, "{first:?} to {last:?}");
    }
}

fn windows_add_up(device: &Device) {
    // Of no pool, so that windows can be parts of one.
    let config = Config::new(InputKind::Dense(2)).layer(Recurrent::gru(5)).head("tag", 4).layer(Recurrent::lstm(3));
    let config = config.outputs(2);
    let mut examples = Vec::new();
    for (number, length) in [4, 2, 3].into_iter().enumerate() {
        let drawn = whole::batch(&mut rng(number as u64), &config, Loss::MeanSquared, length, 1);
        let head = drawn.heads[0].clone();
        // In one of the windows no label of the head counts.
        let head = if number == 1 { head.with_loss_mask(vec![false; length]) } else { head };
        examples.push(Example::new(drawn.sequences.inputs, drawn.targets).with_head(head));
    }
    let recipe = Recipe::new(Loss::MeanSquared).with_clip(Clip::None).with_optimizer(Optimizer::sgd(0.0), 0.1);
    let recipe = with_head_losses(recipe, &config);
    let model = Model::new(config.clone()).unwrap();
    let run = |batches: &[Batch]| {
        let mut trainer = Trainer::new(device, &model, recipe.clone()).unwrap();
        trainer.step_accumulated(batches).unwrap();
        let metrics = trainer.metrics().unwrap();
        (trainer.model().unwrap(), metrics)
    };
    let together = Batch::pad(&examples, &config).unwrap();
    assert_eq!(together.heads[0].loss_mask.as_ref().unwrap().iter().filter(|counts| **counts).count(), 7);
    let apart: Vec<Batch> = examples.iter().map(|example| Batch::pad([example], &config).unwrap()).collect();
    let ((want, one), (got, several)) = (run(&[together]), run(&apart));
    assert_close("weights", got.values(), want.values(), ONE_STEP);
    for (got, want) in several[0].heads.iter().zip(&one[0].heads) {
        assert_close(&got.name, &[got.loss as f32], &[want.loss as f32], ONE_STEP);
    }
}

fn a_training_goes_on_bit_for_bit(device: &Device) {
    let (config, mut trainer) = (config(), trainer(device, &config()));
    let window = batch(&config, 5);
    trainer.step(&window).unwrap();
    let checkpoint = trainer.checkpoint().unwrap();
    let checkpoint = Checkpoint::from_bytes(&checkpoint.to_bytes().unwrap()).unwrap();
    assert_eq!(checkpoint.training.as_ref().unwrap().recipe, recipe(&config));
    let mut resumed = Trainer::resume(device, &checkpoint).unwrap();
    for trainer in [&mut trainer, &mut resumed] {
        trainer.step(&window).unwrap();
        trainer.step(&window).unwrap();
    }
    assert!(bytes(&mut trainer) == bytes(&mut resumed));
    assert_eq!(trainer.metrics().unwrap()[1..], resumed.metrics().unwrap());
}

fn what_counts_nowhere_teaches_nothing(device: &Device) {
    let config = config();
    let mut window = batch(&config, 4);
    for (targets, head) in window.heads.iter_mut().zip(&config.heads) {
        targets.loss_mask = Some(vec![false; head_label_count(&config, head, 4, 3)]);
    }
    let mut trainer = trainer(device, &config);
    let before = trainer.model().unwrap();
    trainer.step(&window).unwrap();
    let (after, metrics) = (trainer.model().unwrap(), trainer.metrics().unwrap());
    for name in ["head.value.weight", "head.tag.bias", "head.kind.weight"] {
        assert_same(name, after.parameter(name).unwrap(), before.parameter(name).unwrap());
    }
    assert!(after.parameter("head.0.weight") != before.parameter("head.0.weight"));
    let losses: Vec<f64> = metrics[0].heads[1..].iter().map(|head| head.loss).collect();
    assert_eq!(losses, [0.0; 3]);
    let evaluated = trainer.evaluate_heads([&window]).unwrap();
    assert_eq!(evaluated.iter().map(|head| head.name.as_str()).collect::<Vec<_>>(), ["outputs"]);
    // A step for the heads alone learns, too.
    window.loss_mask = Some(vec![false; 3]);
    assert!(matches!(trainer.step(&window), Err(Error::Data(what)) if what.contains("none of the")));
    window.heads[0].loss_mask = None;
    trainer.step(&window).unwrap();
    assert!(trainer.metrics().unwrap()[0].loss > 0.0);
}

#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn the_gpu_says_what_the_cpu_says() {
    let config = config();
    let window = batch(&config, 7).with_lengths(vec![7, 2, 4]);
    let said = [Device::cpu(), whole::gpu()].map(|device| {
        let mut trainer = trainer(&device, &config);
        trainer.step(&window).unwrap();
        let metrics = trainer.metrics().unwrap();
        metrics[0].heads.iter().map(|head| head.loss as f32).collect::<Vec<_>>()
    });
    assert_close("losses", &said[1], &said[0], ONE_STEP);
}

#[test]
fn heads_that_cannot_be_are_refused() {
    let lower = || Config::new(InputKind::Dense(2)).layer(Recurrent::gru(3));
    let made = |config: Config| Model::new(config.outputs(2));
    refuses(made(lower().head("tag", 2).head("tag", 3)), &["two heads are called `tag`"]);
    refuses(made(lower().head("tag", 0)), &["outputs of head `tag`", "is 0"]);
    refuses(
        made(Config::new(InputKind::Dense(2)).head("tag", 2).layer(Recurrent::gru(3))),
        &["head `tag`", "0 layers"],
    );
    for name in ["", "0", "outputs", "a.b", "a b", "a\nb"] {
        refuses(made(lower().head(name, 2)), &["a head is called", &format!("{name:?}")]);
    }
    let mut beyond = lower().head("tag", 2);
    beyond.heads[0].reads = 2;
    refuses(made(beyond), &["head `tag`", "2 layers", "1 to the 1 layers"]);
}

#[test]
fn losses_that_are_not_the_heads_are_refused() {
    let config = config();
    let model = Model::new(config.clone()).unwrap();
    let made = |recipe: Recipe| Trainer::new(&Device::cpu(), &model, recipe);
    refuses(made(Recipe::new(Loss::CrossEntropy)), &["head `value`", "no loss"]);
    let recipe = recipe(&config);
    refuses(made(recipe.clone().with_head("other", Loss::CrossEntropy, 1.0)), &["`other`", "\"value\", \"tag\""]);
    refuses(made(recipe.clone().with_head("tag", Loss::CrossEntropy, 1.0)), &["two losses of a head `tag`"]);
    for weight in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e7, 1e-60] {
        let mut recipe = recipe.clone();
        recipe.heads[1].weight = weight;
        refuses(made(recipe), &["the weight of the loss of head `tag`"]);
    }
    let window = Batch::tokens(BatchShape { steps: 1, batch_size: 1 }, vec![0], vec![1]);
    refuses(window.check(&config, &Recipe::new(Loss::CrossEntropy)), &["head `value`", "no loss"]);
}

#[test]
fn targets_that_are_not_the_heads_are_refused() {
    let (config, mut trainer) = (config(), trainer(&Device::cpu(), &config()));
    let whole = batch(&config, 4);
    let with = |change: &dyn Fn(&mut Batch)| {
        let mut batch = whole.clone();
        change(&mut batch);
        batch
    };
    for (batch, words) in [
        (with(&|batch| batch.heads.truncate(2)), ["head `kind`", "no targets of it"]),
        (with(&|batch| batch.heads.push(batch.heads[0].clone())), ["two lists of targets", "head `value`"]),
        (with(&|batch| batch.heads[0].name = "other".to_owned()), ["`other`", "\"value\", \"tag\", \"kind\""]),
        (with(&|batch| batch.heads[1].targets = vec![0.5].into()), ["loss of head `tag`", "real numbers"]),
        (with(&|batch| batch.heads[0].targets = vec![1u32].into()), ["loss of head `value`", "classes"]),
        (
            with(&|batch| batch.heads[1].targets = vec![1u32; 3].into()),
            ["targets of head `tag` (one for every step", "[12]"],
        ),
        (
            with(&|batch| batch.heads[2].targets = vec![0.0; 24].into()),
            ["targets of head `kind` (one for each", "[3, 2]"],
        ),
        (with(&|batch| batch.heads[1].targets = vec![5u32; 12].into()), ["targets of head `tag`[0] (step 0", "id 5"]),
        (with(&|batch| batch.heads[0].targets = vec![f32::NAN; 12].into()), ["targets of head `value`[0]", "NaN"]),
        (with(&|batch| batch.heads[0].loss_mask = Some(vec![true; 3])), ["mask of head `value`", "[12]"]),
    ] {
        refuses(batch.check(&config, trainer.recipe()), &words);
        refuses(trainer.step(&batch), &words);
        refuses(trainer.evaluate([&batch]), &words);
    }
    assert!(trainer.evaluate([&whole]).is_ok());
}

#[test]
fn examples_bring_the_targets_of_heads() {
    let config = config();
    let tag = |ids: Vec<u32>| HeadTargets::new("tag", Targets::Classes(ids));
    let example = |ids: Vec<u32>| {
        let values = vec![0.5; ids.len()];
        let kind = HeadTargets::new("kind", Targets::Values(vec![0.1, 0.2]));
        let value = HeadTargets::new("value", Targets::Values(values));
        Example::tokens(ids, vec![2]).with_head(kind).with_head(value)
    };
    let examples = [example(vec![1, 2]).with_head(tag(vec![3, 4])), example(vec![5]).with_head(tag(vec![1]))];
    let batch = Batch::pad(&examples, &config).unwrap();
    let names: Vec<&str> = batch.heads.iter().map(|head| head.name.as_str()).collect();
    assert_eq!(names, ["value", "tag", "kind"]);
    assert_eq!(batch.heads[1], tag(vec![3, 1, 4, 0]));
    batch.check(&config, &recipe(&config)).unwrap();
    refuses(Batch::pad([&example(vec![1])], &config), &["examples[0]", "head `tag`"]);
    let wrong = example(vec![1, 2]).with_head(tag(vec![3]));
    refuses(Batch::pad([&examples[0], &wrong], &config), &["examples[1].targets of head `tag`", "[2]"]);
    let mask = example(vec![1, 2]).with_head(tag(vec![3, 3]).with_loss_mask(vec![true]));
    refuses(Batch::pad([&mask], &config), &["examples[0].mask of head `tag`", "[2]"]);
}

#[test]
fn the_short_ways_keep_what_a_head_reads() {
    let config = Config::lstm(InputKind::Dense(3), 8, 2).head("tag", 4);
    assert_eq!(config.clone().with_layers(3).heads[0].reads, 3);
    assert_eq!(config.clone().with_layers(3).with_layers(1).heads[0].reads, 1);
    let above = Config::new(InputKind::Dense(3))
        .dense(4, Activation::Tanh)
        .head("low", 1)
        .layer(Recurrent::gru(5))
        .pool(Pool::Last)
        .dense(6, Activation::Tanh)
        .head("high", 1)
        .outputs(2);
    let reads = |config: &Config| config.heads.iter().map(|head| head.reads).collect::<Vec<_>>();
    assert_eq!(reads(&above), [1, 4]);
    assert_eq!(reads(&above.clone().with_layers(2)), [1, 5]);
    assert_eq!(reads(&above.clone().with_pool(None)), [1, 3]);
    assert_eq!(reads(&above.with_pool(Some(Pool::Max))), [1, 4]);
    assert_eq!(reads(&config.with_pool(Some(Pool::Mean))), [1]);
}
