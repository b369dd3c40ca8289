//! Checkpoints: a network, and all that its training needs to go on exactly, in one safetensors file.
//!
//! The contract: a file is replaced whole or left as it was, and every number survives bit for bit; what is loaded has
//! been checked against its own configuration, and any other file is an [`Error::Checkpoint`].
//!
//! | tensor (F32) | shape | what |
//! |---|---|---|
//! | `weight_ih_l0` … `bias` | as in [`Layout`] | the parameters, under PyTorch's names |
//! | `moments.0.<parameter>`, `moments.1.<parameter>` | as the parameter | what the optimiser remembers |
//! | `state` | `[S, L, B, D·H]` | the state that the next window carries on from |
//!
//! The metadata has one key, `recurrent`: JSON with the `format` (a number), the `config`, `training` (recipe, steps
//! done, names of what is frozen and, in half precision, `loss_scale`; or null) and the application's `notes`.
//!
//! A header (names, shapes and metadata) of more than 16 MiB is refused before it is looked at, and one of objects or
//! arrays of more than 131,072 entries. A file of another format is an error that says which, and what to do.
//!
//! Files of other programs, which hold a network's parameters and nothing else that is known of them, are read by
//! [`Model::import`] and written by [`Model::export`], under whatever [`Names`] they have there.

mod container;
mod decode;
mod encode;
mod family;
mod file;
mod lock;
mod pytorch;
mod strict;
mod tensors;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;

use serde::{Deserialize, Serialize};

use encode::{Encoded, Tensor, named_tensors};
pub use lock::Lock;
pub use pytorch::Names;

use crate::error::{Error, Result};
use crate::model::{Config, Layout, Model};
use crate::plan::{Recipe, UpdateLossScale};

/// The version of the metadata that is written.
const FORMAT: u64 = 3;
/// The oldest version that is read: format 2 has other names for some settings.
const OLDEST_FORMAT: u64 = 2;
/// The metadata's only key.
const KEY: &str = "recurrent";
/// What stands for the path of a checkpoint that is no file.
const MEMORY: &str = "<memory>";
/// What is wrong with a checkpoint, before it is known by which path.
type Checked<T> = std::result::Result<T, String>;

/// Why a checkpoint could not be read or written.
enum Fault {
    /// What is wrong with it, as in [`Checked`].
    Wrong(String),
    /// What does not lie with it: memory.
    Other(Error),
}

impl From<String> for Fault {
    fn from(what: String) -> Self {
        Fault::Wrong(what)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Fault::Other(error)
    }
}

/// A network, and optionally where its training stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// The network.
    pub model: Model,
    /// What exact resumption needs; `None` for a network alone.
    pub training: Option<Training>,
    /// The application's own: an alphabet, a position in a text.
    pub notes: BTreeMap<String, String>,
}

/// Where a training stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Training {
    /// How the network is trained.
    pub recipe: Recipe,
    /// Steps done.
    pub steps: u64,
    /// The names of the parameters that are not trained, see [`crate::Trainer::freeze`].
    pub frozen: Vec<String>,
    /// What the optimiser remembers: as many buffers as [`crate::plan::Optimizer::moment_count`] says, each flat, as
    /// [`Layout`] places the parameters, with zeros in the gaps.
    pub moments: Vec<Vec<f32>>,
    /// The state that the next window carries on from, if there was a window.
    pub state: Option<State>,
    /// The loss scale, of a training in half precision.
    pub loss_scale: Option<LossScaling>,
}

/// The dynamic loss scale of a training in half precision.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "SavedLossScaling")]
pub struct LossScaling {
    /// The factor on the gradient of the loss, a power of two.
    pub factor: f32,
    /// The number of consecutive finite steps since the factor last changed.
    pub finite_steps: f32,
}

/// As files have it.
#[derive(Deserialize)]
#[serde(untagged)]
enum SavedLossScaling {
    Named {
        factor: f32,
        finite_steps: f32,
    },
    /// Of format 2.
    Pair([f32; 2]),
}

impl From<SavedLossScaling> for LossScaling {
    fn from(saved: SavedLossScaling) -> Self {
        match saved {
            SavedLossScaling::Named { factor, finite_steps } | SavedLossScaling::Pair([factor, finite_steps]) => {
                LossScaling { factor, finite_steps }
            }
        }
    }
}

/// A carried state: h of every layer, and c where the cell has one.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// B.
    pub batch_size: usize,
    /// `[S, L, B, D·H]`, as [`Config::state_shape`] says.
    pub values: Vec<f32>,
}

impl State {
    /// `[B, H]`: h of one layer and direction, both counted from 0, or `None` where the network has none such or the
    /// state is another network's.
    pub fn h(&self, config: &Config, layer: usize, direction: usize) -> Option<Vec<f32>> {
        self.part(config, 0, layer, direction)
    }

    /// `[B, H]`: c of one layer and direction of an LSTM.
    pub fn c(&self, config: &Config, layer: usize, direction: usize) -> Option<Vec<f32>> {
        self.part(config, 1, layer, direction)
    }

    fn part(&self, config: &Config, state: usize, layer: usize, direction: usize) -> Option<Vec<f32>> {
        let (width, hidden) = (config.output_width(), config.hidden);
        let len = config.state_shape(self.batch_size).iter().try_fold(1usize, |len, size| len.checked_mul(*size));
        let is_part = state < config.cell.states() && layer < config.layers && direction < config.directions.count();
        if !is_part || self.values.is_empty() || len != Some(self.values.len()) {
            return None;
        }
        let first = (state * config.layers + layer) * self.batch_size * width;
        let rows = self.values.get(first..first + self.batch_size * width)?.chunks_exact(width);
        Some(rows.flat_map(|row| &row[direction * hidden..(direction + 1) * hidden]).copied().collect())
    }
}

/// The JSON under the metadata's key.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: u64,
    config: Config,
    training: Option<Progress>,
    notes: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Progress {
    recipe: Recipe,
    steps: u64,
    frozen: Vec<String>,
    #[serde(default, alias = "scaling", skip_serializing_if = "Option::is_none")]
    loss_scale: Option<LossScaling>,
}

impl From<Model> for Checkpoint {
    fn from(model: Model) -> Self {
        Checkpoint { model, training: None, notes: BTreeMap::new() }
    }
}

impl Model {
    /// Writes the network alone; see [`Checkpoint::save`].
    ///
    /// # Errors
    /// Same as [`Checkpoint::save`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        save(path.as_ref(), encode(self, None, &BTreeMap::new()))
    }

    /// The network of any checkpoint.
    ///
    /// # Errors
    /// Same as [`Checkpoint::load`].
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        Ok(Checkpoint::load(path)?.model)
    }
}

impl Checkpoint {
    /// Writes the checkpoint to a file, replacing one that is there in a single step.
    ///
    /// A new file gets the permissions of any new file, a replaced one keeps its own; a symbolic link is followed, to a
    /// file that is not there yet too. What a save that was killed left in the folder is removed. The call returns when
    /// the disk has it all.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] where the training does not fit the model, a number is not finite, or the file cannot be
    /// written; an old file is then as it was.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        save(path.as_ref(), self.encode())
    }

    /// Reads and checks a checkpoint.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] for a file that is missing, damaged, by another program, or at odds with itself.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        file::read(path).and_then(|bytes| decode::decode(&bytes)).map_err(named(path.display()))
    }

    /// The bytes of the file, the same for the same checkpoint.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] where the training does not fit the model, or a number is not finite.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        self.encode().map_err(Fault::from).and_then(|encoded| encoded.to_bytes()).map_err(named(MEMORY))
    }

    /// The checkpoint of a file's bytes.
    ///
    /// # Errors
    /// Same as [`Checkpoint::load`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        decode::decode(bytes).map_err(named(MEMORY))
    }

    /// Whether a checkpoint can be written to this path: to be asked before a long training.
    ///
    /// Nothing is left behind and an old file stays as it is.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] where the folder does not exist or cannot be written to, or where something stands at the
    /// path that may not be replaced: a folder, a device, a read-only file.
    pub fn probe(path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        file::Destination::of(path).and_then(|place| place.temporary()).map(drop).map_err(named(path.display()))
    }

    fn encode(&self) -> Checked<Encoded<'_>> {
        encode(&self.model, self.training.as_ref(), &self.notes)
    }
}

fn encode<'a>(
    model: &'a Model,
    training: Option<&'a Training>,
    notes: &BTreeMap<String, String>,
) -> Checked<Encoded<'a>> {
    let (config, layout) = (model.config(), model.layout());
    let mut tensors = named_tensors(layout, model.flat(), |p| Some(p.name.clone()));
    if let Some(training) = training {
        training.check(layout, config)?;
        for (k, moments) in training.moments.iter().enumerate() {
            let prefix = moments_prefix(k);
            tensors.extend(named_tensors(layout, moments, |p| Some(format!("{prefix}{}", p.name))));
        }
        if let Some(State { batch_size, values }) = &training.state {
            tensors.push(Tensor { name: "state".to_owned(), shape: config.state_shape(*batch_size).to_vec(), values });
        }
    }
    let progress = |t: &Training| {
        let Training { recipe, steps, loss_scale, .. } = *t;
        Progress { recipe, steps, frozen: t.frozen.clone(), loss_scale }
    };
    let header =
        Header { format: FORMAT, config: config.clone(), training: training.map(progress), notes: notes.clone() };
    Encoded::new(tensors, KEY, serde_json::to_string(&header).map_err(text)?)
}

fn save(path: &Path, encoded: Checked<Encoded<'_>>) -> Result<()> {
    encoded.and_then(|encoded| file::Destination::of(path)?.write(&encoded)).map_err(named(path.display()))
}

impl Training {
    fn check(&self, layout: &Layout, config: &Config) -> Checked<()> {
        self.recipe.check_for(config).map_err(text)?;
        check_frozen(layout, &self.frozen)?;
        check_loss_scale(self.loss_scale)?;
        let (expected, given) = (self.recipe.optimizer.moment_count(), self.moments.len());
        if given != expected {
            return Err(format!("the optimiser keeps {expected} moments, {given} given"));
        }
        if let Some(moments) = self.moments.iter().find(|m| m.len() != layout.buffer_len()) {
            return Err(format!("moments have {} elements, expected {}", moments.len(), layout.buffer_len()));
        }
        match &self.state {
            Some(State { batch_size, values }) => {
                let (shape, given) = (config.state_shape(*batch_size), values.len());
                let expected = shape.iter().try_fold(1usize, |len, size| len.checked_mul(*size));
                if *batch_size == 0 || expected != Some(given) {
                    return Err(format!("the carried state has {given} elements, expected {shape:?} and not none"));
                }
                Ok(())
            }
            None => Ok(()),
        }
    }
}

fn moments_prefix(k: usize) -> String {
    format!("moments.{k}.")
}

/// Whether these are parameters, each named once, that leave something to train.
fn check_frozen(layout: &Layout, frozen: &[String]) -> Checked<()> {
    for (at, name) in frozen.iter().enumerate() {
        if layout.get(name).is_none() {
            return Err(format!("the frozen parameter `{name}` is not one of the network's"));
        }
        if frozen[..at].contains(name) {
            return Err(format!("the parameter `{name}` is frozen twice"));
        }
    }
    if frozen.len() == layout.parameters().len() {
        return Err("all parameters are frozen, expected at least one to train".to_owned());
    }
    Ok(())
}

/// Whether a training can have got there.
fn check_loss_scale(loss_scale: Option<LossScaling>) -> Checked<()> {
    let Some(LossScaling { factor, finite_steps: finite }) = loss_scale else { return Ok(()) };
    let is_power = factor.is_normal() && factor.to_bits().trailing_zeros() >= f32::MANTISSA_DIGITS - 1;
    let is_count = (0.0..UpdateLossScale::INTERVAL as f32).contains(&finite) && finite.fract() == 0.0;
    if is_power && is_count && (UpdateLossScale::MIN_SCALE..=UpdateLossScale::MAX_SCALE).contains(&factor) {
        return Ok(());
    }
    let (least, most, interval) = (UpdateLossScale::MIN_SCALE, UpdateLossScale::MAX_SCALE, UpdateLossScale::INTERVAL);
    Err(format!(
        "the gradient is scaled by {factor} after {finite} finite steps, expected a power of two from {least} to \
        {most} and a whole number below {interval}"
    ))
}

fn named<F: Into<Fault>>(path: impl Display) -> impl Fn(F) -> Error {
    move |fault| match fault.into() {
        Fault::Wrong(what) => Error::Checkpoint { path: path.to_string(), what },
        Fault::Other(error) => error,
    }
}

fn text(error: impl Display) -> String {
    error.to_string()
}
