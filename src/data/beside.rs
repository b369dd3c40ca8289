//! Sequences side by side in one batch, time outermost.
//!
//! The contract: what is behind the end of a sequence is zero.

use super::Inputs;
use crate::error::Error;
use crate::model::InputKind;

/// Inputs side by side, padded to `steps`.
pub(super) fn inputs_side_by_side(inputs: &[&Inputs], steps: usize, input: InputKind) -> Inputs {
    let ids = inputs.iter().filter_map(|inputs| if let Inputs::Tokens(ids) = inputs { Some(&ids[..]) } else { None });
    let reals = inputs.iter().filter_map(|inputs| if let Inputs::Dense(x) = inputs { Some(&x[..]) } else { None });
    match input {
        InputKind::Tokens(_) => Inputs::Tokens(side_by_side(&ids.collect::<Vec<_>>(), steps, 1)),
        InputKind::Dense(features) => Inputs::Dense(side_by_side(&reals.collect::<Vec<_>>(), steps, features)),
    }
}

/// `[T_b, width]` each, to `[T, B, width]` with zeros behind the end of each.
pub(super) fn side_by_side<V: Copy + Default>(sequences: &[&[V]], steps: usize, width: usize) -> Vec<V> {
    let mut laid = vec![V::default(); steps * sequences.len() * width];
    for (b, sequence) in sequences.iter().enumerate() {
        for (t, row) in sequence.chunks_exact(width).enumerate() {
            laid[(t * sequences.len() + b) * width..][..width].copy_from_slice(row);
        }
    }
    laid
}

/// What is laid out here is laid out by the host.
pub(super) fn on_device(argument: &str) -> Error {
    Error::Data(format!(
        "{argument} lies on the device, where nothing is padded or moved; expected it in the host's memory"
    ))
}
