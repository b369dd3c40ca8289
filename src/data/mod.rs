//! What a network is fed: batches of sequences, made by hand or cut from a text.
//!
//! The contract: [`Batch::check`] passes only what every executor can run, lengths, ids and numbers alike, so nothing
//! behind it looks at user data again; everything is laid out time outermost, `[T, B, ·]`.

mod text;
mod windows;

pub use text::{Alphabet, read_text};
pub use windows::{Held, Windows};

use crate::error::{Error, Result};
use crate::model::{Config, Input, ReadOut};
use crate::plan::Loss;

/// What is read, time outermost.
#[derive(Clone, Debug, PartialEq)]
pub enum Inputs {
    /// `[T, B]`: ids of symbols.
    Tokens(Vec<u32>),
    /// `[T, B, I]`: real numbers.
    Dense(Vec<f32>),
}

/// What the read-out is compared with; R is T·B, or B where the read-out is at the last step.
#[derive(Clone, Debug, PartialEq)]
pub enum Targets {
    /// `[R]`: class ids.
    Classes(Vec<u32>),
    /// `[R, O]`: real numbers.
    Values(Vec<f32>),
}

/// The state before the first step.
#[derive(Clone, Debug, PartialEq)]
pub enum Start {
    /// Zeros.
    Zero,
    /// What the window before left on the device; no gradient crosses the border.
    Carry,
    /// `[S, L, B, H]`, as [`Config::state`] says: these numbers.
    Given(Vec<f32>),
}

/// One window of T steps over B sequences, with what is expected of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// T.
    pub steps: usize,
    /// B.
    pub size: usize,
    /// What is read.
    pub inputs: Inputs,
    /// What is expected.
    pub targets: Targets,
    /// `[R]`: which positions count in the loss; `None` where all do.
    pub mask: Option<Vec<bool>>,
    /// The state before the window.
    pub start: Start,
}

impl Batch {
    /// `[T, B]` ids to read and `[R]` classes expected, from a state of zeros; every position counts.
    pub fn tokens(steps: usize, size: usize, tokens: Vec<u32>, targets: Vec<u32>) -> Self {
        let (inputs, targets) = (Inputs::Tokens(tokens), Targets::Classes(targets));
        Batch { steps, size, inputs, targets, mask: None, start: Start::Zero }
    }

    /// `[T, B, I]` numbers to read, from a state of zeros; every position counts.
    pub fn dense(steps: usize, size: usize, inputs: Vec<f32>, targets: Targets) -> Self {
        Batch { steps, size, inputs: Inputs::Dense(inputs), targets, mask: None, start: Start::Zero }
    }

    /// Whether a network of this configuration can be trained on the batch with this loss.
    ///
    /// Positions that the mask leaves out are held to the same rules: executors read them too.
    ///
    /// # Errors
    /// [`Error::Config`] for no steps or no sequences; [`Error::Shape`] for a length that is not that of its shape;
    /// [`Error::Data`] for inputs or targets of the wrong kind, an id out of range, a number that is not finite, or a
    /// mask that leaves nothing.
    pub fn check(&self, config: &Config, loss: Loss) -> Result<()> {
        for (what, size) in [("steps (T)", self.steps), ("sequences in a batch (B)", self.size)] {
            if size == 0 {
                return Err(Error::Config(format!("the number of {what} is 0, expected at least 1")));
            }
        }
        // Inputs come first: once their length is right, T·B cannot overflow.
        match (&self.inputs, config.input) {
            (Inputs::Tokens(ids), Input::Tokens(symbols)) => {
                check_len("inputs", &[self.steps, self.size], ids.len())?;
                self.check_ids("inputs", ids, symbols, "symbols", ReadOut::EveryStep)?;
            }
            (Inputs::Dense(values), Input::Dense(features)) => {
                check_len("inputs", &[self.steps, self.size, features], values.len())?;
                check_finite("inputs", values)?;
            }
            (Inputs::Tokens(_), _) => return Err(wrong_kind("network reads dense inputs", "tokens")),
            (Inputs::Dense(_), _) => return Err(wrong_kind("network reads tokens", "dense inputs")),
        }
        let labels = config.labels(self.steps, self.size);
        match (&self.targets, loss) {
            (Targets::Classes(ids), Loss::CrossEntropy) => {
                check_len("targets", &[labels], ids.len())?;
                self.check_ids("targets", ids, config.outputs, "outputs", config.read_out)?;
            }
            (Targets::Values(values), Loss::MeanSquared) => {
                check_len("targets", &[labels, config.outputs], values.len())?;
                check_finite("targets", values)?;
            }
            (Targets::Classes(_), _) => return Err(wrong_kind("loss needs real numbers as targets", "classes")),
            (Targets::Values(_), _) => return Err(wrong_kind("loss needs classes as targets", "real numbers")),
        }
        if let Some(mask) = &self.mask {
            check_len("mask", &[labels], mask.len())?;
            if !mask.contains(&true) {
                return Err(Error::Data(format!("the mask leaves none of the {labels} positions to learn from")));
            }
        }
        if let Start::Given(state) = &self.start {
            check_len("start", &config.state(self.size), state.len())?;
            check_finite("start", state)?;
        }
        Ok(())
    }

    /// How many positions count in the loss: the mask's, or all R where there is none.
    pub fn count(&self, config: &Config) -> usize {
        match (&self.mask, &self.targets) {
            (Some(mask), _) => mask.iter().filter(|&&counts| counts).count(),
            (None, Targets::Classes(ids)) => ids.len(),
            (None, Targets::Values(values)) => values.len() / config.outputs.max(1),
        }
    }

    fn check_ids(&self, argument: &str, ids: &[u32], allowed: usize, of: &str, read_out: ReadOut) -> Result<()> {
        let Some((at, id)) = ids.iter().enumerate().find(|(_, id)| **id as usize >= allowed) else { return Ok(()) };
        let step = match read_out {
            ReadOut::EveryStep => at / self.size,
            ReadOut::Last => self.steps - 1,
        };
        let place = format!("{argument}[{at}] (step {step}, sequence {})", at % self.size);
        Err(Error::Data(format!("{place} is id {id}, but the network has {allowed} {of}, counted from 0")))
    }
}

fn check_len(argument: &str, shape: &[usize], given: usize) -> Result<()> {
    // An overflowing product is the length of nothing.
    let expected = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    if expected == Some(given) { Ok(()) } else { Err(Error::shape(argument, shape, &[given])) }
}

fn check_finite(argument: &str, values: &[f32]) -> Result<()> {
    match values.iter().enumerate().find(|(_, v)| !v.is_finite()) {
        Some((at, value)) => Err(Error::Data(format!("{argument}[{at}] is {value}, expected a finite number"))),
        None => Ok(()),
    }
}

fn wrong_kind(expected: &str, given: &str) -> Error {
    Error::Data(format!("the {expected}, but the batch has {given}"))
}
