//! The file of a checkpoint: where it may be written, and how it is replaced.
//!
//! The contract: a file is replaced by one rename of a complete, synchronised file, or not at all; what cannot be
//! written is found without writing it; what a killed process began is removed by the next that writes there.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::Fault;
use super::encode::Encoded;
use crate::error::Error;

/// A new file, until it takes the old one's place: this and characters that are drawn.
const TEMPORARY: &str = ".recurrent-";
const DRAWN: usize = 6;
const UNWRITABLE: &str = "cannot be written";
/// Links that lead to links, as Linux follows them.
const MAX_LINKS: usize = 40;

/// All bytes of a regular file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Fault> {
    const UNREADABLE: &str = "cannot be read";
    // Asked first: reading a pipe or a device may never end.
    let metadata = fs::metadata(path).map_err(Fault::file(UNREADABLE))?;
    if !metadata.is_file() {
        return Err(not_a_file(&metadata).into());
    }
    fs::read(path).map_err(|e| match e.kind() {
        ErrorKind::OutOfMemory => {
            Error::OutOfMemory(format!("reading {} ({} bytes)", path.display(), metadata.len())).into()
        }
        _ => Fault::file(UNREADABLE)(e),
    })
}

fn not_a_file(metadata: &fs::Metadata) -> String {
    if metadata.is_dir() { "is a folder, expected a file".to_owned() } else { "is not a regular file".to_owned() }
}

/// Where a checkpoint is written: a file in a folder that exists, and nothing there that may not be replaced.
pub(super) struct Destination {
    file: PathBuf,
    folder: PathBuf,
    /// Those of the file to be replaced.
    permissions: Option<Permissions>,
}

impl Destination {
    pub(super) fn of(path: &Path) -> Result<Self, Fault> {
        let permissions = match fs::metadata(path) {
            Ok(metadata) if !metadata.is_file() => return Err(not_a_file(&metadata).into()),
            Ok(metadata) if metadata.permissions().readonly() => return Err("is read-only".to_owned().into()),
            Ok(metadata) => Some(metadata.permissions()),
            Err(e) if e.kind() == ErrorKind::NotFound => None,
            Err(e) => return Err(Fault::file(UNWRITABLE)(e)),
        };
        // A link is followed: renaming would replace the link itself.
        let file = if permissions.is_some() { fs::canonicalize(path) } else { follow(path) };
        let file = file.map_err(Fault::file(UNWRITABLE))?;
        let folder = match (file.file_name(), file.parent()) {
            (Some(_), Some(folder)) if folder.as_os_str().is_empty() => PathBuf::from("."),
            (Some(_), Some(folder)) => folder.to_owned(),
            _ => return Err("names no file".to_owned().into()),
        };
        if !folder.is_dir() {
            return Err(format!("{UNWRITABLE}: there is no folder {}", folder.display()).into());
        }
        Ok(Destination { file, folder, permissions })
    }

    /// A path in the same folder, of a name that is made of the file's.
    pub(super) fn beside(&self, name: impl FnOnce(&OsStr) -> OsString) -> PathBuf {
        self.folder.join(name(self.file.file_name().unwrap_or_default()))
    }

    /// A new file in the same folder, locked, and gone when dropped.
    ///
    /// It has the permissions of the file to be replaced, or those of any new file: all but the process's mask.
    pub(super) fn temporary(&self) -> Result<NamedTempFile, Fault> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(TEMPORARY).rand_bytes(DRAWN);
        #[cfg(unix)]
        if self.permissions.is_none() {
            builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        }
        let make = || loop {
            let temporary = builder.tempfile_in(&self.folder)?;
            if let Some(permissions) = &self.permissions {
                temporary.as_file().set_permissions(permissions.clone())?;
            }
            // A file system without locks has nobody who could remove it either.
            let _ = temporary.as_file().lock();
            // Removed by another process before it was locked.
            if temporary.path().exists() {
                return Ok(temporary);
            }
        };
        let what = || format!("{UNWRITABLE}: no new file in the folder {}", self.folder.display());
        make().map_err(|error| Fault::file(what())(error))
    }

    /// Replaces the file by another.
    pub(super) fn write(&self, encoded: &Encoded<'_>) -> Result<(), Fault> {
        self.tidy();
        let mut temporary = self.temporary()?;
        let written = encoded.write(temporary.as_file_mut()).and_then(|()| temporary.as_file().sync_all());
        written.map_err(Fault::file(UNWRITABLE))?;
        temporary.persist(&self.file).map_err(|e| Fault::file("cannot be replaced")(e.error))?;
        // The file is in place. That its name is on the disk too is for the folder to say; not every file system can.
        if cfg!(unix)
            && let Err(e) = File::open(&self.folder).and_then(|folder| folder.sync_all())
        {
            log::warn!("folder {} could not be synchronised: {e}", self.folder.display());
        }
        Ok(())
    }

    /// Removes the temporary files of processes that ended before they were done: those that nobody has locked.
    fn tidy(&self) {
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let is_temporary = entry.file_type().is_ok_and(|kind| kind.is_file()) && is_temporary(&entry.file_name());
            if !is_temporary {
                continue;
            }
            let path = entry.path();
            // Locked until it is removed, so that whoever has just made it sees that it is gone.
            if let Ok(file) = File::open(&path)
                && file.try_lock().is_ok()
                && let Err(e) = fs::remove_file(&path)
                && e.kind() != ErrorKind::NotFound
            {
                log::warn!("{}, which a save left, could not be removed: {e}", path.display());
            }
        }
    }
}

fn is_temporary(name: &OsStr) -> bool {
    let drawn = name.to_str().and_then(|name| name.strip_prefix(TEMPORARY));
    drawn.is_some_and(|drawn| drawn.len() == DRAWN && drawn.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// Where a path without a file leads to: a link to where one is to be, and on from there.
fn follow(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        match fs::read_link(&path) {
            Ok(target) => path = path.parent().unwrap_or(Path::new("")).join(target),
            // There is nothing, or no link.
            Err(_) => return Ok(path),
        }
    }
    Err(io::Error::other("too many links lead to each other"))
}
