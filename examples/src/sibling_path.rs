//! Files that lie beside a checkpoint and belong to it.
//!
//! The contract: two checkpoints of different names have nothing beside them in common.

use std::path::{Path, PathBuf};

/// Returns the path of what lies beside a checkpoint: for `training`, `net.training.safetensors` beside
/// `net.safetensors` and `net.training` beside `net`.
pub fn sibling_path(checkpoint: &Path, what: &str) -> PathBuf {
    let name = checkpoint.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let name = match name.strip_suffix(".safetensors") {
        Some(stem) => format!("{stem}.{what}.safetensors"),
        None => format!("{name}.{what}"),
    };
    checkpoint.with_file_name(name)
}
