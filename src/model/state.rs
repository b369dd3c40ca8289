//! The state of sequences between two steps: what a stream, a predictor and a trainer return and take.
//!
//! The contract: a state knows its own shape, so it needs no configuration to be read, and one of another network is
//! refused where it is given.

use super::{Config, Layer, find_not_finite};
use crate::error::{Error, Result};

/// The state of B sequences: h of every recurrent layer, and c where its cell has one.
///
/// ```
/// use recurrent::{Config, Device, InputKind, Model, Recurrent, StreamingPredictor};
/// let config = Config::new(InputKind::Dense(3)).layer(Recurrent::lstm(8)).layer(Recurrent::gru(5)).outputs(2);
/// let mut stream = StreamingPredictor::new(&Device::cpu(), &Model::new(config)?, 1)?;
/// stream.step(&[0.1, 0.2, 0.3])?;
/// let state = stream.state()?;
/// assert_eq!(state.c(0).map(<[f32]>::len), Some(8)); // of one sequence, eight units
/// assert_eq!((state.h(1).map(<[f32]>::len), state.c(1)), (Some(5), None));
/// stream.step(&[0.3, 0.2, 0.1])?;
/// stream.set_state(&state)?; // as if the second step had never been
/// # Ok::<(), recurrent::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    shape: StateShape,
    batch_size: usize,
    values: Vec<f32>,
}

/// Which states a network has, in the order in which they lie: h of all recurrent layers from the lowest up, then c of
/// those that have one; each `[B, D·H]`, h of a layer with a projection `[B, D·P]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StateShape {
    parts: Vec<StatePart>,
}

/// One state of one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StatePart {
    /// Which layer of the network.
    pub layer: usize,
    /// 0 for h, 1 for c.
    pub kind: usize,
    /// D.
    pub directions: usize,
    /// D·H, of h with a projection D·P.
    pub width: usize,
    /// The widths of those before it.
    pub before: usize,
}

impl StatePart {
    /// What it is called in a checkpoint.
    pub fn name(&self) -> String {
        format!("state.{}.{}", if self.kind == 0 { "h" } else { "c" }, self.layer)
    }

    /// Where that of one of so many sequences lies.
    pub fn row(&self, sequence: usize, batch_size: usize) -> std::ops::Range<usize> {
        let first = self.before * batch_size + sequence * self.width;
        first..first + self.width
    }

    /// Where it lies in the state of so many sequences.
    pub fn range(&self, batch_size: usize) -> std::ops::Range<usize> {
        self.before * batch_size..(self.before + self.width) * batch_size
    }
}

impl StateShape {
    pub fn new(config: &Config) -> Self {
        StateShape { parts: Self::of(config).collect() }
    }

    fn of(config: &Config) -> impl Iterator<Item = StatePart> {
        let of_kind = move |kind| {
            config.layers.iter().enumerate().filter_map(move |(layer, record)| {
                let Layer::Recurrent(recurrent) = record else { return None };
                let (directions, width) = (recurrent.directions.count(), recurrent.state_width(kind));
                let part = StatePart { layer, kind, directions, width, before: 0 };
                (kind < recurrent.cell.states()).then_some(part)
            })
        };
        of_kind(0).chain(of_kind(1)).scan(0usize, |next, part| {
            let before = *next;
            *next = before.saturating_add(part.width);
            Some(StatePart { before, ..part })
        })
    }

    pub fn parts(&self) -> &[StatePart] {
        &self.parts
    }

    /// The state of a kind of a layer of the network.
    pub fn find(&self, layer: usize, kind: usize) -> Option<&StatePart> {
        self.parts.iter().find(|part| part.layer == layer && part.kind == kind)
    }

    /// How many numbers the state of one sequence has.
    pub fn width(&self) -> usize {
        self.parts.last().map_or(0, |last| last.before.saturating_add(last.width))
    }

    /// In words: what the state of so many sequences is.
    fn describe(&self, batch_size: usize) -> String {
        let part = |part: &StatePart| {
            let name = if part.kind == 0 { "h" } else { "c" };
            let ways = if part.directions == 1 { "" } else { " of both directions" };
            format!("{name} [{batch_size}, {}]{ways} of layer {}", part.width, part.layer)
        };
        self.parts.iter().map(part).collect::<Vec<_>>().join(", ")
    }
}

impl State {
    /// Makes a state of `batch_size` sequences: h `[B, D·H]` of all recurrent layers from the lowest up, `[B, D·P]` of
    /// those with a projection, then c `[B, D·H]` of those that have one.
    ///
    /// # Errors
    /// [`Error::Config`] for no sequences, [`Error::Shape`] for another number of values, [`Error::Data`] for one that
    /// is not finite.
    pub fn new(config: &Config, batch_size: usize, values: Vec<f32>) -> Result<Self> {
        if batch_size == 0 {
            return Err(Error::Config("the state is of 0 sequences, expected at least 1".to_owned()));
        }
        let shape = StateShape::new(config);
        if shape.width().checked_mul(batch_size) != Some(values.len()) {
            return Err(Error::shape("state", &[batch_size, shape.width()], &[values.len()]));
        }
        let state = State { shape, batch_size, values };
        state.check_finite()?;
        Ok(state)
    }

    /// A state of values that have the shape, and of numbers that need not be finite.
    pub(crate) fn of(config: &Config, batch_size: usize, values: Vec<f32>) -> Self {
        let shape = StateShape::new(config);
        debug_assert_eq!(shape.width() * batch_size, values.len());
        State { shape, batch_size, values }
    }

    /// The state of so many sequences that are all as the one of this state.
    pub(crate) fn repeat(&self, batch_size: usize) -> Self {
        let rows = self.shape.parts.iter().map(|part| &self.values[part.range(1)]);
        let values = rows.flat_map(|row| row.repeat(batch_size)).collect();
        State { shape: self.shape.clone(), batch_size, values }
    }

    /// Returns the number of sequences, B.
    pub fn batch_size(&self) -> usize {
        self.batch_size
    }

    /// Returns all values, in the order of [`State::new`].
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Returns `[B, D·H]`, with a projection `[B, D·P]`: h of a layer, counted from 0 as in [`Config::layers`], or
    /// `None` where that is none of the recurrent ones. Of both directions the units of the second stand behind those
    /// of the first.
    pub fn h(&self, layer: usize) -> Option<&[f32]> {
        self.part(layer, 0)
    }

    /// Returns `[B, D·H]`: c of a layer that is an LSTM.
    pub fn c(&self, layer: usize) -> Option<&[f32]> {
        self.part(layer, 1)
    }

    /// Returns the state of one sequence, or `None` where there is none of that number.
    ///
    /// ```
    /// use recurrent::{Config, InputKind, State};
    /// let config = Config::gru(InputKind::Dense(1), 2, 1);
    /// let mut state = State::new(&config, 2, vec![0.1, 0.2, 0.3, 0.4])?;
    /// let second = state.sequence(1).unwrap();
    /// assert_eq!(second.values(), [0.3, 0.4]);
    /// state.set_sequence(0, &second)?; // two sequences that go on from the same point
    /// assert_eq!(state.values(), [0.3, 0.4, 0.3, 0.4]);
    /// # Ok::<(), recurrent::Error>(())
    /// ```
    pub fn sequence(&self, sequence: usize) -> Option<State> {
        if sequence >= self.batch_size {
            return None;
        }
        let row = |part: &StatePart| &self.values[part.row(sequence, self.batch_size)];
        let values = self.shape.parts.iter().flat_map(row).copied().collect();
        Some(State { shape: self.shape.clone(), batch_size: 1, values })
    }

    /// Puts the state of one sequence in the place of another's.
    ///
    /// # Errors
    /// [`Error::Data`] for a sequence that is not there and for a state of another network, [`Error::Shape`] for one of
    /// several sequences.
    pub fn set_sequence(&mut self, sequence: usize, state: &State) -> Result<()> {
        if sequence >= self.batch_size {
            let count = self.batch_size;
            return Err(Error::Data(format!("the state has {count} sequences, none of number {sequence} from 0")));
        }
        if state.shape != self.shape {
            let (given, expected) = (state.shape.describe(state.batch_size), self.shape.describe(1));
            return Err(Error::Data(format!("state is {given}; expected {expected}")));
        }
        if state.batch_size != 1 {
            let width = self.shape.width();
            return Err(Error::shape("state", &[1, width], &[state.batch_size, width]));
        }
        for part in &self.shape.parts {
            self.values[part.row(sequence, self.batch_size)].copy_from_slice(&state.values[part.range(1)]);
        }
        Ok(())
    }

    /// Every state of every layer: what it is called in a checkpoint, `[B, D·H]`, and its values.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (String, [usize; 2], &[f32])> {
        let of =
            |part: &StatePart| (part.name(), [self.batch_size, part.width], &self.values[part.range(self.batch_size)]);
        self.shape.parts.iter().map(of)
    }

    fn part(&self, layer: usize, kind: usize) -> Option<&[f32]> {
        self.shape.find(layer, kind).map(|part| &self.values[part.range(self.batch_size)])
    }

    /// Checks that it is a state of so many sequences of a network.
    pub(crate) fn check(&self, argument: &str, config: &Config, batch_size: usize) -> Result<()> {
        // A stream's step does this, and allocates nothing.
        if !self.shape.parts.iter().copied().eq(StateShape::of(config)) {
            let (given, expected) = (self.shape.describe(self.batch_size), StateShape::new(config));
            return Err(Error::Data(format!("{argument} is {given}; expected {}", expected.describe(batch_size))));
        }
        if self.batch_size != batch_size {
            let width = self.shape.width();
            return Err(Error::shape(argument, &[batch_size, width], &[self.batch_size, width]));
        }
        self.check_finite().map_err(|error| error.inside(argument))
    }

    /// Returns whether all values are finite.
    pub(crate) fn is_finite(&self) -> bool {
        find_not_finite(&self.values).is_none()
    }

    fn check_finite(&self) -> Result<()> {
        match find_not_finite(&self.values) {
            Some((at, value)) => Err(Error::Data(format!("element {at} of the state is {value}"))),
            None => Ok(()),
        }
    }
}
