//! Every way a call of this crate can fail, as one enum.
//!
//! The contract: a caller's mistake, a damaged file, a missing driver or a failing GPU comes back as an [`Error`] that
//! names what was given and what was expected; it never panics. What the system or another library said is the error's
//! [`source`](std::error::Error::source), and is not repeated in its own words.

use std::path::PathBuf;
use std::{fmt, io};

/// An error of another library, as [`std::error::Error::source`] returns it.
pub type Source = Box<dyn std::error::Error + Send + Sync>;

/// The result of every fallible call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, with what was given and what was expected.
///
/// ```
/// use recurrent::{Checkpoint, Error};
/// match Checkpoint::load("no-such-file.safetensors") {
///     Err(Error::File { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {} // a first run
///     Err(error) => return Err(error),
///     Ok(_) => {}
/// }
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An argument has another shape than the call needs.
    #[error("{argument} has shape {given}, expected {expected}")]
    #[non_exhaustive]
    Shape {
        /// Which argument, by its name in the call or the plan.
        argument: String,
        /// The shape it needs.
        expected: Shape,
        /// The shape it has.
        given: Shape,
    },

    /// A configuration that no network or training can have: a zero size, an overflow, a rate that is not a number.
    #[error("invalid configuration: {0}")]
    Config(String),

    /// A size beyond what the adapter, or this crate's 32-bit indices, allow.
    #[error("{what} needs {asked}; the limit is {allowed} ({limit})")]
    #[non_exhaustive]
    Limit {
        /// What is too large.
        what: String,
        /// The name of the limit.
        limit: &'static str,
        /// How much was asked for.
        asked: u64,
        /// How much there may be.
        allowed: u64,
    },

    /// No adapter answers to what was looked for.
    #[error("no adapter for {wanted}; {}; {hint}", present(.found))]
    #[non_exhaustive]
    NoAdapter {
        /// What was looked for.
        wanted: String,
        /// The adapters that are there, one line each.
        found: Vec<String>,
        /// What to do about it.
        hint: &'static str,
    },

    /// The device lacks what was asked of it.
    #[error("{device} cannot compute in {what}: it has no {missing}")]
    #[non_exhaustive]
    Unsupported {
        /// The device, by its name.
        device: String,
        /// What was asked for.
        what: &'static str,
        /// The missing feature.
        missing: &'static str,
    },

    /// The device is gone: unplugged, reset, or destroyed by the application.
    #[error("the GPU device was lost: {0}")]
    DeviceLost(String),

    /// The device reported work as done that it did not do: its system stops what takes too long. What was computed
    /// since the last readback is lost, and what is read back is not good: go on from a checkpoint, with smaller
    /// windows or batches.
    #[error(
        "the device dropped work: {submissions} of the submissions since the last readback were not done; go on from \
        the last checkpoint, with smaller windows or batches"
    )]
    #[non_exhaustive]
    WorkDropped {
        /// How many submissions did not end.
        submissions: u32,
    },

    /// The device has no memory left for what was asked.
    #[error("out of memory while {0}")]
    OutOfMemory(String),

    /// The driver or wgpu refused an operation; a defect of this crate or of the driver.
    #[error("the GPU refused an operation while {doing}")]
    #[non_exhaustive]
    Gpu {
        /// What the crate was doing.
        doing: String,
        /// What wgpu says.
        source: Source,
    },

    /// A file that the system does not let the crate read, write or lock.
    #[error("{} {what}: {}", .path.display(), kind(.source))]
    #[non_exhaustive]
    File {
        /// The file.
        path: PathBuf,
        /// What cannot be done with it.
        what: String,
        /// What the system says.
        source: io::Error,
    },

    /// A checkpoint, or another file of weights, that is damaged, does not fit, or may not be written.
    #[error("checkpoint {}: {what}", .path.display())]
    #[non_exhaustive]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
        /// What the library that read it says, if one did.
        source: Option<Source>,
    },

    /// Input that cannot be learned from or answered: an unknown token, an id out of range, too short a text.
    #[error("{0}")]
    Data(String),

    /// Loss or gradient stopped being finite. That step changed no weight; later steps that were finite did.
    #[error("training diverged at step {step}: {what} is not finite; that step changed no weight{seen}")]
    #[non_exhaustive]
    Diverged {
        /// The step, counted from 1.
        step: u64,
        /// The loss or the gradient norm.
        what: &'static str,
        /// What led there.
        seen: Box<Divergence>,
    },

    /// The loss of an evaluation is not finite. An evaluation changes no weight; the steps before it may have.
    #[error("the loss of an evaluation is not finite, after {steps} steps of training{}", seen.because())]
    #[non_exhaustive]
    LossNotFinite {
        /// Steps done before it.
        steps: u64,
        /// What may have led there.
        seen: Box<Divergence>,
    },
}

impl Error {
    /// The same error of an argument that is part of another one.
    pub(crate) fn inside(self, whole: &str) -> Self {
        match self {
            Error::Shape { argument, expected, given } => {
                Error::Shape { argument: format!("{whole}: {argument}"), expected, given }
            }
            Error::Config(what) => Error::Config(format!("{whole}: {what}")),
            Error::Data(what) => Error::Data(format!("{whole}: {what}")),
            other => other,
        }
    }

    /// A refusal by wgpu.
    #[cfg(feature = "gpu")]
    pub(crate) fn gpu(doing: &str, source: impl Into<Source>) -> Self {
        Error::Gpu { doing: doing.to_owned(), source: source.into() }
    }

    pub(crate) fn shape(argument: &str, expected: &[usize], given: &[usize]) -> Self {
        Error::Shape { argument: argument.to_owned(), expected: Shape(expected.to_vec()), given: Shape(given.to_vec()) }
    }
}

/// What was seen of a training that diverged. Printed, it ends in what to try.
///
/// ```
/// use recurrent::{Error, Trainer};
/// fn report(trainer: &mut Trainer) -> recurrent::Result<()> {
///     if let Err(Error::Diverged { seen, .. }) = trainer.metrics() {
///         println!("the losses before it: {:?}; first not finite: {:?}", seen.losses, seen.first);
///     }
///     Ok(())
/// }
/// # let _ = report;
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Divergence {
    /// The losses of the steps before, at most eight, oldest first.
    pub losses: Vec<f64>,
    /// The global norms of their gradients, before clipping.
    pub norms: Vec<f64>,
    /// What is the first that is not finite, in the order in which a step computes, and at which step it was looked
    /// for: the last that was taken, for what earlier ones computed is gone. `None` where that step was finite again.
    pub first: Option<(u64, NotFinite)>,
    /// The largest number that was read or expected in the window that was looked at, where it is 1000 or more: then it
    /// is likely to be the cause.
    pub largest: Option<Largest>,
}

impl Divergence {
    /// What an evaluation says of it.
    fn because(&self) -> String {
        let first = self.first.as_ref().map(|(_, first)| format!("; {first} is not finite"));
        let largest = self.largest.as_ref().map(|largest| format!("; {largest}"));
        [first, largest].into_iter().flatten().collect()
    }
}

/// The number that is farthest from 0 among those that a network was given.
///
/// ```
/// use recurrent::{Divergence, Largest};
/// fn advice(seen: &Divergence) -> String {
///     seen.largest.as_ref().map_or(String::new(), Largest::to_string)
/// }
/// # let _ = advice;
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Largest {
    /// Which argument: `inputs`, `targets`, or those of a head.
    pub argument: String,
    /// Where it is, in `[T, B, I]` or `[R, O]`.
    pub index: Vec<usize>,
    /// The number.
    pub value: f32,
}

impl Largest {
    /// The magnitude from which on a number is reported.
    const FROM: f32 = 1e3;

    /// The largest finite one among the values of an argument, if it is large enough to be reported.
    pub(crate) fn of(argument: impl fmt::Display, values: &[f32], shape: &[usize]) -> Option<Self> {
        // Where it is is looked for only once it is known to be there: a loop that finds places is not made of vector
        // instructions.
        let largest = values
            .iter()
            .fold(0.0, |largest: f32, value| if value.is_finite() { largest.max(value.abs()) } else { largest });
        if largest < Self::FROM {
            return None;
        }
        let mut at = values.iter().position(|value| value.abs() == largest)?;
        let (value, mut index) = (values[at], vec![0; shape.len()]);
        for (index, size) in index.iter_mut().zip(shape).rev() {
            (*index, at) = (at % size, at / size);
        }
        Some(Largest { argument: argument.to_string(), index, value })
    }

    /// The larger of two.
    pub(crate) fn or(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        let size = |largest: &Option<Self>| largest.as_ref().map_or(0.0, |largest| largest.value.abs());
        if size(&other) > size(&one) { other } else { one }
    }
}

impl fmt::Display for Largest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Largest { argument, index, value } = self;
        write!(f, "{argument}{index:?} is {value:e}: scale {argument} to about 1, as data::StandardScaler does")
    }
}

/// What is the first that is not finite. Inputs are looked at before a step, so that it is never they.
///
/// ```
/// use recurrent::NotFinite;
/// assert_eq!(NotFinite::State { layer: 1 }.to_string(), "the state of layer 1");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotFinite {
    /// A parameter, by its name: the updates before have grown beyond all bounds.
    Parameter(String),
    /// The state of a layer, counted from 0 as in [`Config::layers`](crate::Config), after the last step of the window.
    State {
        /// The layer.
        layer: usize,
    },
    /// The loss, though all states after the last step of the window are finite.
    Loss,
    /// The gradient of a parameter, by its name, though the loss is finite; gradients are made from the read-out down.
    Gradient(String),
}

impl fmt::Display for NotFinite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotFinite::Parameter(name) => write!(f, "the parameter {name}"),
            NotFinite::State { layer } => write!(f, "the state of layer {layer}"),
            NotFinite::Loss => write!(f, "the loss, all states being finite"),
            NotFinite::Gradient(name) => write!(f, "the gradient of {name}, the loss being finite"),
        }
    }
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((step, first)) = &self.first {
            write!(f, "; the first that is not finite at step {step} is {first}")?;
        }
        for (what, values) in [("losses", &self.losses), ("gradient norms", &self.norms)] {
            if !values.is_empty() {
                let values: Vec<String> = values.iter().map(|value| format!("{value:.3e}")).collect();
                write!(f, "; the {what} before it: {}", values.join(", "))?;
            }
        }
        match &self.largest {
            Some(largest) => write!(f, "; {largest}"),
            None => write!(f, "; a lower learning rate, or stronger clipping such as Clip::Norm(1.0), may help"),
        }
    }
}

/// A shape as it is printed: `[50, 32, 128]`.
///
/// ```
/// use recurrent::error::Shape;
/// assert_eq!(Shape(vec![50, 32]).to_string(), "[50, 32]");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape(pub Vec<usize>);

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// What kind of refusal it is, in words; its own are the source's.
fn kind(source: &io::Error) -> String {
    match source.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        other => other.to_string(),
    }
}

fn present(found: &[String]) -> String {
    if found.is_empty() {
        if cfg!(feature = "gpu") { "this machine has none" } else { "this build has none" }.to_owned()
    } else {
        format!("there are: {}", found.join("; "))
    }
}

#[cfg(all(test, feature = "gpu"))]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn what_wgpu_says_is_the_source() {
        let error = Error::gpu("reading a tensor back", io::Error::other("in its own words"));
        assert_eq!(error.to_string(), "the GPU refused an operation while reading a tensor back");
        assert_eq!(error.source().map(ToString::to_string).as_deref(), Some("in its own words"));
    }
}
