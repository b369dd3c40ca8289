//! Checkpoints and the disk: what is replaced, what is left alone, and what is found before it is too late.

use std::fs;
use std::path::Path;

use recurrent::checkpoint::{State, Training};
use recurrent::{Checkpoint, Model, Result};
use tempfile::TempDir;

use super::{assert_same, assert_says, checkpoint, model, names, training};

type Attempt = fn(&Path) -> Result<()>;

/// The two calls that look at where a file is to be written.
const ATTEMPTS: [Attempt; 2] = [|path| Checkpoint::probe(path), |path| checkpoint().save(path)];

#[test]
fn a_missing_file_is_reported_with_its_path() {
    let error = Checkpoint::load("no/such/file.safetensors").unwrap_err();
    assert_says(&error, &["no/such/file.safetensors", "cannot be read"]);
    let error = Model::load("no/such/file.safetensors").unwrap_err();
    assert_says(&error, &["no/such/file.safetensors", "cannot be read"]);
}

#[test]
fn what_is_no_regular_file_is_neither_read_nor_replaced() {
    let folder = TempDir::new().unwrap();
    for error in [
        Checkpoint::load(folder.path()).unwrap_err(),
        checkpoint().save(folder.path()).unwrap_err(),
        Checkpoint::probe(folder.path()).unwrap_err(),
    ] {
        assert_says(&error, &[&folder.path().display().to_string(), "is a folder"]);
    }
    assert!(names(folder.path()).is_empty());
}

#[cfg(unix)]
#[test]
fn a_device_is_neither_read_nor_replaced() {
    assert_says(&Checkpoint::load("/dev/zero").unwrap_err(), &["not a regular file"]);
    assert_says(&Checkpoint::probe("/dev/null").unwrap_err(), &["not a regular file"]);
}

#[test]
fn a_training_that_does_not_fit_is_not_saved_and_the_old_file_stays() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.safetensors");
    checkpoint().save(&path).unwrap();
    let old = fs::read(&path).unwrap();
    let spoil = |edit: fn(&mut Training), words: &[&str]| {
        let mut bad = checkpoint();
        edit(training(&mut bad));
        assert_says(&bad.save(&path).unwrap_err(), &[&[path.to_str().unwrap()], words].concat());
        assert_eq!(fs::read(&path).unwrap(), old);
        assert_eq!(names(folder.path()), ["a.safetensors"]);
    };
    spoil(|t| drop(t.moments.pop()), &["keeps 2 moments, 1 given"]);
    spoil(|t| t.moments[1].truncate(9), &["moments have", "expected"]);
    spoil(|t| t.moments[0][1] = f32::NAN, &["`moments.0.weight_ih_l0` holds NaN at element 1"]);
    spoil(|t| t.recipe.learning_rate = f64::NAN, &["learning rate is NaN"]);
    spoil(|t| t.state = Some(State { batch: 0, values: vec![] }), &["carried state", "[1, 1, 0, 3]"]);
    spoil(|t| t.state = Some(State { batch: 2, values: vec![0.0; 5] }), &["5 elements", "[1, 1, 2, 3]"]);
    spoil(|t| t.state = Some(State { batch: usize::MAX, values: vec![0.0; 5] }), &["5 elements"]);
    spoil(|t| t.state = Some(State { batch: 1, values: vec![f32::INFINITY; 3] }), &["`state` holds inf"]);
}

#[test]
fn a_probe_finds_what_would_stop_a_save_and_leaves_nothing() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.safetensors");
    Checkpoint::probe(&path).unwrap();
    assert!(names(folder.path()).is_empty());
    fs::write(&path, "old").unwrap();
    Checkpoint::probe(&path).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"old");
    assert_eq!(names(folder.path()), ["a.safetensors"]);

    let missing = folder.path().join("missing");
    for attempt in ATTEMPTS {
        let error = attempt(&missing.join("a.safetensors")).unwrap_err();
        assert_says(&error, &["a.safetensors", "there is no folder", &missing.display().to_string()]);
        assert_says(&attempt(&path.join("b.safetensors")).unwrap_err(), &["b.safetensors", "cannot be written"]);
        assert_says(&attempt(Path::new("")).unwrap_err(), &["names no file"]);
    }
    assert_eq!(names(folder.path()), ["a.safetensors"]);
}

#[test]
fn a_read_only_file_is_not_replaced() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.safetensors");
    fs::write(&path, "old").unwrap();
    let mut permissions = fs::metadata(&path).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(&path, permissions).unwrap();
    assert_says(&Checkpoint::probe(&path).unwrap_err(), &["is read-only"]);
    assert_says(&checkpoint().save(&path).unwrap_err(), &["is read-only"]);
    assert_eq!(fs::read(&path).unwrap(), b"old");
}

/// In `/proc` nobody makes files, not even root, whom permissions do not stop.
#[cfg(target_os = "linux")]
#[test]
fn a_folder_that_takes_no_files_is_found() {
    for attempt in ATTEMPTS {
        let error = attempt(Path::new("/proc/a.safetensors")).unwrap_err();
        assert_says(&error, &["/proc/a.safetensors", "cannot be written", "folder /proc"]);
    }
}

#[cfg(unix)]
#[test]
fn a_new_file_has_common_permissions_and_a_replaced_one_keeps_its_own() {
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
    let folder = TempDir::new().unwrap();
    let (path, common) = (folder.path().join("a.safetensors"), folder.path().join("common"));
    fs::write(&common, "").unwrap();
    checkpoint().save(&path).unwrap();
    assert_eq!(mode(&path), mode(&common));
    for own in [0o600, 0o666] {
        fs::set_permissions(&path, fs::Permissions::from_mode(own)).unwrap();
        checkpoint().save(&path).unwrap();
        assert_eq!(mode(&path) & 0o777, own);
    }
}

#[cfg(unix)]
#[test]
fn a_link_is_followed() {
    let folder = TempDir::new().unwrap();
    let (path, link) = (folder.path().join("a.safetensors"), folder.path().join("latest"));
    model().save(&path).unwrap();
    std::os::unix::fs::symlink("a.safetensors", &link).unwrap();
    checkpoint().save(&link).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_same(&Checkpoint::load(&path).unwrap(), &checkpoint());
}
