//! When to stop: the best model is kept, and patience is how many evaluations may be no better.

use recurrent::{Device, EarlyStopping, Loss, Model, Recipe};

use super::{batch, elman, trainer};
use crate::common::random::Random;
use crate::common::whole;

whole::on_both!(the_best_model_is_kept,);

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
