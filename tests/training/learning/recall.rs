//! A task that needs memory is learned: to say, at the end, the token that was shown ten steps before.
//!
//! The same network on windows that are too short to hold the token must fail, or the test would prove nothing.
use rand::RngExt;
use rand::rngs::ChaCha12Rng;
use recurrent::{
    Batch, BatchShape, Clip, Config, Device, Init, InputKind, Inputs, Loss, Model, Optimizer, Pool, Recipe,
    StreamingPredictor, Targets, Trainer,
};

use crate::common::whole::{self, rng};

/// Tokens that may have to be remembered; as many others distract.
const TOKENS: usize = 8;
/// Steps between the token and the question.
const LAG: usize = 10;
const BATCH: usize = 32;
const STEPS: usize = 150;
/// The part of held-out sequences that may be answered wrongly.
const ERROR: f64 = 0.05;

/// Sequences of a token and LAG distractors, of which the network sees the last `unroll` + 1.
fn recall(rng: &mut ChaCha12Rng, unroll: usize, size: usize) -> Batch {
    let tokens = whole::ids(rng, size, TOKENS);
    let mut ids = tokens.clone();
    ids.extend((0..LAG * size).map(|_| rng.random_range(TOKENS as u32..2 * TOKENS as u32)));
    let seen = ids.split_off((LAG - unroll) * size);
    Batch::tokens(BatchShape { steps: unroll + 1, batch_size: size }, seen, tokens)
}

/// The part of wrong answers on 512 sequences that were not trained on.
fn error_after_training(device: &Device, seed: u64, unroll: usize) -> f64 {
    let config = Config::elman(InputKind::Tokens(2 * TOKENS), 32, TOKENS)
        .pool(Pool::Last)
        .with_init(Init::Orthogonal)
        .with_seed(seed);
    let recipe = Recipe::new(Loss::CrossEntropy).with_clip(Clip::Norm(1.0)).with_optimizer(Optimizer::adam(), 5e-3);
    let mut trainer = Trainer::new(device, &Model::new(config).unwrap(), recipe).unwrap();
    let mut random = rng(1000 + seed);
    for _ in 0..STEPS {
        trainer.step(&recall(&mut random, unroll, BATCH)).unwrap();
    }
    let metrics = trainer.metrics().unwrap();
    println!("seed {seed}: loss {:.3} to {:.4}", metrics[0].loss, metrics[STEPS - 1].loss);

    let held = recall(&mut rng(2000 + seed), unroll, 512);
    let (Inputs::Tokens(_), Targets::Classes(answers)) = (&held.sequences.inputs, &held.targets) else {
        panic!("tokens")
    };
    let mut stream = StreamingPredictor::new(device, &trainer.model().unwrap(), 512).unwrap();
    let outputs = stream.sequence(held.sequences.steps, &held.sequences.inputs).unwrap();
    let wrong = outputs
        .chunks_exact(TOKENS)
        .zip(answers)
        .filter(|(y, answer)| recurrent::sample(y, 0.0, 0.0).unwrap() != **answer);
    let error = wrong.count() as f64 / 512.0;
    println!("seed {seed}: {:.1} % wrong", 100.0 * error);
    error
}

fn a_token_is_remembered_for_ten_steps(device: &Device) {
    for seed in [1, 2, 3] {
        let error = error_after_training(device, seed, LAG);
        assert!(error < ERROR, "seed {seed}: {error} of the answers are wrong");
    }
}

whole::on_both!(a_token_is_remembered_for_ten_steps);

/// Chance is 7 of 8 wrong; 512 sequences put it within 0.06 of that, four standard deviations.
#[test]
fn windows_shorter_than_the_lag_cannot_teach_it() {
    let error = error_after_training(&Device::cpu(), 1, LAG - 1);
    assert!((error - 0.875).abs() < 0.06, "{error} of the answers are wrong, expected 7 of 8");
}
