//! A network's parameters in safetensors files of other programs: PyTorch's, whose names and layouts are this crate's.
//!
//! The contract: a file has every parameter, in its shape and in finite real numbers, or it gives no model; what is
//! written comes back bit for bit.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::Dtype;

use super::family::Family;
use super::names::Names;
use crate::allocate::zeros;
use crate::checkpoint::{Checked, Encoded, Fault, MEMORY, Tensor, Tensors, file, named, named_tensors, save};
use crate::error::Result;
use crate::model::{Config, Layout, Model, Parameter};

/// What f32 holds, or is rounded to.
const TYPES: [Dtype; 4] = [Dtype::F32, Dtype::F64, Dtype::F16, Dtype::BF16];

impl Model {
    /// A network of any program's safetensors file: one of PyTorch's, say, whose `state_dict` was saved by
    /// `safetensors.torch.save_file`.
    ///
    /// The file holds exactly the parameters of `config`, under `names` and in the shapes of [`Layout`], unless
    /// [`Names::ignore_others`] lets it hold foreign ones too. Types F32, F64, F16 and BF16 are read; of F64, each
    /// number is rounded to the nearest f32. Metadata is not needed and not looked at.
    ///
    /// Of a read-out that is tied to the embedding the file has the table under its own name, under that of the
    /// read-out's weight, or under both, and then twice the same.
    ///
    /// # Errors
    /// Same as [`Model::new`]; [`Error::File`](crate::Error::File) for a file that is missing or cannot be read;
    /// [`Error::Checkpoint`](crate::Error::Checkpoint) for one that is damaged, for names that the model cannot have,
    /// for a number that is not finite or too large for f32, and, all in one message, for tensors that the file lacks,
    /// that are unknown, of another shape, or of another type; and for a tied read-out that is another than its table.
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
    /// What no PyTorch module has is not in the file: of a layer with zoneout, a bound for c or gates of straight lines
    /// these are for the module that reads it. What [`Names::ignore_others`] says does not matter here. A table that
    /// the read-out is tied to is written under both names, as a `state_dict` has it. [`Model::save`] is for files that
    /// this crate is to read.
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
    let in_file = names.of_network(&config, &layout)?;
    let file = Tensors::parse(bytes)?;
    let there = file.names();
    let families = Family::all(&config, &there, |parameter| in_file.unrenamed(parameter));
    let bias = layout.read_out().1;
    let has_bias = names.has_read_out_bias();
    let read_out_bias = in_file.unrenamed(bias);
    let is_own = |name: &str| {
        families.iter().any(|family| family.is_left_over(name, &layout)) || (!has_bias && name == read_out_bias)
    };
    let of = |parameter: &Parameter| in_file.of(&parameter.name);
    let mut expected: BTreeMap<String, Vec<usize>> =
        layout.parameters().iter().filter_map(|p| Some((of(p)?.clone(), p.shape.clone()))).collect();
    // A tied read-out is one tensor, which a file holds under the table's name, under the read-out's, or under both.
    let tied = in_file.tied.as_ref();
    let table: Vec<&String> = tied
        .into_iter()
        .flat_map(|(own, read_out)| [own, read_out])
        .filter(|name| file.shape(name).is_some())
        .collect();
    if let Some(shape) = tied.filter(|_| !table.is_empty()).and_then(|(own, _)| expected.remove(own)) {
        expected.extend(table.iter().map(|name| (String::clone(name), shape.clone())));
    }
    let checked = file.check(&expected, &TYPES, |other| names.skips_others() && !is_own(other));
    checked.map_err(|what| {
        let mut wrong = vec![what];
        if !names.renames_layers() {
            wrong.extend(families.iter().filter_map(Family::advice));
            wrong.extend(in_file.advice(&there));
        }
        // `safetensors.torch.save_model` leaves one of two names of a tensor out.
        if !config.tied
            && in_file.of(layout.read_out().0).is_some_and(|name| file.shape(name).is_none())
            && config.clone().tied().check().is_ok()
        {
            wrong.push("`Config::tied` reads a read-out that is tied to the embedding".to_owned());
        }
        if in_file.of(bias).is_some_and(|name| file.shape(name).is_none()) {
            wrong.push("`Names::without_read_out_bias` reads a read-out without a bias".to_owned());
        }
        wrong.join("; ")
    })?;
    let values = file.flat(&layout, |p| {
        let own = of(p)?;
        let is_table = tied.is_some_and(|(table, _)| table == own);
        Some(table.first().filter(|_| is_table).map_or(own, |name| *name).clone())
    })?;
    if let ([first, second], Some(parameter)) = (table.as_slice(), layout.get(layout.read_out().0)) {
        let table = &values[parameter.range()];
        let mut twice = zeros(table.len(), "comparing the two tensors of a tied read-out")?;
        file.read(second, &mut twice)?;
        if let Some(at) = table.iter().zip(&twice).position(|(a, b)| a != b) {
            return Err(Fault::from(format!(
                "the tensors `{first}` and `{second}` hold {} and {} at element {at}, expected the same: the read-out \
                is tied to the embedding",
                table[at], twice[at]
            )));
        }
    }
    Ok(Model::from_flat(config, layout, values))
}

fn encode<'a>(model: &'a Model, names: &Names) -> Checked<Encoded<'a>> {
    let layout = model.layout();
    let in_file = names.of_network(model.config(), layout)?;
    let (weight, bias) = layout.read_out();
    let bias = model.parameter(bias).unwrap_or_default();
    if !names.has_read_out_bias() && bias.iter().any(|value| *value != 0.0) {
        return Err("a file without the bias of the read-out would hold another network: it is not zero".to_owned());
    }
    let mut tensors = named_tensors(layout, model.values(), |p| in_file.of(&p.name).cloned());
    if let (Some((_, name)), Some(table)) = (&in_file.tied, layout.get(weight)) {
        let values = &model.values()[table.range()];
        tensors.push(Tensor { name: name.clone(), shape: table.shape.clone(), values });
    }
    // What PyTorch's own tools write, and some of them ask for.
    Encoded::new(tensors, "format", "pt".to_owned())
}
