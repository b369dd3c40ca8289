//! A checkpoint that one training writes, and no other meanwhile.
//!
//! The contract: of all that ask for the lock of one file, by whatever path, one has it at a time; whose process ends
//! has it no longer, however it ends.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::file::Destination;
use super::{Checkpoint, Fault, named};
use crate::error::Result;

/// The right to write a checkpoint, from [`Checkpoint::lock`] until it is dropped.
///
/// ```
/// use recurrent::Checkpoint;
/// let folder = tempfile::TempDir::new().unwrap();
/// let lock = Checkpoint::lock(folder.path().join("network.safetensors"))?;
/// drop(lock); // the next training may have it
/// # Ok::<(), recurrent::Error>(())
/// ```
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
}

impl Checkpoint {
    /// Claims the file at this path, which need not exist yet, for one training: to be asked before it starts, as a
    /// second one would overwrite what the first saves.
    ///
    /// Loading and saving do not ask for the lock. It is a small file `.NAME.lock` beside the checkpoint, advisory, and
    /// gone when the lock is dropped (on Windows the file stays); one that a killed process left is no obstacle. A file
    /// system without locks makes a warning, and the lock then excludes nobody.
    ///
    /// ```
    /// use recurrent::Checkpoint;
    /// # let folder = tempfile::TempDir::new().unwrap();
    /// # let path = folder.path().join("network.safetensors");
    /// let lock = Checkpoint::lock(&path)?;
    /// assert!(Checkpoint::lock(&path).is_err());
    /// drop(lock);
    /// assert!(Checkpoint::lock(&path).is_ok());
    /// # Ok::<(), recurrent::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Checkpoint`](crate::Error::Checkpoint) where another has the lock, with its process, and the errors of
    /// [`Checkpoint::probe`].
    pub fn lock(path: impl AsRef<Path>) -> Result<Lock> {
        let path = path.as_ref();
        Destination::of(path).and_then(|place| Lock::claim(&place)).map_err(named(path))
    }
}

impl Lock {
    fn claim(place: &Destination) -> Result<Self, Fault> {
        let path = place.beside(|name| [&OsString::from("."), name, &OsString::from(".lock")].into_iter().collect());
        loop {
            let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
            let mut file = opened.map_err(Fault::file(format!("cannot be locked by {}", path.display())))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let owner = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse::<u32>().ok());
                    let owner =
                        owner.map_or("another training".to_owned(), |id| format!("the training of process {id}"));
                    return Err(format!("is in use by {owner} ({} is locked)", path.display()).into());
                }
                Err(TryLockError::Error(e)) => log::warn!("{} cannot be locked: {e}", path.display()),
            }
            // Whoever had it may have removed the file since it was opened here: then it is the lock of nothing.
            if is_at(&file, &path) {
                // For whoever asks next; without it the lock is as good.
                let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
                return Ok(Lock { file, path });
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Before it is unlocked, so that nobody has it in between.
        if cfg!(unix) && is_at(&self.file, &self.path) {
            let _ = fs::remove_file(&self.path);
        }
        let _ = self.file.unlock();
    }
}

/// Whether an open file is the one at a path; elsewhere than on Unix, where no lock is removed, it always is.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let id = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    file.metadata().is_ok_and(|open| fs::metadata(path).is_ok_and(|there| id(open) == id(there)))
}

#[cfg(not(unix))]
fn is_at(_: &File, _: &Path) -> bool {
    true
}
