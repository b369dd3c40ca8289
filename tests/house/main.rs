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

/// All files of `src/`, in the order of their paths.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut folders, mut files) = (vec![root.clone()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let text = fs::read_to_string(&path).unwrap();
                files.push(Source { path: path.strip_prefix(&root).unwrap().to_owned(), text });
            }
        }
    }
    assert!(files.len() > 100, "{} files", files.len());
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}
