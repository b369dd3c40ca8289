//! What sets single elements of the flat buffers apart in an update: those that are frozen, and those without decay.
//!
//! The contract: the gaps between tensors have no flag; a new bit is one more constant here and in `reduce_gradients`
//! and the optimisers' shaders.

use crate::allocate::zeros;
use crate::error::Result;
use crate::model::Layout;
use crate::recipe::DecayScope;

/// The bit of the tensor `parameter_flags` that takes an element out of the training: it has no part in the gradient or
/// its norm, and neither it nor its moments change.
pub const FROZEN: u32 = 1;

/// The bit of the tensor `parameter_flags` that spares an element the weight decay.
pub const NOT_DECAYED: u32 = 2;

/// Returns `[flat]`: the bits [`FROZEN`] and [`NOT_DECAYED`] of every element, as a training plan's tensor
/// `parameter_flags` holds them, where the parameters named in `frozen` are not trained.
///
/// # Errors
/// [`Error::OutOfMemory`](crate::Error::OutOfMemory).
pub fn parameter_flags(scope: DecayScope, layout: &Layout, frozen: &[String]) -> Result<Vec<u32>> {
    let mut parameter_flags = zeros(layout.buffer_len(), "marking the parameters that are trained")?;
    for parameter in layout.parameters() {
        // A norm's gain is called a weight, too, but is a vector.
        let name = parameter.name.rsplit('.').next().unwrap_or_default();
        let is_weight = name.starts_with("weight") && parameter.shape.len() == 2;
        let decays = scope == DecayScope::All || is_weight;
        let decay = if decays { 0 } else { NOT_DECAYED };
        let update = if frozen.contains(&parameter.name) { FROZEN } else { 0 };
        parameter_flags[parameter.range()].fill(decay | update);
    }
    Ok(parameter_flags)
}
