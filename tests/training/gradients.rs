//! The gradients that a caller can ask for: of every parameter by name, and of what was read.

use recurrent::{
    Batch, BatchShape, Clip, Config, Device, EmbeddingUpdate, InputKind, Loss, Model, Optimizer, Precision, Recipe,
    Recurrent, Sequences, Start, State, Targets, Trainer,
};

use crate::bad_input::words;
use crate::common::whole::{self, bytes, rng};

fn trainer(device: &Device, config: &Config, recipe: Recipe) -> Trainer {
    Trainer::new(device, &Model::new(config.clone()).unwrap(), recipe).unwrap()
}

whole::on_both!(
    they_are_the_step_s,
    they_stay_until_the_next_step_is_taken,
    those_of_what_was_read_are_the_loss_s_slopes,
);

/// A window that was read but not yet gone back through has other rows of a table, but no gradient.
fn they_stay_until_the_next_step_is_taken(device: &Device) {
    let config = Config::new(InputKind::Tokens(9)).embedding(4).layer(Recurrent::gru(5)).outputs(2);
    let recipe = Recipe::new(Loss::External).with_embedding_update(EmbeddingUpdate::Lazy);
    let mut trainer = trainer(device, &config, recipe);
    let shape = BatchShape { steps: 2, batch_size: 1 };
    let batch = |tokens: Vec<u32>| Batch::new(Sequences::tokens(shape, tokens), Targets::None);
    trainer.step_with(&batch(vec![3, 4]), |_| (0.0, vec![0.1; 4])).unwrap();
    let of_step = trainer.gradients().unwrap();
    let table = of_step.get("embedding.weight").unwrap();
    assert!(table[12..20].iter().all(|g| *g != 0.0) && table[20..].iter().all(|g| *g == 0.0), "{table:?}");
    trainer.forward(&batch(vec![7, 1])).unwrap();
    assert_eq!(trainer.gradients().unwrap(), of_step);
    trainer.backward((0.0, vec![0.1; 4])).unwrap();
    let table = trainer.gradients().unwrap();
    assert!(table.get("embedding.weight").unwrap()[28..32].iter().all(|g| *g != 0.0), "{table:?}");
}

fn they_are_the_step_s(device: &Device) {
    let config = Config::new(InputKind::Tokens(40)).embedding(5).layer(Recurrent::lstm(6)).outputs(4);
    for update in [EmbeddingUpdate::Exact, EmbeddingUpdate::Lazy] {
        let recipe = Recipe::new(Loss::CrossEntropy).with_clip(Clip::None).with_embedding_update(update);
        let recipe = recipe.with_optimizer(Optimizer::sgd(0.0), 0.5);
        let mut trainer = trainer(device, &config, recipe);
        assert_eq!(words(trainer.gradients()), "there was no step yet, so there is no gradient");
        trainer.freeze(&["lstm.bias*"]).unwrap();
        let before = trainer.model().unwrap();
        trainer.step(&whole::batch(&mut rng(61), &config, Loss::CrossEntropy, 4, 3)).unwrap();
        let norm = trainer.metrics().unwrap()[0].grad_norm;
        let state = bytes(&mut trainer);
        let gradients = trainer.gradients().unwrap();
        let after = trainer.model().unwrap();
        let mut squares = 0.0;
        for (name, gradient) in gradients.iter() {
            let (old, new) = (before.parameter(name).unwrap(), after.parameter(name).unwrap());
            let frozen = name.starts_with("lstm.bias");
            for ((old, new), gradient) in old.iter().zip(new).zip(gradient) {
                // Plain gradient descent.
                let moved = if frozen { 0.0 } else { 0.5 * gradient };
                assert!((old - new - moved).abs() < 1e-6, "{update:?}, {name}: {old} to {new} by {gradient}");
                squares += if frozen { 0.0 } else { f64::from(gradient * gradient) };
            }
        }
        assert!((squares.sqrt() - norm).abs() < 1e-5 * norm, "{update:?}: {}, not {norm}", squares.sqrt());
        assert_eq!(gradients.get("embedding.weight").map(<[f32]>::len), Some(40 * 5));
        assert_eq!(gradients.get("nothing"), None);
        assert!(bytes(&mut trainer) == state, "reading the gradients changed something");
    }
}

fn those_of_what_was_read_are_the_loss_s_slopes(device: &Device) {
    let config = Config::lstm(InputKind::Dense(2), 5, 3);
    let recipe = Recipe::new(Loss::MeanSquared).with_input_gradients();
    let model = Model::new(config.clone()).unwrap();
    let mut trainer = Trainer::new(device, &model, recipe).unwrap();
    let batch = whole::batch(&mut rng(62), &config, Loss::MeanSquared, 4, 2);
    let start = State::new(&config, 2, whole::reals(&mut rng(63), config.state_len(2), 0.5)).unwrap();
    let batch = batch.with_start(Start::Given(start.clone()));
    trainer.step(&batch).unwrap();
    let read = trainer.input_gradients().unwrap();
    let inputs = read.inputs.unwrap();
    assert_eq!((inputs.len(), read.state.batch_size()), (4 * 2 * 2, 2));
    // Along the gradient the loss rises by its square.
    let mut of_model = Trainer::new(device, &model, Recipe::new(Loss::MeanSquared)).unwrap();
    let step = 0.05;
    let mut moved = |by: f32| {
        let recurrent::Inputs::Dense(x) = &batch.sequences.inputs else { panic!("numbers") };
        let x = x.iter().zip(&inputs).map(|(x, g)| x + by * g).collect();
        let state = start.values().iter().zip(read.state.values()).map(|(h, g)| h + by * g).collect();
        let mut batch = batch.clone().with_start(Start::Given(State::new(&config, 2, state).unwrap()));
        batch.sequences = batch.sequences.with_inputs(recurrent::Inputs::Dense(x));
        of_model.evaluate([batch]).unwrap()
    };
    let slope = (moved(step) - moved(-step)) / (2.0 * f64::from(step));
    let all = inputs.iter().chain(read.state.values());
    let want: f64 = all.map(|g| f64::from(g * g)).sum();
    assert!((slope - want).abs() < 0.02 * want, "{slope}, not {want}");
}

#[test]
fn gradients_that_are_not_there_are_refused() {
    let config = Config::gru(InputKind::Tokens(4), 3, 2);
    let mut plain = trainer(&Device::cpu(), &config, Recipe::new(Loss::CrossEntropy));
    assert!(words(plain.input_gradients()).contains("expected Recipe::with_input_gradients"));
    let asks = Recipe::new(Loss::CrossEntropy).with_input_gradients();
    let mut tokens = trainer(&Device::cpu(), &config, asks.clone());
    assert_eq!(words(tokens.input_gradients()), "there was no step yet, so there is no gradient");
    let shape = BatchShape { steps: 2, batch_size: 1 };
    tokens.step(&recurrent::Batch::tokens(shape, vec![0, 1], vec![1, 0])).unwrap();
    let read = tokens.input_gradients().unwrap();
    assert!(read.inputs.is_none() && read.state.values().iter().any(|g| *g != 0.0), "{read:?}");
    if let Ok(half) = Device::best().with_precision(Precision::F16) {
        let said = words(Trainer::new(&half, &Model::new(config).unwrap(), asks));
        assert!(said.contains("expected Precision::F32"), "{said}");
    }
}
