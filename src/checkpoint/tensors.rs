//! A safetensors file, whoever wrote it: its tensors checked against what is expected, and read as f32.
//!
//! The contract: nothing in the file is believed before it is checked, in an order in which no check allocates by a
//! number that has not been held against the length of the file; what is wrong with the tensors is said all at once.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors, View, tensor::Metadata};
use serde_json::Value;

use super::strict::strict;
use super::{Checked, text};
use crate::model::{Layout, Parameter};

/// A safetensors file opens with the length of its header, eight bytes.
const LENGTH_BYTES: usize = 8;

/// A file whose header fits its length.
pub(super) struct Tensors<'a> {
    header: Metadata,
    /// What the header's offsets count into.
    data: &'a [u8],
}

impl<'a> Tensors<'a> {
    /// Looks before safetensors does where safetensors is silent (a key that appears twice) or trusting (an offset close
    /// to the largest number there is, which overflows its sum).
    pub(super) fn parse(bytes: &'a [u8]) -> Checked<Self> {
        let (length, rest) = bytes.split_first_chunk::<LENGTH_BYTES>().ok_or_else(|| {
            format!("is truncated or not a safetensors file: {} bytes, not even the length of a header", bytes.len())
        })?;
        let length = u64::from_le_bytes(*length);
        let header = usize::try_from(length).ok().and_then(|n| rest.split_at_checked(n));
        let (header, data) = header.ok_or_else(|| {
            format!("is truncated or not a safetensors file: its header takes {length} bytes, {} are there", rest.len())
        })?;
        let header =
            std::str::from_utf8(header).map_err(|e| format!("is not a safetensors file: its header is {e}"))?;
        let header: Value = strict(header).map_err(|e| format!("is not a safetensors file: in its header, {e}"))?;
        for (name, info) in header.as_object().into_iter().flatten().filter(|(name, _)| *name != METADATA) {
            let end = info.get("data_offsets").and_then(|offsets| offsets.get(1)).and_then(Value::as_u64);
            let end = end.ok_or_else(|| format!("is not a safetensors file: tensor `{name}` has no `data_offsets`"))?;
            let given = data.len();
            if end > given as u64 {
                return Err(format!("is truncated: tensor `{name}` ends at byte {end} of the data, {given} are there"));
            }
        }
        let (_, header) =
            SafeTensors::read_metadata(bytes).map_err(|e| format!("is truncated or not a safetensors file: {e}"))?;
        Ok(Tensors { header, data })
    }

    /// An entry of the metadata.
    pub(super) fn metadata(&self, key: &str) -> Option<&str> {
        self.header.metadata().as_ref()?.get(key).map(String::as_str)
    }

    /// The shape of a tensor, where there is one of that name.
    pub(super) fn shape(&self, name: &str) -> Option<&[usize]> {
        self.header.info(name).map(|info| info.shape.as_slice())
    }

    /// Whether the file holds the `expected` tensors in their shapes, of one of the `types`; and no others, unless
    /// there may be.
    pub(super) fn check(
        &self,
        expected: &BTreeMap<String, Vec<usize>>,
        types: &[Dtype],
        others_may_be: bool,
    ) -> Checked<()> {
        let mut unknown = self.header.offset_keys();
        unknown.retain(|name| !others_may_be && !expected.contains_key(name));
        unknown.sort_unstable();
        let missing: Vec<&str> =
            expected.keys().filter(|name| self.header.info(name).is_none()).map(String::as_str).collect();

        let mut wrong = Vec::new();
        if !missing.is_empty() {
            wrong.push(format!("lacks the tensors {}", missing.join(", ")));
        }
        if !unknown.is_empty() {
            wrong.push(format!("holds the unknown tensors {}", unknown.join(", ")));
        }
        for (name, shape) in expected {
            let Some(info) = self.header.info(name) else { continue };
            if !types.contains(&info.dtype) {
                let types: Vec<String> = types.iter().map(Dtype::to_string).collect();
                wrong.push(format!("tensor `{name}` is of type {}, expected {}", info.dtype, types.join(" or ")));
            }
            if info.shape != *shape {
                wrong.push(format!("tensor `{name}` has shape {:?}, expected {shape:?}", info.shape));
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
    }

    /// A tensor's values, each rounded to the nearest f32 where its type holds more than f32 does.
    pub(super) fn values(&self, name: &str) -> Checked<Vec<f32>> {
        let info = self.header.info(name);
        let bytes = info.and_then(|info| self.data.get(info.data_offsets.0..info.data_offsets.1));
        let (Some(info), Some(bytes)) = (info, bytes) else { return Err(format!("lacks the tensors {name}")) };
        match info.dtype {
            Dtype::F32 => convert(name, bytes, |b| f32::from_le_bytes(b).into()),
            Dtype::F64 => convert(name, bytes, f64::from_le_bytes),
            Dtype::F16 => convert(name, bytes, |b| f16::from_le_bytes(b).to_f64()),
            Dtype::BF16 => convert(name, bytes, |b| bf16::from_le_bytes(b).to_f64()),
            other => Err(format!("tensor `{name}` is of type {other}, expected real numbers")),
        }
    }

    /// All parameters in one flat buffer, each from the tensor of the name that it has in the file. Only after
    /// [`Tensors::check`], which holds their shapes against the file.
    pub(super) fn flat(&self, layout: &Layout, name: impl Fn(&Parameter) -> String) -> Checked<Vec<f32>> {
        let mut flat = vec![0.0; layout.len()];
        for parameter in layout.parameters() {
            flat[parameter.range()].copy_from_slice(&self.values(&name(parameter))?);
        }
        Ok(flat)
    }
}

/// By way of f64, which holds every number of the other types.
fn convert<const N: usize>(name: &str, bytes: &[u8], number: impl Fn([u8; N]) -> f64) -> Checked<Vec<f32>> {
    let checked = |(at, bytes): (usize, &[u8; N])| match number(*bytes) {
        value if (value as f32).is_finite() => Ok(value as f32),
        value if value.is_finite() => {
            Err(format!("tensor `{name}` holds {value:e} at element {at}, which f32 cannot hold"))
        }
        value => Err(not_finite(name, at, value)),
    };
    bytes.as_chunks().0.iter().enumerate().map(checked).collect()
}

/// A key of the header that is no tensor.
pub(super) const METADATA: &str = "__metadata__";

/// A tensor as safetensors writes it.
pub(super) struct Tensor<'a> {
    pub(super) shape: Vec<usize>,
    pub(super) values: &'a [f32],
}

impl View for Tensor<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        self.values.iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    fn data_len(&self) -> usize {
        size_of_val(self.values)
    }
}

/// The parameters in a flat buffer as tensors, each under the name that it has in the file.
pub(super) fn named_tensors<'a>(
    layout: &Layout,
    flat: &'a [f32],
    name: impl Fn(&Parameter) -> String,
) -> Vec<(String, Tensor<'a>)> {
    let parameters = layout.parameters().iter();
    parameters.map(|p| (name(p), Tensor { shape: p.shape.clone(), values: &flat[p.range()] })).collect()
}

/// The bytes of a file of these tensors, all finite. One entry of metadata, because safetensors writes several in the
/// order of a hash map.
pub(super) fn serialize(tensors: Vec<(String, Tensor<'_>)>, key: &str, entry: String) -> Checked<Vec<u8>> {
    for (name, tensor) in &tensors {
        if let Some((at, &value)) = tensor.values.iter().enumerate().find(|(_, v)| !v.is_finite()) {
            return Err(not_finite(name, at, value.into()));
        }
    }
    safetensors::serialize(tensors, Some(HashMap::from([(key.to_owned(), entry)]))).map_err(text)
}

fn not_finite(name: &str, at: usize, value: f64) -> String {
    format!("tensor `{name}` holds {value} at element {at}")
}
