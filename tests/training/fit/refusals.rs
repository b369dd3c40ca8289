//! What a training refuses: settings that make no sense, data that is not there, and files of other trainings.

use std::fs;
use std::path::Path;

use super::*;
use crate::common::whole::refuses;

/// A fit on the CPU of two batches an epoch.
fn run(change: impl FnOnce(Fit<'_>) -> Fit<'_>) -> recurrent::Result<Fitted> {
    let (device, model, (windows, held)) = (Device::cpu(), model(), data());
    let fit = Fit::new(&device, &model, recipe()).with_epochs(2);
    change(fit).run(|_| Ok(windows.iter().take(2)), held.iter())
}

/// Goes on from a file.
fn with<'a>(fit: Fit<'a>, path: &Path) -> Fit<'a> {
    fit.with_checkpoint(path).with_resume(true)
}

#[test]
fn settings_that_make_no_sense_are_named() {
    refuses(run(|fit| fit.with_epochs(0)), &["the number of epochs is 0, expected at least 1"]);
    refuses(run(|fit| fit.with_patience(0)), &["the patience is 0 evaluations, expected at least 1"]);
    refuses(run(|fit| fit.with_resume(true)), &["resumed from no file", "with_checkpoint"]);
    refuses(run(|fit| fit.with_best("a/b").with_checkpoint("a/b")), &["a/b", "expected a file for each"]);
    refuses(run(|fit| fit.with_maximum()), &["with_evaluation"]);
    refuses(run(|fit| fit.with_notes([("fit".into(), String::new())].into())), &["`fit`", "another name"]);
    refuses(run(|fit| fit.with_plateau(Plateau::new(1.5, 0))), &["factor is 1.5"]);
    let most = Plateau::new(0.5, 0).with_maximum();
    refuses(run(|fit| fit.with_plateau(most)), &["the plateau takes the most for better, expected the least"]);
    refuses(run(|fit| fit.with_checkpoint("no/such/file")), &["no/such/file", "there is no folder"]);
    refuses(run(|fit| fit.with_best("no/such/file")), &["no/such/file", "there is no folder"]);
}

#[test]
fn data_that_is_not_there_is_named() {
    let (device, model, (windows, held)) = (Device::cpu(), model(), data());
    let fit = || Fit::new(&device, &model, recipe()).with_epochs(3);
    let none: [Batch; 0] = [];
    refuses(fit().run(|_| Ok(windows.iter()), &none), &["no held-out batch", "with_evaluation"]);
    refuses(fit().run(|_| Ok(none.clone()), held.iter()), &["epoch 1 has no batch, expected at least one"]);
    let first = |epoch| Ok(windows.iter().take(if epoch == 0 { 1 } else { 0 }));
    refuses(fit().run(first, held.iter()), &["epoch 2 has no batch"]);
    let (result, models) = evaluated(&[f64::NAN, f64::INFINITY], |fit| fit);
    refuses(result, &["none of 2 evaluations gave a finite number"]);
    assert_eq!(models.len(), 2);
}

#[test]
fn files_of_another_training_are_named() {
    let (device, model, (windows, held)) = (Device::cpu(), model(), data());
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("training.safetensors");
    let named = path.to_str().unwrap().to_owned();
    let resume = |model: &Model, recipe: Recipe, steps| {
        let fit = Fit::new(&device, model, recipe).with_epochs(3).with_checkpoint(&path).with_resume(true);
        fit.run(|_| Ok(windows.iter().take(steps)), held.iter())
    };
    let stop = |fit: Fit<'_>| fit.run(|_| Ok(windows.iter()), held.iter()).map(drop);
    let fit = Fit::new(&device, &model, recipe()).with_epochs(3).with_checkpoint(&path);
    stop(fit.on_step(|step, _| Ok(if step.steps_done == 37 { Break(()) } else { Continue(()) }))).unwrap();
    let good = fs::read(&path).unwrap();

    let other = Model::new(config().with_seed(4)).unwrap();
    refuses(resume(&other, recipe(), 30), &[&named, "another network", "seed 3, expected 4"]);
    let other = recipe().with_dropout(Dropout::between_layers(0.3).with_seed(5));
    refuses(resume(&model, other, 30), &[&named, "another recipe", "dropout", "0.2", "0.3"]);
    let other = recipe().with_averaged_weights(Average::ema(0.5));
    refuses(resume(&model, other, 30), &[&named, "another recipe", "average unset, expected"]);
    refuses(resume(&model, recipe(), 6), &[&named, "has done 7 steps of epoch 2, which has 6 batches"]);
    let measured = Fit::new(&device, &model, recipe()).with_evaluation(|_| Ok(0.0));
    let measured = measured.with_checkpoint(&path).with_resume(true).run(|_| Ok(windows.iter()), held.iter());
    refuses(measured, &[&named, "the least of the held-out loss", "expected by the least of an evaluation"]);
    let file = || fs::read(&path).unwrap();
    assert!(file() == good, "a refusal changed the file");

    fs::write(&path, &good[..good.len() - 1]).unwrap();
    refuses(run(|fit| with(fit, &path)), &[&named, "is truncated"]);
    fs::write(&path, "{}").unwrap();
    refuses(run(|fit| with(fit, &path)), &[&named]);
    model.save(&path).unwrap();
    refuses(run(|fit| with(fit, &path)), &[&named, "not written by a `Fit`"]);
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    refuses(run(|fit| with(fit, &path)), &[&named, "is a folder"]);
}

#[test]
fn notes_that_do_not_fit_their_checkpoint_are_named() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("training.safetensors");
    run(|fit| fit.with_checkpoint(&path)).unwrap();
    let good = Checkpoint::load(&path).unwrap();
    let note = good.notes["fit"].clone();
    let spoil = |from: &str, to: &str, words: &[&str]| {
        assert!(note.contains(from), "{note}");
        let mut bad = good.clone();
        bad.notes.insert("fit".to_owned(), note.replacen(from, to, 1));
        bad.save(&path).unwrap();
        refuses(run(|fit| fit.with_checkpoint(&path).with_resume(true)), &[&[path.to_str().unwrap()], words].concat());
    };
    spoil("{", "", &["note `fit` that cannot be read"]);
    spoil("\"steps\":2", "\"steps\":-2", &["cannot be read"]);
    spoil("\"sum\":", "\"total\":", &["cannot be read"]);
    spoil("\"number\":1", "\"number\":2", &["epoch 2 in the place of 1"]);
    spoil("\"steps\":2", "\"steps\":5", &["tells of 7 steps, its training of 4"]);
    spoil("\"steps\":2", "\"steps\":18446744073709551615", &["its training of 4"]);
    spoil("\"held_loss\":1", "\"held_loss\":null,\"metric\":1", &["cannot be read"]);
    let mut bad = good.clone();
    bad.training.as_mut().unwrap().best = None;
    bad.save(&path).unwrap();
    let resume = || run(|fit| fit.with_checkpoint(&path).with_resume(true));
    refuses(resume(), &["a best epoch and a measure of it, beside no best network"]);
    bad.training = None;
    bad.save(&path).unwrap();
    refuses(resume(), &["holds a network, expected a training"]);
    good.save(&path).unwrap();
    assert_eq!(resume().unwrap().epochs.len(), 2);
}
