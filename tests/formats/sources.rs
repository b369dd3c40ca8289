//! What the system and other libraries said is the source of an error, of the type that it had there.

use std::error::Error as _;
use std::io;

use recurrent::data::read_text;
use recurrent::formats::Names;
use recurrent::{Checkpoint, Config, Error, InputKind, Model};
use tempfile::TempDir;

#[test]
fn a_missing_file_is_the_systems_error_of_its_path() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("missing");
    let config = Config::elman(InputKind::Dense(1), 1, 1);
    let errors = [
        Checkpoint::load(&path).unwrap_err(),
        Model::load(&path).unwrap_err(),
        Model::import(&path, config, &Names::new()).unwrap_err(),
        read_text(&path).unwrap_err(),
    ];
    for error in errors {
        let Error::File { path: named, source, .. } = &error else { panic!("{error:?}") };
        assert_eq!((named, source.kind()), (&path, io::ErrorKind::NotFound));
        let walked = error.source().and_then(|source| source.downcast_ref::<io::Error>()).expect("an io::Error");
        assert_eq!(walked.kind(), io::ErrorKind::NotFound);
        // Said once, by the source.
        assert!(!error.to_string().contains(&walked.to_string()), "{error}");
    }
}

#[test]
fn a_damaged_file_is_the_error_of_what_read_it() {
    let header = br#"{"weight": 1"#;
    let bytes = [&(header.len() as u64).to_le_bytes()[..], header].concat();
    let error = Checkpoint::from_bytes(&bytes).unwrap_err();
    let Error::Checkpoint { path, source: Some(source), .. } = &error else { panic!("{error:?}") };
    assert_eq!(path.to_str(), Some("<memory>"));
    assert!(source.downcast_ref::<serde_json::Error>().is_some_and(serde_json::Error::is_eof), "{source:?}");
    assert!(error.source().is_some());
}

#[test]
fn what_this_crate_finds_has_no_source() {
    let config = Model::new(Config::elman(InputKind::Dense(0), 1, 1)).unwrap_err();
    let shape = Model::from_tensors(Config::elman(InputKind::Dense(1), 1, 1), [("bias", &[2][..], &[0.0; 2][..])]);
    let checkpoint = Checkpoint::from_bytes(b"PK\x03\x04").unwrap_err();
    for error in [config, shape.unwrap_err(), checkpoint] {
        assert!(error.source().is_none(), "{error:?}");
    }
}
