//! Inference in real time: one sequence, step by step or in blocks, in a thread that must not wait.
//!
//! The contract: after [`RealTimePredictor::new`] the calls that say so allocate nothing, take no lock, call no system,
//! start no thread and do not panic, and a signal that fades away does not slow them down.

use std::sync::Arc;

use crate::cpu::realtime::{Network, Read, Voice, compile};
use crate::error::{Error, Result};
use crate::model::{Config, Model, State};

/// A model compiled for the CPU, which reads one sequence in real time.
///
/// Its weights lie in the order in which a step reads them, and nothing is left to decide in a step. It computes
/// what [`StreamingPredictor`](crate::StreamingPredictor) does, up to roundings. A clone shares the weights and has a
/// state of its own: a voice of a synthesiser, a channel of a plug-in.
///
/// [`step`](RealTimePredictor::step), [`step_token`](RealTimePredictor::step_token),
/// [`block`](RealTimePredictor::block), [`reset`](RealTimePredictor::reset) and
/// [`set_state`](RealTimePredictor::set_state) may be called in an audio callback.
///
/// ```
/// use recurrent::{Config, InputKind, Model, RealTimePredictor};
/// let model = Model::new(Config::lstm(InputKind::Dense(1), 24, 1))?; // or Model::load(path)
/// let mut left = RealTimePredictor::new(&model)?;
/// let mut right = left.clone();
/// // In the callback: a block of samples of each channel.
/// let (input, mut output) = ([0.1; 64], [0.0; 64]);
/// left.block(&input, &mut output)?;
/// right.block(&input, &mut output)?;
/// # Ok::<(), recurrent::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct RealTimePredictor {
    network: Arc<Network>,
    config: Arc<Config>,
    start: Arc<State>,
    voice: Voice,
}

impl RealTimePredictor {
    /// Compiles a model and sets it to its initial state.
    ///
    /// # Errors
    /// [`Error::Config`] for a model with layers that read from the end, with columns, heads or a pool of all steps.
    pub fn new(model: &Model) -> Result<Self> {
        Self::compiled(model, false)
    }

    /// The same with every matrix in eight bits, a quarter of the memory: each row in multiples of its largest
    /// magnitude over 127. Sums, biases and states stay f32. It computes what the model that
    /// [`Model::rounded_to_int8`] returns does, up to roundings.
    ///
    /// # Errors
    /// Same as [`RealTimePredictor::new`].
    pub fn with_int8_weights(model: &Model) -> Result<Self> {
        Self::compiled(model, true)
    }

    fn compiled(model: &Model, is_int8: bool) -> Result<Self> {
        let (network, start) = (compile(model, is_int8)?, model.initial_state(1)?);
        let voice = network.voice(&start);
        let (network, config, start) = (Arc::new(network), Arc::new(model.config().clone()), Arc::new(start));
        Ok(RealTimePredictor { network, config, start, voice })
    }

    /// Reads one step, `[I]` numbers, and writes the outputs, `[O]` (before any softmax). In real time.
    ///
    /// # Errors
    /// Where x or y has another length, where a number is not finite, or where the model reads tokens: nothing is read
    /// then, the state stays as it was, and y is zeros.
    pub fn step(&mut self, x: &[f32], y: &mut [f32]) -> Result<(), Refused> {
        let expected = self.network.outputs();
        if y.len() != expected {
            return refuse(y, Refused::Outputs { given: y.len(), expected });
        }
        self.steps(1, x, y)
    }

    /// Reads a block of steps one after the other, `[n, I]` numbers, and writes the outputs of each, `[n, O]`: the same
    /// as so many times [`RealTimePredictor::step`]. In real time.
    ///
    /// # Errors
    /// Same as [`RealTimePredictor::step`].
    pub fn block(&mut self, x: &[f32], y: &mut [f32]) -> Result<(), Refused> {
        let outputs = self.network.outputs();
        let steps = y.len() / outputs;
        if steps * outputs != y.len() {
            return refuse(y, Refused::Outputs { given: y.len(), expected: steps * outputs });
        }
        self.steps(steps, x, y)
    }

    /// Reads so many steps, for whose outputs there is room.
    #[inline]
    fn steps(&mut self, steps: usize, x: &[f32], y: &mut [f32]) -> Result<(), Refused> {
        let Some(features) = self.network.features() else { return refuse(y, Refused::Tokens) };
        let expected = steps.saturating_mul(features);
        if x.len() != expected {
            return refuse(y, Refused::Inputs { given: x.len(), expected });
        }
        if let Some(at) = x.iter().position(|x| !x.is_finite()) {
            return refuse(y, Refused::NotFinite { at });
        }
        self.network.run(&mut self.voice, Read::Numbers(x), y);
        Ok(())
    }

    /// Reads one token and writes the outputs, `[O]` (before any softmax). In real time.
    ///
    /// # Errors
    /// Where y has another length, where the token is none of the model's, or where the model reads numbers: nothing
    /// is read then, the state stays as it was, and y is zeros.
    pub fn step_token(&mut self, token: u32, y: &mut [f32]) -> Result<(), Refused> {
        let Some(tokens) = self.network.tokens() else { return refuse(y, Refused::Numbers) };
        let expected = self.network.outputs();
        if y.len() != expected {
            return refuse(y, Refused::Outputs { given: y.len(), expected });
        }
        if token as usize >= tokens {
            return refuse(y, Refused::Token { token, tokens });
        }
        self.network.run(&mut self.voice, Read::Tokens(&[token]), y);
        Ok(())
    }

    /// Goes back to the initial state. In real time.
    pub fn reset(&mut self) {
        self.network.set_state(&mut self.voice, &self.start);
    }

    /// Goes on from another state, of one sequence. In real time, but for a state that is refused.
    ///
    /// # Errors
    /// [`Error::Shape`] and [`Error::Data`] for a state of another network or
    /// of several sequences, and for a number that is not finite.
    pub fn set_state(&mut self, state: &State) -> Result<()> {
        state.check("state", &self.config, 1)?;
        self.network.set_state(&mut self.voice, state);
        Ok(())
    }

    /// Returns the state after the last step. It allocates.
    ///
    /// # Errors
    /// [`Error::Data`] where it is no longer finite.
    pub fn state(&self) -> Result<State> {
        State::new(&self.config, 1, self.network.state(&self.voice))
    }

    /// Returns the configuration of the model.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Returns how many bytes the weights take, which clones share.
    pub fn weight_bytes(&self) -> usize {
        self.network.bytes()
    }
}

/// Why a step in real time was not taken: an error that allocates nothing.
///
/// ```
/// use recurrent::{Config, InputKind, Model, RealTimePredictor, realtime::Refused};
/// let mut predictor = RealTimePredictor::new(&Model::new(Config::gru(InputKind::Dense(2), 8, 1))?)?;
/// let refused = predictor.step(&[0.5], &mut [0.0]).unwrap_err();
/// assert_eq!(refused, Refused::Inputs { given: 1, expected: 2 });
/// # Ok::<(), recurrent::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// There are more or fewer numbers than the outputs need.
    #[error("x has {given} numbers, expected {expected} for these outputs")]
    Inputs {
        /// How many there are.
        given: usize,
        /// How many are needed.
        expected: usize,
    },
    /// There is room for more or fewer outputs than a step or a whole number of them has.
    #[error("y has room for {given} numbers, expected {expected}")]
    Outputs {
        /// How many there is room for.
        given: usize,
        /// How many it should have.
        expected: usize,
    },
    /// A number that is read is not finite.
    #[error("element {at} of x is not finite")]
    NotFinite {
        /// Which one.
        at: usize,
    },
    /// The token is none of the model's.
    #[error("token {token} is read, but the model has {tokens}, counted from 0")]
    Token {
        /// The token.
        token: u32,
        /// How many there are.
        tokens: usize,
    },
    /// Numbers are to be read, but the model reads tokens.
    #[error("the model reads tokens, expected `step_token`")]
    Tokens,
    /// A token is to be read, but the model reads numbers.
    #[error("the model reads numbers, expected `step` or `block`")]
    Numbers,
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        Error::Data(refused.to_string())
    }
}

/// Zeros, which are silence, in place of outputs.
#[cold]
fn refuse(y: &mut [f32], why: Refused) -> Result<(), Refused> {
    y.fill(0.0);
    Err(why)
}
