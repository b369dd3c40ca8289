//! The files that a run writes, looked at before it trains for minutes.
//!
//! The contract: what cannot be written, or has the name of another file of the run, is an error that names it; no new
//! file is left behind.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};
use recurrent::Checkpoint;

/// Makes the folders of `checkpoints` and of the `others` that are written, none of which may be `data`, which is read.
pub fn prepare(data: Option<&Path>, checkpoints: &[&Path], others: &[&Path]) -> Result<()> {
    let written: Vec<&Path> = checkpoints.iter().chain(others).copied().collect();
    for folder in written.iter().filter_map(|file| file.parent()) {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    for (at, file) in written.iter().enumerate() {
        let is_twice = data.iter().chain(&written[..at]).any(|other| is_same(other, file));
        ensure!(!is_twice, "{} is named twice: each file that is read or written has its own", file.display());
    }
    checkpoints.iter().try_for_each(Checkpoint::probe)?;
    others.iter().try_for_each(|file| probe(file))
}

/// Whether a file can be written.
fn probe(path: &Path) -> Result<()> {
    let is_new = !path.exists();
    let opened = fs::OpenOptions::new().append(true).create(true).open(path);
    opened.with_context(|| format!("cannot write {}", path.display()))?;
    if is_new {
        fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}

/// Whether two paths lead to one file, which need not exist yet.
fn is_same(a: &Path, b: &Path) -> bool {
    let real = |path: &Path| {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        path.canonicalize().ok().or_else(|| Some(folder.canonicalize().ok()?.join(path.file_name()?)))
    };
    real(a).is_some_and(|a| real(b) == Some(a))
}
