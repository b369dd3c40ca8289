//! Checkpoints: a network, and all that its training needs to go on exactly, in one safetensors file.
//!
//! The contract: a file is replaced whole or left as it was, and every number survives bit for bit; what is loaded has
//! been checked against its own configuration, and any other file is an [`Error::Checkpoint`]; what the system refuses
//! is an [`Error::File`].
//!
//! | tensor (F32) | shape | what |
//! |---|---|---|
//! | `weight_ih_l0` … `bias` | as in [`Layout`] | the parameters, under PyTorch's names |
//! | `moments.0.<parameter>`, `moments.1.<parameter>` | as the parameter | what the optimiser remembers |
//! | `average.<parameter>` | as the parameter | their mean, where the recipe has one |
//! | `best.<parameter>` | as the parameter | those of the best evaluation, where they are kept |
//! | `state.h.<layer>`, `state.c.<layer>` | `[B, D·H]` | of each layer, what the next window carries on from |
//!
//! The metadata has one key, `recurrent`: JSON with the `format` (a number), the `config`, `training` (recipe, steps
//! done, names of what is frozen, `best` where those parameters are kept and, in half precision, `loss_scale`; or null)
//! and the application's `notes`.
//!
//! A header (names, shapes and metadata) of more than 16 MiB is refused before it is looked at, and one of objects or
//! arrays of more than 131,072 entries. A file of another format is an error that says which, and what to do.
//!
//! Files of other programs, which hold a network's parameters and nothing else that is known of them, are read by
//! [`Model::import`] and written by [`Model::export`], under whatever [`Names`](crate::formats::Names) they have there.

mod container;
mod decode;
mod encode;
pub(crate) mod file;
mod lock;
mod short;
mod strict;
mod tensors;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub(crate) use encode::{Encoded, Tensor, named_tensors};
pub use lock::Lock;
pub(crate) use tensors::{METADATA, Tensors};

use crate::error::{Error, Result, Source};
use crate::model::{Config, Layout, Model, State};
use crate::plan::UpdateLossScale;
use crate::recipe::Recipe;

/// The version of the metadata that is written.
const FORMAT: u64 = 4;
/// The oldest version that is read: format 2 has other names for some settings, and up to format 3 a configuration was
/// no list of layers.
const OLDEST_FORMAT: u64 = 2;
/// The first version whose configuration is a list of layers.
const LISTS: u64 = 4;
/// The metadata's only key.
const KEY: &str = "recurrent";
/// What stands for the path of a checkpoint that is no file.
pub(crate) const MEMORY: &str = "<memory>";
/// What is wrong with a checkpoint, before it is known by which path.
pub(crate) type Checked<T> = std::result::Result<T, String>;

/// Why a checkpoint could not be read or written, before it is known by which path.
pub(crate) enum Fault {
    /// What is wrong with it, as in [`Checked`], and what another library said of it.
    Wrong { what: String, source: Option<Source> },
    /// What the system refuses.
    File { what: String, source: io::Error },
    /// What does not lie with it: memory.
    Other(Error),
}

impl Fault {
    /// What is wrong with it, by what another library said.
    fn wrong(what: &str, source: impl Into<Source>) -> Self {
        Fault::Wrong { what: what.to_owned(), source: Some(source.into()) }
    }

    /// What the system refuses.
    fn file(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        move |source| Fault::File { what: what.into(), source }
    }
}

impl From<String> for Fault {
    fn from(what: String) -> Self {
        Fault::Wrong { what, source: None }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Fault::Other(error)
    }
}

/// A network, and optionally where its training stands.
///
/// ```
/// use recurrent::{Batch, BatchShape, Checkpoint, Config, Device, InputKind, Loss, Model, Recipe, Trainer};
/// # let folder = tempfile::TempDir::new().unwrap();
/// # let path = folder.path().join("training.safetensors");
/// let model = Model::new(Config::elman(InputKind::Tokens(3), 8, 3))?;
/// let window = Batch::tokens(BatchShape { steps: 2, batch_size: 1 }, vec![0, 1], vec![1, 2]);
/// let mut trainer = Trainer::new(&Device::cpu(), &model, Recipe::new(Loss::CrossEntropy))?;
/// trainer.step(&window)?;
/// let mut checkpoint = trainer.checkpoint()?;
/// checkpoint.notes.insert("epoch".to_owned(), "1".to_owned());
/// checkpoint.save(&path)?;
///
/// let checkpoint = Checkpoint::load(&path)?; // perhaps in another process
/// let mut trainer = Trainer::resume(&Device::cpu(), &checkpoint)?; // goes on to the last bit
/// assert_eq!((trainer.steps_done(), checkpoint.notes["epoch"].as_str()), (1, "1"));
/// # Ok::<(), recurrent::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Checkpoint {
    /// The network.
    pub model: Model,
    /// What exact resumption needs; `None` for a network alone.
    pub training: Option<Training>,
    /// The application's own: an alphabet, a position in a text.
    pub notes: BTreeMap<String, String>,
}

/// Where a training stands.
///
/// ```
/// use recurrent::checkpoint::Training;
/// use recurrent::{Checkpoint, Config, Device, InputKind, Loss, Model, Optimizer, Recipe, Trainer};
/// let model = Model::new(Config::lstm(InputKind::Dense(2), 4, 1))?;
/// // A training that starts with what another program's optimiser remembers: SGD's velocity, here zero.
/// let mut training = Training::new(Recipe::new(Loss::MeanSquared).with_optimizer(Optimizer::sgd(0.9), 0.1));
/// training.moments = vec![vec![0.0; model.layout().buffer_len()]];
/// let mut checkpoint = Checkpoint::from(model);
/// checkpoint.training = Some(training);
/// let trainer = Trainer::resume(&Device::cpu(), &checkpoint)?;
/// # assert_eq!(trainer.steps_done(), 0);
/// # Ok::<(), recurrent::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Training {
    /// How the network is trained.
    pub recipe: Recipe,
    /// Steps done.
    pub steps: u64,
    /// The names of the parameters that are not trained, see [`crate::Trainer::freeze`].
    pub frozen: Vec<String>,
    /// What the optimiser remembers: as many buffers as [`crate::Optimizer::moment_count`] says, each flat, as
    /// [`Layout`] places the parameters, with zeros in the gaps.
    pub moments: Vec<Vec<f32>>,
    /// The mean of the parameters, flat in the same way, where the recipe has one.
    pub average: Option<Vec<f32>>,
    /// The state that the next window carries on from, if there was a window.
    pub state: Option<State>,
    /// The loss scale, of a training in half precision.
    pub loss_scale: Option<LossScaling>,
    /// The parameters of the best evaluation so far, flat in the same way, where they are kept, as
    /// [`Fit`](crate::Fit) does: no trainer reads them.
    pub best: Option<Vec<f32>>,
}

impl Training {
    /// A training by this recipe before its first step, whose optimiser remembers nothing yet.
    pub fn new(recipe: Recipe) -> Self {
        Training {
            recipe,
            steps: 0,
            frozen: Vec::new(),
            moments: Vec::new(),
            average: None,
            state: None,
            loss_scale: None,
            best: None,
        }
    }
}

/// The dynamic loss scale of a training in half precision.
///
/// ```
/// use recurrent::checkpoint::LossScaling;
/// let first = LossScaling::new(65536.0, 0.0); // where a training in half precision begins
/// assert_eq!(first.factor, 65536.0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "SavedLossScaling")]
#[non_exhaustive]
pub struct LossScaling {
    /// The factor on the gradient of the loss, a power of two.
    pub factor: f32,
    /// The number of consecutive finite steps since the factor last changed.
    pub finite_steps: f32,
}

impl LossScaling {
    /// A factor, and for how many finite steps it has been that.
    pub fn new(factor: f32, finite_steps: f32) -> Self {
        LossScaling { factor, finite_steps }
    }
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

/// What the names of the averaged parameters begin with.
const AVERAGE: &str = "average.";
/// What the names of the parameters of the best evaluation begin with.
const BEST: &str = "best.";

/// The JSON under the metadata's key.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header<C = Config> {
    format: u64,
    config: C,
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
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    best: bool,
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
    /// [`Error::Checkpoint`] where the training does not fit the model, a number is not finite, or the path names no
    /// file that may be replaced; [`Error::File`] where the system cannot write it. An old file is then as it was.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        save(path.as_ref(), self.encode())
    }

    /// Reads and checks a checkpoint.
    ///
    /// # Errors
    /// [`Error::File`] for a file that is missing or cannot be read; [`Error::Checkpoint`] for one that is damaged, by
    /// another program, or at odds with itself.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        file::read(path).and_then(|bytes| decode::decode(&bytes)).map_err(named(path))
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
    /// [`Error::Checkpoint`] where the folder does not exist, or where something stands at the path that may not be
    /// replaced: a folder, a device, a read-only file; [`Error::File`] where the folder cannot be written to.
    pub fn probe(path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        file::Destination::of(path).and_then(|place| place.temporary()).map(drop).map_err(named(path))
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
    let mut tensors = named_tensors(layout, model.values(), |p| Some(p.name.clone()));
    if let Some(training) = training {
        training.check(layout, config)?;
        for (k, moments) in training.moments.iter().enumerate() {
            let prefix = moments_prefix(k);
            tensors.extend(named_tensors(layout, moments, |p| Some(format!("{prefix}{}", p.name))));
        }
        if let Some(average) = &training.average {
            tensors.extend(named_tensors(layout, average, |p| Some(format!("{AVERAGE}{}", p.name))));
        }
        if let Some(best) = &training.best {
            tensors.extend(named_tensors(layout, best, |p| Some(format!("{BEST}{}", p.name))));
        }
        if let Some(state) = &training.state {
            let parts = state.parts().map(|(name, shape, values)| Tensor { name, shape: shape.to_vec(), values });
            tensors.extend(parts);
        }
    }
    let progress = |t: &Training| {
        let Training { steps, loss_scale, .. } = *t;
        Progress { recipe: t.recipe.clone(), steps, frozen: t.frozen.clone(), loss_scale, best: t.best.is_some() }
    };
    let header =
        Header { format: FORMAT, config: config.clone(), training: training.map(progress), notes: notes.clone() };
    Encoded::new(tensors, KEY, serde_json::to_string(&header).map_err(text)?)
}

pub(crate) fn save(path: &Path, encoded: Checked<Encoded<'_>>) -> Result<()> {
    let write = |encoded: Encoded<'_>| file::Destination::of(path)?.write(&encoded);
    encoded.map_err(Fault::from).and_then(write).map_err(named(path))
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
        match (&self.recipe.average, &self.average) {
            (Some(_), Some(average)) if average.len() == layout.buffer_len() => {}
            (None, None) => {}
            (Some(_), given) => {
                let (given, expected) = (given.as_ref().map_or(0, Vec::len), layout.buffer_len());
                return Err(format!("the mean of the parameters has {given} elements, expected {expected}"));
            }
            (None, Some(_)) => {
                return Err("a mean of the parameters is given, but the recipe asks for none".to_owned());
            }
        }
        if let Some(best) = self.best.as_ref().filter(|best| best.len() != layout.buffer_len()) {
            let (given, expected) = (best.len(), layout.buffer_len());
            return Err(format!("the best parameters have {given} elements, expected {expected}"));
        }
        match &self.state {
            Some(state) => state.check("the carried state", config, state.batch_size()).map_err(text),
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

/// Turns what is wrong into the error of a file.
pub(crate) fn named<F: Into<Fault>>(path: impl Into<PathBuf>) -> impl FnOnce(F) -> Error {
    move |fault| match fault.into() {
        Fault::Wrong { what, source } => Error::Checkpoint { path: path.into(), what, source },
        Fault::File { what, source } => Error::File { path: path.into(), what, source },
        Fault::Other(error) => error,
    }
}

fn text(error: impl Display) -> String {
    error.to_string()
}
