//! Large buffers on the host, whose sizes come from a configuration or a file.
//!
//! The contract: where the system has no memory left for one, that is an [`Error::OutOfMemory`] and not the end of the
//! process.

use crate::error::{Error, Result};

/// A buffer of zeros, for what an [`Error::OutOfMemory`] says was being done.
pub(crate) fn zeros<T: Clone + Default>(len: usize, doing: &str) -> Result<Vec<T>> {
    let mut values = Vec::new();
    values.try_reserve_exact(len).map_err(|_| Error::OutOfMemory(format!("{doing} ({len} elements)")))?;
    values.resize(len, T::default());
    Ok(values)
}
