//! The loss of label sequences in whole trainings: what a user can hand in and what is refused, what is left out, and
//! that it learns.

use recurrent::data::{Buckets, Example};
use recurrent::recipe::{Divisor, TargetKind};
use recurrent::{
    Batch, BatchShape, Config, Device, HeadTargets, InputKind, Inputs, Loss, Model, Optimizer, Pool, Predictor, Recipe,
    Recurrent, Sequences, Targets, Trainer, ctc, metrics::ErrorRate,
};

use crate::common::compare::{F32_NETWORK, assert_close};
use crate::common::random::Random;
use crate::common::whole::{self, refuses};

const SHAPE: BatchShape = BatchShape { steps: 6, batch_size: 4 };

/// f32 sums of some dozens of terms in another order.
const SUM: f64 = 1e-5;

fn config() -> Config {
    Config::gru(InputKind::Tokens(5), 9, 4).with_seed(3)
}

fn batch(labels: Vec<Vec<u32>>) -> Batch {
    let tokens = Random::new(5).ids(SHAPE.steps * SHAPE.batch_size, 5);
    Batch::new(Sequences::tokens(SHAPE, tokens), Targets::Sequences(labels)).with_lengths(vec![6, 4, 5, 3])
}

fn labels() -> Vec<Vec<u32>> {
    vec![vec![1, 2, 2], vec![3, 1], vec![], vec![2]]
}

fn trainer(device: &Device, recipe: Recipe) -> Trainer {
    Trainer::new(device, &Model::new(config()).unwrap(), recipe).unwrap()
}

whole::on_both!(
    every_number_is_that_of_its_sequences,
    what_is_left_out_is_not_looked_at,
    what_cannot_be_said_has_no_loss_where_that_is_asked_for,
    windows_of_a_step_add_up,
    heads_have_it_too,
    a_sequence_is_learned,
);

/// The loss of a step, of an evaluation and of its sequences one by one, by every divisor.
fn every_number_is_that_of_its_sequences(device: &Device) {
    let whole = batch(labels()).with_loss_weights(vec![0.5, 2.0, 1.0, 1.5]);
    let mut alone = trainer(device, Recipe::new(Loss::ctc()));
    let each: Vec<f64> = (0..4)
        .map(|b| alone.evaluate([whole.clone().with_loss_mask((0..4).map(|at| at == b).collect())]).unwrap())
        .collect();
    let total: f64 = each.iter().sum();
    assert!(each.iter().all(|loss| *loss > 0.1), "{each:?}");
    for (divisor, by) in
        [(Divisor::Positions, 4.0), (Divisor::Sequences, 4.0), (Divisor::Batch, 4.0), (Divisor::Weights, 5.0)]
    {
        let mut trainer = trainer(device, Recipe::new(Loss::ctc()).with_divisor(divisor));
        let evaluated = trainer.evaluate([&whole]).unwrap();
        trainer.step(&whole).unwrap();
        let stepped = trainer.metrics().unwrap()[0].loss;
        for got in [evaluated, stepped] {
            assert!((got - total / by).abs() <= SUM * got, "{divisor:?}: {got}, not {}", total / by);
        }
    }
    assert_eq!(whole.counted(&config()), [true; 4]);
    assert_eq!(whole.count(&config()), 4);
    assert_eq!(Loss::ctc().targets(), TargetKind::Sequences);
}

fn what_is_left_out_is_not_looked_at(device: &Device) {
    let gradients = |batch: &Batch| {
        let mut trainer = trainer(device, Recipe::new(Loss::ctc()));
        trainer.step(batch).unwrap();
        let loss = trainer.metrics().unwrap()[0].loss;
        (
            loss.to_bits(),
            trainer.gradients().unwrap().iter().flat_map(|(_, g)| g.to_vec()).map(f32::to_bits).collect::<Vec<_>>(),
        )
    };
    let mask = vec![true, false, true, false];
    let plain = batch(labels()).with_loss_mask(mask.clone());
    // Labels that are none, and more of them than steps.
    let odd = batch(vec![vec![1, 2, 2], vec![77; 200], vec![], vec![0, 0]]);
    assert_eq!(gradients(&plain), gradients(&odd.clone().with_loss_mask(mask)));
    assert_eq!(gradients(&plain), gradients(&odd.with_loss_weights(vec![1.0, 0.0, 1.0, 0.0])));
    let none = batch(labels()).with_loss_mask(vec![false; 4]);
    refuses(trainer(device, Recipe::new(Loss::ctc())).step(&none), &["leaves none of the 4 positions"]);
}

fn what_cannot_be_said_has_no_loss_where_that_is_asked_for(device: &Device) {
    let loss = Loss::Ctc { blank: 0, zero_infeasible: true };
    let numbers = |labels: Vec<Vec<u32>>, mask: Option<Vec<bool>>, by: f64| {
        let batch = batch(labels);
        let batch = mask.map_or(batch.clone(), |mask| batch.with_loss_mask(mask));
        let mut trainer = trainer(device, Recipe::new(loss.clone()));
        trainer.step(&batch).unwrap();
        let gradients = trainer.gradients().unwrap();
        let gradients = gradients.iter().flat_map(|(_, g)| g.iter().map(|g| f64::from(*g) * by).collect::<Vec<_>>());
        (trainer.metrics().unwrap()[0].loss * by, gradients.collect::<Vec<f64>>())
    };
    // Three equal labels take five steps; the second sequence has four.
    let with = numbers(vec![vec![1, 2, 2], vec![3, 3, 3], vec![], vec![2]], None, 4.0);
    let without = numbers(labels(), Some(vec![true, false, true, true]), 3.0);
    assert!((with.0 - without.0).abs() <= SUM * with.0, "{} {}", with.0, without.0);
    assert!(with.1.iter().zip(&without.1).all(|(a, b)| (a - b).abs() <= SUM), "its gradient is not 0");
    let all = numbers(vec![vec![1; 9], vec![1; 9], vec![1; 9], vec![1; 9]], None, 1.0);
    assert!(all.0 == 0.0 && all.1.iter().all(|g| *g == 0.0));
    let refused = trainer(device, Recipe::new(Loss::ctc()));
    refuses(
        { refused }.step(&batch(vec![vec![1, 2, 2], vec![3, 3, 3], vec![], vec![2]])),
        &["targets[1] (sequence 1) has 3 labels, which take 5 steps", "the sequence has 4"],
    );
}

fn windows_of_a_step_add_up(device: &Device) {
    let whole = batch(labels());
    let Targets::Sequences(all) = whole.targets.clone() else { panic!("sequences") };
    let Inputs::Tokens(ids) = &whole.sequences.inputs else { panic!("tokens") };
    let part = |b: usize, size: usize| {
        let tokens = ids.chunks(4).flat_map(|row| row[b..b + size].to_vec()).collect();
        let shape = BatchShape { steps: 6, batch_size: size };
        let lengths = whole.sequences.lengths.as_ref().unwrap()[b..b + size].to_vec();
        let batch = Batch::new(Sequences::tokens(shape, tokens), Targets::Sequences(all[b..b + size].to_vec()));
        batch.with_lengths(lengths)
    };
    let run = |batches: &[Batch]| {
        let mut trainer = trainer(device, Recipe::new(Loss::ctc()));
        trainer.step_accumulated(batches).unwrap();
        let gradients = trainer.gradients().unwrap();
        let gradients: Vec<f32> = gradients.iter().flat_map(|(_, g)| g.to_vec()).collect();
        (trainer.metrics().unwrap()[0].loss, gradients)
    };
    let (at_once, in_parts) = (run(std::slice::from_ref(&whole)), run(&[part(0, 1), part(1, 3)]));
    assert!((at_once.0 - in_parts.0).abs() <= SUM * at_once.0, "{} {}", at_once.0, in_parts.0);
    assert!(at_once.1.iter().zip(&in_parts.1).all(|(a, b)| (a - b).abs() <= SUM as f32));
    assert!(at_once.1.iter().any(|g| g.abs() > 1e-2));
}

/// A head of the steps beside a network that has a pool.
fn heads_have_it_too(device: &Device) {
    let network = Config::new(InputKind::Tokens(5)).layer(Recurrent::gru(9)).head("letters", 4);
    let network = network.pool(Pool::Last).outputs(2).with_seed(3);
    let recipe =
        Recipe::new(Loss::CrossEntropy).with_head("letters", Loss::Ctc { blank: 3, zero_infeasible: false }, 0.5);
    let head = HeadTargets::new("letters", vec![vec![1, 2, 2], vec![0, 1], vec![], vec![2]]);
    let head = head.with_loss_weights(vec![1.0, 0.5, 1.0, 1.0]);
    let batch = batch(labels()).with_targets(Targets::Classes(vec![0, 1, 1, 0])).with_head(head);
    let mut trainer = Trainer::new(device, &Model::new(network.clone()).unwrap(), recipe).unwrap();
    let evaluated = trainer.evaluate_heads([&batch]).unwrap();
    trainer.step(&batch).unwrap();
    let metrics = trainer.metrics().unwrap().remove(0);
    let names: Vec<&str> = metrics.heads.iter().map(|head| head.name.as_str()).collect();
    assert!(names.contains(&"letters"), "{names:?}");
    for head in &metrics.heads {
        let of_evaluation = evaluated.iter().find(|of_one| of_one.name == head.name).unwrap();
        assert!((head.loss - of_evaluation.loss).abs() <= SUM * head.loss, "{head:?} {of_evaluation:?}");
    }
    assert_eq!(batch.counted_of_head(&network, "letters"), Some(vec![true; 4]));
}

/// To say each run of equal tokens once: the network is never told where.
fn a_sequence_is_learned(device: &Device) {
    let network = Config::gru(InputKind::Tokens(4), 24, 4).with_seed(1);
    let mut random = Random::new(8);
    let examples: Vec<Example> = (0..64)
        .map(|_| {
            let labels: Vec<u32> = random.ids(4, 3).into_iter().map(|id| id + 1).collect();
            let repeats = random.ids(4, 3);
            // Between two runs there is a 0.
            let tokens = labels
                .iter()
                .zip(repeats)
                .flat_map(|(id, more)| [0].into_iter().chain(std::iter::repeat_n(*id, 1 + more as usize)));
            Example::new(Inputs::Tokens(tokens.collect()), Targets::Sequences(vec![labels]))
        })
        .collect();
    let buckets = Buckets::new(examples.clone(), 16, &network, 0).unwrap();
    let recipe = Recipe::new(Loss::ctc()).with_optimizer(Optimizer::adam(), 0.02);
    let mut trainer = Trainer::new(device, &Model::new(network.clone()).unwrap(), recipe).unwrap();
    for shape in buckets.shapes() {
        trainer.prepare(shape).unwrap();
    }
    let made = trainer.plan_cache().made;
    for epoch in 0..25 {
        buckets.epoch(epoch).for_each(|batch| trainer.step(&batch).unwrap());
    }
    assert_eq!(trainer.plan_cache().made, made, "a plan that was prepared is not the one that is used");
    let all = Batch::pad(&examples, &network).unwrap();
    assert!(trainer.evaluate([&all]).unwrap() < 0.2);
    let Targets::Sequences(targets) = &all.targets else { panic!("sequences") };
    let answer = Predictor::new(device, &trainer.model().unwrap()).unwrap().run(&all.sequences).unwrap();
    let lengths = all.sequences.lengths.clone().unwrap();
    let mut wrong = [ErrorRate::new(), ErrorRate::new()];
    for (b, target) in targets.iter().enumerate() {
        let rows = ctc::rows_of(&answer.outputs, all.sequences.shape(), 4, (b, lengths[b])).unwrap();
        let greedy = ctc::greedy(&rows, 4, 0).unwrap();
        let beam = ctc::prefix_beam(&rows, 4, 0, 8).unwrap().remove(0).0;
        wrong[0].add(target, &greedy).unwrap();
        wrong[1].add(target, &beam).unwrap();
        let spans = ctc::align(&rows, 4, 0, target).unwrap().spans();
        assert_eq!(spans.len(), target.len());
    }
    assert!(wrong.iter().all(|rate| rate.value().unwrap() < 0.05), "{wrong:?}");
}

/// Labels that come again further on are told to a GPU in an order of their own.
#[test]
#[cfg_attr(no_adapter, ignore = "RECURRENT_ADAPTER=none")]
fn a_gpu_makes_the_gradients_of_the_cpu() {
    let labels = vec![vec![2, 1, 2, 1, 2], vec![3, 1, 3], vec![], vec![1]];
    let [cpu, gpu] = [Device::cpu(), whole::gpu()].map(|device| {
        let mut trainer = trainer(&device, Recipe::new(Loss::ctc()));
        trainer.step(&batch(labels.clone())).unwrap();
        let gradients = trainer.gradients().unwrap();
        gradients.iter().flat_map(|(_, g)| g.iter().map(|g| f64::from(*g)).collect::<Vec<_>>()).collect::<Vec<f64>>()
    });
    assert_close("gradients", &gpu, &cpu, F32_NETWORK);
}

#[test]
fn what_does_not_fit_is_refused() {
    let check = |batch: &Batch, loss: Loss| batch.check(&config(), &Recipe::new(loss));
    let ok = batch(labels());
    check(&ok, Loss::ctc()).unwrap();
    refuses(check(&ok, Loss::CrossEntropy), &["the loss needs classes", "sequences of labels"]);
    let classes = ok.clone().with_targets(Targets::Classes(vec![1; 24]));
    refuses(check(&classes, Loss::ctc()), &["needs sequences of labels", "the batch has classes"]);
    refuses(check(&batch(vec![vec![1]; 3]), Loss::ctc()), &["targets", "[4]", "[3]"]);
    let of = |at: usize, ids: Vec<u32>| {
        let mut labels = labels();
        labels[at] = ids;
        batch(labels)
    };
    refuses(check(&of(1, vec![1, 4]), Loss::ctc()), &["targets[1][1] (sequence 1) is id 4", "4 outputs"]);
    refuses(check(&of(0, vec![1, 0]), Loss::ctc()), &["targets[0][1] (sequence 0) is id 0", "the blank"]);
    check(&of(0, vec![1, 0]), Loss::Ctc { blank: 2, zero_infeasible: true }).unwrap_err();
    refuses(check(&of(3, vec![2, 2, 1]), Loss::ctc()), &["targets[3]", "3 labels", "take 4 steps", "has 3"]);
    check(&of(3, vec![2, 1, 2]), Loss::ctc()).unwrap();
    refuses(check(&ok.clone().with_loss_mask(vec![true; 24]), Loss::ctc()), &["mask", "every step (24)", "expected 4"]);
    refuses(
        check(&ok.clone().with_loss_weights(vec![1.0; 24]), Loss::ctc()),
        &["weights", "every step (24)", "whole sequences"],
    );
    refuses(check(&ok.clone().with_loss_weights(vec![1.0; 3]), Loss::ctc()), &["weights", "[4]", "[3]"]);
    refuses(check(&ok.clone().with_loss_weights(vec![1.0, -1.0, 1.0, 1.0]), Loss::ctc()), &["weights[1] is -1"]);
    let refused = |config: Config, loss: Loss| {
        Trainer::new(&Device::cpu(), &Model::new(config).unwrap(), Recipe::new(loss)).map(drop)
    };
    refuses(refused(config(), Loss::Ctc { blank: 4, zero_infeasible: false }), &["blank", "output 4", "there are 4"]);
    refuses(refused(config().with_pool(Some(Pool::Last)), Loss::ctc()), &["loss (ctc)", "pool"]);
}

#[test]
fn examples_that_do_not_fit_are_refused() {
    let example = |labels: Vec<Vec<u32>>| Example::new(Inputs::Tokens(vec![1, 2]), Targets::Sequences(labels));
    let pad = |examples: &[Example]| Batch::pad(examples, &config());
    let laid = pad(&[example(vec![vec![1]]), example(vec![vec![]])]).unwrap();
    assert_eq!(laid.targets, Targets::Sequences(vec![vec![1], vec![]]));
    refuses(pad(&[example(vec![vec![1], vec![2]])]), &["examples[0].targets", "[1]", "[2]"]);
    refuses(pad(&[example(vec![])]), &["examples[0].targets", "[1]", "[0]"]);
    refuses(pad(&[example(vec![vec![1, 9]])]), &["examples[0].targets[0][1] is id 9"]);
    let classes = Example::tokens(vec![1, 2], vec![1, 1]);
    refuses(pad(&[example(vec![vec![1]]), classes]), &["examples[1].targets are classes", "sequences of labels"]);
    let weighed = pad(&[example(vec![vec![1]]).with_loss_weights(vec![0.5]), example(vec![vec![2]])]).unwrap();
    assert_eq!(weighed.loss_weights, Some(vec![0.5, 1.0]));
    let masked = pad(&[example(vec![vec![99]]).with_loss_mask(vec![false]), example(vec![vec![2]])]).unwrap();
    assert_eq!(masked.loss_mask, Some(vec![false, true]));
    refuses(pad(&[example(vec![vec![1]]).with_loss_mask(vec![true, true])]), &["mask", "[1]", "[2]"]);
}

/// Sequences in front of which there was padding keep their labels.
#[test]
fn front_padding_leaves_labels_alone() {
    let tokens = vec![0, 1, 0, 2, 3, 3];
    let shape = BatchShape { steps: 3, batch_size: 2 };
    let targets = Targets::Sequences(vec![vec![1], vec![2, 1]]);
    let batch = Batch::new(Sequences::tokens(shape, tokens), targets.clone()).with_loss_weights(vec![1.0, 0.5]);
    let moved = batch.with_front_padding(vec![1, 3], &config()).unwrap();
    assert_eq!((moved.targets, moved.loss_weights), (targets, Some(vec![1.0, 0.5])));
}

/// A target that is longer than there is room for makes another plan, and those that are not do not.
#[test]
fn plans_have_room_for_few_numbers_of_labels() {
    let shape = BatchShape { steps: 80, batch_size: 1 };
    let batch = |count: usize| {
        let labels = (0..count).map(|at| 1 + at as u32 % 3).collect();
        Batch::new(Sequences::tokens(shape, vec![1; 80]), Targets::Sequences(vec![labels]))
    };
    let mut trainer = trainer(&Device::cpu(), Recipe::new(Loss::ctc()));
    for (count, plans) in [(0, 1), (1, 1), (32, 1), (33, 2), (64, 2), (70, 3), (5, 3)] {
        trainer.step(&batch(count)).unwrap();
        assert_eq!(trainer.plan_cache().made, plans, "{count} labels");
    }
}

/// The recipe of a checkpoint has it; what a file leaves out is the default.
#[test]
fn a_recipe_is_written_and_read() {
    let recipe = Recipe::new(Loss::Ctc { blank: 3, zero_infeasible: true });
    let text = serde_json::to_string(&recipe).unwrap();
    assert!(text.contains(r#""ctc":{"blank":3,"zero_infeasible":true}"#), "{text}");
    assert_eq!(serde_json::from_str::<Recipe>(&text).unwrap(), recipe);
    assert_eq!(serde_json::from_str::<Loss>(r#"{"ctc":{}}"#).unwrap(), Loss::ctc());
    let model = Model::new(config()).unwrap();
    let mut trainer = Trainer::new(&Device::cpu(), &model, recipe).unwrap();
    trainer.step(&batch(vec![vec![1], vec![2], vec![], vec![0]])).unwrap();
    let resumed = Trainer::resume(&Device::cpu(), &trainer.checkpoint().unwrap()).unwrap();
    assert_eq!(resumed.recipe(), trainer.recipe());
}
