//! What a user weighs and leaves out: weights, masks of positions and of their numbers, ignored classes, and by what
//! the sum is divided.
//!
//! A loss of several positions is held against those of one position after another; what is left out may be anything.

use rand::RngExt;

use recurrent::data::Example;
use recurrent::recipe::{CrossEntropy, Divisor};
use recurrent::{
    Batch, BatchShape, Config, Device, HeadTargets, InputKind, Loss, Model, Recipe, Recurrent, Sequences, Targets,
    Trainer,
};

use crate::bad_input::words;
use crate::common::heads::Targets as TestTargets;
use crate::common::losses;
use crate::common::random::Random;
use crate::common::whole::{self, bytes, rng};

/// f32 sums of some dozens of terms in another order.
const SUM: f64 = 1e-5;

const SHAPE: BatchShape = BatchShape { steps: 3, batch_size: 4 };

fn classes() -> Config {
    Config::gru(InputKind::Tokens(5), 7, 6)
}

fn trainer(device: &Device, config: &Config, recipe: Recipe) -> Trainer {
    Trainer::new(device, &Model::new(config.clone()).unwrap(), recipe).unwrap()
}

whole::on_both!(
    weights_and_divisors_are_those_of_the_positions,
    nothing_that_is_left_out_is_looked_at,
    numbers_are_weighed_each_by_itself,
    windows_of_weighed_numbers_add_up,
    a_read_out_that_counts_nowhere_has_no_loss,
);

/// Neither its positions nor its numbers count, or its classes weigh nothing.
fn a_read_out_that_counts_nowhere_has_no_loss(device: &Device) {
    let config = Config::new(InputKind::Dense(2)).layer(Recurrent::gru(5)).head("value", 2).outputs(3);
    let own = Recipe::new(Loss::CrossEntropy);
    let batch = whole::batch(&mut rng(47), &config, Loss::CrossEntropy, SHAPE.steps, SHAPE.batch_size);
    let without_heads = |batch: &Batch| {
        let mut batch = batch.clone();
        batch.heads.clear();
        batch
    };
    let values = |mask: usize| {
        let values = HeadTargets::new("value", Targets::Values(vec![f32::NAN; 24]));
        without_heads(&batch).with_head(values.with_loss_mask(vec![false; mask]))
    };
    let weightless = CrossEntropy::new().with_class_weights([0.0, 1.0]);
    let classes = HeadTargets::new("value", Targets::Classes(vec![0; 12]));
    let classes = without_heads(&batch).with_head(classes);
    for (what, recipe, batch) in [
        ("positions", own.clone().with_head("value", Loss::MeanSquared, 1.0), values(12)),
        ("numbers", own.clone().with_head("value", Loss::MeanSquared, 1.0), values(24)),
        ("classes", own.clone().with_head("value", weightless, 1.0).with_divisor(Divisor::Weights), classes),
    ] {
        let mut trainer = trainer(device, &config, recipe);
        trainer.step(&batch).unwrap();
        let metrics = trainer.metrics().unwrap();
        let [own, value] = &metrics[0].heads[..] else { panic!("two read-outs") };
        assert!(metrics[0].updated && value.loss == 0.0 && metrics[0].loss == own.loss, "{what}: {metrics:?}");
        let evaluated = trainer.evaluate([&batch]).unwrap();
        assert!(evaluated.is_finite() && evaluated < own.loss, "{what}: {evaluated}");
    }
}

fn weights_and_divisors_are_those_of_the_positions(device: &Device) {
    let config = classes();
    let weights = [0.5, 2.0, 1.0, 0.25, 3.0, 1.5];
    let loss = CrossEntropy::new().with_class_weights(weights).with_ignored(4);
    let batch = whole::batch(&mut rng(41), &config, Loss::CrossEntropy, SHAPE.steps, SHAPE.batch_size);
    let batch = batch.with_lengths(vec![3, 1, 2, 3]);
    let Targets::Classes(ids) = batch.targets.clone() else { panic!("classes") };
    // The third sequence counts nowhere.
    let given: Vec<f32> = (0..12).map(|r| if r % 4 == 2 { 0.0 } else { 0.5 + r as f32 * 0.25 }).collect();
    let valid = |r: usize| r / 4 < [3, 1, 2, 3][r % 4] && given[r] > 0.0 && ids[r] != 4;
    let counted: Vec<usize> = (0..12).filter(|r| valid(*r)).collect();
    assert!((3..10).contains(&counted.len()) && ids.contains(&4), "{ids:?}");
    let mut of_one = trainer(device, &config, Recipe::new(Loss::CrossEntropy));
    let mut alone = |r: usize| {
        let mask = (0..12).map(|at| at == r).collect();
        of_one.evaluate([batch.clone().with_loss_mask(mask)]).unwrap()
    };
    let weight = |r: usize| f64::from(given[r]) * weights[ids[r] as usize];
    let total: f64 = counted.iter().map(|r| weight(*r) * alone(*r)).sum();
    let sequences = (0..4).filter(|b| counted.iter().any(|r| r % 4 == *b)).count();
    for (divisor, expected) in [
        (Divisor::Positions, counted.len() as f64),
        (Divisor::Weights, counted.iter().map(|r| weight(*r)).sum()),
        (Divisor::Sequences, sequences as f64),
        (Divisor::Batch, 4.0),
    ] {
        let mut trainer = trainer(device, &config, Recipe::new(loss.clone()).with_divisor(divisor));
        let weighed = batch.clone().with_loss_weights(given.clone());
        let evaluated = trainer.evaluate([&weighed]).unwrap();
        trainer.step(&weighed).unwrap();
        let trained = trainer.metrics().unwrap()[0].loss;
        for got in [evaluated, trained] {
            let want = total / expected;
            assert!((got - want).abs() <= SUM * want, "{divisor:?}: {got}, not {want}");
        }
    }
}

/// A batch for a loss of `numbers` numbers that so many outputs describe.
fn numbers(config: &Config, loss: &Loss, seed: u64) -> Batch {
    let mut random = Random::new(seed);
    let inputs = random.reals(12 * config.input.size(), 1.0).into_iter().map(|v| v as f32).collect();
    let sequences = Sequences::dense(SHAPE, inputs);
    match losses::targets(&mut random, loss, [12, config.outputs], 1.0) {
        TestTargets::Classes(ids) => Batch::new(sequences, Targets::Classes(ids)),
        TestTargets::Values(values) => {
            Batch::new(sequences, Targets::Values(values.into_iter().map(|v| v as f32).collect()))
        }
    }
}

/// The same batch with nonsense for every number of which `counts` says no.
fn spoilt(batch: &Batch, numbers: usize, counts: impl Fn(usize, usize) -> bool) -> Batch {
    let nonsense = [f32::NAN, f32::INFINITY, -1e30];
    let targets = match &batch.targets {
        Targets::Values(values) => Targets::Values(
            (0..values.len())
                .map(|at| if counts(at / numbers, at % numbers) { values[at] } else { nonsense[at % 3] })
                .collect(),
        ),
        Targets::Classes(ids) => {
            Targets::Classes((0..ids.len()).map(|r| if counts(r, 0) { ids[r] } else { u32::MAX }).collect())
        }
        _ => panic!("targets"),
    };
    batch.clone().with_targets(targets)
}

fn nothing_that_is_left_out_is_looked_at(device: &Device) {
    for (at, (loss, outputs)) in losses::all(2).into_iter().enumerate() {
        let config = Config::gru(InputKind::Dense(3), 6, outputs);
        let numbers_of = if matches!(numbers(&config, &loss, 1).targets, Targets::Classes(_)) {
            1
        } else {
            loss.numbers(outputs).unwrap()
        };
        let elementwise = loss.kind().is_elementwise();
        let lengths = vec![3, 2, 1, 3];
        let batch = numbers(&config, &loss, 7 + at as u64).with_lengths(lengths.clone());
        let padded = |r: usize| r / 4 >= lengths[r % 4];
        let count = if elementwise { 12 * numbers_of } else { 12 };
        let mask: Vec<bool> = (0..count).map(|at| at % 5 != 1).collect();
        let weights: Vec<f32> = (0..count).map(|at| if at % 7 == 3 { 0.0 } else { 0.5 }).collect();
        let counts = |r: usize, n: usize| {
            let at = if elementwise { r * numbers_of + n } else { r };
            !padded(r) && mask[at] && weights[at] > 0.0
        };
        let [clean, dirty] = [batch.clone(), spoilt(&batch, numbers_of, counts)].map(|batch| {
            let batch = batch.with_loss_mask(mask.clone()).with_loss_weights(weights.clone());
            let mut trainer = trainer(device, &config, Recipe::new(loss.clone()));
            let evaluated = trainer.evaluate([&batch]).unwrap();
            trainer.step(&batch).unwrap();
            let metrics = trainer.metrics().unwrap();
            assert!(metrics[0].updated && metrics[0].grad_norm > 0.0, "{loss:?}: {metrics:?}");
            (evaluated.to_bits(), metrics[0].loss.to_bits(), bytes(&mut trainer))
        });
        assert!(clean == dirty, "{loss:?}: what does not count was looked at");
    }
}

fn numbers_are_weighed_each_by_itself(device: &Device) {
    let config = Config::gru(InputKind::Dense(3), 6, 4);
    for loss in [Loss::MeanSquared, Loss::gaussian()] {
        let count = loss.numbers(4).unwrap();
        let batch = numbers(&config, &loss, 3);
        let mut trainer = trainer(device, &config, Recipe::new(loss.clone()));
        let mut only = |kept: &dyn Fn(usize, usize) -> bool| {
            let mask = (0..12 * count).map(|at| kept(at / count, at % count)).collect();
            trainer.evaluate([batch.clone().with_loss_mask(mask)]).unwrap()
        };
        // The mean over the numbers that are left, wherever they are.
        let kept = |r: usize, n: usize| (r * 3 + n * 5) % 4 != 1;
        let left: Vec<(usize, usize)> =
            (0..12).flat_map(|r| (0..count).map(move |n| (r, n))).filter(|(r, n)| kept(*r, *n)).collect();
        let alone: f64 = left.iter().map(|(r, n)| only(&|row, number| (row, number) == (*r, *n))).sum();
        let (got, want) = (only(&kept), alone / left.len() as f64);
        assert!((got - want).abs() <= SUM * want.abs().max(1.0), "{loss:?}: {got}, not {want}");
        // A mask of all numbers of a position is one of the position.
        let rows = |r: usize, _: usize| !r.is_multiple_of(3);
        let got = only(&rows);
        let want = trainer
            .evaluate([batch.clone().with_loss_mask((0..12).map(|r: usize| !r.is_multiple_of(3)).collect())])
            .unwrap();
        assert!((got - want).abs() <= SUM * want.abs().max(1.0), "{loss:?}: {got}, not {want}");
        // Weights that are all alike change what is divided alone.
        let twice = trainer.evaluate([batch.clone().with_loss_weights(vec![2.0; 12 * count])]).unwrap();
        let once = trainer.evaluate([&batch]).unwrap();
        assert!((twice - 2.0 * once).abs() <= SUM * twice.abs().max(1.0), "{loss:?}: {twice}, not twice {once}");
    }
}

fn windows_of_weighed_numbers_add_up(device: &Device) {
    let config = Config::gru(InputKind::Dense(3), 6, 4).with_seed(5);
    let recipe = Recipe::new(Loss::MeanSquared);
    let mut draw = rng(8);
    let window = |seed: u64| numbers(&config, &Loss::MeanSquared, seed);
    let mut weights = |count: usize| (0..count).map(|_| draw.random_range(0.1..2.0)).collect();
    // One with a weight for each number, one with a weight for each position, one without.
    let weighed = window(1).with_loss_weights(weights(12 * 4));
    let windows = [weighed, window(2).with_loss_weights(weights(12)), window(3)];
    let mut trainer = trainer(device, &config, recipe);
    let each: Vec<f64> = windows.iter().map(|window| trainer.evaluate([window]).unwrap()).collect();
    let all = trainer.evaluate(&windows).unwrap();
    trainer.step_accumulated(&windows).unwrap();
    let step = trainer.metrics().unwrap()[0].loss;
    let want = each.iter().sum::<f64>() / 3.0;
    for got in [all, step] {
        assert!((got - want).abs() <= SUM * want, "{got}, not {want}");
    }
}

#[test]
fn examples_bring_their_masks_and_weights() {
    let config = Config::gru(InputKind::Dense(1), 4, 2);
    let example = |steps: usize| Example::dense(vec![0.5; steps], Targets::Values(vec![1.0; 2 * steps]));
    let plain = example(2);
    let holes = example(3).with_loss_mask(vec![true, false, true, true, false, false]);
    let heavy = example(1).with_loss_weights(vec![2.0]);
    let batch = Batch::pad(&[plain, holes, heavy], &config).unwrap();
    let mask = batch.loss_mask.clone().unwrap();
    // Time outermost: three sequences of up to three steps, of two numbers each.
    let expected = [[[1, 1], [1, 0], [1, 1]], [[1, 1], [1, 1], [0, 0]], [[0, 0], [0, 0], [0, 0]]];
    assert_eq!(mask, expected.as_flattened().as_flattened().iter().map(|v| *v == 1).collect::<Vec<_>>());
    let weights = batch.loss_weights.clone().unwrap();
    assert_eq!(&weights[..6], &[1.0, 1.0, 1.0, 1.0, 2.0, 2.0]);
    batch.check(&config, &Recipe::new(Loss::MeanSquared)).unwrap();
    assert_eq!(batch.count(&config), 5);

    let nan = Example::dense(vec![0.5], Targets::Values(vec![f32::NAN, 1.0]));
    let said = words(Batch::pad([&nan], &config));
    assert_eq!(said, "examples[0].targets[0] is NaN, expected a finite number");
    Batch::pad([&nan.clone().with_loss_mask(vec![false, true])], &config).unwrap();
    let said = words(Batch::pad([&nan.with_loss_mask(vec![false, true, true])], &config));
    assert_eq!(said, "examples[0].mask has shape [3], expected [1, 2]");
    let said = words(Batch::pad([&example(2).with_loss_weights(vec![1.0, -1.0])], &config));
    assert_eq!(said, "examples[0].weights[1] is -1, expected a finite number of at least 0");
    // Outputs may describe fewer numbers than they are.
    let few = Example::dense(vec![0.5; 3], Targets::Values(vec![1.0; 3]));
    let batch = Batch::pad(&[few.clone(), few], &config).unwrap();
    batch.check(&config, &Recipe::new(Loss::gaussian())).unwrap();
    let said = words(batch.check(&config, &Recipe::new(Loss::MeanSquared)));
    assert_eq!(said, "targets has shape [6], expected [6, 2]");
}

#[test]
fn settings_out_of_their_range_are_refused() {
    let refused = |loss: Loss, outputs: usize| {
        let config = Config::gru(InputKind::Dense(1), 3, outputs);
        words(Trainer::new(&Device::cpu(), &Model::new(config).unwrap(), Recipe::new(loss)))
    };
    for (loss, outputs, said) in [
        (CrossEntropy::new().with_smoothing(1.5).into(), 3, "label smoothing is 1.5, expected 0 to 1"),
        (CrossEntropy::new().with_smoothing(f64::NAN).into(), 3, "label smoothing is NaN, expected 0 to 1"),
        (
            CrossEntropy::new().with_class_weights([1.0, 2.0]).into(),
            3,
            "the weights of classes are 2, expected 3, one for each output, or none",
        ),
        (
            CrossEntropy::new().with_class_weights([1.0, -2.0]).into(),
            2,
            "the weights of classes have a -2, expected 0 to 1e6",
        ),
        (
            CrossEntropy::new().with_focus(2.0).with_smoothing(0.1).into(),
            2,
            "the cross-entropy is focussed (exponent 2), but labels are smoothed; expected one class a position",
        ),
        (
            CrossEntropy::new().with_soft_targets().with_ignored(0).into(),
            2,
            "the cross-entropy ignores id 0, but targets are probabilities; expected a mask in its place",
        ),
        (Loss::huber(0.0), 1, "Huber's delta is 0, expected a number above 0 that f32 can hold"),
        (
            Loss::quantiles([0.5, 0.1]),
            2,
            "the quantiles are [0.5, 0.1], expected numbers above 0 and below 1, ascending",
        ),
        (Loss::quantiles([]), 2, "the loss has 0 quantiles, expected 1 to 256"),
        (
            Loss::quantiles([0.1, 0.9]),
            3,
            "the loss (quantiles) is of 3 outputs, expected a multiple of 2: of every number that many quantiles",
        ),
        (
            Loss::gaussian(),
            3,
            "the loss (gaussian) is of 3 outputs, expected a multiple of 2: of every number two parameters",
        ),
        (
            Loss::gaussian_mixture(2),
            5,
            "the loss (gaussian mixture) is of 5 outputs, expected 2 logits and a multiple of 4: of every number 2 \
             means and as many scales",
        ),
        (Loss::gaussian_mixture(0), 5, "the loss has 0 components, expected 1 to 256"),
        (Loss::Gaussian { floor: -1.0 }, 2, "the floor of a scale is -1, expected a number above 0 that f32 can hold"),
    ] {
        assert_eq!(refused(loss, outputs), format!("invalid configuration: {said}"));
    }
    let config = Config::new(InputKind::Dense(1)).layer(Recurrent::gru(3)).head("spread", 3).outputs(2);
    let recipe = Recipe::new(Loss::MeanSquared).with_head("spread", Loss::gaussian(), 1.0);
    let said = words(Trainer::new(&Device::cpu(), &Model::new(config).unwrap(), recipe));
    assert!(said.starts_with("invalid configuration: head `spread`: the loss (gaussian) is of 3 outputs"), "{said}");
}

#[test]
fn labels_that_a_loss_does_not_take_are_refused() {
    let config = Config::gru(InputKind::Dense(1), 3, 2);
    let batch = |targets: Vec<f32>| Batch::dense(BatchShape { steps: 1, batch_size: 2 }, vec![0.5; 2], targets);
    let said = |batch: Batch, loss: Loss| words(batch.check(&config, &Recipe::new(loss)));
    let four = || batch(vec![0.5; 4]);
    assert_eq!(
        said(batch(vec![0.5, 1.5, 0.0, 0.0]), Loss::binary_cross_entropy()),
        "targets[1] is 1.5, expected a number from 0 to 1"
    );
    assert_eq!(
        said(batch(vec![0.5, 1.5, -1.0, 0.0]), Loss::Poisson),
        "targets[2] is -1, expected a finite number of at least 0"
    );
    assert_eq!(said(batch(vec![0.5; 3]), Loss::MeanSquared), "targets has shape [3], expected [2, 2]");
    assert_eq!(said(four().with_loss_mask(vec![true; 3]), Loss::MeanSquared), "mask has shape [3], expected [2, 2]");
    assert_eq!(said(four().with_loss_mask(vec![true]), Loss::MeanSquared), "mask has shape [1], expected [2]");
    assert_eq!(
        said(batch(vec![0.5; 2]).with_loss_weights(vec![1.0; 4]), Loss::gaussian()),
        "weights has shape [4], expected [2]"
    );
    assert_eq!(
        said(four().with_loss_weights(vec![1.0, f32::NAN]), Loss::MeanSquared),
        "weights[1] is NaN, expected a finite number of at least 0"
    );
    let classes = Batch::new(four().sequences, Targets::Classes(vec![0, 1]));
    assert_eq!(
        said(classes.clone().with_loss_mask(vec![true; 4]), Loss::CrossEntropy),
        "mask has shape [4], expected [2]"
    );
    let soft = CrossEntropy::new().with_soft_targets();
    assert_eq!(said(classes, soft.into()), "the loss needs real numbers as targets, but the batch has classes");
    let none = Batch::new(four().sequences, Targets::None);
    assert_eq!(said(none, Loss::MeanSquared), "the loss needs real numbers as targets, but the batch has none");
    let head = HeadTargets::new("value", vec![0.5]).with_loss_weights(vec![1.0]);
    assert_eq!(head.loss_weights, Some(vec![1.0]));
    let ignored = CrossEntropy::new().with_ignored(9);
    let batch = Batch::new(four().sequences, Targets::Classes(vec![9, 9]));
    let mut trainer = trainer(&Device::cpu(), &config, Recipe::new(ignored));
    assert_eq!(words(trainer.step(&batch)), "the mask leaves none of the 2 positions to learn from");
}
