//! What a network is fed: batches of sequences, made by hand, padded to one length or cut from a text.
//!
//! The contract: [`Batch::check`] passes only what every executor can run, lengths, ids and numbers alike, so nothing
//! behind it looks at user data again; everything is laid out time outermost, `[T, B, ·]`.

mod buckets;
mod padded;
mod patches;
mod scaler;
mod seasonal;
mod series;
mod text;
mod windows;

pub use buckets::Buckets;
pub use padded::Example;
pub use patches::patches;
pub use scaler::StandardScaler;
pub use seasonal::SeasonalMean;
pub use series::{Series, Split};
pub use text::{Alphabet, read_text};
pub use windows::{HeldOutWindows, Windows};

use std::fmt::Display;

use num_traits::Float;

use crate::error::{Error, Largest, Result};
use crate::model::{Config, Directions, InputKind, ReadOut};
use crate::plan::Loss;

/// What is read, time outermost.
#[derive(Clone, Debug, PartialEq)]
pub enum Inputs {
    /// `[T, B]`: token ids.
    Tokens(Vec<u32>),
    /// `[T, B, I]`: real numbers.
    Dense(Vec<f32>),
}

/// What the read-out is compared with; R is T·B where every step is read out, else B: one label a sequence.
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
    /// The network's initial state: the learned one where it has one, else zeros.
    Initial,
    /// The final state of the previous window, which stays on the device; no gradient crosses the border.
    Carry,
    /// This state, `[S, L, B, D·H]`, the shape that [`Config::state_shape`] returns.
    Given(Vec<f32>),
}

/// B sequences side by side, T steps long, for a network to read.
#[derive(Clone, Debug, PartialEq)]
pub struct Sequences {
    /// T.
    pub steps: usize,
    /// B.
    pub batch_size: usize,
    /// What is read.
    pub inputs: Inputs,
    /// `[B]`: how many steps of each sequence are valid, from 1 to T; `None` where all are. What lies behind them is
    /// padding: it must have the form of an input, and nothing comes of it.
    pub lengths: Option<Vec<usize>>,
    /// The state before the first step.
    pub start: Start,
}

impl Sequences {
    /// `[T, B]` ids to read, every step of them, from a state of zeros or the learned one.
    pub fn tokens(steps: usize, size: usize, tokens: Vec<u32>) -> Self {
        Sequences { steps, batch_size: size, inputs: Inputs::Tokens(tokens), lengths: None, start: Start::Initial }
    }

    /// `[T, B, I]` numbers to read, every step of them, from a state of zeros or the learned one.
    pub fn dense(steps: usize, size: usize, inputs: Vec<f32>) -> Self {
        Sequences { steps, batch_size: size, inputs: Inputs::Dense(inputs), lengths: None, start: Start::Initial }
    }

    /// The same, of which only so many steps of each sequence are valid: `[B]`.
    pub fn with_lengths(self, lengths: Vec<usize>) -> Self {
        Sequences { lengths: Some(lengths), ..self }
    }

    /// The same, read from another state.
    pub fn with_start(self, start: Start) -> Self {
        Sequences { start, ..self }
    }
}

/// [`Inputs`], borrowed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum InputsRef<'a> {
    Tokens(&'a [u32]),
    Dense(&'a [f32]),
}

impl Inputs {
    pub(crate) fn borrowed(&self) -> InputsRef<'_> {
        match self {
            Inputs::Tokens(ids) => InputsRef::Tokens(ids),
            Inputs::Dense(x) => InputsRef::Dense(x),
        }
    }
}

/// Some steps of B sequences, one after the other: what one run of a plan reads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span<'a> {
    /// How many steps these are.
    pub steps: usize,
    /// B.
    pub batch_size: usize,
    /// `[T, B]` or `[T, B, I]`: those of these steps.
    pub inputs: InputsRef<'a>,
    /// `[B]`: of the whole sequences.
    pub lengths: Option<&'a [usize]>,
    /// How many steps of the sequences come before these.
    pub before: usize,
}

impl<'a> Span<'a> {
    /// `steps` of these steps, from `first` on.
    pub fn part(self, first: usize, steps: usize) -> Self {
        let range = |len: usize| first * (len / self.steps)..(first + steps) * (len / self.steps);
        let inputs = match self.inputs {
            InputsRef::Tokens(ids) => InputsRef::Tokens(&ids[range(ids.len())]),
            InputsRef::Dense(x) => InputsRef::Dense(&x[range(x.len())]),
        };
        Span { steps, inputs, before: self.before + first, ..self }
    }

    /// How many of these steps of sequence `b` are valid.
    pub fn length(&self, b: usize) -> usize {
        let length = self.lengths.and_then(|lengths| lengths.get(b)).copied();
        length.map_or(self.steps, |length| length.saturating_sub(self.before).min(self.steps))
    }
}

/// One window of T steps over B sequences, with what is expected of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// What is read.
    pub sequences: Sequences,
    /// What is expected.
    pub targets: Targets,
    /// `[R]`: which positions count in the loss; `None` where all do that are no padding.
    pub loss_mask: Option<Vec<bool>>,
}

impl Batch {
    /// `[T, B]` ids to read and `[R]` classes expected; every position counts.
    pub fn tokens(steps: usize, size: usize, tokens: Vec<u32>, targets: Vec<u32>) -> Self {
        let sequences = Sequences::tokens(steps, size, tokens);
        Batch { sequences, targets: Targets::Classes(targets), loss_mask: None }
    }

    /// `[T, B, I]` numbers to read; every position counts.
    pub fn dense(steps: usize, size: usize, inputs: Vec<f32>, targets: Targets) -> Self {
        Batch { sequences: Sequences::dense(steps, size, inputs), targets, loss_mask: None }
    }

    /// The same, of which only so many steps of each sequence are valid: `[B]`.
    pub fn with_lengths(self, lengths: Vec<usize>) -> Self {
        Batch { sequences: self.sequences.with_lengths(lengths), ..self }
    }

    /// The same, read from another state.
    pub fn with_start(self, start: Start) -> Self {
        Batch { sequences: self.sequences.with_start(start), ..self }
    }

    /// The same, of which only some positions count in the loss: `[R]`.
    pub fn with_loss_mask(self, mask: Vec<bool>) -> Self {
        Batch { loss_mask: Some(mask), ..self }
    }

    /// Whether a network of this configuration can be trained on the batch with this loss.
    ///
    /// Targets that the mask leaves out, and those of padding, are held to the same rules: executors read them too.
    ///
    /// # Errors
    /// Same as [`Sequences::check`]; [`Error::Shape`] for targets or a mask of another length; [`Error::Data`] for
    /// targets of the wrong kind, an id out of range or a number that is not finite. A mask may leave nothing: that a
    /// step or an evaluation has no label at all is seen there.
    pub fn check(&self, config: &Config, loss: Loss) -> Result<()> {
        self.sequences.check(config)?;
        let (steps, size) = (self.sequences.steps, self.sequences.batch_size);
        let labels = config.label_count(steps, size);
        match (&self.targets, loss) {
            (Targets::Classes(ids), Loss::CrossEntropy) => {
                check_len("targets", &[labels], ids.len())?;
                let every_step = config.read_out == ReadOut::EveryStep;
                check_ids(ids, config.outputs, "outputs", |r| match every_step {
                    true => self.sequences.position("targets", r),
                    false => format!("targets[{r}] (sequence {r})"),
                })?;
            }
            (Targets::Values(values), Loss::MeanSquared) => {
                check_len("targets", &[labels, config.outputs], values.len())?;
                check_finite("targets", values)?;
            }
            (Targets::Classes(_), _) => {
                return Err(wrong_kind("loss needs real numbers as targets", "the batch has classes"));
            }
            (Targets::Values(_), _) => {
                return Err(wrong_kind("loss needs classes as targets", "the batch has real numbers"));
            }
        }
        self.loss_mask.as_ref().map_or(Ok(()), |mask| check_len("mask", &[labels], mask.len()))
    }

    /// How many positions are no padding, whatever the mask says.
    pub(crate) fn valid(&self, config: &Config) -> usize {
        let labels = config.label_count(self.sequences.steps, self.sequences.batch_size);
        (0..labels).filter(|&r| self.is_valid(config, r)).count()
    }

    /// The largest number that is read or expected, where it is large.
    pub(crate) fn largest(&self, config: &Config) -> Option<Largest> {
        let (steps, size) = (self.sequences.steps, self.sequences.batch_size);
        let inputs = match &self.sequences.inputs {
            Inputs::Tokens(_) => None,
            Inputs::Dense(x) => Largest::of("inputs", x, &[steps, size, config.input.size()]),
        };
        let targets = match &self.targets {
            Targets::Classes(_) => None,
            Targets::Values(y) => Largest::of("targets", y, &[config.label_count(steps, size), config.outputs]),
        };
        Largest::or(inputs, targets)
    }

    /// How many positions of a batch that [`Batch::check`] passes count in the loss: those that are no padding and that
    /// the mask, if there is one, leaves.
    pub fn count(&self, config: &Config) -> usize {
        self.counting(config).filter(|counts| *counts).count()
    }

    /// `[R]`: whether each position counts.
    pub(crate) fn counting(&self, config: &Config) -> impl ExactSizeIterator<Item = bool> {
        let left = |r| self.loss_mask.as_ref().is_none_or(|mask| mask.get(r) == Some(&true));
        let labels = config.label_count(self.sequences.steps, self.sequences.batch_size);
        (0..labels).map(move |r| left(r) && self.is_valid(config, r))
    }

    /// Whether label `r` is not padding.
    fn is_valid(&self, config: &Config, r: usize) -> bool {
        let size = self.sequences.batch_size;
        config.read_out != ReadOut::EveryStep || r / size < self.sequences.length(r % size)
    }
}

impl Sequences {
    /// Whether a network of this configuration can read them.
    ///
    /// Padding is held to the same rules as what is valid: executors read it too.
    ///
    /// # Errors
    /// [`Error::Config`] for no steps or no sequences; [`Error::Shape`] for inputs, lengths or a given start of another
    /// length; [`Error::Data`] for inputs of the wrong kind, an id out of range, a number that is not finite, or a
    /// sequence of no valid steps or of more than T.
    pub fn check(&self, config: &Config) -> Result<()> {
        check_size("steps (T)", self.steps)?;
        check_size("sequences in a batch (B)", self.batch_size)?;
        // Inputs come first: once their length is right, T·B cannot overflow.
        match (&self.inputs, config.input) {
            (Inputs::Tokens(ids), InputKind::Tokens(vocabulary)) => {
                check_len("inputs", &[self.steps, self.batch_size], ids.len())?;
                check_ids(ids, vocabulary, "tokens", |at| self.position("inputs", at))?;
            }
            (Inputs::Dense(values), InputKind::Dense(features)) => {
                check_len("inputs", &[self.steps, self.batch_size, features], values.len())?;
                check_finite("inputs", values)?;
            }
            (Inputs::Tokens(_), _) => return Err(wrong_kind("network reads dense inputs", "the batch has tokens")),
            (Inputs::Dense(_), _) => return Err(wrong_kind("network reads tokens", "the batch has dense inputs")),
        }
        if let Some(lengths) = &self.lengths {
            check_len("lengths", &[self.batch_size], lengths.len())?;
            let steps = 1..=self.steps;
            if let Some((b, length)) = lengths.iter().enumerate().find(|(_, length)| !steps.contains(length)) {
                let steps = self.steps;
                return Err(Error::Data(format!(
                    "lengths[{b}] is {length}, expected 1 to the {steps} steps of the batch"
                )));
            }
        }
        match &self.start {
            Start::Given(state) => {
                check_len("start", &config.state_shape(self.batch_size), state.len())?;
                check_finite("start", state)
            }
            Start::Carry if config.directions == Directions::Bidirectional => Err(Error::Data(
                "the sequences carry on from the window before, but the network reads them both ways: what it knows of \
                 the other end is not in that window, so give it whole sequences"
                    .to_owned(),
            )),
            Start::Carry | Start::Initial => Ok(()),
        }
    }

    /// All steps.
    pub(crate) fn span(&self) -> Span<'_> {
        let (steps, batch_size, inputs) = (self.steps, self.batch_size, self.inputs.borrowed());
        Span { steps, batch_size, inputs, lengths: self.lengths.as_deref(), before: 0 }
    }

    /// How many steps of sequence `b` are valid.
    pub(crate) fn length(&self, b: usize) -> usize {
        self.lengths.as_ref().and_then(|lengths| lengths.get(b)).copied().unwrap_or(self.steps)
    }

    /// Element `at` of a `[T, B]` argument, as an error names it.
    fn position(&self, argument: &str, at: usize) -> String {
        format!("{argument}[{at}] (step {}, sequence {})", at / self.batch_size, at % self.batch_size)
    }
}

fn check_size(what: &str, size: usize) -> Result<()> {
    if size == 0 { Err(Error::Config(format!("the number of {what} is 0, expected at least 1"))) } else { Ok(()) }
}

fn check_ids(ids: &[u32], allowed: usize, of: &str, place: impl Fn(usize) -> String) -> Result<()> {
    match ids.iter().position(|&id| id as usize >= allowed) {
        Some(at) => Err(Error::Data(format!(
            "{} is id {}, but the network has {allowed} {of}, counted from 0",
            place(at),
            ids[at]
        ))),
        None => Ok(()),
    }
}

fn check_len(argument: &str, shape: &[usize], given: usize) -> Result<()> {
    // An overflowing product is the length of nothing.
    let expected = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    if expected == Some(given) { Ok(()) } else { Err(Error::shape(argument, shape, &[given])) }
}

fn check_finite<T: Float + Display>(argument: &str, values: &[T]) -> Result<()> {
    match first_not_finite(values) {
        Some(at) => Err(Error::Data(format!("{argument}[{at}] is {}, expected a finite number", values[at]))),
        None => Ok(()),
    }
}

/// Where the first number that is infinite or NaN is. Every input passes through here: it is looked for only once it is
/// known to be there, since a loop that may end at any element is not made of vector instructions.
pub(crate) fn first_not_finite<T: Float>(values: &[T]) -> Option<usize> {
    let finite = values.iter().fold(true, |finite, v| finite & v.is_finite());
    if finite { None } else { values.iter().position(|v| !v.is_finite()) }
}

fn wrong_kind(expected: &str, given: &str) -> Error {
    Error::Data(format!("the {expected}, but {given}"))
}
