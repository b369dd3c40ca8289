//! A network's parameters in safetensors files of other programs: PyTorch's, whose names and layouts are this crate's.
//!
//! The contract: a file has every parameter, in its shape and in finite real numbers, or it gives no model; what is
//! written comes back bit for bit.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::Dtype;

use super::family::Family;
use crate::checkpoint::{Checked, Encoded, Fault, MEMORY, METADATA, Tensors, file, named, named_tensors, save};
use crate::error::Result;
use crate::model::{Config, Layout, Model, Parameter, is_read_out};

/// What f32 holds, or is rounded to.
const TYPES: [Dtype; 4] = [Dtype::F32, Dtype::F64, Dtype::F16, Dtype::BF16];

/// What a network's parameters are called in a file of another program.
///
/// Without any change they have the names of [`Layout`], which are those of a `torch.nn.RNN`, `LSTM` or `GRU` and of a
/// `torch.nn.Linear`. In a PyTorch module, each is behind the names of the modules it lies in:
///
/// ```
/// use recurrent::formats::Names;
/// // self.encoder.rnn = nn.LSTM(…); self.head = nn.Linear(…); self.start = nn.Parameter(…)
/// let names = Names::new().recurrent("encoder.rnn.").read_out("head.").rename("h_0", "start");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    recurrent: String,
    read_out: String,
    /// From the model's names to the file's.
    renamed: BTreeMap<String, String>,
    ignore_others: bool,
    without_read_out_bias: bool,
}

impl Names {
    /// The model's own names, and a file that holds nothing else.
    pub fn new() -> Self {
        Names::default()
    }

    /// What stands before the names of the recurrent layers' parameters, dot included: `encoder.rnn.` for
    /// `encoder.rnn.weight_ih_l0`. It stands before a learned initial state too, `h_0` and `c_0`, which PyTorch has
    /// not.
    pub fn recurrent(self, prefix: impl Into<String>) -> Self {
        Names { recurrent: prefix.into(), ..self }
    }

    /// What stands before the names of the read-out's parameters, dot included: `head.` for `head.weight`.
    pub fn read_out(self, prefix: impl Into<String>) -> Self {
        Names { read_out: prefix.into(), ..self }
    }

    /// The file's whole name of one parameter, whatever the prefixes say. A parameter that the model lacks is an
    /// error when the names are used.
    pub fn rename(mut self, parameter: impl Into<String>, name: impl Into<String>) -> Self {
        self.renamed.insert(parameter.into(), name.into());
        self
    }

    /// Skips foreign tensors, to take a part out of a larger file.
    ///
    /// Recurrent tensors under the prefix that the configuration has no parameter for (`weight_ih_l1` of a network of
    /// one layer, biases, the reverse direction) are not foreign but an error: without them it would be another
    /// network.
    pub fn ignore_others(self) -> Self {
        Names { ignore_others: true, ..self }
    }

    /// Says that the file has no bias of the read-out, as of a `torch.nn.Linear` with `bias=False`: it is read as zero,
    /// and only where it is zero is a file written.
    pub fn without_read_out_bias(self) -> Self {
        Names { without_read_out_bias: true, ..self }
    }

    /// The file's name of a parameter.
    fn of(&self, parameter: &Parameter) -> String {
        let name = parameter.name.as_str();
        let prefix = if is_read_out(name) { &self.read_out } else { &self.recurrent };
        self.renamed.get(name).cloned().unwrap_or_else(|| format!("{prefix}{name}"))
    }

    /// Whether a file has a tensor of this parameter.
    fn has(&self, parameter: &Parameter) -> bool {
        !(self.without_read_out_bias && is_read_out_bias(&parameter.name))
    }

    /// Whether every parameter has a name of its own.
    fn check(&self, layout: &Layout) -> Checked<()> {
        let unknown: Vec<&str> =
            self.renamed.keys().map(String::as_str).filter(|name| layout.get(name).is_none()).collect();
        if !unknown.is_empty() {
            return Err(format!("the model has no parameters {} to rename", unknown.join(", ")));
        }
        if let Some(bias) = self.renamed.keys().find(|name| self.without_read_out_bias && is_read_out_bias(name)) {
            return Err(format!("the file has no bias of the read-out, so `{bias}` cannot be renamed"));
        }
        let mut taken: BTreeMap<String, &str> = BTreeMap::new();
        for parameter in layout.parameters().iter().filter(|p| self.has(p)) {
            let name = self.of(parameter);
            if name == METADATA {
                return Err(format!(
                    "parameter `{}` cannot have the name {METADATA}: it is the format's",
                    parameter.name
                ));
            }
            if let Some(other) = taken.get(&name) {
                return Err(format!("the parameters `{other}` and `{}` have one name: {name}", parameter.name));
            }
            taken.insert(name, &parameter.name);
        }
        Ok(())
    }
}

fn is_read_out_bias(parameter: &str) -> bool {
    is_read_out(parameter) && parameter.ends_with("bias")
}

impl Model {
    /// A network of any program's safetensors file: one of PyTorch's, say, whose `state_dict` was saved by
    /// `safetensors.torch.save_file`.
    ///
    /// The file holds exactly the parameters of `config`, under `names` and in the shapes of [`Layout`], unless
    /// [`Names::ignore_others`] lets it hold foreign ones too. Types F32, F64, F16 and BF16 are read; of F64, each
    /// number is rounded to the nearest f32. Metadata is not needed and not looked at.
    ///
    /// # Errors
    /// Same as [`Model::new`]; [`Error::File`](crate::Error::File) for a file that is missing or cannot be read;
    /// [`Error::Checkpoint`](crate::Error::Checkpoint) for one that is damaged, for names that the model cannot have,
    /// for a number that is not finite or too large for f32, and, all in one message, for tensors that the file lacks,
    /// that are unknown, of another shape, or of another type.
    pub fn import(path: impl AsRef<Path>, config: Config, names: &Names) -> Result<Self> {
        let (path, layout) = (path.as_ref(), Layout::new(&config)?);
        file::read(path).and_then(|bytes| decode(&bytes, config, layout, names)).map_err(named(path))
    }

    /// The network of a file's bytes; see [`Model::import`].
    ///
    /// # Errors
    /// Same as [`Model::import`].
    pub fn import_bytes(bytes: &[u8], config: Config, names: &Names) -> Result<Self> {
        let layout = Layout::new(&config)?;
        decode(bytes, config, layout, names).map_err(named(MEMORY))
    }

    /// Writes the parameters to a plain safetensors file (F32, metadata `format: pt`) for PyTorch, replacing one that
    /// is there in a single step.
    ///
    /// What [`Names::ignore_others`] says does not matter here. [`Model::save`] is for files that this crate is to
    /// read.
    ///
    /// # Errors
    /// [`Error::Checkpoint`](crate::Error::Checkpoint) for names that the model cannot have, for a number that is not
    /// finite; [`Error::File`](crate::Error::File) where the file cannot be written. An old file is then as it was.
    pub fn export(&self, path: impl AsRef<Path>, names: &Names) -> Result<()> {
        save(path.as_ref(), encode(self, names))
    }

    /// The bytes of the file, the same for the same network and names; see [`Model::export`].
    ///
    /// # Errors
    /// Same as [`Model::export`].
    pub fn export_bytes(&self, names: &Names) -> Result<Vec<u8>> {
        encode(self, names).map_err(Fault::from).and_then(|encoded| encoded.to_bytes()).map_err(named(MEMORY))
    }
}

fn decode(bytes: &[u8], config: Config, layout: Layout, names: &Names) -> Result<Model, Fault> {
    names.check(&layout)?;
    let file = Tensors::parse(bytes)?;
    let there = file.names();
    let family = Family::find(&names.recurrent, &there);
    let bias = layout.read_out().1;
    let read_out_bias = format!("{}{bias}", names.read_out);
    let is_own =
        |name: &str| family.is_left_over(name, &layout) || (names.without_read_out_bias && name == read_out_bias);
    let expected =
        layout.parameters().iter().filter(|p| names.has(p)).map(|p| (names.of(p), p.shape.clone())).collect();
    let checked = file.check(&expected, &TYPES, |other| names.ignore_others && !is_own(other));
    checked.map_err(|mut what| {
        let advice = family.advice(&config).filter(|_| names.renamed.keys().all(|name| is_read_out(name)));
        if let Some(advice) = advice {
            what = format!("{what}; {advice}");
        }
        let bias = layout.get(bias).map(|p| names.of(p)).filter(|name| expected.contains_key(name));
        if bias.is_some_and(|name| file.shape(&name).is_none()) {
            what = format!("{what}; `Names::without_read_out_bias` reads a read-out without a bias");
        }
        what
    })?;
    let values = file.flat(&layout, |p| names.has(p).then(|| names.of(p)))?;
    Ok(Model::from_flat(config, layout, values))
}

fn encode<'a>(model: &'a Model, names: &Names) -> Checked<Encoded<'a>> {
    names.check(model.layout())?;
    let bias = model.parameter(model.layout().read_out().1).unwrap_or_default();
    if names.without_read_out_bias && bias.iter().any(|value| *value != 0.0) {
        return Err("a file without the bias of the read-out would hold another network: it is not zero".to_owned());
    }
    // What PyTorch's own tools write, and some of them ask for.
    let tensors = named_tensors(model.layout(), model.values(), |p| names.has(p).then(|| names.of(p)));
    Encoded::new(tensors, "format", "pt".to_owned())
}
