//! A mean of the parameters over the steps: what has a part in it, how it is evaluated, and that it is resumed.

use recurrent::recipe::Average;
use recurrent::{
    Batch, Checkpoint, Config, Device, EmbeddingUpdate, Error, InputKind, Loss, Model, Optimizer, Recipe, Recurrent,
    Trainer,
};

use super::{batch, bytes, doubles, elman, trainer};
use crate::common::compare::{F32_POINTWISE, assert_close};
use crate::common::random::Random;
use crate::common::whole::{self, refuses};

whole::on_both!(
    the_mean_is_that_of_the_models,
    a_mean_that_has_not_begun_is_the_model,
    evaluating_the_mean_disturbs_nothing,
    a_training_with_a_mean_resumes,
);

fn config() -> Config {
    Config::new(InputKind::Tokens(9)).embedding(5).layer(Recurrent::gru(6)).outputs(9).with_seed(5)
}

fn recipe(average: Average) -> Recipe {
    let recipe = Recipe::new(Loss::CrossEntropy).with_optimizer(Optimizer::adam(), 0.02);
    recipe.with_embedding_update(EmbeddingUpdate::Lazy).with_averaged_weights(average)
}

fn windows() -> Vec<Batch> {
    let mut random = Random::new(41);
    (0..4).map(|_| batch(&mut random, &config(), 4, 3)).collect()
}

/// One mean a step, whatever windows it has; rows that do not occur and frozen parameters have a part in it.
fn the_mean_is_that_of_the_models(device: &Device) {
    let windows = windows();
    for average in [Average::ema(0.75), Average::stochastic(2, 3)] {
        let mut trainer = trainer(device, &config(), recipe(average));
        let (mut mean, mut count) = (Vec::new(), 0);
        for step in 1..=9u64 {
            if step == 4 {
                trainer.freeze(&["gru.bias*"]).unwrap();
            }
            match step % 2 {
                0 => trainer.step_accumulated(&windows[..3]).unwrap(),
                _ => trainer.step(&windows[3]).unwrap(),
            }
            let now = doubles(trainer.model().unwrap().values());
            let weight = match average {
                Average::Exponential { decay } => {
                    if step == 1 {
                        1.0
                    } else {
                        1.0 - decay
                    }
                }
                _ if step < 2 || (step - 2) % 3 != 0 => continue,
                _ => 1.0 / f64::from(count + 1),
            };
            count += 1;
            mean = if count == 1 {
                now
            } else {
                mean.iter().zip(now).map(|(m, v): (&f64, f64)| m + weight * (v - m)).collect()
            };
            let got = doubles(trainer.averaged_model().unwrap().values());
            assert_close(&format!("{average:?} after step {step}"), &got, &mean, F32_POINTWISE);
        }
        assert!(count >= 3);
        assert_ne!(trainer.averaged_model().unwrap(), trainer.model().unwrap());
    }
}

fn a_mean_that_has_not_begun_is_the_model(device: &Device) {
    let mut trainer = trainer(device, &config(), recipe(Average::stochastic(3, 1)));
    for window in &windows()[..2] {
        assert_eq!(trainer.averaged_model().unwrap(), trainer.model().unwrap());
        trainer.step(window).unwrap();
    }
    assert_eq!(trainer.averaged_model().unwrap(), trainer.model().unwrap());
}

fn evaluating_the_mean_disturbs_nothing(device: &Device) {
    let windows = windows();
    let run = |evaluates: bool| {
        let mut trainer = trainer(device, &config(), recipe(Average::ema(0.9)));
        for window in &windows {
            trainer.step(window).unwrap();
            if evaluates {
                let of_mean = trainer.evaluate_averaged(&windows[..2]).unwrap();
                let mean = trainer.averaged_model().unwrap();
                let mut alone = Trainer::new(device, &mean, Recipe::new(Loss::CrossEntropy)).unwrap();
                assert_eq!(of_mean, alone.evaluate(&windows[..2]).unwrap());
            }
        }
        bytes(&mut trainer)
    };
    assert!(run(true) == run(false), "an evaluation left a trace");
}

fn a_training_with_a_mean_resumes(device: &Device) {
    let windows = windows();
    for average in [Average::ema(0.9), Average::stochastic(2, 2)] {
        let mut first = trainer(device, &config(), recipe(average));
        windows.iter().for_each(|window| first.step(window).unwrap());
        let saved = bytes(&mut first);
        let mut resumed = Trainer::resume(device, &Checkpoint::from_bytes(&saved).unwrap()).unwrap();
        assert_eq!(resumed.averaged_model().unwrap(), first.averaged_model().unwrap());
        for trainer in [&mut first, &mut resumed] {
            windows.iter().for_each(|window| trainer.step(window).unwrap());
        }
        assert!(bytes(&mut first) == bytes(&mut resumed), "{average:?}: the resumed training ends elsewhere");
    }
}

#[test]
fn means_that_cannot_be_are_refused() {
    let new = |average| {
        let recipe = Recipe::new(Loss::CrossEntropy).with_averaged_weights(average);
        Trainer::new(&Device::cpu(), &Model::new(elman()).unwrap(), recipe)
    };
    for decay in [f64::NAN, -0.1, 1.0] {
        let expected =
            format!("the decay of the averaged weights is {decay}, expected at least 0 and, in f32, below 1");
        refuses(new(Average::ema(decay)), &[&expected]);
    }
    refuses(new(Average::stochastic(0, 1)), &["weights are averaged from step 0, expected at least 1"]);
    refuses(new(Average::stochastic(1, 0)), &["weights are averaged every so many steps, here 0, expected at least 1"]);
    let mut none = trainer(&Device::cpu(), &elman(), Recipe::new(Loss::CrossEntropy));
    refuses(
        none.averaged_model(),
        &["no mean of the parameters is kept, expected a recipe with Recipe::with_averaged_weights"],
    );
}

#[test]
fn a_checkpoint_whose_mean_is_not_the_recipes_is_refused() {
    let mut trainer = trainer(&Device::cpu(), &config(), recipe(Average::ema(0.9)));
    trainer.step(&windows()[0]).unwrap();
    let good = trainer.checkpoint().unwrap();
    let mut short = good.clone();
    short.training.as_mut().unwrap().average.as_mut().unwrap().pop();
    let mut none = good.clone();
    none.training.as_mut().unwrap().average = None;
    let mut more = good.clone();
    more.training.as_mut().unwrap().recipe.average = None;
    for (bad, expected) in [
        (short, "the mean of the parameters has"),
        (none, "the mean of the parameters has 0 elements"),
        (more, "a mean of the parameters is given, but the recipe asks for none"),
    ] {
        let error = bad.to_bytes().unwrap_err();
        assert!(matches!(error, Error::Checkpoint { .. }) && error.to_string().contains(expected), "{error}");
        assert!(Trainer::resume(&Device::cpu(), &bad).is_err());
    }
    // A file lacks the tensors that its own recipe asks for.
    let bytes = good.to_bytes().unwrap();
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.contains("\"average.gru.weight_ih_l0\""), "{text}");
}
