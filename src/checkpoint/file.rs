//! The file of a checkpoint: where it may be written, and how it is replaced.
//!
//! The contract: a file is replaced by one rename of a complete, synchronised file, or not at all; what cannot be
//! written is found without writing it.

use std::fs::{self, File, Permissions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::encode::Encoded;
use super::{Checked, Fault, text};
use crate::error::Error;

/// All bytes of a regular file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Fault> {
    let unreadable = |e: std::io::Error| format!("cannot be read: {e}");
    // Asked first: reading a pipe or a device may never end.
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(not_a_file(&metadata).into());
    }
    fs::read(path).map_err(|e| match e.kind() {
        ErrorKind::OutOfMemory => {
            Error::OutOfMemory(format!("reading {} ({} bytes)", path.display(), metadata.len())).into()
        }
        _ => unreadable(e).into(),
    })
}

fn not_a_file(metadata: &fs::Metadata) -> String {
    if metadata.is_dir() { "is a folder, expected a file".to_owned() } else { "is not a regular file".to_owned() }
}

/// Where a checkpoint is written: a file in a folder that exists, and nothing there that may not be replaced.
pub(super) struct Place {
    file: PathBuf,
    folder: PathBuf,
    /// Those of the file to be replaced.
    permissions: Option<Permissions>,
}

impl Place {
    pub(super) fn of(path: &Path) -> Checked<Self> {
        let permissions = match fs::metadata(path) {
            Ok(metadata) if !metadata.is_file() => return Err(not_a_file(&metadata)),
            Ok(metadata) if metadata.permissions().readonly() => return Err("is read-only".to_owned()),
            Ok(metadata) => Some(metadata.permissions()),
            Err(e) if e.kind() == ErrorKind::NotFound => None,
            Err(e) => return Err(format!("cannot be written: {e}")),
        };
        // A link is followed: renaming would replace the link itself.
        let file = if permissions.is_some() { fs::canonicalize(path).map_err(text)? } else { path.to_owned() };
        let folder = match (file.file_name(), file.parent()) {
            (Some(_), Some(folder)) if folder.as_os_str().is_empty() => PathBuf::from("."),
            (Some(_), Some(folder)) => folder.to_owned(),
            _ => return Err("names no file".to_owned()),
        };
        if !folder.is_dir() {
            return Err(format!("cannot be written: there is no folder {}", folder.display()));
        }
        Ok(Place { file, folder, permissions })
    }

    /// A new file in the same folder, gone when dropped.
    ///
    /// It has the permissions of the file to be replaced, or those of any new file: all but the process's mask.
    pub(super) fn temporary(&self) -> Checked<NamedTempFile> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(".recurrent-");
        #[cfg(unix)]
        if self.permissions.is_none() {
            builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        }
        let made = builder.tempfile_in(&self.folder).and_then(|temporary| {
            if let Some(permissions) = &self.permissions {
                temporary.as_file().set_permissions(permissions.clone())?;
            }
            Ok(temporary)
        });
        made.map_err(|e| format!("cannot be written: no new file in the folder {}: {e}", self.folder.display()))
    }

    /// Replaces the file by another.
    pub(super) fn write(&self, encoded: &Encoded<'_>) -> Checked<()> {
        let mut temporary = self.temporary()?;
        let written = encoded.write(temporary.as_file_mut()).and_then(|()| temporary.as_file().sync_all());
        written.map_err(|e| format!("cannot be written: {e}"))?;
        temporary.persist(&self.file).map_err(|e| format!("cannot be replaced: {}", e.error))?;
        // The file is in place. That its name is on the disk too is for the folder to say; not every file system can.
        if cfg!(unix)
            && let Err(e) = File::open(&self.folder).and_then(|folder| folder.sync_all())
        {
            log::warn!("folder {} could not be synchronised: {e}", self.folder.display());
        }
        Ok(())
    }
}
