//! From the bytes of a file to a checkpoint.
//!
//! The contract: the file is held against its own configuration, which is believed no more than the rest, before
//! anything is allocated for it.

use std::collections::BTreeMap;

use safetensors::Dtype;
use serde::Deserialize;

use super::tensors::Tensors;
use super::{
    Checked, Checkpoint, FORMAT, Fault, Header, KEY, OLDEST_FORMAT, Progress, Training, check_frozen, check_loss_scale,
    moments_prefix, strict, text,
};
use crate::model::{Layout, Model, State};

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
        Some(Progress { recipe, steps, frozen, loss_scale }) => {
            let moments =
                (0..recipe.optimizer.moment_count()).map(|k| flat(&moments_prefix(k))).collect::<Result<_, _>>()?;
            let state = match file.shape("state") {
                None => None,
                // Of the shape that was checked above.
                Some(shape) => {
                    let batch_size = shape.get(2).copied().unwrap_or(0);
                    Some(State::of(&header.config, batch_size, file.values("state")?))
                }
            };
            Some(Training { recipe, steps, frozen, moments, state, loss_scale })
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
    match version {
        Some(Ok(Version { format: OLDEST_FORMAT..=FORMAT })) => {}
        Some(Ok(Version { format })) => {
            return Err(format!(
                "has format {format}, this version of the crate reads formats {OLDEST_FORMAT} to {FORMAT}"
            )
            .into());
        }
        _ => return Err(format!("has metadata `{KEY}` without the number `format`").into()),
    }
    serde_json::from_str(header).map_err(invalid)
}

/// Whether the file holds exactly the tensors of its own header, in their shapes.
fn check_tensors(file: &Tensors<'_>, header: &Header, layout: &Layout) -> Checked<()> {
    let moments = header.training.as_ref().map_or(0, |t| t.recipe.optimizer.moment_count());
    let prefixes = std::iter::once(String::new()).chain((0..moments).map(moments_prefix));
    let mut expected: BTreeMap<String, Vec<usize>> = prefixes
        .flat_map(|prefix| layout.parameters().iter().map(move |p| (format!("{prefix}{}", p.name), p.shape.clone())))
        .collect();
    if let (Some(_), Some(state)) = (&header.training, file.shape("state")) {
        let fits = |batch: usize| batch > 0 && *state == header.config.state_shape(batch);
        if !state.get(2).copied().is_some_and(fits) {
            let [states, layers, _, hidden] = header.config.state_shape(1);
            return Err(format!(
                "tensor `state` has shape {state:?}, expected [{states}, {layers}, B, {hidden}] with B at least 1"
            ));
        }
        expected.insert("state".to_owned(), state.to_vec());
    }
    file.check(&expected, &[Dtype::F32], |_| false)
}
