//! The state of sequences between two steps: what a stream, a predictor and a trainer return and take.
//!
//! The contract: a state knows its own shape, so it needs no configuration to be read, and one of another network is
//! refused where it is given.

use super::{Config, find_not_finite};
use crate::error::{Error, Result};

/// The state of B sequences: h of every layer, and c where the cell has one.
///
/// ```
/// use recurrent::{Config, Device, InputKind, Model, StreamingPredictor};
/// let model = Model::new(Config::lstm(InputKind::Dense(3), 8, 2).with_layers(2))?;
/// let mut stream = StreamingPredictor::new(&Device::cpu(), &model, 1)?;
/// stream.step(&[0.1, 0.2, 0.3])?;
/// let state = stream.state()?;
/// assert_eq!(state.shape(), [2, 2, 1, 8]); // h and c, two layers, one sequence, eight units
/// assert_eq!(state.c(1).map(<[f32]>::len), Some(8));
/// stream.step(&[0.3, 0.2, 0.1])?;
/// stream.set_state(&state)?; // as if the second step had never been
/// # Ok::<(), recurrent::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// S, L, B, D·H.
    shape: [usize; 4],
    /// D.
    directions: usize,
    values: Vec<f32>,
}

impl State {
    /// Makes a state of `batch_size` sequences of `[S, L, B, D·H]` values, the shape that [`Config::state_shape`]
    /// returns.
    ///
    /// # Errors
    /// [`Error::Config`] for no sequences, [`Error::Shape`] for another number of values, [`Error::Data`] for one that
    /// is not finite.
    pub fn new(config: &Config, batch_size: usize, values: Vec<f32>) -> Result<Self> {
        if batch_size == 0 {
            return Err(Error::Config("the state is of 0 sequences, expected at least 1".to_owned()));
        }
        let shape = config.state_shape(batch_size);
        if shape.iter().try_fold(1usize, |len, size| len.checked_mul(*size)) != Some(values.len()) {
            return Err(Error::shape("state", &shape, &[values.len()]));
        }
        let state = Self::of(config, batch_size, values);
        state.check_finite()?;
        Ok(state)
    }

    /// A state of values that have the shape, and of numbers that need not be finite.
    pub(crate) fn of(config: &Config, batch_size: usize, values: Vec<f32>) -> Self {
        let shape = config.state_shape(batch_size);
        debug_assert_eq!(shape.iter().product::<usize>(), values.len());
        State { shape, directions: config.directions.count(), values }
    }

    /// Returns the number of sequences, B.
    pub fn batch_size(&self) -> usize {
        self.shape[2]
    }

    /// Returns `[S, L, B, D·H]`: how many states a layer has (an LSTM's are h and c), layers, sequences, and units of
    /// both directions.
    pub fn shape(&self) -> [usize; 4] {
        self.shape
    }

    /// Returns `[S, L, B, D·H]`: all values.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Returns `[B, D·H]`: h of a layer, counted from 0, or `None` where the network has none such. Of both directions
    /// the units of the second stand behind those of the first.
    pub fn h(&self, layer: usize) -> Option<&[f32]> {
        self.part(0, layer)
    }

    /// Returns `[B, D·H]`: c of a layer of an LSTM.
    pub fn c(&self, layer: usize) -> Option<&[f32]> {
        self.part(1, layer)
    }

    fn part(&self, kind: usize, layer: usize) -> Option<&[f32]> {
        let [kinds, layers, batch, width] = self.shape;
        if kind >= kinds || layer >= layers {
            return None;
        }
        self.values.chunks_exact(batch * width).nth(kind * layers + layer)
    }

    /// Checks that it is a state of so many sequences of a network.
    pub(crate) fn check(&self, argument: &str, config: &Config, batch_size: usize) -> Result<()> {
        let expected = config.state_shape(batch_size);
        if self.shape == expected && self.directions == config.directions.count() {
            self.check_finite().map_err(|error| error.inside(argument))
        } else {
            Err(Error::shape(argument, &expected, &self.shape))
        }
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
