//! What a network is: its configuration, its named parameters and their values on the host.
//!
//! Nothing here computes: a [`Model`] is data that a plan is made from and an executor is filled with.
//!
//! Symbols and shapes are those of [the vocabulary](crate::guide::vocabulary).

mod activation;
pub(crate) mod cells;
mod check;
mod config;
mod head;
mod init;
mod input;
pub(crate) mod int8;
mod layers;
mod modules;
mod parameters;
mod read_outs;
mod shape;
mod state;

pub use activation::Activation;
#[cfg(feature = "gpu")]
pub(crate) use cells::Record;
pub use cells::{Cell, GateActivation, Reset};
pub(crate) use cells::{Saved, table};
pub use config::{Config, Init};
pub use head::Head;
pub use input::{Column, InputKind};
pub use layers::{Dense, Directions, DropoutLayer, Embedding, Join, Layer, LayerNorm, Pool, Recurrent, Zoneout};
pub(crate) use modules::{HEAD, Module, is_read_out, modules};
pub(crate) use parameters::MAX_ELEMENTS;
pub use parameters::{Layout, Parameter};
pub(crate) use read_outs::ReadOut;
pub use shape::BatchShape;
pub(crate) use shape::{Rows, check_size};
pub use state::State;
pub(crate) use state::{StatePart, StateShape};

use crate::allocate::zeros;
use crate::error::{Error, Result};

/// What fails where there is no memory for a network.
pub(crate) const ALLOCATING: &str = "allocating the parameters of a network";

/// A network's configuration and the values of its parameters, on the host.
///
/// ```
/// use recurrent::{Config, InputKind, Model};
/// let model = Model::new(Config::elman(InputKind::Tokens(65), 128, 65))?;
/// assert_eq!(model.parameter("weight_hh_l0").map(<[f32]>::len), Some(128 * 128));
/// # Ok::<(), recurrent::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    config: Config,
    layout: Layout,
    /// All parameters, flat, as `layout` says; the gaps between tensors are zero.
    values: Vec<f32>,
}

impl Model {
    /// A network with freshly drawn parameters, the same for the same configuration (its seed included).
    ///
    /// # Errors
    /// [`Error::Config`] for a size of zero, [`Error::Limit`] for sizes whose product overflows, [`Error::OutOfMemory`]
    /// for parameters that the memory does not hold.
    pub fn new(config: Config) -> Result<Self> {
        let layout = Layout::new(&config)?;
        let values = init::draw(&config, &layout)?;
        Ok(Model { config, layout, values })
    }

    /// A network with the given parameters.
    ///
    /// `tensors` yields a name, a shape and the values, row by row.
    ///
    /// # Errors
    /// Same as [`Model::new`]; [`Error::Data`] for a tensor that is missing, unknown or given twice and for a value
    /// that is not finite; [`Error::Shape`] for one of another shape.
    pub fn from_tensors<'a>(
        config: Config,
        tensors: impl IntoIterator<Item = (&'a str, &'a [usize], &'a [f32])>,
    ) -> Result<Self> {
        let layout = Layout::new(&config)?;
        let mut values = zeros(layout.buffer_len(), ALLOCATING)?;
        let mut missing: Vec<&str> = layout.parameters().iter().map(|p| p.name.as_str()).collect();
        for (name, shape, given) in tensors {
            let parameter =
                layout.get(name).ok_or_else(|| Error::Data(format!("the model has no parameter `{name}`")))?;
            let Some(at) = missing.iter().position(|m| *m == name) else {
                return Err(Error::Data(format!("parameter `{name}` is given twice")));
            };
            missing.swap_remove(at);
            if shape != parameter.shape {
                return Err(Error::shape(name, &parameter.shape, shape));
            }
            if given.len() != parameter.len() {
                return Err(Error::shape(name, &[parameter.len()], &[given.len()]));
            }
            if let Some((at, value)) = find_not_finite(given) {
                return Err(Error::Data(format!("parameter `{name}` holds {value} at element {at}")));
            }
            values[parameter.range()].copy_from_slice(given);
        }
        if missing.is_empty() {
            Ok(Model { config, layout, values })
        } else {
            Err(Error::Data(format!("no values for the parameters {}", missing.join(", "))))
        }
    }

    pub(crate) fn from_flat(config: Config, layout: Layout, values: Vec<f32>) -> Self {
        debug_assert_eq!(layout.buffer_len(), values.len());
        Model { config, layout, values }
    }

    /// What the network is.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Names, shapes and places of the parameters.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The values of one parameter, row by row, or `None` where the model has none of that name.
    pub fn parameter(&self, name: &str) -> Option<&[f32]> {
        self.layout.get(name).map(|p| &self.values[p.range()])
    }

    /// Puts values in the place of those of one parameter, row by row: an embedding that was trained elsewhere, say.
    ///
    /// ```
    /// use recurrent::{Config, InputKind, Model, Recurrent};
    /// let config = Config::new(InputKind::Tokens(3)).embedding(2).layer(Recurrent::gru(4)).outputs(1);
    /// let mut model = Model::new(config)?;
    /// model.set_parameter("embedding.weight", &[0.1, 0.2, 0.3, 0.4, 0.5, 0.6])?;
    /// # assert_eq!(model.parameter("embedding.weight").unwrap()[5], 0.6);
    /// # Ok::<(), recurrent::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Data`] for a name that the model has not and for a value that is not finite, [`Error::Shape`] for
    /// another number of values. The model is then as it was.
    pub fn set_parameter(&mut self, name: &str, values: &[f32]) -> Result<()> {
        let parameter =
            self.layout.get(name).ok_or_else(|| Error::Data(format!("the model has no parameter `{name}`")))?;
        if values.len() != parameter.len() {
            return Err(Error::shape(name, &parameter.shape, &[values.len()]));
        }
        if let Some((at, value)) = find_not_finite(values) {
            return Err(Error::Data(format!("parameter `{name}` holds {value} at element {at}")));
        }
        self.values[parameter.range()].copy_from_slice(values);
        Ok(())
    }

    /// Returns the same network with every matrix rounded to eight bits: each row to the nearest of 255 multiples of
    /// its largest magnitude over 127. It is what
    /// [`RealTimePredictor::with_int8_weights`](crate::RealTimePredictor::with_int8_weights) computes with, in f32:
    /// measure it to know what eight bits cost.
    ///
    /// ```
    /// use recurrent::{Config, InputKind, Model};
    /// let model = Model::new(Config::gru(InputKind::Dense(3), 8, 1))?;
    /// let rounded = model.rounded_to_int8();
    /// let (exact, rounded) = (model.parameter("weight_hh_l0").unwrap(), rounded.parameter("weight_hh_l0").unwrap());
    /// assert!(exact.iter().zip(rounded).all(|(w, r)| (w - r).abs() <= 0.5 / 127.0));
    /// # Ok::<(), recurrent::Error>(())
    /// ```
    pub fn rounded_to_int8(&self) -> Self {
        let mut rounded = self.clone();
        for parameter in self.layout.parameters() {
            // An initial state has a row for each layer, and is no matrix.
            if let ([_, columns], false) = (&parameter.shape[..], parameter.name.ends_with("_0")) {
                rounded.values[parameter.range()].chunks_exact_mut(*columns).for_each(int8::round);
            }
        }
        rounded
    }

    /// All parameters in order: name, shape, values.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &[usize], &[f32])> {
        self.layout.parameters().iter().map(|p| (p.name.as_str(), p.shape.as_slice(), &self.values[p.range()]))
    }

    /// Returns the state of `batch_size` sequences before their first step, learned or zero.
    ///
    /// # Errors
    /// [`Error::Config`] for no sequences, [`Error::OutOfMemory`].
    pub fn initial_state(&self, batch_size: usize) -> Result<State> {
        let shape = StateShape::new(&self.config);
        let len = shape.width().saturating_mul(batch_size);
        let mut values = zeros(len, "allocating the initial state of a network")?;
        for module in modules(&self.config) {
            for (kind, name) in ["h_0", "c_0"].into_iter().enumerate() {
                let Some(learned) = self.parameter(&format!("{}{name}", module.prefix)) else { continue };
                let rows = learned.chunks_exact(learned.len() / module.layers.len());
                for (layer, row) in module.layers.clone().zip(rows) {
                    let Some(part) = shape.find(layer, kind) else { continue };
                    values[part.range(batch_size)].chunks_exact_mut(row.len()).for_each(|out| out.copy_from_slice(row));
                }
            }
        }
        State::new(&self.config, batch_size, values)
    }

    /// All parameters in one flat slice, as [`Layout`] places them.
    pub fn values(&self) -> &[f32] {
        &self.values
    }
}

pub(crate) fn find_not_finite(values: &[f32]) -> Option<(usize, f32)> {
    values.iter().copied().enumerate().find(|(_, v)| !v.is_finite())
}
