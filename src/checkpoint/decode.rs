//! From the bytes of a file to a checkpoint.
//!
//! The contract: the file is held against its own configuration, which is believed no more than the rest, before
//! anything is allocated for it.

use std::collections::BTreeMap;

use safetensors::Dtype;
use serde::Deserialize;

use super::tensors::Tensors;
use super::{
    AVERAGE, BEST, Checked, Checkpoint, FORMAT, Fault, Header, KEY, LISTS, OLDEST_FORMAT, Progress, Training,
    check_frozen, check_loss_scale, moments_prefix, short::ShortConfig, strict, text,
};
use crate::allocate::zeros;
use crate::model::{Config, Layout, Model, State, StateShape};

/// The checkpoint, or what is wrong with it.
pub(super) fn decode(bytes: &[u8]) -> Result<Checkpoint, Fault> {
    let file = Tensors::parse(bytes)?;
    let header = parse_header(&file)?;
    // Sizes too large overflow here; sizes at odds with the file fail before anything is allocated for them.
    let layout = Layout::new(&header.config).map_err(text)?;
    if let Some(progress) = &header.training {
        progress.recipe.check_for(&header.config).map_err(text)?;
        check_frozen(&layout, &progress.frozen)?;
        check_loss_scale(progress.loss_scale)?;
    }
    check_tensors(&file, &header, &layout)?;

    let flat = |prefix: &str| file.flat(&layout, |p| Some(format!("{prefix}{}", p.name)));
    let parameters = flat("")?;
    let training = match header.training {
        None => None,
        Some(Progress { recipe, steps, frozen, loss_scale, best }) => {
            let moments =
                (0..recipe.optimizer.moment_count()).map(|k| flat(&moments_prefix(k))).collect::<Result<_, _>>()?;
            let average = recipe.average.map(|_| flat(AVERAGE)).transpose()?;
            let best = best.then(|| flat(BEST)).transpose()?;
            // Of the shapes that were checked above.
            let state = match saved_state(&file, header.format, &header.config) {
                None => None,
                Some(SavedState { batch_size, tensors }) => {
                    let mut values = zeros(header.config.state_len(batch_size), "reading the state of a training")?;
                    let mut rest = values.as_mut_slice();
                    for (name, shape) in tensors {
                        let (part, behind) = rest.split_at_mut(shape.iter().product());
                        file.read(&name, part)?;
                        rest = behind;
                    }
                    Some(State::of(&header.config, batch_size, values))
                }
            };
            Some(Training { recipe, steps, frozen, moments, average, state, loss_scale, best })
        }
    };
    let model = Model::from_flat(header.config, layout, parameters);
    Ok(Checkpoint { model, training, notes: header.notes })
}

/// Read before the rest, which another format may have otherwise.
#[derive(Deserialize)]
struct Version {
    format: u64,
}

fn parse_header(file: &Tensors<'_>) -> Result<Header, Fault> {
    let header = file.metadata(KEY).ok_or_else(|| {
        format!("is a safetensors file without the metadata `{KEY}` (configuration and format): not by this crate")
    })?;
    let invalid = |error: serde_json::Error| Fault::wrong(&format!("has invalid metadata `{KEY}`"), error);
    strict::check(header).map_err(invalid)?;
    // Serde reads a struct from an array as well.
    let version = Some(header).filter(|json| json.trim_start().starts_with('{')).map(serde_json::from_str);
    let version = match version {
        Some(Ok(Version { format: format @ OLDEST_FORMAT..=FORMAT })) => format,
        Some(Ok(Version { format })) => {
            return Err(format!(
                "has format {format}, this version of the crate reads formats {OLDEST_FORMAT} to {FORMAT}"
            )
            .into());
        }
        _ => return Err(format!("has metadata `{KEY}` without the number `format`").into()),
    };
    if version < LISTS {
        let Header { format, config, training, notes } =
            serde_json::from_str::<Header<ShortConfig>>(header).map_err(invalid)?;
        return Ok(Header { format, config: config.into_config(), training, notes });
    }
    serde_json::from_str(header).map_err(invalid)
}

/// A carried state in a file.
struct SavedState {
    batch_size: usize,
    /// Names and shapes, in the order of its values.
    tensors: Vec<(String, Vec<usize>)>,
}

/// The carried state of a file, where it has one.
fn saved_state(file: &Tensors<'_>, format: u64, config: &Config) -> Option<SavedState> {
    let (shape, batch) = (StateShape::new(config), |at: usize, shape: &[usize]| shape.get(at).copied().unwrap_or(0));
    let (parts, first) = (shape.parts(), shape.parts().first()?);
    if format < LISTS {
        // Of equal layers, in the same order.
        let batch = batch(2, file.shape("state")?);
        let kinds = 1 + parts.last()?.kind;
        let shape = vec![kinds, parts.len() / kinds, batch, first.width];
        return Some(SavedState { batch_size: batch, tensors: vec![("state".to_owned(), shape)] });
    }
    let batch = batch(0, file.shape(&first.name())?);
    let tensors = parts.iter().map(|part| (part.name(), vec![batch, part.width])).collect();
    Some(SavedState { batch_size: batch, tensors })
}

/// Whether the file holds exactly the tensors of its own header, in their shapes.
fn check_tensors(file: &Tensors<'_>, header: &Header, layout: &Layout) -> Checked<()> {
    let moments = header.training.as_ref().map_or(0, |t| t.recipe.optimizer.moment_count());
    let has_average = header.training.as_ref().is_some_and(|t| t.recipe.average.is_some());
    let has_best = header.training.as_ref().is_some_and(|t| t.best);
    let more = [(has_average, AVERAGE), (has_best, BEST)].into_iter().filter(|(has, _)| *has);
    let more = more.map(|(_, prefix)| prefix.to_owned());
    let prefixes = std::iter::once(String::new()).chain((0..moments).map(moments_prefix)).chain(more);
    let mut expected: BTreeMap<String, Vec<usize>> = prefixes
        .flat_map(|prefix| layout.parameters().iter().map(move |p| (format!("{prefix}{}", p.name), p.shape.clone())))
        .collect();
    let state = header.training.as_ref().and_then(|_| saved_state(file, header.format, &header.config));
    if let Some(SavedState { batch_size, tensors }) = state {
        if batch_size == 0 {
            return Err("has a state of 0 sequences, expected at least 1".to_owned());
        }
        expected.extend(tensors);
    }
    file.check(&expected, &[Dtype::F32], |_| false)
}
