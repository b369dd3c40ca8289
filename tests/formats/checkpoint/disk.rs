//! Checkpoints and the disk: what is replaced, what is left alone, and what is found before it is too late.

use std::fs;
use std::path::Path;

use recurrent::checkpoint::Training;
use recurrent::{Checkpoint, Config, InputKind, Model, Result, State};
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
    spoil(|t| t.state = Some(wider()), &["carried state", "h [2, 5] of layer 0", "expected h [2, 3] of layer 0"]);
}

/// The state of another network.
fn wider() -> State {
    Model::new(Config::gru(InputKind::Dense(1), 5, 1)).unwrap().initial_state(2).unwrap()
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

/// As a save that is killed leaves it: the file is there, and the lock went with the process.
#[test]
fn what_a_killed_save_left_is_removed_by_the_next() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    let held = fs::File::create(at(".recurrent-held00")).unwrap();
    held.lock().unwrap();
    fs::create_dir(at(".recurrent-folder")).unwrap();
    for name in [".recurrent-aB3xY9", ".recurrent-000000", ".recurrent-notes.txt", ".recurrent-", "recurrent-aB3xY9"] {
        fs::write(at(name), "half").unwrap();
    }
    // Nothing is removed before there is something to write.
    Checkpoint::probe(at("a.safetensors")).unwrap();
    assert!(at(".recurrent-aB3xY9").exists());
    checkpoint().save(at("a.safetensors")).unwrap();
    let mut kept = [
        ".recurrent-",
        ".recurrent-folder",
        ".recurrent-held00",
        ".recurrent-notes.txt",
        "a.safetensors",
        "recurrent-aB3xY9",
    ];
    kept.sort_unstable();
    assert_eq!(names(folder.path()), kept);
    drop(held);
    model().export(at("b.safetensors"), &recurrent::formats::Names::new()).unwrap();
    assert!(!at(".recurrent-held00").exists());
}

/// Many that save at once remove nothing of each other's.
#[test]
fn saves_side_by_side_leave_each_other_alone() {
    let folder = TempDir::new().unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let path = folder.path().join(format!("{thread}.safetensors"));
            scope.spawn(move || (0..50).for_each(|_| checkpoint().save(&path).unwrap()));
        }
    });
    assert_eq!(names(folder.path()), ["0.safetensors", "1.safetensors", "2.safetensors", "3.safetensors"]);
}

#[cfg(unix)]
#[test]
fn a_link_to_a_file_that_is_not_there_yet_is_followed() {
    use std::os::unix::fs::symlink;
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("runs")).unwrap();
    // From link to link, relative to where each lies, and through a link to a folder.
    symlink("runs/next", at("latest")).unwrap();
    symlink("../runs/a.safetensors", at("runs/next")).unwrap();
    symlink("runs", at("folder")).unwrap();
    symlink(at("folder/b.safetensors"), at("absolute")).unwrap();
    for (link, file) in [("latest", "runs/a.safetensors"), ("absolute", "runs/b.safetensors")] {
        Checkpoint::probe(at(link)).unwrap();
        assert!(!at(file).exists());
        checkpoint().save(at(link)).unwrap();
        assert!(fs::symlink_metadata(at(link)).unwrap().is_symlink());
        assert!(fs::symlink_metadata(at(file)).unwrap().is_file());
        assert_same(&Checkpoint::load(at(link)).unwrap(), &checkpoint());
    }
    assert!(fs::symlink_metadata(at("runs/next")).unwrap().is_symlink());
    assert_eq!(names(&at("runs")), ["a.safetensors", "b.safetensors", "next"]);

    symlink("missing/a.safetensors", at("nowhere")).unwrap();
    symlink("there", at("here")).unwrap();
    symlink("here", at("there")).unwrap();
    for attempt in ATTEMPTS {
        assert_says(&attempt(&at("nowhere")).unwrap_err(), &["there is no folder", "missing"]);
        assert_says(&attempt(&at("here")).unwrap_err(), &["cannot be written"]);
        assert_says(&attempt(&at("folder")).unwrap_err(), &["is a folder"]);
    }
}

#[test]
fn one_training_at_a_time_has_the_lock_of_a_checkpoint() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.safetensors");
    let lock = Checkpoint::lock(&path).unwrap();
    let process = format!("the training of process {}", std::process::id());
    let says = ["a.safetensors", "is in use by", if cfg!(unix) { process.as_str() } else { "" }];
    assert_says(&Checkpoint::lock(&path).unwrap_err(), &says);
    // By another path, and once the file is there and replaced; saving and loading need no lock.
    checkpoint().save(&path).unwrap();
    checkpoint().save(&path).unwrap();
    Checkpoint::load(&path).unwrap();
    assert_says(&Checkpoint::lock(folder.path().join("./a.safetensors")).unwrap_err(), &says);
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("a.safetensors", folder.path().join("latest")).unwrap();
        assert_says(&Checkpoint::lock(folder.path().join("latest")).unwrap_err(), &["is in use by"]);
        fs::remove_file(folder.path().join("latest")).unwrap();
    }
    let other = Checkpoint::lock(folder.path().join("b.safetensors")).unwrap();
    drop((lock, other));
    if cfg!(unix) {
        assert_eq!(names(folder.path()), ["a.safetensors"]);
    }
    // What a killed process left, with its number or without.
    fs::write(folder.path().join(".a.safetensors.lock"), "4294967295\n").unwrap();
    let lock = Checkpoint::lock(&path).unwrap();
    assert_says(&Checkpoint::lock(&path).unwrap_err(), &says);
    drop(lock);
    assert_says(&Checkpoint::lock(folder.path().join("missing/a")).unwrap_err(), &["there is no folder"]);
}

/// However they come and go, never two have it.
#[test]
fn a_lock_that_is_given_back_while_others_ask_has_one_owner() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.safetensors");
    let (owners, locked) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..500 {
                    if let Ok(lock) = Checkpoint::lock(&path) {
                        assert_eq!(owners.fetch_add(1, Ordering::SeqCst), 0);
                        locked.fetch_add(1, Ordering::SeqCst);
                        owners.fetch_sub(1, Ordering::SeqCst);
                        drop(lock);
                    }
                }
            });
        }
    });
    assert!(locked.into_inner() > 100);
}
