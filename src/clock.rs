//! How long the operations of one run took, and by which clock that was measured.
//!
//! The contract: nothing here is part of an ordinary run. wasm32 has no clock of its own: there only a GPU's timestamps
//! tell the time, and asking for anything else is an error.

use crate::error::Result;

/// By what a step was timed.
///
/// ```
/// use recurrent::TimingSource;
/// assert_eq!(TimingSource::Host.to_string(), "timed by the host");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TimingSource {
    /// The GPU's own timestamps around each operation, in one submission.
    Timestamps,
    /// The host's clock around each operation of the CPU executor.
    Host,
    /// The host's clock around each operation, submitted alone and waited for: on a device without timestamps. What a
    /// submission takes, tens of microseconds and more, is in every time.
    Submissions,
}

impl std::fmt::Display for TimingSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            TimingSource::Timestamps => "timed by the GPU",
            TimingSource::Host => "timed by the host",
            TimingSource::Submissions => "timed by the host, each operation submitted alone",
        })
    }
}

/// A run's times.
#[derive(Debug)]
pub(crate) struct Timed {
    pub clock: TimingSource,
    /// Microseconds of each operation, in the plan's order.
    pub each: Vec<f64>,
    /// Microseconds from the beginning of the first to the end of the last.
    pub total: f64,
}

/// Measures from when it was started.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) struct Stopwatch(std::time::Instant);

#[cfg(not(target_arch = "wasm32"))]
impl Stopwatch {
    pub fn start() -> Result<Self> {
        Ok(Stopwatch(std::time::Instant::now()))
    }

    /// Microseconds.
    pub fn elapsed(&self) -> f64 {
        self.0.elapsed().as_secs_f64() * 1e6
    }
}

/// Nothing that could be started.
#[cfg(target_arch = "wasm32")]
pub(crate) enum Stopwatch {}

#[cfg(target_arch = "wasm32")]
impl Stopwatch {
    pub fn start() -> Result<Self> {
        let what = "a step is timed by a GPU's timestamps on wasm32, and this device has none";
        Err(crate::error::Error::Config(what.to_owned()))
    }

    pub fn elapsed(&self) -> f64 {
        match *self {}
    }
}
