//! A learning rate and a schedule that are set while a training runs.

use recurrent::{Checkpoint, Device, LearningRateSchedule, Loss, Optimizer, Plateau, Recipe, Trainer};

use super::{batch, bytes, elman, plain, trainer};
use crate::common::random::Random;
use crate::common::whole::{self, refuses};

whole::on_both!(a_rate_that_is_set_holds_from_the_next_step_on, a_schedule_that_is_set_holds_from_the_next_step_on);

fn a_rate_that_is_set_holds_from_the_next_step_on(device: &Device) {
    let config = elman();
    let window = batch(&mut Random::new(31), &config, 5, 4);
    for optimizer in [Optimizer::sgd(0.9), Optimizer::adam_w(0.1), Optimizer::lion(0.1)] {
        let recipe = |rate| Recipe::new(Loss::CrossEntropy).with_optimizer(optimizer, rate);
        let mut changed = trainer(device, &config, recipe(0.01));
        changed.step(&window).unwrap();
        let before = changed.checkpoint().unwrap();
        changed.set_learning_rate(0.002).unwrap();
        assert_eq!(changed.learning_rate(), 0.002);
        // The same training from there, by another recipe.
        let mut other = before.clone();
        other.training.as_mut().unwrap().recipe = recipe(0.002);
        let mut other = Trainer::resume(device, &other).unwrap();
        let mut unchanged = Trainer::resume(device, &before).unwrap();
        let saved = Checkpoint::from_bytes(&bytes(&mut changed)).unwrap();
        let mut resumed = Trainer::resume(device, &saved).unwrap();
        assert_eq!(resumed.learning_rate(), 0.002);
        for trainer in [&mut changed, &mut other, &mut resumed, &mut unchanged] {
            (0..3).for_each(|_| trainer.step(&window).unwrap());
        }
        assert!(bytes(&mut changed) == bytes(&mut other), "{optimizer:?}: not the training of that rate");
        assert!(bytes(&mut changed) == bytes(&mut resumed), "{optimizer:?}: the resumed training ends elsewhere");
        assert_ne!(changed.model().unwrap(), unchanged.model().unwrap());
    }
}

fn a_schedule_that_is_set_holds_from_the_next_step_on(device: &Device) {
    let config = elman();
    let window = batch(&mut Random::new(32), &config, 5, 4);
    let mut trainer = trainer(device, &config, plain(Loss::CrossEntropy, 0.5));
    trainer.step(&window).unwrap();
    let after_one = trainer.model().unwrap();
    // At step 2 nothing is left of the rate.
    trainer.set_schedule(LearningRateSchedule::Polynomial { total: 1, power: 1.0 }).unwrap();
    trainer.step(&window).unwrap();
    assert_eq!(trainer.model().unwrap(), after_one);
    let training = trainer.checkpoint().unwrap().training.unwrap();
    assert_eq!(training.recipe.schedule, LearningRateSchedule::Polynomial { total: 1, power: 1.0 });
    trainer.set_schedule(LearningRateSchedule::Constant).unwrap();
    trainer.step(&window).unwrap();
    assert_ne!(trainer.model().unwrap(), after_one);
}

#[test]
fn a_rate_or_schedule_that_cannot_be_changes_nothing() {
    let recipe = Recipe::new(Loss::CrossEntropy).with_optimizer(Optimizer::adam_w(10.0), 0.05);
    let mut trainer = trainer(&Device::cpu(), &elman(), recipe.clone());
    for rate in [f64::NAN, 0.0, -1.0, f64::INFINITY] {
        refuses(trainer.set_learning_rate(rate), &["the learning rate is", "expected a number above 0"]);
    }
    refuses(trainer.set_learning_rate(1e16), &["the learning rate is 1e16, expected at most 1e15"]);
    refuses(trainer.set_learning_rate(0.5), &["weight decay is 1e1", "at a learning rate of 5e-1, at most 2e0"]);
    let zero = LearningRateSchedule::Exponential { factor: 0.0 };
    refuses(trainer.set_schedule(zero), &["the decay of the learning rate is 0, expected a number above 0"]);
    assert_eq!(trainer.recipe(), &recipe);
}

#[test]
fn schedules_and_plateaus_out_of_range_are_refused() {
    use LearningRateSchedule::{CosineRestarts, Linear, OneCycle, Polynomial};
    let mut trainer = trainer(&Device::cpu(), &elman(), Recipe::new(Loss::CrossEntropy));
    let LearningRateSchedule::OneCycle { total, rise, start, end, anneal } = LearningRateSchedule::one_cycle(10) else {
        panic!("one cycle")
    };
    let restarts = |first, growth, floor| CosineRestarts { first, growth, floor };
    for (schedule, expected) in [
        (
            OneCycle { total: 0, rise, start, end, anneal },
            "the cycle of the learning rate has 0 steps, expected at least 1",
        ),
        (OneCycle { total, rise: 1.5, start, end, anneal }, "the rise of the cycle is 1.5, expected 0 to 1"),
        (OneCycle { total, rise, start: -0.1, end, anneal }, "the first rate of the cycle is -0.1, expected 0 to 1"),
        (OneCycle { total, rise, start, end: f64::NAN, anneal }, "the last rate of the cycle is NaN, expected 0 to 1"),
        (restarts(0, 1, 0.0), "the first cosine has 0 steps, expected at least 1"),
        (restarts(1, 0, 0.0), "each cosine is 0 times as long as the one before it, expected at least 1"),
        (restarts(1, 1, 2.0), "the cosines' floor is 2, expected 0 to 1"),
        (Linear { total: 0, start, end }, "the line of the learning rate has 0 steps, expected at least 1"),
        (Linear { total, start: 2.0, end }, "the first rate of the line is 2, expected 0 to 1"),
        (Linear { total, start, end: -1.0 }, "the last rate of the line is -1, expected 0 to 1"),
        (Polynomial { total: 0, power: 1.0 }, "the polynomial of the learning rate has 0 steps, expected at least 1"),
        (Polynomial { total, power: 0.0 }, "the power of the polynomial is 0, expected a number above 0"),
    ] {
        refuses(trainer.set_schedule(schedule), &[expected]);
    }
    for (mut plateau, expected) in [
        (Plateau::new(1.0, 1), "the plateau's factor is 1, expected above 0 and below 1"),
        (Plateau::new(f64::NAN, 1), "the plateau's factor is NaN, expected above 0 and below 1"),
        (Plateau::new(0.5, 1).with_threshold(-1.0), "the plateau's threshold is -1, expected 0 to 1"),
        (
            Plateau::new(0.5, 1).with_min_rate(f64::INFINITY),
            "the plateau's least rate is inf, expected a number from 0 on",
        ),
    ] {
        refuses(plateau.observe(1.0, 0.1), &[expected]);
    }
}

#[test]
fn what_is_better_below_0_is_further_from_it() {
    let mut least = Plateau::new(0.5, 0).with_threshold(0.1);
    let mut most = Plateau::new(0.5, 0).with_threshold(0.1).with_maximum();
    // Of log likelihoods, a tenth of the best's magnitude.
    for (metric, rate) in [(-2.0, 1.0), (-2.3, 1.0), (-2.4, 0.5)] {
        assert_eq!(least.observe(metric, 1.0).unwrap(), rate, "{metric}");
    }
    for (metric, rate) in [(-2.0, 1.0), (-1.7, 1.0), (-1.6, 0.5)] {
        assert_eq!(most.observe(metric, 1.0).unwrap(), rate, "{metric}");
    }
    assert_eq!(most.observe(-9.0, 1.9e-8).unwrap(), 1.9e-8, "less than is worth while");
}

#[test]
fn schedules_end_where_they_say_however_long_a_training_is() {
    use LearningRateSchedule::{CosineRestarts, Exponential, Linear, OneCycle, Polynomial};
    let anneal = recurrent::recipe::Anneal::Linear;
    let expect = |schedule: LearningRateSchedule, values: &[(u64, f64)]| {
        for (step, want) in values {
            let got = schedule.factor(*step);
            assert!((got - want).abs() <= 1e-12, "{schedule:?} at step {step}: {got}, expected {want}");
        }
    };
    let cycle = |total, rise| OneCycle { total, rise, start: 0.1, end: 0.01, anneal };
    expect(cycle(10, 0.5), &[(1, 0.1), (5, 1.0), (10, 0.01), (11, 0.01), (u64::MAX, 0.01)]);
    expect(cycle(1, 0.5), &[(1, 0.01), (2, 0.01)]);
    expect(cycle(10, 0.0), &[(10, 0.01), (u64::MAX, 0.01)]);
    expect(cycle(10, 1.0), &[(1, 0.1), (10, 1.0), (11, 0.01), (u64::MAX, 0.01)]);
    let restarts = |growth| CosineRestarts { first: 4, growth, floor: 0.5 };
    expect(restarts(1), &[(1, 1.0), (3, 0.75), (5, 1.0), (9, 1.0), (1_000_000_000_001, 1.0)]);
    expect(restarts(3), &[(1, 1.0), (5, 1.0), (11, 0.75), (17, 1.0), (53, 1.0)]);
    assert!((0.5..=1.0).contains(&restarts(3).factor(u64::MAX)));
    expect(Linear { total: 4, start: 0.0, end: 1.0 }, &[(1, 0.0), (3, 0.5), (5, 1.0), (u64::MAX, 1.0)]);
    expect(Polynomial { total: 4, power: 2.0 }, &[(1, 1.0), (3, 0.25), (5, 0.0), (u64::MAX, 0.0)]);
    expect(Exponential { factor: 0.5 }, &[(1, 1.0), (3, 0.25), (u64::MAX, 0.0)]);
    let growing = Recipe::new(Loss::CrossEntropy).with_schedule(Exponential { factor: 2.0 });
    assert_eq!(growing.rate(u64::MAX), Recipe::MAX_RATE);
}

/// A file that says none of what came later is, byte for byte, what it was.
#[test]
fn a_plain_recipe_is_written_as_ever() {
    let written = serde_json::to_string(&Recipe::new(Loss::CrossEntropy)).unwrap();
    let before = concat!(
        r#"{"loss":"cross_entropy","clip":{"norm":5.0},"#,
        r#""optimizer":{"adam":{"beta1":0.9,"beta2":0.999,"epsilon":1e-8,"weight_decay":0.0}},"#,
        r#""learning_rate":0.002,"schedule":"constant","#,
        r#""dropout":{"outputs":0.0,"inputs":0.0,"hidden":0.0,"seed":0},"#,
        r#""decay_scope":"weights","gradient_checkpointing":"none"}"#,
    );
    assert_eq!(written, before);
}
