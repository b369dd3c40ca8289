//! A safetensors file, whoever wrote it: its tensors checked against what is expected, and read as f32.
//!
//! The contract: nothing in the file is believed before it is checked, in an order in which no check allocates by a
//! number that has not been held against the length of the file; what is wrong with the tensors is said all at once.

use std::collections::{BTreeMap, HashMap};

use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use super::container::{self, HEADER_BYTES, LENGTH_BYTES};
use super::{Checked, Fault, strict};
use crate::allocate::zeros;
use crate::model::{Layout, Parameter};

/// A key of the header that is no tensor.
pub(crate) const METADATA: &str = "__metadata__";

/// What a header says, as it stands there.
#[derive(Default)]
struct Header {
    metadata: Option<HashMap<String, String>>,
    tensors: Vec<(String, TensorInfo)>,
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Header;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
        let mut header = Header::default();
        while let Some(key) = map.next_key::<String>()? {
            if key == METADATA {
                header.metadata = map.next_value()?;
            } else {
                header.tensors.push((key, map.next_value()?));
            }
        }
        Ok(header)
    }
}

/// A file whose header fits its length.
pub(crate) struct Tensors<'a> {
    header: Metadata,
    /// What the header's offsets count into.
    data: &'a [u8],
}

impl<'a> Tensors<'a> {
    /// What is wrong with a file of another format is that it is one.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, Fault> {
        Self::read_header(bytes).map_err(|fault| container::describe(bytes).map_or(fault, Fault::from))
    }

    /// Reads the header without what safetensors does to read one: that keeps of a key that appears twice the last
    /// value, holds every number of it in 32 bytes, and trusts offsets whose sum overflows.
    fn read_header(bytes: &'a [u8]) -> Result<Self, Fault> {
        let (length, rest) = bytes.split_first_chunk::<LENGTH_BYTES>().ok_or_else(|| {
            format!("is truncated or not a safetensors file: {} bytes, not even the length of a header", bytes.len())
        })?;
        let length = u64::from_le_bytes(*length);
        let header = usize::try_from(length).ok().and_then(|n| rest.split_at_checked(n));
        let (header, data) = header.ok_or_else(|| {
            format!("is truncated or not a safetensors file: its header takes {length} bytes, {} are there", rest.len())
        })?;
        if header.len() > HEADER_BYTES {
            return Err(format!("has a header of {length} bytes, expected at most {HEADER_BYTES}").into());
        }
        const INVALID: &str = "is not a safetensors file: its header is not valid";
        let header = std::str::from_utf8(header).map_err(|error| Fault::wrong(INVALID, error))?;
        strict::check(header).map_err(|error| Fault::wrong(INVALID, error))?;
        let Header { metadata, mut tensors } =
            serde_json::from_str(header).map_err(|error| Fault::wrong(INVALID, error))?;
        let given = data.len();
        if let Some((name, info)) = tensors.iter().find(|(_, info)| info.data_offsets.1 > given) {
            let end = info.data_offsets.1;
            return Err(
                format!("is truncated: tensor `{name}` ends at byte {end} of the data, {given} are there").into()
            );
        }
        tensors.sort_by_key(|(_, info)| info.data_offsets);
        let header = Metadata::new(metadata, tensors)
            .map_err(|error| Fault::wrong("is truncated or not a safetensors file", error))?;
        if header.data_len() != given {
            let end = header.data_len();
            return Err(format!(
                "is not a safetensors file: its tensors end at byte {end} of the data, {given} are there"
            )
            .into());
        }
        Ok(Tensors { header, data })
    }

    /// An entry of the metadata.
    pub(crate) fn metadata(&self, key: &str) -> Option<&str> {
        self.header.metadata().as_ref()?.get(key).map(String::as_str)
    }

    /// The shape of a tensor, where there is one of that name.
    pub(crate) fn shape(&self, name: &str) -> Option<&[usize]> {
        self.header.info(name).map(|info| info.shape.as_slice())
    }

    /// The names of all tensors.
    pub(crate) fn names(&self) -> Vec<String> {
        self.header.offset_keys()
    }

    /// Whether the file holds the `expected` tensors in their shapes, of one of the `types`; and no others but those
    /// that `may_be_there`.
    pub(crate) fn check(
        &self,
        expected: &BTreeMap<String, Vec<usize>>,
        types: &[Dtype],
        may_be_there: impl Fn(&str) -> bool,
    ) -> Checked<()> {
        let mut unknown = self.names();
        unknown.retain(|name| !expected.contains_key(name) && !may_be_there(name));
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

    /// Fills a buffer of a tensor's length with its values.
    pub(crate) fn read(&self, name: &str, out: &mut [f32]) -> Checked<()> {
        let info = self.header.info(name);
        let bytes = info.and_then(|info| self.data.get(info.data_offsets.0..info.data_offsets.1));
        let (Some(info), Some(bytes)) = (info, bytes) else { return Err(format!("lacks the tensors {name}")) };
        match info.dtype {
            Dtype::F32 => convert(name, bytes, out, |b| f32::from_le_bytes(b).into()),
            Dtype::F64 => convert(name, bytes, out, f64::from_le_bytes),
            Dtype::F16 => convert(name, bytes, out, |b| f16::from_le_bytes(b).to_f64()),
            Dtype::BF16 => convert(name, bytes, out, |b| bf16::from_le_bytes(b).to_f64()),
            other => Err(format!("tensor `{name}` is of type {other}, expected real numbers")),
        }
    }

    /// All parameters in one flat buffer, each from the tensor of the name that it has in the file, zero where it has
    /// none there. Only after [`Tensors::check`], which holds their shapes against the file.
    pub(crate) fn flat(&self, layout: &Layout, name: impl Fn(&Parameter) -> Option<String>) -> Result<Vec<f32>, Fault> {
        let mut flat = zeros(layout.buffer_len(), "reading the parameters of a network")?;
        for parameter in layout.parameters() {
            if let Some(name) = name(parameter) {
                self.read(&name, &mut flat[parameter.range()])?;
            }
        }
        Ok(flat)
    }
}

/// By way of f64, which holds every number of the other types.
fn convert<const N: usize>(name: &str, bytes: &[u8], out: &mut [f32], number: impl Fn([u8; N]) -> f64) -> Checked<()> {
    for (at, (bytes, out)) in bytes.as_chunks().0.iter().zip(out).enumerate() {
        let value = number(*bytes);
        *out = value as f32;
        if !out.is_finite() {
            return Err(if value.is_finite() {
                format!("tensor `{name}` holds {value:e} at element {at}, which f32 cannot hold")
            } else {
                not_finite(name, at, value)
            });
        }
    }
    Ok(())
}

pub(super) fn not_finite(name: &str, at: usize, value: f64) -> String {
    format!("tensor `{name}` holds {value} at element {at}")
}
