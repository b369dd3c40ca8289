//! What a network's parameters are called in files of other programs.
//!
//! The contract: every parameter has a name of its own there, found from the configuration alone, or none has.

use std::collections::BTreeMap;
use std::fmt::{self, Debug, Formatter};
use std::sync::Arc;

use crate::checkpoint::{Checked, METADATA};
use crate::model::{Activation, Column, Config, HEAD, Head, Layer, Layout, is_read_out, modules};

/// What a network's parameters are called in a file of another program.
///
/// Without any change they have the names of [`Layout`]: those of a `torch.nn.RNN`, `LSTM` or `GRU` and of a
/// `torch.nn.Linear`, and in a list of other layers those of its modules. In a PyTorch module, each is behind the names
/// of the modules it lies in:
///
/// ```
/// use recurrent::formats::Names;
/// // self.encoder.rnn = nn.LSTM(…); self.head = nn.Linear(…); self.start = nn.Parameter(…)
/// let names = Names::new().recurrent("encoder.rnn.").read_out("head.").rename("h_0", "start");
/// // Of a list, embedding, lstm, lstm_1 and read-out: self.words = nn.Embedding(…); self.encoder = nn.LSTM(…); …
/// let names = Names::new().module("embedding", "words.").module("lstm", "encoder.").module("lstm_1", "decoder.rnn.")
///     .read_out("head.");
/// // self.net = nn.Sequential(…): net.0.weight, net.2.weight_ih_l0, …
/// let names = Names::sequential().rename_with(|name| format!("net.{name}"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    recurrent: String,
    read_out: Option<String>,
    /// The prefixes of single modules.
    modules: BTreeMap<String, String>,
    sequential: bool,
    /// From the model's names to the file's.
    renamed: BTreeMap<String, String>,
    rename_with: Option<Rename>,
    ignore_others: bool,
    without_read_out_bias: bool,
}

/// A function from name to name; it equals its own copies.
#[derive(Clone)]
struct Rename(Arc<dyn Fn(&str) -> String + Send + Sync>);

impl Debug for Rename {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("a function")
    }
}

impl PartialEq for Rename {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Rename {}

impl Names {
    /// The model's own names, and a file that holds nothing else.
    pub fn new() -> Self {
        Names::default()
    }

    /// The names of an `nn.Sequential`, or of an `nn.ModuleList` that is made like one: a number for each module.
    ///
    /// The modules are those that PyTorch has for the layers, from the lowest up, counted from 0:
    ///
    /// - equal recurrent layers, one right above the other, are one, an `nn.LSTM` of several layers;
    /// - a dense layer is an `nn.Linear`, and its function, unless it is the identity, another, an `nn.ReLU`;
    /// - an embedding, a layer norm, dropout and a pool are one each, though the last two have no parameters;
    /// - the read-out comes last. A way past a layer has no number; its map, where it has one, lies in the layer's.
    ///
    /// Where a file counts otherwise, [`Names::module`] and [`Names::read_out`] say which number a module has.
    ///
    /// ```
    /// use recurrent::{Activation, Config, InputKind, Model, Pool, Recurrent, formats::Names};
    /// let config = Config::new(InputKind::Tokens(9))
    ///     .embedding(4) // 0: nn.Embedding
    ///     .layer(Recurrent::gru(5)) // 1: nn.GRU of two layers
    ///     .layer(Recurrent::gru(5))
    ///     .dropout(0.1) // 2: nn.Dropout
    ///     .dense(6, Activation::Relu) // 3: nn.Linear, 4: nn.ReLU
    ///     .outputs(2); // 5: nn.Linear
    /// let bytes = Model::new(config.clone())?.export_bytes(&Names::sequential())?;
    /// for name in ["0.weight", "1.weight_hh_l1", "3.bias", "5.weight"] {
    ///     assert!(String::from_utf8_lossy(&bytes).contains(&format!("{name:?}")));
    /// }
    /// # Model::import_bytes(&bytes, config, &Names::sequential())?;
    /// # Ok::<(), recurrent::Error>(())
    /// ```
    pub fn sequential() -> Self {
        Names { sequential: true, ..Names::default() }
    }

    /// What stands before the names of the recurrent layers' parameters, dot included: `encoder.rnn.` for
    /// `encoder.rnn.weight_ih_l0`. It stands before a learned initial state too, `h_0` and `c_0`, which PyTorch has
    /// not.
    ///
    /// In a list of other layers it stands before the names, or numbers, of all modules but read-out, heads and
    /// columns: `encoder.` for `encoder.embedding.weight`.
    pub fn recurrent(self, prefix: impl Into<String>) -> Self {
        Names { recurrent: prefix.into(), ..self }
    }

    /// What stands before the names of the read-out's parameters, dot included, in the place of `head.0.` or of its
    /// number where it has one: `head.` for `head.weight`.
    pub fn read_out(self, prefix: impl Into<String>) -> Self {
        Names { read_out: Some(prefix.into()), ..self }
    }

    /// What stands before the names of one module's parameters, dot included, in the place of its own name or number
    /// and of what [`Names::recurrent`] says: `decoder.rnn.` of `lstm_1` for `decoder.rnn.weight_ih_l0`. [`Layout`]
    /// says what modules are called; a head called tags is `head.tags`, a column `column.tags`, and neither has a
    /// number. One that the model lacks is an error when the names are used.
    pub fn module(mut self, module: impl Into<String>, prefix: impl Into<String>) -> Self {
        self.modules.insert(module.into(), prefix.into());
        self
    }

    /// The file's whole name of one parameter, whatever the prefixes and [`Names::rename_with`] say. A parameter that
    /// the model lacks is an error when the names are used.
    pub fn rename(mut self, parameter: impl Into<String>, name: impl Into<String>) -> Self {
        self.renamed.insert(parameter.into(), name.into());
        self
    }

    /// The file's names from those that the parameters would have without it, prefixes and numbers included. Of two
    /// functions the later counts. Such names are equal only to their clones.
    ///
    /// ```
    /// use recurrent::formats::Names;
    /// // Two equal layers that are modules of their own: self.rnn0 = nn.LSTM(…); self.rnn1 = nn.LSTM(…)
    /// let names = Names::new().rename_with(|name| match name.split_once("_l1") {
    ///     Some((kind, _)) => format!("rnn1.{kind}_l0"),
    ///     None if name.contains("_l0") => format!("rnn0.{name}"),
    ///     None => format!("head.{name}"),
    /// });
    /// # use recurrent::{Config, InputKind, Model};
    /// # let config = Config::lstm(InputKind::Dense(2), 3, 1).with_layers(2);
    /// # let bytes = Model::new(config.clone())?.export_bytes(&names)?;
    /// # assert!(String::from_utf8_lossy(&bytes).contains("\"rnn1.bias_hh_l0\""));
    /// # Model::import_bytes(&bytes, config, &names)?;
    /// # Ok::<(), recurrent::Error>(())
    /// ```
    pub fn rename_with(self, rename: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        Names { rename_with: Some(Rename(Arc::new(rename))), ..self }
    }

    /// Skips foreign tensors, to take a part out of a larger file.
    ///
    /// Recurrent tensors under a module's prefix that the configuration has no parameter for (`weight_ih_l1` of a
    /// network of one layer, biases, the reverse direction), and the bias of a dense layer that has none, are not
    /// foreign but an error: without them it would be another network.
    pub fn ignore_others(self) -> Self {
        Names { ignore_others: true, ..self }
    }

    /// Says that the file has no bias of the read-out, as of a `torch.nn.Linear` with `bias=False`: it is read as zero,
    /// and only where it is zero is a file written.
    pub fn without_read_out_bias(self) -> Self {
        Names { without_read_out_bias: true, ..self }
    }

    pub(super) fn skips_others(&self) -> bool {
        self.ignore_others
    }

    pub(super) fn has_read_out_bias(&self) -> bool {
        !self.without_read_out_bias
    }

    /// Whether parameters of layers have names of their own.
    pub(super) fn renames_layers(&self) -> bool {
        !self.renamed.keys().all(|name| is_read_out(name))
    }

    /// The names of all parameters of a network, each different.
    pub(super) fn of_network(&self, config: &Config, layout: &Layout) -> Checked<NamesInFile<'_>> {
        let prefixes = self.prefixes(config)?;
        let (weight, bias) = layout.read_out();
        let tied = config.tied.then(|| format!("{HEAD}weight"));
        let is_known = |name: &str| layout.get(name).is_some() || tied.as_deref() == Some(name);
        let unknown: Vec<&str> = self.renamed.keys().map(String::as_str).filter(|name| !is_known(name)).collect();
        if !unknown.is_empty() {
            return Err(format!("the model has no parameters {} to rename", unknown.join(", ")));
        }
        if self.without_read_out_bias && self.renamed.contains_key(bias) {
            return Err(format!("the file has no bias of the read-out, so `{bias}` cannot be renamed"));
        }
        let mut all = NamesInFile { names: self, prefixes, of: BTreeMap::new(), tied: None };
        let mut taken: BTreeMap<String, &str> = BTreeMap::new();
        let parameters = layout.parameters().iter().map(|p| p.name.as_str()).chain(tied.as_deref());
        for parameter in parameters.filter(|name| !(self.without_read_out_bias && *name == bias)) {
            let name = self.renamed.get(parameter).cloned().unwrap_or_else(|| all.unrenamed(parameter));
            if name == METADATA {
                return Err(format!("parameter `{parameter}` cannot have the name {METADATA}: it is the format's"));
            }
            if let Some(other) = taken.get(&name) {
                return Err(format!("the parameters `{other}` and `{parameter}` have one name: {name}"));
            }
            all.of.insert(parameter.to_owned(), name.clone());
            taken.insert(name, parameter);
        }
        all.tied = tied.and_then(|v| Some((all.of.get(weight)?.clone(), all.of.remove(&v)?)));
        Ok(all)
    }

    fn prefixes(&self, config: &Config) -> Checked<Prefixes> {
        let (modules, numbers) = (modules(config), self.sequential.then(|| numbers(config)));
        let sides = config.heads.iter().map(Head::prefix).chain(config.columns.iter().map(Column::prefix));
        let sides: Vec<String> = sides.collect();
        let own: Vec<&str> = modules.iter().map(|module| module.prefix.as_str()).collect();
        let all: Vec<&str> = own.iter().copied().chain(sides.iter().map(String::as_str)).collect();
        let mut unknown = self.modules.keys().filter(|name| !all.contains(&format!("{name}.").as_str())).peekable();
        if unknown.peek().is_some() {
            let names: Vec<&str> = all.iter().filter_map(|prefix| prefix.strip_suffix('.')).collect();
            return Err(format!(
                "the model has no modules {} to give prefixes; it has {}",
                unknown.map(String::as_str).collect::<Vec<_>>().join(", "),
                if names.is_empty() {
                    "recurrent layers (`Names::recurrent`) and the read-out (`Names::read_out`)".to_owned()
                } else {
                    format!("{} and the read-out (`Names::read_out`)", names.join(", "))
                }
            ));
        }
        let in_file = |(at, own): (usize, &&str)| {
            let given = own.strip_suffix('.').and_then(|name| self.modules.get(name)).cloned();
            let prefix = given.unwrap_or_else(|| match &numbers {
                // No prefix and no number is a head's or a column's.
                _ if at >= modules.len() => (*own).to_owned(),
                Some((numbers, _)) => format!("{}{}.", self.recurrent, numbers[at]),
                None => format!("{}{own}", self.recurrent),
            });
            (String::from(*own), prefix)
        };
        let read_out = self.read_out.clone().unwrap_or_else(|| match &numbers {
            Some((_, number)) => format!("{number}."),
            None => if own.iter().any(|prefix| !prefix.is_empty()) { HEAD } else { "" }.to_owned(),
        });
        Ok(Prefixes { modules: all.iter().enumerate().map(in_file).collect(), read_out })
    }
}

/// The number of each module that has parameters, and the read-out's, as [`Names::sequential`] counts.
fn numbers(config: &Config) -> (Vec<usize>, usize) {
    let (modules, mut numbers, mut next) = (modules(config), Vec::new(), 0);
    for (at, layer) in config.layers.iter().enumerate() {
        match modules.iter().find(|module| module.layers.contains(&at)) {
            // A further layer of the same module.
            Some(module) if module.layers.start < at => continue,
            Some(_) => numbers.push(next),
            None => {}
        }
        let has_function = matches!(layer, Layer::Dense(dense) if dense.activation != Activation::Identity);
        next += if has_function { 2 } else { 1 };
    }
    (numbers, next)
}

/// What stands before names.
struct Prefixes {
    /// Of each module among the model's names, and in the file.
    modules: Vec<(String, String)>,
    /// The read-out's in the file.
    read_out: String,
}

/// The names of one network.
pub(super) struct NamesInFile<'a> {
    names: &'a Names,
    prefixes: Prefixes,
    /// From the model's names to the file's.
    of: BTreeMap<String, String>,
    /// Where the read-out is tied, the table's name and that of the read-out's weight, in the file.
    pub(super) tied: Option<(String, String)>,
}

impl NamesInFile<'_> {
    /// The file's name of a parameter, `None` of a bias that the file has not.
    pub(super) fn of(&self, parameter: &str) -> Option<&String> {
        self.of.get(parameter)
    }

    /// The name that a parameter would have by prefixes and functions alone, whether the model has it or not.
    pub(super) fn unrenamed(&self, parameter: &str) -> String {
        let (prefix, own) = if is_read_out(parameter) {
            (self.prefixes.read_out.as_str(), parameter.strip_prefix(HEAD).unwrap_or(parameter))
        } else {
            let mut modules = self.prefixes.modules.iter();
            let found = modules.find_map(|(own, in_file)| Some((in_file.as_str(), parameter.strip_prefix(own)?)));
            found.unwrap_or(("", parameter))
        };
        let name = format!("{prefix}{own}");
        match &self.names.rename_with {
            Some(Rename(rename)) => rename(&name),
            None => name,
        }
    }

    /// Where the numbers that the file's names begin with are others, in words.
    pub(super) fn advice(&self, there: &[String]) -> Option<String> {
        if !self.names.sequential {
            return None;
        }
        let own = self.of.values().chain(self.tied.iter().map(|(_, v)| v));
        let (found, expected) = (leading_numbers(there.iter())?, leading_numbers(own)?);
        let list = |numbers: Vec<usize>| numbers.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
        (found != expected).then(|| {
            format!(
                "the file's modules have the numbers {}, the network's {}; `Names::module` and `Names::read_out` give \
                others",
                list(found),
                list(expected)
            )
        })
    }
}

/// The numbers that names begin with, in order; `None` where there are none.
fn leading_numbers<'a>(names: impl Iterator<Item = &'a String>) -> Option<Vec<usize>> {
    let mut numbers: Vec<usize> = names.filter_map(|name| name.split_once('.')?.0.parse().ok()).collect();
    numbers.sort_unstable();
    numbers.dedup();
    Some(numbers).filter(|numbers| !numbers.is_empty())
}
