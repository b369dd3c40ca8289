//! The house itself: which way imports run, and what users can name.
//!
//! The contract: nothing is run here but the compiler's own parser over the sources, so no adapter is needed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod imports;
mod surface;

use std::fs;
use std::path::{Path, PathBuf};

/// A source file, by its path in `src/`.
struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    fn parsed(&self) -> syn::File {
        syn::parse_file(&self.text).unwrap_or_else(|error| panic!("{}: {error}", self.path.display()))
    }
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let (mut folders, mut files) = (vec![folder.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    files
}

/// All files of `src/`, in the order of their paths.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        Source { path: path.strip_prefix(&root).unwrap().to_owned(), text }
    };
    let files: Vec<Source> = files(&root).into_iter().map(read).collect();
    assert!(files.len() > 100, "{} files", files.len());
    files
}

#[test]
fn no_file_is_past_500_lines() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["src", "shaders", "tests", "benches"].map(|folder| root.join(folder));
    // Not in a published package.
    let folders = folders.into_iter().chain(Some(root.join("examples")).filter(|folder| folder.is_dir()));
    let mut seen = 0;
    for path in folders.flat_map(|folder| files(&folder)) {
        if path.extension().is_some_and(|extension| extension == "rs" || extension == "wgsl") {
            let lines = fs::read_to_string(&path).unwrap().lines().count();
            assert!(lines <= 500, "{} has {lines} lines", path.display());
            seen += 1;
        }
    }
    assert!(seen > 200, "{seen} files");
}
