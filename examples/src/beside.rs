//! Files that lie beside a checkpoint and belong to it.
//!
//! The contract: two checkpoints of different names have nothing beside them in common.

use std::path::{Path, PathBuf};

/// Returns a path: the file beside `net.safetensors` that is called `training` is `net.training.safetensors`, that beside `net` is
/// `net.training`.
pub fn beside(checkpoint: &Path, what: &str) -> PathBuf {
    let name = checkpoint.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let name = match name.strip_suffix(".safetensors") {
        Some(stem) => format!("{stem}.{what}.safetensors"),
        None => format!("{name}.{what}"),
    };
    checkpoint.with_file_name(name)
}
