//! From the bytes of a file to a checkpoint.
//!
//! The contract: nothing in the file is believed before it is checked, in an order in which no check allocates by a
//! number that has not been held against the length of the file.

use std::collections::{BTreeMap, BTreeSet};

use safetensors::{Dtype, SafeTensors, tensor::Metadata};
use serde_json::Value;

use super::strict::strict;
use super::{Checked, Checkpoint, FORMAT, Header, KEY, Progress, State, Training, check_finite, moments_prefix, text};
use crate::model::{Layout, Model};

/// A safetensors file opens with the length of its header, eight bytes.
const LENGTH_BYTES: usize = 8;

/// The checkpoint, or what is wrong with it.
pub(super) fn decode(bytes: &[u8]) -> Checked<Checkpoint> {
    let (metadata, data) = parse(bytes)?;
    let header = parse_header(&metadata)?;
    // Sizes too large overflow here; sizes at odds with the file fail before anything is allocated for them.
    let layout = Layout::new(&header.config).map_err(text)?;
    if let Some(progress) = &header.training {
        progress.recipe.check().map_err(text)?;
    }
    check_tensors(&metadata, &header, &layout)?;

    let values = |name: &str| -> Checked<Vec<f32>> {
        let range = metadata.info(name).map(|info| info.data_offsets.0..info.data_offsets.1);
        let bytes = range.and_then(|range| data.get(range)).ok_or_else(|| format!("lacks the tensor `{name}`"))?;
        let values: Vec<f32> = bytes.as_chunks().0.iter().map(|&v| f32::from_le_bytes(v)).collect();
        check_finite(name, &values)?;
        Ok(values)
    };
    let flat = |prefix: &str| -> Checked<Vec<f32>> {
        let mut flat = vec![0.0; layout.len()];
        for parameter in layout.parameters() {
            flat[parameter.range()].copy_from_slice(&values(&format!("{prefix}{}", parameter.name))?);
        }
        Ok(flat)
    };
    let parameters = flat("")?;
    let training = match header.training {
        None => None,
        Some(Progress { recipe, steps }) => {
            let moments = (0..recipe.optimizer.moments()).map(|k| flat(&moments_prefix(k))).collect::<Checked<_>>()?;
            let state = match metadata.info("state") {
                None => None,
                Some(info) => Some(State { batch: info.shape.get(2).copied().unwrap_or(0), values: values("state")? }),
            };
            Some(Training { recipe, steps, moments, state })
        }
    };
    let model = Model::from_flat(header.config, layout, parameters);
    Ok(Checkpoint { model, training, notes: header.notes })
}

/// The safetensors header and the bytes that its offsets count into.
///
/// Looks before safetensors does where safetensors is silent (a key that appears twice) or trusting (an offset close to
/// the largest number there is, which overflows its sum).
fn parse(bytes: &[u8]) -> Checked<(Metadata, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<LENGTH_BYTES>().ok_or_else(|| {
        format!("is truncated or not a safetensors file: {} bytes, not even the length of a header", bytes.len())
    })?;
    let length = u64::from_le_bytes(*length);
    let header = usize::try_from(length).ok().and_then(|n| rest.split_at_checked(n));
    let (header, data) = header.ok_or_else(|| {
        format!("is truncated or not a safetensors file: its header takes {length} bytes, {} are there", rest.len())
    })?;
    let header = std::str::from_utf8(header).map_err(|e| format!("is not a safetensors file: its header is {e}"))?;
    let header: Value = strict(header).map_err(|e| format!("is not a safetensors file: in its header, {e}"))?;
    for (name, info) in header.as_object().into_iter().flatten().filter(|(name, _)| *name != "__metadata__") {
        let end = info.get("data_offsets").and_then(|offsets| offsets.get(1)).and_then(Value::as_u64);
        let end = end.ok_or_else(|| format!("is not a safetensors file: tensor `{name}` has no `data_offsets`"))?;
        let given = data.len();
        if end > given as u64 {
            return Err(format!("is truncated: tensor `{name}` ends at byte {end} of the data, {given} are there"));
        }
    }
    let (_, metadata) =
        SafeTensors::read_metadata(bytes).map_err(|e| format!("is truncated or not a safetensors file: {e}"))?;
    Ok((metadata, data))
}

fn parse_header(metadata: &Metadata) -> Checked<Header> {
    let header = metadata.metadata().as_ref().and_then(|entries| entries.get(KEY));
    let header = header.ok_or_else(|| {
        format!("is a safetensors file without the metadata `{KEY}` (configuration and format): not by this crate")
    })?;
    let invalid = |e: serde_json::Error| format!("has invalid metadata `{KEY}`: {e}");
    let value: Value = strict(header).map_err(invalid)?;
    match value.get("format").and_then(Value::as_u64) {
        Some(FORMAT) => {}
        Some(other) => return Err(format!("has format {other}, this version of the crate reads format {FORMAT}")),
        None => return Err(format!("has metadata `{KEY}` without the number `format`")),
    }
    serde_json::from_str(header).map_err(invalid)
}

/// Whether the file holds exactly the tensors of its own header, in their shapes.
fn check_tensors(metadata: &Metadata, header: &Header, layout: &Layout) -> Checked<()> {
    let moments = header.training.as_ref().map_or(0, |t| t.recipe.optimizer.moments());
    let prefixes = std::iter::once(String::new()).chain((0..moments).map(moments_prefix));
    let mut expected: BTreeMap<String, Vec<usize>> = prefixes
        .flat_map(|prefix| layout.parameters().iter().map(move |p| (format!("{prefix}{}", p.name), p.shape.clone())))
        .collect();
    if let (Some(_), Some(state)) = (&header.training, metadata.info("state")) {
        let fits = |batch: usize| batch > 0 && *state.shape == header.config.state(batch);
        if !state.shape.get(2).copied().is_some_and(fits) {
            let [states, layers, _, hidden] = header.config.state(1);
            return Err(format!(
                "tensor `state` has shape {:?}, expected [{states}, {layers}, B, {hidden}] with B at least 1",
                state.shape
            ));
        }
        expected.insert("state".to_owned(), state.shape.clone());
    }

    let found: BTreeSet<String> = metadata.offset_keys().into_iter().collect();
    let missing: Vec<&str> = expected.keys().filter(|name| !found.contains(*name)).map(String::as_str).collect();
    let unknown: Vec<&str> = found.iter().filter(|name| !expected.contains_key(*name)).map(String::as_str).collect();
    let listed = [("lacks the tensors", missing), ("holds the unknown tensors", unknown)];
    let listed: Vec<String> = listed
        .into_iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(what, names)| format!("{what} {}", names.join(", ")))
        .collect();
    if !listed.is_empty() {
        return Err(listed.join("; "));
    }

    for (name, shape) in &expected {
        let Some(info) = metadata.info(name) else { continue };
        if info.dtype != Dtype::F32 {
            return Err(format!("tensor `{name}` is of type {}, expected F32", info.dtype));
        }
        if info.shape != *shape {
            return Err(format!("tensor `{name}` has shape {:?}, expected {shape:?}", info.shape));
        }
    }
    Ok(())
}
