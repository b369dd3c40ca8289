//! Losses of the caller's own: that they are what the crate's would be, and what is refused.

use recurrent::internals::cpu::Executor;
use recurrent::internals::plan::{DType, Lifetime, LossGradient, Op, Phase, Plan, StepParams, View};
use recurrent::train::{OutputGradients, Outputs};
use recurrent::{
    Batch, BatchShape, Config, Device, Dropout, EmbeddingUpdate, HeadTargets, InputKind, Loss, Model, Recipe,
    Recurrent, Sequences, Start, Targets, Trainer,
};

use crate::bad_input::words;
use crate::common::executor::{Execute, gpu};
use crate::common::whole::{self, bytes, rng};

fn trainer(device: &Device, config: &Config, recipe: Recipe) -> Trainer {
    Trainer::new(device, &Model::new(config.clone()).unwrap(), recipe).unwrap()
}

/// What the crate's own loss makes of outputs, on the same kind of executor.
fn built_in(device: &Device, loss: &Loss, batch: &Batch, outputs: &[f32]) -> (f64, Vec<f32>) {
    if device.is_gpu() {
        run_built_in(gpu(), loss, batch, outputs)
    } else {
        run_built_in(Executor::<f32>::new(), loss, batch, outputs)
    }
}

fn run_built_in<E: Execute>(mut executor: E, loss: &Loss, batch: &Batch, outputs: &[f32]) -> (f64, Vec<f32>) {
    let rows = batch.sequences.steps * batch.sequences.batch_size;
    let mut plan = Plan::empty();
    let real =
        |plan: &mut Plan, name: &str, len: usize| plan.tensor(name, &[len], DType::F32, Lifetime::Scratch).unwrap();
    let y = real(&mut plan, "outputs", outputs.len());
    let targets = match &batch.targets {
        Targets::Classes(ids) => plan.tensor("targets", &[ids.len()], DType::U32, Lifetime::Input).unwrap(),
        Targets::Values(values) => real(&mut plan, "targets", values.len()),
        _ => panic!("targets"),
    };
    let [loss_weights, step_params, row_loss] =
        [("loss_weights", rows), ("step_params", StepParams::LEN), ("row_loss", rows)]
            .map(|(name, len)| real(&mut plan, name, len));
    plan.push(
        Phase::Loss,
        Op::LossGradient(LossGradient {
            loss: loss.kind(),
            outputs: View::new(y, 0, rows, outputs.len() / rows),
            targets,
            loss_weights,
            settings: None,
            step_params,
            row_loss,
            gradient: true,
            loss_scale: None,
        }),
    );
    let id = executor.prepare(plan);
    let lengths = batch.sequences.lengths.clone().unwrap_or(vec![batch.sequences.steps; batch.sequences.batch_size]);
    let valid = |r: usize| r / lengths.len() < lengths[r % lengths.len()];
    let weights: Vec<f64> = (0..rows).map(|r| f64::from(u8::from(valid(r)))).collect();
    executor.write(id, y, &outputs.iter().copied().map(f64::from).collect::<Vec<_>>());
    executor.write(id, loss_weights, &weights);
    executor.write(id, step_params, &StepParams { divisor: weights.iter().sum(), ..StepParams::default() }.elements());
    match &batch.targets {
        Targets::Classes(ids) => executor.write_ids(id, targets, ids),
        Targets::Values(values) => {
            executor.write(id, targets, &values.iter().copied().map(f64::from).collect::<Vec<_>>());
        }
        _ => panic!("targets"),
    }
    executor.run(id);
    let gradient = executor.read(id, y).iter().map(|v| *v as f32).collect();
    (executor.read(id, row_loss).iter().sum(), gradient)
}

whole::on_both!(
    the_crate_s_losses_as_the_caller_s_are_bit_for_bit_the_same,
    heads_and_windows_add_up,
    the_outputs_are_those_of_the_network,
);

fn the_crate_s_losses_as_the_caller_s_are_bit_for_bit_the_same(device: &Device) {
    for (loss, input) in [(Loss::CrossEntropy, InputKind::Tokens(5)), (Loss::MeanSquared, InputKind::Dense(3))] {
        let config = Config::lstm(input, 9, 4).with_layers(2);
        let dropout = Dropout::between_layers(0.3).with_seed(5);
        let recipe = |loss: Loss| Recipe::new(loss).with_dropout(dropout).with_learning_rate(0.05);
        let mut own = trainer(device, &config, recipe(loss.clone()));
        let mut external = trainer(device, &config, recipe(Loss::External));
        for step in 0..4 {
            let mut batch = whole::batch(&mut rng(50 + step), &config, loss.clone(), 5, 3).with_lengths(vec![5, 3, 4]);
            if step > 0 {
                batch = batch.with_start(Start::Carry);
            }
            own.step(&batch).unwrap();
            let without = batch.clone().with_targets(Targets::None);
            external.step_with(&without, |outputs| built_in(device, &loss, &batch, &outputs.outputs)).unwrap();
        }
        let [a, b] = [&mut own, &mut external].map(|trainer| {
            let losses: Vec<f64> = trainer.metrics().unwrap().iter().map(|metrics| metrics.loss).collect();
            let checkpoint = trainer.checkpoint().unwrap();
            (losses, checkpoint.model, checkpoint.training.map(|training| training.state))
        });
        let near = a.0.iter().zip(&b.0).all(|(a, b)| (a - b).abs() <= 1e-6 * a);
        assert!(near, "{loss:?}: {:?}, not {:?}", b.0, a.0);
        assert!(a.1 == b.1 && a.2 == b.2, "{loss:?}: other weights or another state");
    }
}

/// Σ y², and its gradient.
fn squares(outputs: &[f32]) -> (f64, Vec<f32>) {
    (outputs.iter().map(|y| f64::from(y * y)).sum(), outputs.iter().map(|y| 2.0 * y).collect())
}

fn heads_and_windows_add_up(device: &Device) {
    let config = Config::new(InputKind::Tokens(6)).embedding(4).layer(Recurrent::gru(7)).head("value", 2).outputs(3);
    let recipe = Recipe::new(Loss::CrossEntropy).with_head("value", Loss::External, 0.5);
    let batch = |seed: u64| {
        let mut batch = whole::batch(&mut rng(seed), &config, Loss::CrossEntropy, 4, 3);
        batch.heads = vec![HeadTargets::new("value", Targets::None)];
        batch
    };
    let gradients = |outputs: &Outputs| {
        let (loss, gradient) = squares(outputs.head("value").unwrap());
        OutputGradients::default().with_head("value", loss, gradient)
    };
    let mut one = trainer(device, &config, recipe.clone());
    one.step_with(&batch(1), gradients).unwrap();
    let metrics = one.metrics().unwrap();
    let [own, value] = &metrics[0].heads[..] else { panic!("two read-outs") };
    assert!((own.loss + 0.5 * value.loss - metrics[0].loss).abs() < 1e-5 * metrics[0].loss, "{metrics:?}");

    // Twice the same window is twice the gradient.
    let mut twice = trainer(device, &config, recipe.clone());
    let outputs = twice.forward(&batch(1)).unwrap();
    twice.accumulate(gradients(&outputs)).unwrap();
    let outputs = twice.forward(&batch(1)).unwrap();
    twice.backward(gradients(&outputs)).unwrap();
    let doubled = twice.metrics().unwrap();
    assert_eq!(twice.steps_done(), 1);
    for (got, want) in [(doubled[0].grad_norm, metrics[0].grad_norm), (doubled[0].loss, metrics[0].loss)] {
        assert!((got - 2.0 * want).abs() < 1e-4 * got, "{got}, not twice {want}");
    }
}

fn the_outputs_are_those_of_the_network(device: &Device) {
    let config = Config::gru(InputKind::Dense(2), 5, 3);
    let model = Model::new(config.clone()).unwrap();
    let sequences = Sequences::dense(BatchShape { steps: 3, batch_size: 2 }, vec![0.25; 12]).with_lengths(vec![3, 1]);
    let expected = recurrent::Predictor::new(device, &model).unwrap().run(&sequences).unwrap();
    let mut trainer = Trainer::new(device, &model, Recipe::new(Loss::External)).unwrap();
    let before = bytes(&mut trainer);
    let outputs = trainer.forward(&Batch::new(sequences, Targets::None)).unwrap();
    assert_eq!(outputs.outputs.len(), expected.outputs.len());
    whole::assert_close("outputs", &outputs.outputs, &expected.outputs, 1e-6);
    assert_eq!(outputs.outputs[9..12], [0.0; 3]);
    assert_eq!((trainer.steps_done(), trainer.metrics().unwrap().len()), (0, 0));
    // What lies behind the end of a sequence is not looked at.
    let gradient = |padding: f32| {
        let mut gradient = vec![0.1; 18];
        (9..12).chain(15..18).for_each(|at| gradient[at] = padding);
        gradient
    };
    trainer.backward((1.0, gradient(f32::NAN))).unwrap();
    let metrics = trainer.metrics().unwrap();
    assert!(metrics[0].updated && metrics[0].loss == 1.0, "{metrics:?}");
    assert!(bytes(&mut trainer) != before);
}

#[test]
fn what_is_no_gradient_is_refused() {
    let config = Config::gru(InputKind::Dense(2), 5, 3);
    let external = || trainer(&Device::cpu(), &config, Recipe::new(Loss::External));
    let batch = || Batch::new(Sequences::dense(BatchShape { steps: 2, batch_size: 2 }, vec![0.25; 8]), Targets::None);
    let mut of_crate = trainer(&Device::cpu(), &config, Recipe::new(Loss::MeanSquared));
    let said = words(of_crate.forward(&batch().with_targets(Targets::Values(vec![0.0; 12]))));
    assert_eq!(
        said,
        "invalid configuration: no loss of the recipe is the caller's; expected Loss::External, or Trainer::step"
    );
    let mut trainer = external();
    let said = "invalid configuration: a loss of the recipe is the caller's (Loss::External); expected \
                Trainer::step_with, or forward and backward";
    assert_eq!(words(trainer.step(&batch())), said);
    assert!(words(trainer.evaluate([batch()])).contains("which an evaluation cannot compute"));
    let said = "there are gradients but no outputs; expected a forward pass before them";
    assert_eq!(words(trainer.backward((0.0, vec![0.0; 12]))), said);
    assert_eq!(
        words(trainer.forward(&batch().with_targets(Targets::Classes(vec![0; 4])))),
        "the loss needs no targets: it is the caller's own, but the batch has classes"
    );
    assert!(words(trainer.forward(&batch().with_loss_mask(vec![true; 4]))).contains("has a mask or weights"));
    trainer.forward(&batch()).unwrap();
    for (gradients, said) in [
        (OutputGradients::new(0.0, vec![0.0; 11]), "gradient has shape [11], expected [4, 3]"),
        (OutputGradients::new(f64::NAN, vec![0.0; 12]), "loss is NaN, expected a finite number"),
        (OutputGradients::new(0.0, vec![f32::INFINITY; 12]), "gradient[0] is inf, expected a finite number"),
        (
            OutputGradients::new(0.0, vec![0.0; 12]).with_head("x", 0.0, vec![]),
            "there is a gradient of head `x`, but the network's heads are []",
        ),
    ] {
        assert_eq!(words(trainer.backward(gradients)), said);
    }
    // None of these took the forward pass away.
    trainer.backward((0.5, vec![0.1; 12])).unwrap();
    assert_eq!(trainer.metrics().unwrap()[0].loss, 0.5);
    assert!(words(trainer.backward((0.5, vec![0.1; 12]))).contains("expected a forward pass"));

    let words_config = Config::new(InputKind::Tokens(9)).embedding(4).layer(Recurrent::gru(5)).outputs(2);
    let lazy = Recipe::new(Loss::External).with_embedding_update(EmbeddingUpdate::Lazy);
    let mut lazy = Trainer::new(&Device::cpu(), &Model::new(words_config).unwrap(), lazy).unwrap();
    let tokens = Sequences::tokens(BatchShape { steps: 2, batch_size: 1 }, vec![3, 4]);
    lazy.forward(&Batch::new(tokens, Targets::None)).unwrap();
    assert!(words(lazy.accumulate((0.0, vec![0.1; 4]))).contains("EmbeddingUpdate::Exact"));
    lazy.backward((0.0, vec![0.1; 4])).unwrap();
    assert_eq!(lazy.metrics().unwrap().len(), 1);
}
