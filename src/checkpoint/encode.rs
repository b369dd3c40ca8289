//! The bytes of a safetensors file.
//!
//! The contract: the same tensors give the same bytes, those that the library safetensors writes, and every file is one
//! that this crate reads; numbers go from where they lie to the file without a second copy of them all.

use std::collections::HashMap;
use std::io::{self, Write};

use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use super::container::{HEADER_BYTES, LENGTH_BYTES};
use super::tensors::not_finite;
use super::{Checked, Fault, text};
use crate::error::Error;
use crate::model::{Layout, Parameter};

/// How many numbers are converted before they are written.
const CHUNK: usize = 1 << 14;

/// A tensor of type F32.
pub(crate) struct Tensor<'a> {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) values: &'a [f32],
}

/// The parameters in a flat buffer, each under the name that it has in the file; without those that have none.
pub(crate) fn named_tensors<'a>(
    layout: &Layout,
    flat: &'a [f32],
    name: impl Fn(&Parameter) -> Option<String>,
) -> Vec<Tensor<'a>> {
    let tensor = |p: &Parameter| Some(Tensor { name: name(p)?, shape: p.shape.clone(), values: &flat[p.range()] });
    layout.parameters().iter().filter_map(tensor).collect()
}

/// A file, ready to be written.
pub(crate) struct Encoded<'a> {
    /// The length of the header and the header.
    head: Vec<u8>,
    /// In the order of the file.
    tensors: Vec<Tensor<'a>>,
}

impl<'a> Encoded<'a> {
    /// A file of these tensors, all finite. One entry of metadata, because safetensors writes several in the order of a
    /// hash map.
    pub(crate) fn new(mut tensors: Vec<Tensor<'a>>, key: &str, entry: String) -> Checked<Self> {
        tensors.sort_by(|a, b| a.name.cmp(&b.name));
        let (mut infos, mut end) = (Vec::with_capacity(tensors.len()), 0);
        for Tensor { name, shape, values } in &tensors {
            if let Some((at, &value)) = values.iter().enumerate().find(|(_, v)| !v.is_finite()) {
                return Err(not_finite(name, at, value.into()));
            }
            let offset = end;
            end += size_of_val(*values);
            infos.push((
                name.clone(),
                TensorInfo { dtype: Dtype::F32, shape: shape.clone(), data_offsets: (offset, end) },
            ));
        }
        let metadata = HashMap::from([(key.to_owned(), entry)]);
        let header = serde_json::to_string(&Metadata::new(Some(metadata), infos).map_err(text)?).map_err(text)?;
        let length = header.len().next_multiple_of(LENGTH_BYTES);
        if length > HEADER_BYTES {
            return Err(format!(
                "would have a header of {length} bytes (notes, and the names of its tensors), at most {HEADER_BYTES} \
                are read"
            ));
        }
        let mut head = [&(length as u64).to_le_bytes(), header.as_bytes()].concat();
        head.resize(LENGTH_BYTES + length, b' ');
        Ok(Encoded { head, tensors })
    }

    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(&self.head)?;
        let mut bytes = Vec::with_capacity(CHUNK * size_of::<f32>());
        for values in self.tensors.iter().flat_map(|tensor| tensor.values.chunks(CHUNK)) {
            bytes.clear();
            bytes.extend(values.iter().flat_map(|v| v.to_le_bytes()));
            out.write_all(&bytes)?;
        }
        Ok(())
    }

    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, Fault> {
        let len = self.head.len() + self.tensors.iter().map(|tensor| size_of_val(tensor.values)).sum::<usize>();
        let mut bytes = Vec::new();
        let out = |_| Error::OutOfMemory(format!("encoding a file ({len} bytes)"));
        bytes.try_reserve_exact(len).map_err(out)?;
        self.write(&mut bytes).map_err(text)?;
        Ok(bytes)
    }
}
