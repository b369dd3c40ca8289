//! What a network is fed: batches of sequences, made by hand, padded to one length or cut from a text.
//!
//! The contract: [`Batch::check`] passes only what every executor can run, lengths, ids and numbers alike, so nothing
//! behind it looks at user data again; everything is laid out time outermost, `[T, B, ·]`.

mod beside;
mod buckets;
mod columns;
mod front_padding;
mod label_sequences;
mod labels;
mod padded;
mod patches;
mod resets;
mod scaler;
mod seasonal;
mod series;
mod span;
mod text;
mod vocabulary;
mod windows;

pub use buckets::Buckets;
pub use columns::InputColumn;
pub(crate) use columns::{check_columns, of_network};
pub(crate) use label_sequences::room_of;
pub use labels::HeadTargets;
pub use padded::Example;
pub use patches::patches;
pub use scaler::StandardScaler;
pub use seasonal::SeasonalMean;
pub use series::{Series, Split};
pub(crate) use span::{Span, SpanColumns};
pub use text::{Alphabet, read_text};
pub use vocabulary::Vocabulary;
pub use windows::{HeldOutWindows, Windows};

use std::fmt::Display;

use num_traits::Float;

use crate::device::DeviceSlice;
use crate::error::{Error, Result};
use crate::model::{BatchShape, Config, InputKind, State};

/// What is read, time outermost.
///
/// ```
/// use recurrent::Inputs;
/// let two_words = Inputs::Tokens(vec![0, 7, 3, 1]); // T 2, B 2: the first token of each, then the second
/// let one_point_a_step = Inputs::Dense(vec![0.1, 0.2, 0.3]); // T 3, B 1, I 1
/// # assert_ne!(two_words, one_point_a_step);
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Inputs {
    /// `[T, B]`: token ids.
    Tokens(Vec<u32>),
    /// `[T, B, I]`: real numbers.
    Dense(Vec<f32>),
    /// `[T, B, I]`: real numbers that lie on the GPU. Nobody looks at them: all have to be finite, padding too.
    OnDevice(DeviceSlice),
}

/// What the read-out is compared with; R is T·B where every step is read out, else B: one label a sequence. What does
/// not count in the loss may be anything.
///
/// ```
/// use recurrent::{Batch, BatchShape, Targets};
/// let shape = BatchShape { steps: 2, batch_size: 1 };
/// let classified = Batch::dense(shape, vec![0.5, -0.5], Targets::Classes(vec![1, 0]));
/// let predicted = Batch::dense(shape, vec![0.5, -0.5], Targets::Values(vec![-0.5, 0.25]));
/// # assert_ne!(classified, predicted);
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Targets {
    /// `[R]`: class ids.
    Classes(Vec<u32>),
    /// `[R, N]`: real numbers. N is O, unless several outputs describe one number ([`Loss`](crate::Loss)).
    Values(Vec<f32>),
    /// `[R, N]`: real numbers that lie on the GPU already, at which nobody looks.
    OnDevice(DeviceSlice),
    /// `[B]` lists of class ids, of any length each, also none: what is said by all steps of a sequence together
    /// ([`Loss::Ctc`](crate::Loss::Ctc)).
    Sequences(Vec<Vec<u32>>),
    /// Nothing: the caller has a loss of his own, [`Loss::External`](crate::Loss::External).
    None,
}

impl Targets {
    /// What they are, as errors call them.
    fn kind(&self) -> &'static str {
        match self {
            Targets::Classes(_) => "classes",
            Targets::Values(_) => "real numbers",
            Targets::OnDevice(_) => "real numbers on the device",
            Targets::Sequences(_) => "sequences of labels",
            Targets::None => "none",
        }
    }
}

impl From<Vec<u32>> for Targets {
    fn from(classes: Vec<u32>) -> Self {
        Targets::Classes(classes)
    }
}

impl From<Vec<Vec<u32>>> for Targets {
    fn from(sequences: Vec<Vec<u32>>) -> Self {
        Targets::Sequences(sequences)
    }
}

impl From<Vec<f32>> for Targets {
    fn from(values: Vec<f32>) -> Self {
        Targets::Values(values)
    }
}

/// The state before the first step.
///
/// ```
/// use recurrent::{BatchShape, Config, InputKind, Model, Sequences, Start};
/// let model = Model::new(Config::gru(InputKind::Dense(1), 4, 1))?;
/// let sequences = Sequences::dense(BatchShape { steps: 3, batch_size: 1 }, vec![0.1, 0.2, 0.3]);
/// let carried = sequences.clone().with_start(Start::Carry); // from where the window before ended
/// let given = sequences.with_start(Start::Given(model.initial_state(1)?));
/// # assert_ne!(carried, given);
/// # Ok::<(), recurrent::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Start {
    /// The network's initial state: the learned one where it has one, else zeros.
    Initial,
    /// The final state of the previous window, which stays on the device; no gradient crosses the border.
    Carry,
    /// This state, of as many sequences.
    Given(State),
}

/// B sequences side by side, T steps long, for a network to read.
///
/// ```
/// use recurrent::{BatchShape, Config, Device, InputKind, Model, Predictor, Sequences};
/// let model = Model::new(Config::lstm(InputKind::Tokens(5), 8, 5))?;
/// // Two sequences of three and two steps, time outermost; what is behind the second is padding.
/// let sequences = Sequences::tokens(BatchShape { steps: 3, batch_size: 2 }, vec![0, 4, 1, 3, 2, 0]);
/// let answer = Predictor::new(&Device::cpu(), &model)?.run(&sequences.with_lengths(vec![3, 2]))?;
/// assert_eq!(answer.outputs.len(), 3 * 2 * 5);
/// # Ok::<(), recurrent::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Sequences {
    /// T.
    pub steps: usize,
    /// B.
    pub batch_size: usize,
    /// What is read.
    pub inputs: Inputs,
    /// What is read beside it, of each of the network's columns.
    pub columns: Vec<InputColumn>,
    /// `[B]`: how many steps of each sequence are valid, from 1 to T; `None` where all are. What lies behind them is
    /// padding: it must have the form of an input, and nothing comes of it.
    pub lengths: Option<Vec<usize>>,
    /// Before which steps of which sequences the state goes back to the network's initial state, (step, sequence) each,
    /// ascending.
    pub resets: Vec<(usize, usize)>,
    /// The state before the first step.
    pub start: Start,
}

impl Sequences {
    /// `[T, B]` ids to read, every step of them, from a state of zeros or the learned one.
    pub fn tokens(shape: BatchShape, tokens: Vec<u32>) -> Self {
        Self::new(shape, Inputs::Tokens(tokens))
    }

    /// `[T, B, I]` numbers to read, every step of them, from a state of zeros or the learned one.
    pub fn dense(shape: BatchShape, inputs: Vec<f32>) -> Self {
        Self::new(shape, Inputs::Dense(inputs))
    }

    /// `[T, B]` ids or `[T, B, I]` numbers to read, every step of them, from the network's initial state.
    pub fn new(BatchShape { steps, batch_size }: BatchShape, inputs: Inputs) -> Self {
        let (columns, resets) = (Vec::new(), Vec::new());
        Sequences { steps, batch_size, inputs, columns, lengths: None, resets, start: Start::Initial }
    }

    /// Returns T and B.
    pub fn shape(&self) -> BatchShape {
        BatchShape { steps: self.steps, batch_size: self.batch_size }
    }

    /// The same, of which only so many steps of each sequence are valid: `[B]`.
    pub fn with_lengths(self, lengths: Vec<usize>) -> Self {
        Sequences { lengths: Some(lengths), ..self }
    }

    /// The same, with other inputs.
    pub fn with_inputs(self, inputs: Inputs) -> Self {
        Sequences { inputs, ..self }
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
    /// Some of these numbers.
    OnDevice(&'a DeviceSlice, usize, usize),
}

impl Inputs {
    pub(crate) fn borrowed(&self) -> InputsRef<'_> {
        match self {
            Inputs::Tokens(ids) => InputsRef::Tokens(ids),
            Inputs::Dense(x) => InputsRef::Dense(x),
            Inputs::OnDevice(x) => InputsRef::OnDevice(x, 0, x.len()),
        }
    }
}

impl<'a> InputsRef<'a> {
    /// Of so many steps, `steps` from `first` on.
    fn part(self, all: usize, first: usize, steps: usize) -> Self {
        let range = |len: usize| first * (len / all)..(first + steps) * (len / all);
        match self {
            InputsRef::Tokens(ids) => InputsRef::Tokens(&ids[range(ids.len())]),
            InputsRef::Dense(x) => InputsRef::Dense(&x[range(x.len())]),
            InputsRef::OnDevice(x, start, len) => {
                let range = range(len);
                InputsRef::OnDevice(x, start + range.start, range.len())
            }
        }
    }

    /// Checks that a network of this configuration can read them as `steps` steps of `batch_size` sequences.
    pub(crate) fn check(self, config: &Config, steps: usize, batch_size: usize) -> Result<()> {
        match (self, config.input) {
            (InputsRef::Tokens(_), InputKind::Dense(_)) => {
                Err(wrong_kind("model reads dense inputs", "the inputs are tokens"))
            }
            (InputsRef::Dense(_) | InputsRef::OnDevice(..), InputKind::Tokens(_)) => {
                Err(wrong_kind("model reads tokens", "the inputs are dense"))
            }
            (inputs, input) => inputs.check_as("inputs", input, steps, batch_size),
        }
    }

    /// Checks the values of an argument of the right kind.
    fn check_as(self, argument: impl Display + Copy, input: InputKind, steps: usize, batch_size: usize) -> Result<()> {
        match self {
            InputsRef::Tokens(ids) => {
                check_len(argument, &[steps, batch_size], ids.len())?;
                check_ids(ids, input.size(), "tokens", |at| position(argument, at, batch_size))
            }
            InputsRef::Dense(values) => {
                check_len(argument, &[steps, batch_size, input.size()], values.len())?;
                check_finite(argument, values)
            }
            InputsRef::OnDevice(slice, _, len) => {
                check_len(argument, &[steps, batch_size, input.size()], len)?;
                slice.check_readable(&argument.to_string())
            }
        }
    }
}

/// One window of T steps over B sequences, with what is expected of it.
///
/// ```
/// use recurrent::{Batch, BatchShape};
/// // Two sequences of three steps: (0, 1, 2) and (3, 4, 0), each to be followed by its next token.
/// let shape = BatchShape { steps: 3, batch_size: 2 };
/// let batch = Batch::tokens(shape, vec![0, 3, 1, 4, 2, 0], vec![1, 4, 2, 0, 3, 1]);
/// // The first step, which has seen too little, does not count.
/// let batch = batch.with_loss_mask(vec![false, false, true, true, true, true]);
/// # assert_eq!(batch.sequences.shape(), shape);
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Batch {
    /// What is read.
    pub sequences: Sequences,
    /// What is expected.
    pub targets: Targets,
    /// `[R]`: which positions count in the loss, or `[R, N]`: which of their numbers; `None`: all that are not padding.
    /// Of targets that are sequences of labels R is B.
    pub loss_mask: Option<Vec<bool>>,
    /// `[R]` or `[R, N]`: how much each of them counts, at least 0; `None`: all alike.
    pub loss_weights: Option<Vec<f32>>,
    /// What is expected of each of the network's heads.
    pub heads: Vec<HeadTargets>,
}

impl Batch {
    /// `[T, B]` ids to read and `[R]` classes expected; every position counts.
    pub fn tokens(shape: BatchShape, tokens: Vec<u32>, targets: Vec<u32>) -> Self {
        let sequences = Sequences::tokens(shape, tokens);
        Self::new(sequences, Targets::Classes(targets))
    }

    /// `[T, B, I]` numbers to read, time outermost; every position counts. Of whole sequences one behind the other
    /// [`Batch::pad`] makes that.
    pub fn dense(shape: BatchShape, inputs: Vec<f32>, targets: impl Into<Targets>) -> Self {
        Self::new(Sequences::dense(shape, inputs), targets.into())
    }

    /// Sequences to read and what is expected of them; every position counts that is no padding.
    pub fn new(sequences: Sequences, targets: Targets) -> Self {
        Batch { sequences, targets, loss_mask: None, loss_weights: None, heads: Vec::new() }
    }

    /// The same, with other targets.
    pub fn with_targets(self, targets: Targets) -> Self {
        Batch { targets, ..self }
    }

    /// The same, of which only so many steps of each sequence are valid: `[B]`.
    pub fn with_lengths(self, lengths: Vec<usize>) -> Self {
        Batch { sequences: self.sequences.with_lengths(lengths), ..self }
    }

    /// The same, read from another state.
    pub fn with_start(self, start: Start) -> Self {
        Batch { sequences: self.sequences.with_start(start), ..self }
    }

    /// The same, of which only some positions count in the loss, `[R]`, or some of their numbers, `[R, N]`.
    pub fn with_loss_mask(self, mask: Vec<bool>) -> Self {
        Batch { loss_mask: Some(mask), ..self }
    }

    /// The same, of which every position counts so much in the loss, `[R]`, or every number of one, `[R, N]`; what has
    /// a weight of 0 does not count at all.
    ///
    /// ```
    /// use recurrent::{Batch, BatchShape, Targets};
    /// let shape = BatchShape { steps: 2, batch_size: 1 };
    /// let batch = Batch::dense(shape, vec![0.1, 0.2], Targets::Values(vec![0.2, f32::NAN]));
    /// let batch = batch.with_loss_weights(vec![2.0, 0.0]); // what is missing weighs nothing
    /// # assert!(batch.loss_weights.is_some());
    /// ```
    pub fn with_loss_weights(self, weights: Vec<f32>) -> Self {
        Batch { loss_weights: Some(weights), ..self }
    }

    /// The same, of whose B sequences each counts so much in the loss at all of its `rows` positions: T of a network
    /// that is read out at every step, else 1.
    pub fn with_sequence_weights(self, weights: &[f32], rows: usize) -> Self {
        self.with_loss_weights(weights.repeat(rows))
    }

    /// The same, with what is expected of a head.
    pub fn with_head(mut self, head: HeadTargets) -> Self {
        self.heads.push(head);
        self
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
    /// sequence of no valid steps or of more than T; and for a reset at a step that its sequence does not have, or out
    /// of order, or any where the network pools whole sequences.
    pub fn check(&self, config: &Config) -> Result<()> {
        self.shape().check()?;
        // Inputs come first: once their length is right, T·B cannot overflow.
        self.inputs.borrowed().check(config, self.steps, self.batch_size)?;
        check_columns(&self.columns, config, self.steps, self.batch_size)?;
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
        self.check_resets(config)?;
        match &self.start {
            Start::Given(state) => state.check("start", config, self.batch_size),
            Start::Carry => match config.read_from_end() {
                None => Ok(()),
                Some(layer) => Err(Error::Data(format!(
                    "the sequences carry on from the window before, but {layer}: what it knows of the other end is \
                     not in that window, so give it whole sequences"
                ))),
            },
            Start::Initial => Ok(()),
        }
    }

    /// All steps.
    pub(crate) fn span(&self) -> Span<'_> {
        let (steps, batch_size, inputs) = (self.steps, self.batch_size, self.inputs.borrowed());
        let columns = SpanColumns { columns: &self.columns, first: 0, all: steps };
        let (lengths, resets) = (self.lengths.as_deref(), &self.resets[..]);
        Span { steps, batch_size, inputs, columns, lengths, resets, before: 0 }
    }

    /// How many steps of sequence `b` are valid.
    pub(crate) fn length(&self, b: usize) -> usize {
        self.lengths.as_ref().and_then(|lengths| lengths.get(b)).copied().unwrap_or(self.steps)
    }
}

/// Element `at` of a `[T, B]` argument, as an error names it.
fn position(argument: impl Display, at: usize, batch_size: usize) -> String {
    format!("{argument}[{at}] (step {}, sequence {})", at / batch_size, at % batch_size)
}

fn check_ids(ids: &[u32], allowed: usize, of: &str, place: impl Fn(usize) -> String) -> Result<()> {
    match ids.iter().position(|&id| id as usize >= allowed) {
        Some(at) => Err(id_out_of_range(ids[at], allowed, of, &place(at))),
        None => Ok(()),
    }
}

fn id_out_of_range(id: u32, allowed: usize, of: &str, place: &str) -> Error {
    Error::Data(format!("{place} is id {id}, but the model has {allowed} {of}, counted from 0"))
}

pub(crate) fn check_len(argument: impl Display, shape: &[usize], given: usize) -> Result<()> {
    // An overflowing product is the length of nothing.
    let expected = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    if expected == Some(given) { Ok(()) } else { Err(Error::shape(&argument.to_string(), shape, &[given])) }
}

fn check_finite<T: Float + Display>(argument: impl Display, values: &[T]) -> Result<()> {
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
