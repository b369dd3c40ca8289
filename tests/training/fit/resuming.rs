//! What is taken up again: a training that was interrupted anywhere is the one that was not, and what is asked
//! otherwise is taken and said.

use std::fs;
use std::path::Path;

use super::*;

whole::on_both!(an_interrupted_fit_is_the_one_that_was_not);

/// Dropout between layers, a mean of the weights and a rate that falls.
fn fit<'a>(device: &'a Device, model: &'a Model, path: &Path) -> Fit<'a> {
    let recipe = recipe().with_averaged_weights(Average::ema(0.8));
    let plateau = Plateau::new(0.5, 0).with_threshold(0.05);
    Fit::new(device, model, recipe).with_epochs(4).with_plateau(plateau).with_checkpoint(path).with_resume(true)
}

fn an_interrupted_fit_is_the_one_that_was_not(device: &Device) {
    let (model, (windows, held), folder) = (model(), data(), TempDir::new().unwrap());
    let place = |name: &str| folder.path().join(name);
    let run = |fit: Fit<'_>| fit.run(|_| Ok(windows.iter()), held.iter());
    let whole = place("whole");
    let mut want = run(fit(device, &model, &whole)).unwrap();
    assert_eq!((want.epochs.len(), want.changes.len()), (4, 0));
    let rates: Vec<f64> = want.epochs.iter().map(|epoch| epoch.learning_rate).collect();
    assert!(rates[3] < 0.99f64.powi(120) * 0.02, "the plateau has lowered nothing: {rates:?}");

    for stop in [1, 7, 20, 30, 31, 45, 60, 119, 120] {
        let (path, best) = (place(&format!("{stop}")), place(&format!("{stop}.best")));
        let stopped = run(fit(device, &model, &path)
            .with_best(&best)
            .on_step(|step, _| Ok(if step.steps_done == stop { Break(()) } else { Continue(()) })));
        let stopped = stopped.unwrap();
        assert!(matches!(stopped.ended, Ended::Stopped));
        assert!(stopped.best == Model::load(&best).unwrap());
        let steps = Cell::new(0);
        let going = fit(device, &model, &path).with_best(&best).on_step(|_, _| {
            steps.set(steps.get() + 1);
            go_on()
        });
        let mut got = run(going).unwrap();
        assert_eq!(steps.get(), 120 - stop, "after step {stop}");
        same(&mut got, &mut want, &format!("after step {stop}"));
        assert!(got.best == Model::load(&best).unwrap(), "after step {stop}");
        assert!(fs::read(&path).unwrap() == fs::read(&whole).unwrap(), "after step {stop}: the files differ");
    }
    // After an epoch, and where an error leaves the epoch before in the file.
    let path = place("epoch");
    let stopped = run(fit(device, &model, &path).on_epoch(|_, _| Ok(Break(())))).unwrap();
    assert_eq!(stopped.epochs.len(), 1);
    let broken = run(fit(device, &model, &path).on_step(|step, _| match step.epoch {
        3 => Err(Error::Data("the power went".to_owned())),
        _ => go_on(),
    }));
    assert_eq!(broken.unwrap_err().to_string(), "the power went");
    same(&mut run(fit(device, &model, &path)).unwrap(), &mut want, "after an epoch");
    // Over is over.
    let mut over = run(fit(device, &model, &path).on_step(|_, _| panic!("a step"))).unwrap();
    assert!(matches!(over.ended, Ended::Epochs));
    same(&mut over, &mut want, "over");
}

fn same(got: &mut Fitted, want: &mut Fitted, when: &str) {
    assert_eq!((&got.epochs, got.best_epoch), (&want.epochs, want.best_epoch), "{when}");
    assert!(got.best == want.best, "{when}: the best networks differ");
    assert!(bytes(&mut got.trainer) == bytes(&mut want.trainer), "{when}: the trainings differ");
}

#[test]
fn a_training_that_nothing_improves_is_over_at_once() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("training");
    fn stopping<'a>(fit: Fit<'a>, patience: usize, path: &Path) -> Fit<'a> {
        fit.with_patience(patience).with_checkpoint(path).with_resume(true)
    }
    let (first, _) = evaluated(&[1.0, 2.0, 3.0, 4.0], |fit| stopping(fit, 2, &path));
    assert_eq!(first.unwrap().epochs.len(), 3);
    let (again, models) = evaluated(&[0.5, 0.5, 0.5, 0.5], |fit| stopping(fit, 2, &path));
    let again = again.unwrap();
    assert!(matches!(again.ended, Ended::NoImprovement));
    assert_eq!((again.epochs.len(), again.best_epoch, models.len()), (3, 1, 0));
    // More patience is taken, and said.
    let (more, models) = evaluated(&[5.0, 0.5, 0.5, 0.5], |fit| stopping(fit, 3, &path));
    let more = more.unwrap();
    assert_eq!((more.epochs.len(), models.len()), (4, 1));
    assert_eq!(more.changes, ["patience: Some(2) before, Some(3) now"]);
}

#[test]
fn what_is_asked_otherwise_is_taken_and_said() {
    let (device, model, (windows, held)) = (Device::cpu(), model(), data());
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("training");
    let plain = Recipe::new(Loss::CrossEntropy).with_learning_rate(0.01);
    let fit = |recipe: &Recipe, epochs| {
        let fit = Fit::new(&device, &model, recipe.clone()).with_epochs(epochs);
        fit.with_checkpoint(&path).with_resume(true)
    };
    let run = |fit: Fit<'_>| fit.run(|_| Ok(windows.iter().take(5)), held.iter()).unwrap();
    let mut want = run(Fit::new(&device, &model, plain.clone()).with_epochs(3));
    run(fit(&plain, 2));
    let mut got = run(fit(&plain, 3));
    same(&mut got, &mut want, "more epochs");
    assert_eq!(got.changes, ["epochs: 2 before, 3 now"]);

    let other =
        plain.clone().with_learning_rate(0.002).with_schedule(LearningRateSchedule::Exponential { factor: 0.5 });
    let mut told = Vec::new();
    struct Changes<'a>(&'a mut Vec<String>);
    impl Progress for Changes<'_> {
        fn begin(&mut self, begin: &Begin<'_>) {
            self.0.extend_from_slice(begin.changes);
        }
    }
    let got = run(fit(&other, 4).with_plateau(Plateau::new(0.5, 1)).with_progress(Changes(&mut told)));
    assert_eq!(got.epochs[3].learning_rate, other.rate(20));
    assert_eq!((got.changes.len(), &got.changes), (4, &told));
    assert_eq!(got.changes[..2], ["epochs: 3 before, 4 now", "learning rate: 0.01 before, 0.002 now"]);
    assert!(got.changes[2].starts_with("schedule: Constant before, Exponential"), "{}", got.changes[2]);
    assert!(got.changes[3].starts_with("plateau: None before, Some(Plateau"), "{}", got.changes[3]);
    // A rate that a callback has set is the training's, not the caller's: it stays.
    run(fit(&other, 5).with_plateau(Plateau::new(0.5, 1)).on_epoch(|_, trainer| {
        trainer.set_learning_rate(0.5)?;
        go_on()
    }));
    let got = run(fit(&other, 5).with_plateau(Plateau::new(0.5, 1)));
    assert_eq!((got.trainer.learning_rate(), got.changes.len()), (0.5, 0));
}

#[test]
fn without_resume_a_training_begins_anew_and_its_files_are_locked() {
    let (device, model, (windows, held)) = (Device::cpu(), model(), data());
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("training");
    let run = |fit: Fit<'_>| fit.with_epochs(1).run(|_| Ok(windows.iter().take(2)), held.iter()).unwrap();
    let notes = [("alphabet".to_owned(), "abc".to_owned())];
    let fit = || Fit::new(&device, &model, recipe()).with_checkpoint(&path).with_notes(notes.clone().into());
    run(fit().on_epoch(|_, _| {
        let error = Checkpoint::lock(&path).unwrap_err().to_string();
        assert!(error.contains("is in use"), "{error}");
        go_on()
    }));
    let first = Checkpoint::load(&path).unwrap();
    assert_eq!(first.notes["alphabet"], "abc");
    let again = run(fit());
    assert_eq!(again.trainer.steps_done(), 2);
    assert!(Checkpoint::load(&path).unwrap() == first);
}

/// What cannot be written ends the training, and what was written is whole.
#[test]
fn a_file_that_cannot_be_written_leaves_the_one_before() {
    let (device, model, (windows, held)) = (Device::cpu(), model(), data());
    let folder = TempDir::new().unwrap();
    let [path, best] = ["training", "best"].map(|name| folder.path().join(name));
    let fit = || Fit::new(&device, &model, recipe()).with_epochs(4).with_checkpoint(&path).with_best(&best);
    let run = |fit: Fit<'_>| fit.run(|_| Ok(windows.iter().take(2)), held.iter());
    let mut want = run(Fit::new(&device, &model, recipe()).with_epochs(4)).unwrap();
    let read_only = |is: bool| {
        let mut permissions = fs::metadata(&path).unwrap().permissions();
        #[allow(clippy::permissions_set_readonly_false, reason = "a file of this test's own folder")]
        permissions.set_readonly(is);
        fs::set_permissions(&path, permissions).unwrap();
    };
    let error = run(fit().on_epoch(|epoch, _| {
        if epoch.number == 3 {
            read_only(true);
        }
        go_on()
    }));
    let error = error.unwrap_err();
    assert!(matches!(&error, Error::Checkpoint { .. }) && error.to_string().contains("is read-only"), "{error}");
    assert_eq!(Checkpoint::load(&path).unwrap().training.unwrap().steps, 4);
    read_only(false);
    same(&mut run(fit().with_resume(true)).unwrap(), &mut want, "after a full disk");
}
